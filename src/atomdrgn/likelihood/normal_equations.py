"""What the images say about motions near a conformation.

They are Gauss-Newton's normal equations, one set an image.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..devices import looped
from ..physics.disc import FourierDisc
from ..physics.pose import Pose
from ..physics.projection.bead_transform import bead_transform, wave_products
from ..physics.record import Record
from ..structure.beads import BeadModel
from ..structure.motion.camera import SlicedSegments, motion_fields, project_centres, slice_segments
from ..structure.motion.deformation import Deformation
from ..structure.motion.segment_deformation import OCCUPANCY_UNIT, TWIST, SegmentDeformation
from .image_model import ImageModel, gain_on

ROWS_MIRRORED = 40  # from so many rows on, products are made once and mirrored
POSE_NUMBERS = 5  # of an image's pose: shift along x and y, turns about x, y and z


@dataclass(frozen=True)
class NormalEquations(Record):
    """Equations of a weighted least-squares fit, at a latent and linearised there.

    They are in the latent's coordinates.

    Near the latent q0, minus twice the log-likelihood is ``(q - q0) matrix (q - q0) - 2 gradient (q
    - q0) + chi2``.

    Parameters
    ----------
    matrix : (*batch, latent, latent)
        Gauss-Newton's approximation of the second derivatives.
    gradient : (*batch, latent)
        Minus half the first derivatives.
    chi2 : (*batch,)
        Weighted sum of squared residuals at q0.
    """

    matrix: Float[Tensor, "*batch latent latent"]
    gradient: Float[Tensor, "*batch latent"]
    chi2: Float[Tensor, "*batch"]


@dataclass(frozen=True)
class Unknowns:
    """By what an image is differentiated.

    Parameters
    ----------
    along : (batch, latent, direction), optional
        Steps of each image's latent; by default its numbers one by one. What few steps have in
        common costs little, whatever the number of segments.
    pose : bool
        Behind these, the five numbers of the image's pose (:func:`pose_images`).
    """

    along: Float[Tensor, "batch latent direction"] | None = None
    pose: bool = False


LATENT_ALONE = Unknowns()


@dataclass(frozen=True)
class ImageProducts(Record):
    """All inner products among an image's derivative images, its prediction and its data.

    They are weighted by the noise.

    Parameters
    ----------
    matrix : (*batch, latent, latent)
        Among derivative images: by the latent, and by the pose behind it where that was asked for.
    with_prediction, with_data : (*batch, latent)
        Derivative images with the prediction, and with the data.
    prediction2, prediction_data, data2 : (*batch,)
        Prediction with itself, with the data; data with itself.
    """

    matrix: Float[Tensor, "*batch latent latent"]
    with_prediction: Float[Tensor, "*batch latent"]
    with_data: Float[Tensor, "*batch latent"]
    prediction2: Float[Tensor, "*batch"]
    prediction_data: Float[Tensor, "*batch"]
    data2: Float[Tensor, "*batch"]

    def contrast(
        self, prior_sd: float, hidden: Float[Tensor, "*batch"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
        """Strength of the signal in each image and its standard deviation.

        The prior is N(1, prior_sd^2).

        Parameters
        ----------
        prior_sd : float
            Of the contrast over images.
        hidden : (*batch,)
            Power that the conformation's uncertainty adds to the prediction's. Without it a
            conformation that was fitted to the image's own noise would seem to be a brighter
            signal.
        """
        precision = prior_sd**-2
        spread = self.prediction2 + hidden + precision
        return (self.prediction_data + precision) / spread, spread**-0.5

    def normal_equations(
        self, contrast_sd: float, hidden: Float[Tensor, "*batch"]
    ) -> NormalEquations:
        """Normal equations of the motion alone.

        Each image's contrast is fitted, its uncertainty taken out of the matrix (Schur complement).
        """
        contrast, sd = self.contrast(contrast_sd, hidden)
        misfit = self.data2 - 2 * contrast * self.prediction_data + contrast**2 * self.prediction2
        chi2 = misfit + ((contrast - 1) / contrast_sd) ** 2
        c = contrast[..., None]
        gradient = c * (self.with_data - c * self.with_prediction)
        # the mixed second derivative with contrast, at the fitted
        # contrast, in Gauss-Newton's approximation
        mixed = (c * sd[..., None]) * self.with_prediction
        return NormalEquations(
            (c * c)[..., None] * self.matrix - mixed[..., :, None] * mixed[..., None, :],
            gradient,
            chi2,
        )


def predict(
    deformation: Deformation,
    seen: ImageModel,
    latent: Float[Tensor, "batch latent"],
    *,
    pose: Pose,
    disc: FourierDisc,
) -> Float[Tensor, "batch 2 frequency"]:
    """Fourier coefficients of the noise-free image before the CTF.

    They are at the conformation that a latent decodes to.
    """
    image = bead_images(deformation, seen.beads, latent, pose=pose, disc=disc)
    if seen.gain is not None:
        image = image * gain_on(seen.gain, disc)
    return image + seen.still_images(pose, disc) if seen.still else image


def bead_images(
    deformation: Deformation,
    beads: BeadModel,
    latent: Float[Tensor, "batch latent"],
    *,
    pose: Pose,
    disc: FourierDisc,
) -> Float[Tensor, "batch 2 frequency"]:
    """As :func:`predict`, of beads alone."""
    if not isinstance(deformation, SegmentDeformation):
        conformation = deformation.conformation(latent)
        plane = pose.apply(conformation.position)[..., :2]
        weight = (beads.amplitude * conformation.occupancy)[..., None]
        return bead_transform(plane, beads.sigma, disc, weight=weight)[:, 0, 0]
    sliced = slice_segments(deformation, beads, latent, pose=pose, disc=disc, fields=1)
    if sliced is None:
        return _summed_image(deformation, beads, latent, pose=pose, disc=disc)
    image = sliced.images(disc)
    some = sliced.summed_beads(deformation)
    if not len(some):
        return image
    return image + _summed_image(deformation, beads, latent, pose=pose, disc=disc, some=some)


def _summed_image(
    deformation: SegmentDeformation,
    beads: BeadModel,
    latent: Float[Tensor, "batch latent"],
    *,
    pose: Pose,
    disc: FourierDisc,
    some: Int[Tensor, "some"] | None = None,
) -> Float[Tensor, "batch 2 frequency"]:
    """The image of beads, or of some of them, as an exact sum."""
    plane, amplitude, sigma = (
        project_centres(deformation, latent, pose),
        beads.amplitude,
        beads.sigma,
    )
    weight = amplitude.expand(len(plane), -1)
    if deformation.composition:
        weight = weight * deformation.bead_occupancy(latent)
    if some is not None:
        plane, weight, sigma = plane[..., some], weight[:, some], sigma[some]
    return bead_transform(plane.mT, sigma, disc, weight=weight[..., None])[:, 0, 0]


def latent_images(
    deformation: Deformation,
    beads: BeadModel,
    latent: Float[Tensor, "batch latent"],
    *,
    pose: Pose,
    disc: FourierDisc,
    transfer: Float[Tensor, "batch frequency"],
) -> tuple[Float[Tensor, "batch 2 frequency"], Float[Tensor, "batch latent 2 frequency"]]:
    """The prediction of :func:`bead_images` times a transfer function.

    It comes with how each number of the latent changes it, for whatever moves the beads.

    A bead at p contributes ``a exp(-2 pi i k.p)``: two fields of each number, the amplitude times
    the bead's speed along the camera's x and y. Segments need fewer (:func:`derivative_images`).
    """
    conformation = deformation.conformation(latent)
    plane = pose.apply(conformation.position)[..., :2]
    weight = (beads.amplitude * conformation.occupancy)[..., None]
    every = torch.arange(plane.shape[1], device=plane.device)
    speed = deformation.bead_jacobians(latent, every)
    # (batch, bead, 2, latent)
    speed = pose.rotation[:, None, :2] @ speed
    field = torch.cat([weight, weight * speed[:, :, 0], weight * speed[:, :, 1]], 2)
    transform = bead_transform(plane, beads.sigma, disc, weight=field)[:, 0]
    along_x, along_y = _shifted(transform[:, 1:]).unflatten(1, (2, -1)).unbind(1)
    change = disc.kx * along_x + disc.ky * along_y
    return transform[:, 0] * transfer[:, None], 2 * torch.pi * change * transfer[:, None, None]


def derivative_images(
    deformation: SegmentDeformation,
    beads: BeadModel,
    latent: Float[Tensor, "batch latent"],
    *,
    pose: Pose,
    disc: FourierDisc,
    transfer: Float[Tensor, "batch frequency"],
) -> tuple[Float[Tensor, "batch 2 frequency"], Float[Tensor, "batch free change 2 frequency"]]:
    """The prediction of :func:`bead_images` times a transfer function.

    It comes with how each free segment's motion changes it.

    The five motions are shifts along the camera's x and y (per A) and turns about its x, y and z
    (per rad) about the segment's centroid as it stands; a shift along z changes nothing.

    A bead of amplitude a at p with arm r contributes ``a exp(-2 pi i k.p)``; a shift along x
    multiplies it by ``-2 pi i kx``, and a turn w moves the bead by w x r. So four fields of each
    segment (the amplitude, and the amplitude times each component of the arm) make all five.

    Where segments may be absent, a sixth image of each is how its occupancy changes the prediction:
    the segment's own image.
    """
    sliced = slice_segments(deformation, beads, latent, pose=pose, disc=disc, fields=4)
    summed = _SummedBeads.of(deformation, beads, latent, pose, sliced)
    if looped(latent, pose.rotation, beads.amplitude, transfer):
        return _derivatives_by_loops(deformation, summed, sliced, disc=disc, transfer=transfer)
    every = summed.fields(disc)
    if sliced is not None:
        for segment in sliced.slices:
            every[:, segment] += sliced.fields(segment, disc)
    prediction = every[:, :, 0].sum(1) * transfer[:, None]
    free = every[:, deformation.free]
    own = free[:, :, 4:] * transfer[:, None, None, None]
    return prediction, torch.cat([_by_rigid_motion(free, disc, transfer), own], 2)


@dataclass(frozen=True)
class _SummedBeads:
    """The beads of segments that no grid holds, as the camera sees them."""

    plane: Tensor  # (batch, 2, entry)
    field: Tensor  # (batch, field, entry)
    sigma: Tensor  # (entry,)
    parts: list[slice]  # of the entries, those of each segment

    @classmethod
    def of(
        cls,
        deformation: SegmentDeformation,
        beads: BeadModel,
        latent: Float[Tensor, "batch latent"],
        pose: Pose,
        sliced: SlicedSegments | None,
    ) -> "_SummedBeads":
        """Those that are left."""
        bead, fields = deformation.members.bead, 4 + deformation.composition
        if sliced is not None and not len(sliced.left):
            none = latent.new_zeros(len(latent), fields, 0)
            return cls(none[:, :2], none, none[0, 0], sliced.parts)
        plane = project_centres(deformation, latent, pose)
        field = motion_fields(deformation, latent, pose, amplitude=beads.amplitude)
        if sliced is None:
            return cls(plane[..., bead], field, beads.sigma[bead], deformation.members.parts)
        bead, field = bead[sliced.left], field[..., sliced.left]
        return cls(plane[..., bead], field, beads.sigma[bead], sliced.parts)

    def fields(self, disc: FourierDisc) -> Float[Tensor, "batch segment field 2 frequency"]:
        """Coefficients of their fields, summed over each segment."""
        return bead_transform(
            self.plane.mT, self.sigma, disc, weight=self.field.mT, parts=self.parts
        )

    def products(self, disc: FourierDisc) -> Iterator[Tensor]:
        """The waves of each segment's fields, multiplied."""
        return wave_products(self.plane, self.sigma, disc, weight=self.field, parts=self.parts)


def _derivatives_by_loops(
    deformation: SegmentDeformation,
    summed: _SummedBeads,
    sliced: SlicedSegments | None,
    *,
    disc: FourierDisc,
    transfer: Float[Tensor, "batch frequency"],
) -> tuple[Tensor, Tensor]:
    from ..physics.projection.bead_transform_loops import combine, move_fields, move_products

    slot = {segment: number for number, segment in enumerate(deformation.free.tolist())}
    n, changes = len(transfer), 5 + deformation.composition
    prediction = torch.zeros(n, 2, len(disc))
    derivative = torch.empty(n, len(slot), changes, 2, len(disc))
    fixed = derivative
    if len(slot) < deformation.n_segments:
        fixed = torch.empty(n, 1, changes, 2, len(disc))
    where = disc.rows, disc.grid.extent, transfer.contiguous().numpy(), prediction.numpy()
    cut = [sliced is not None and segment in sliced.slices for segment in range(len(summed.parts))]
    some = [
        part
        for part, whole in zip(summed.parts, cut, strict=True)
        if not whole or part.start < part.stop
    ]
    products = replace(summed, parts=some).products(disc)
    for segment, part in enumerate(summed.parts):
        into = (derivative if segment in slot else fixed).numpy(), slot.get(segment, 0)
        if sliced is None or not cut[segment]:
            move_products(next(products).numpy(), *where, *into)
            continue
        field = sliced.fields(segment, disc).contiguous()
        if part.start < part.stop:
            own = torch.empty_like(field)
            combine(next(products).numpy(), disc.rows, own[:, None].numpy(), 0)
            field += own
        move_fields(field.numpy(), *where, *into)
    return prediction, derivative


def pose_images(
    deformation: Deformation,
    seen: ImageModel,
    latent: Float[Tensor, "batch latent"],
    *,
    pose: Pose,
    disc: FourierDisc,
    transfer: Float[Tensor, "batch frequency"],
) -> tuple[Float[Tensor, "batch 2 frequency"], Float[Tensor, "batch 5 2 frequency"]]:
    """The prediction of :func:`predict` times a transfer function.

    It comes with how the image's pose changes it.

    The five changes are shifts along the camera's x and y (per A) and turns about its x, y and z
    (per rad) about the molecule's origin: those of :func:`derivative_images` for a molecule that is
    one segment, fixed parts and what stands still included.
    """
    prediction, turned = _bead_pose_images(
        deformation,
        seen.beads,
        latent,
        pose=pose,
        disc=disc,
        transfer=seen.on_beads(transfer, disc),
    )
    if not seen.still:
        return prediction, turned
    arms = seen.still_arms(pose, disc)
    return (
        prediction + arms[:, 0] * transfer[:, None],
        turned + _by_rigid_motion(arms[:, None], disc, transfer)[:, 0],
    )


def _bead_pose_images(
    deformation: Deformation,
    beads: BeadModel,
    latent: Float[Tensor, "batch latent"],
    *,
    pose: Pose,
    disc: FourierDisc,
    transfer: Float[Tensor, "batch frequency"],
) -> tuple[Float[Tensor, "batch 2 frequency"], Float[Tensor, "batch 5 2 frequency"]]:
    transform = _whole_fields(deformation, beads, latent, pose=pose, disc=disc)
    if not looped(transform, transfer):
        turned = _by_rigid_motion(transform[:, None], disc, transfer)[:, 0]
        return transform[:, 0] * transfer[:, None], turned
    from ..physics.projection.bead_transform_loops import move_fields

    prediction = torch.zeros(len(latent), 2, len(disc))
    derivative = torch.empty(len(latent), 1, POSE_NUMBERS, 2, len(disc))
    move_fields(
        transform.contiguous().numpy(),
        disc.rows,
        disc.grid.extent,
        transfer.contiguous().numpy(),
        prediction.numpy(),
        derivative.numpy(),
        0,
    )
    return prediction, derivative[:, 0]


def _whole_fields(
    deformation: Deformation,
    beads: BeadModel,
    latent: Float[Tensor, "batch latent"],
    *,
    pose: Pose,
    disc: FourierDisc,
) -> Float[Tensor, "batch 4 2 frequency"]:
    """Coefficients of the amplitude, and of that times the arm from the molecule's origin."""
    sliced, some = None, None
    if isinstance(deformation, SegmentDeformation):
        sliced = slice_segments(deformation, beads, latent, pose=pose, disc=disc, fields=4)
        some = None if sliced is None else sliced.summed_beads(deformation)
    if sliced is not None and some is not None and not len(some):
        return sliced.whole_fields(disc)
    conformation, sigma = deformation.conformation(latent), beads.sigma
    arm = pose.turned(conformation.position).mT
    weight = (beads.amplitude * conformation.occupancy)[:, None]
    if some is not None:
        arm, weight, sigma = arm[..., some], weight[..., some], sigma[some]
    plane = (arm[:, :2] + pose.shift[..., None]).contiguous()
    field = torch.cat([weight, weight * arm], 1)
    summed = bead_transform(plane.mT, sigma, disc, weight=field.mT)[:, 0]
    return summed if sliced is None else summed + sliced.whole_fields(disc)


def _by_rigid_motion(
    transform: Float[Tensor, "batch part field 2 frequency"],
    disc: FourierDisc,
    transfer: Float[Tensor, "batch frequency"],
) -> Float[Tensor, "batch part 5 2 frequency"]:
    """How shifts and turns of each part change the image.

    It is found from the transforms of its amplitude and its arms.
    """
    mass, arm_x, arm_y, arm_z = _shifted(transform).unbind(2)[:4]
    along_x, along_y = (2 * torch.pi * (k * transfer)[:, None, None] for k in (disc.kx, disc.ky))
    return torch.stack(
        [
            along_x * mass,
            along_y * mass,
            -along_y * arm_z,
            along_x * arm_z,
            along_y * arm_x - along_x * arm_y,
        ],
        2,
    )


def _shifted(
    transform: Float[Tensor, "*batch 2 frequency"],
) -> Float[Tensor, "*batch 2 frequency"]:
    """Transforms times -i.

    A shift multiplies by -2 pi i k, so that what was imaginary becomes real, and what was real
    becomes minus imaginary.
    """
    return torch.stack([transform[..., 1, :], -transform[..., 0, :]], -2)


def power_along(
    deformation: Deformation,
    seen: ImageModel,
    latent: Float[Tensor, "batch latent"],
    direction: Float[Tensor, "latent direction"],
    *,
    pose: Pose,
    disc: FourierDisc,
    transfer: Float[Tensor, "batch frequency"],
) -> Float[Tensor, "batch frequency"]:
    """Power of the changes that steps along some directions of the latent make in each coefficient.

    It is summed over the directions.

    Parameters
    ----------
    deformation, latent, pose, disc, transfer
        As in :func:`derivative_images`.
    seen : ImageModel
        What images show; the beads alone change.
    direction : (latent, direction)
        Steps, A: of the roots of a covariance, the power that such a spread of conformations adds.
    """
    beads, transfer = seen.beads, seen.on_beads(transfer, disc)
    where: dict[str, Any] = {"pose": pose, "disc": disc, "transfer": transfer}
    _, derivative = (
        derivative_images(deformation, beads, latent, **where)
        if isinstance(deformation, SegmentDeformation)
        else latent_images(deformation, beads, latent, **where)
    )
    along = direction.expand(len(latent), -1, -1)
    return _changes_along(deformation, latent, derivative, along, pose).square().sum((1, 2))


def _changes_along(
    deformation: Deformation,
    latent: Float[Tensor, "batch latent"],
    derivative: Float[Tensor, "batch ... 2 frequency"],
    along: Float[Tensor, "batch latent direction"],
    pose: Pose,
) -> Float[Tensor, "batch direction 2 frequency"]:
    """How steps of each latent change its image, from its derivatives.

    These are by the motions of each segment (:func:`derivative_images`), or by the numbers of the
    latent where something else moves.
    """
    if isinstance(deformation, SegmentDeformation):
        change = camera_motion(deformation, latent, pose)
        along = (change @ along.unflatten(1, (-1, deformation.numbers))).flatten(1, 2)
        derivative = derivative.flatten(1, 2)
    return (along.mT @ derivative.flatten(2)).unflatten(2, (2, -1))


def image_products(
    deformation: Deformation,
    seen: ImageModel,
    latent: Float[Tensor, "batch latent"],
    *,
    pose: Pose,
    disc: FourierDisc,
    transfer: Float[Tensor, "batch frequency"],
    data: Float[Tensor, "batch 2 frequency"],
    unknowns: Unknowns = LATENT_ALONE,
) -> ImageProducts:
    """Inner products from which the normal equations of each image are made.

    Parameters
    ----------
    deformation, latent, pose, disc
        As in :func:`derivative_images`.
    seen : ImageModel
        What images show.
    transfer : (batch, frequency)
        What the prediction is multiplied by so that it meets `data`: the CTF over the noise's
        amplitude, with the root of the multiplicity.
    data : (batch, 2, frequency)
        Whitened coefficients of the images.
    unknowns : Unknowns
        By what images are differentiated.
    """
    where: dict[str, Any] = {"pose": pose, "disc": disc}
    on_beads = seen.on_beads(transfer, disc)
    prediction, derivative = (
        derivative_images(deformation, seen.beads, latent, transfer=on_beads, **where)
        if isinstance(deformation, SegmentDeformation)
        else latent_images(deformation, seen.beads, latent, transfer=on_beads, **where)
    )
    turned = None
    if unknowns.pose:
        prediction, turned = pose_images(deformation, seen, latent, transfer=transfer, **where)
    elif seen.still:
        prediction = prediction + seen.still_images(pose, disc) * transfer[:, None]
    if unknowns.along is not None:
        derivative = _changes_along(deformation, latent, derivative, unknowns.along, pose)
    if unknowns.along is not None or not isinstance(deformation, SegmentDeformation):
        every = derivative if turned is None else torch.cat([derivative, turned], 1)
        return _products(prediction, every, data)
    rows, compared = (
        derivative.flatten(-2).flatten(1, 2),
        torch.stack([prediction, data], 1).flatten(-2),
    )
    among = compared @ compared.transpose(-1, -2)
    change = camera_motion(deformation, latent, pose)
    matrix, right = _to_latent(_among(rows), rows @ compared.transpose(-1, -2), change)
    if turned is not None:
        flat = turned.flatten(-2)
        mixed = torch.einsum(
            "bpsj,bsjk->bpsk", (flat @ rows.mT).unflatten(2, change.shape[1:3]), change
        ).flatten(2)
        matrix = torch.cat(
            [torch.cat([matrix, mixed.mT], 2), torch.cat([mixed, flat @ flat.mT], 2)], 1
        )
        right = torch.cat([right, compared @ flat.mT], 2)
    return _put_together(matrix, right, among)


def pose_products(
    deformation: Deformation,
    seen: ImageModel,
    latent: Float[Tensor, "batch latent"],
    *,
    pose: Pose,
    disc: FourierDisc,
    transfer: Float[Tensor, "batch frequency"],
    data: Float[Tensor, "batch 2 frequency"],
) -> ImageProducts:
    """As :func:`image_products` of the pose alone, the conformation as it stands."""
    prediction, derivative = pose_images(
        deformation, seen, latent, pose=pose, disc=disc, transfer=transfer
    )
    return _products(prediction, derivative, data)


def _products(
    prediction: Float[Tensor, "batch 2 frequency"],
    derivative: Float[Tensor, "batch change 2 frequency"],
    data: Float[Tensor, "batch 2 frequency"],
) -> ImageProducts:
    rows, seen = derivative.flatten(-2), torch.stack([prediction, data], 1).flatten(-2)
    among, right = seen @ seen.mT, seen @ rows.mT
    return _put_together(_among(rows), right, among)


def _among(rows: Float[Tensor, "batch change number"]) -> Float[Tensor, "batch change change"]:
    """Products of rows among themselves: of what mirrors each other, one half.

    A third of the rows at a time is multiplied with those from there on; few rows at once, as
    small products cost more than they save.
    """
    n, third = rows.shape[1], -(-rows.shape[1] // 3)
    if n < ROWS_MIRRORED:
        return rows @ rows.mT
    among = rows.new_empty(len(rows), n, n)
    for start in range(0, n, third):
        own = slice(start, start + third)
        among[:, own, start:] = rows[:, own] @ rows[:, start:].mT
        among[:, own, :start] = among[:, :start, own].mT
    return among


def _put_together(
    matrix: Float[Tensor, "batch change change"],
    right: Float[Tensor, "batch 2 change"],
    among: Float[Tensor, "batch 2 2"],
) -> ImageProducts:
    """Products among derivatives, of prediction and data with these, and of the two."""
    return ImageProducts(
        matrix=matrix,
        with_prediction=right[:, 0],
        with_data=right[:, 1],
        prediction2=among[:, 0, 0],
        prediction_data=among[:, 0, 1],
        data2=among[:, 1, 1],
    )


def _to_latent(
    among: Float[Tensor, "batch motion motion"],
    seen: Float[Tensor, "batch motion 2"],
    change: Float[Tensor, "batch free change number"],
) -> tuple[Float[Tensor, "batch latent latent"], Float[Tensor, "batch 2 latent"]]:
    """Products of derivative images as products of derivatives by the latent."""
    batch, free, changes, numbers = change.shape
    if looped(among, seen, change):
        from .product_loops import to_latent, to_latent_with_occupancy

        n_latent = numbers * free
        matrix, right = torch.empty(batch, n_latent, n_latent), torch.empty(batch, 2, n_latent)
        loops = to_latent if changes == 5 else to_latent_with_occupancy
        loops(
            among.numpy(), seen.numpy(), change.contiguous().numpy(), matrix.numpy(), right.numpy()
        )
        return matrix, right
    whole = torch.einsum(
        "bsjk,bsjtl,btlm->bsktm",
        change,
        among.unflatten(1, (free, changes)).unflatten(3, (free, changes)),
        change,
    )
    right = torch.einsum("bsjk,bsjw->bwsk", change, seen.unflatten(1, (free, changes)))
    return whole.flatten(3).flatten(1, 2), right.flatten(2)


def camera_motion(
    deformation: SegmentDeformation, latent: Float[Tensor, "batch latent"], pose: Pose
) -> Float[Tensor, "batch free change number"]:
    """How the latent moves each free segment before the camera, and its occupancy if free."""
    turn = pose.rotation[:, None]
    jacobian = deformation.jacobian(latent)
    rows = [turn[..., :2, :] @ jacobian[..., :3, :], turn @ jacobian[..., 3:, :]]
    if deformation.composition:
        occupancy = latent.new_zeros(deformation.numbers)
        occupancy[TWIST] = OCCUPANCY_UNIT
        rows.append(occupancy.expand(*jacobian.shape[:2], 1, -1))
    return torch.cat(rows, -2)
