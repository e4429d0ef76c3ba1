"""Likelihoods of particles all over a box of latent coordinates, from their images at its nodes."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...devices import brought_back, moved
from ...likelihood.image_model import ImageModel
from ...likelihood.normal_equations import (
    POSE_NUMBERS,
    ImageProducts,
    NormalEquations,
    pose_images,
    predict,
)
from ...likelihood.pose_equations import integrate_pose
from ...parallel import in_order
from ...physics.disc import FourierDisc
from ...physics.pose import Pose
from ...structure.motion.surface import Surface
from ..population.pose_corrections import corrected
from ..posterior.poses_along_motions import PosesAlong
from ..problem.fit_problem import Block, FitModel
from ..problem.fit_state import FitState
from .nodes import Boxes, Nodes

SMALL_STEP = 0.25  # of a motion's standard deviation, where images are taken as linear in it


@dataclass(frozen=True)
class Between:
    """What is known of some particles at places all over their boxes.

    Parameters
    ----------
    left : (place, particle)
        Minus twice the logarithm of the likelihood, poses and contrasts at their likeliest or
        integrated out, but for the power of the data.
    cross, power : (place, particle)
        Products of the predictions with the data and with themselves, over all images.
    pose : (place, image, 5), optional
        The likeliest corrections of the poses, where poses are integrated out; (place, particle, 6)
        where a particle's images share one.
    pose_sd : (place, image, 5), optional
        How sure each is of an image.
    """

    left: Float[Tensor, "place particle"]
    cross: Float[Tensor, "place particle"]
    power: Float[Tensor, "place particle"]
    pose: Float[Tensor, "place unit number"] | None = None
    pose_sd: Float[Tensor, "place image 5"] | None = None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Images and what they are compared with: conformations on a surface.

    Parameters
    ----------
    model, state
        The fit of these particles, its scales and noise.
    surface : Surface
        From latent coordinates to conformations.
    disc : FourierDisc
        The frequencies that count.
    pose_sd : (5,), optional
        How far poses may be off from where they are now (standard deviations of shifts, A, and
        turns, rad): they are integrated out. None where they are exact.
    poses : PosesAlong, optional
        Where poses are along the motions, as far as that is known.
    """

    model: FitModel
    state: FitState
    surface: Surface
    disc: FourierDisc
    pose_sd: Float[Tensor, "5"] | None = None
    poses: PosesAlong | None = None

    @cached_property
    def there(self) -> "Comparison":
        """The same as batches of images see it, on the device of the fit."""
        model, state, disc = self.model.at_batches(self.state, self.disc)
        others = moved((self.surface, self.pose_sd, self.poses), self.model.device)
        surface, pose_sd, poses = others
        return Comparison(model, state, surface, disc, pose_sd, poses)

    @cached_property
    def seen(self) -> ImageModel:
        """What images show, but for where conformations and poses have it."""
        return self.model.image_model(self.state)

    @property
    def integrates(self) -> bool:
        """Whether poses are integrated out."""
        return self.pose_sd is not None

    @property
    def shares_poses(self) -> bool:
        """Whether images share the error of their particle's pose, as those of a tilt series.

        Where poses are refined each image has its own.
        """
        several = int(self.model.rows.max()) > 1 and not self.model.refine_poses
        return self.integrates and several

    def of_base(
        self,
    ) -> tuple[Float[Tensor, "particle"], Float[Tensor, "particle"], Float[Tensor, "particle"]]:
        """Power of the data of each particle, its numbers, and what the base model leaves of it.

        That is less the power of the data.
        """
        model = self.model
        base = replace(self, surface=_base_alone(self.surface))
        one = Nodes.of_box([1] * len(self.surface.scale))
        nodes = Nodes(one.unit, one.unit, torch.ones(1, 1))
        k, n = len(self.surface.scale), model.n_particles
        nowhere = Boxes(torch.zeros(n, k), torch.zeros(n, k, k))
        power, count, left = torch.zeros(3, n)
        there = self.there
        noise = there.model.noise(there.state.spectrum)
        for block, found in base.between(nodes, nowhere, torch.arange(n)):
            transfer, data = there.model.whitened(block.image, there.disc, noise)
            counted = ((transfer != 0) * there.disc.multiplicity).sum(1)
            left[block.particle] = found.left[0]
            whose = block.particle[block.row]
            power.index_add_(0, whose, data.square().sum((1, 2)).cpu())
            count.index_add_(0, whose, counted.cpu())
        return power, count, left

    def between(
        self,
        nodes: Nodes,
        boxes: Boxes,
        particles: Int[Tensor, "some"],
        turned: Nodes | None = None,
    ) -> Iterable[tuple[Block, Between]]:
        """Runs of some particles, each with what is known of it all over its box.

        Images are made at the nodes. They are polynomials between these, and so are derivatives by
        the pose and all products of two.

        Parameters
        ----------
        nodes : Nodes
            Of every box.
        boxes : Boxes
            Of all particles of the model.
        particles : (some,)
            Rising.
        turned : Nodes, optional
            Of what poses change, by default the same; fewer do, because steps of poses are small.
        """
        turned = turned or nodes
        blocks = list(self.model.blocks(particles, self.disc))

        their_nodes = moved((nodes, turned), self.model.device)

        def of_block(block: Block) -> Between:
            own = Boxes(boxes.centre[block.particle], boxes.axes[block.particle])
            return self.there._between(block, moved(own, self.model.device), *their_nodes)

        results = in_order(brought_back(of_block, self.model.device), blocks)
        yield from zip(blocks, results, strict=True)

    def best_shifts(
        self, nodes: Nodes, boxes: Boxes, shifts: Float[Tensor, "shift 2"]
    ) -> Float[Tensor, "image 2"]:
        """The shift of each image that suits the data best, at the best of some nodes.

        Where a particle is far from where its file has it no step that is linear leads there.

        Parameters
        ----------
        nodes : Nodes
            Of all boxes.
        boxes : Boxes
            Of all particles.
        shifts : (shift, 2)
            That are tried, A.
        """
        there, device = self.there, self.model.device
        unit, tried = moved((nodes.unit, shifts), device)
        angle = 2 * torch.pi * (tried @ torch.stack([there.disc.kx, there.disc.ky]))
        cosine, sine = angle.cos(), angle.sin()
        prior = (tried / there._widest[:2]).square().sum(1)
        noise = there.model.noise(there.state.spectrum)
        found = torch.zeros(len(self.model.images), 2)
        for block in self.model.blocks(torch.arange(self.model.n_particles), self.disc):
            own = moved(Boxes(boxes.centre[block.particle], boxes.axes[block.particle]), device)
            transfer, data = there.model.whitened(block.image, there.disc, noise)
            places = own.at(unit)[:, block.row.to(device)]
            images = there._whole_images(block.image, places, transfer)
            real, imaginary = images.unbind(2)
            # of data times the conjugate of an image that is shifted
            even = real * data[:, None, 0] + imaginary * data[:, None, 1]
            odd = real * data[:, None, 1] - imaginary * data[:, None, 0]
            cross = even @ cosine.T - odd @ sine.T
            power = images.square().sum((2, 3))[..., None]
            precision = there.state.contrast_sd**-2
            gain = (cross + precision).square() / (power + precision) - prior
            found[block.image] = shifts[gain.amax(1).argmax(1).cpu()]
        return found

    def along_others(
        self, surface: Surface, place: Float[Tensor, "particle k"]
    ) -> tuple[Float[Tensor, "particle other"], Float[Tensor, "particle other other"]]:
        """Where particles are along further motions, which are small enough to be linear.

        Parameters
        ----------
        surface : Surface
            With the further motions behind those of :attr:`surface`.
        place : (particle, k)
            Where each particle is along these.

        Returns
        -------
        (particle, other), (particle, other, other)
            Mean, and lower triangular root of the covariance, A.
        """
        k, scale = place.shape[1], surface.scale[place.shape[1] :]
        n, others = len(place), len(scale)
        matrix, right = torch.zeros(n, others, others), torch.zeros(n, others)
        if not others:
            return right, matrix
        steps = torch.zeros(1 + others, 1, k + others)
        steps[1:, 0, k:] = (SMALL_STEP * scale).diag()
        poses = None if self.poses is None else self.poses.with_motions(others)
        full = replace(self, surface=surface, poses=poses)
        for block in self.model.blocks(torch.arange(n), self.disc):
            at = torch.nn.functional.pad(place[block.particle][block.row], (0, others)) + steps
            of_matrix, of_right = full.there._slopes(block, moved(at, self.model.device))
            whose, size = block.particle[block.row], SMALL_STEP * scale
            matrix.index_add_(0, whose, of_matrix.cpu() / (size[:, None] * size))
            right.index_add_(0, whose, of_right.cpu() / size)
        # in their own units: at least 1, and well conditioned
        unit = scale.double()
        told = unit[:, None] * matrix.double() * unit + torch.eye(others, dtype=torch.float64)
        inside = torch.linalg.cholesky(told)
        mean = torch.cholesky_solve((unit * right.double())[..., None], inside)[..., 0] * unit
        spread = torch.linalg.solve_triangular(
            inside, torch.diag_embed(unit).expand_as(inside), upper=False
        )
        upper = torch.linalg.qr(spread).R
        upper = upper * upper.diagonal(dim1=1, dim2=2).sign()[..., None]
        return mean.float(), upper.mT.float()

    def _slopes(
        self, block: Block, places: Float[Tensor, "step image k"]
    ) -> tuple[Float[Tensor, "image other other"], Float[Tensor, "image other"]]:
        """Equations of steps from the first of some places, images taken as linear in them."""
        noise = self.model.noise(self.state.spectrum)
        transfer, data = self.model.whitened(block.image, self.disc, noise)
        images = self._whole_images(block.image, places, transfer).flatten(2)
        data = data.flatten(1)
        here, slope = images[:, 0], images[:, 1:] - images[:, :1]
        precision = self.state.contrast_sd**-2
        power, cross = here.square().sum(1), (here * data).sum(1)
        contrast = ((cross + precision) / (power + precision))[:, None]
        left = (data - contrast * here)[..., None]
        return contrast[..., None] ** 2 * (slope @ slope.mT), contrast * (slope @ left)[..., 0]

    def power_by_order(
        self,
        unit: Float[Tensor, "node axis"],
        to_order: Float[Tensor, "order node"],
        boxes: Boxes,
        particles: Int[Tensor, "some"],
    ) -> Iterable[Float[Tensor, "some order"]]:
        """Power that each order of an expansion has in particles' predictions.

        Parameters
        ----------
        unit : (node, axis)
            Nodes of a box whose axes may be fewer than there are motions.
        to_order : (order, node)
            From what images are at nodes to coefficients of the expansion.
        boxes, particles
            As in :meth:`between`.
        """
        exact, device = replace(self, pose_sd=None, poses=None).there, self.model.device
        noise = exact.model.noise(exact.state.spectrum)
        for block in self.model.blocks(particles, self.disc):
            own = Boxes(boxes.centre[block.particle], boxes.axes[block.particle])
            places = moved(own.at(unit)[:, block.row], device)
            transfer, _ = exact.model.whitened(block.image, exact.disc, noise)
            images = exact._images(block.image, places, transfer).flatten(2)
            power = (moved(to_order, device) @ images).square().sum(2).cpu()
            yield torch.zeros(len(block.particle), len(unit)).index_add_(0, block.row, power)

    def _between(self, block: Block, boxes: Boxes, nodes: Nodes, turned: Nodes) -> Between:
        index, size = block.image, len(block.particle)
        row = block.row.to(self.surface.scale.device)
        noise = self.model.noise(self.state.spectrum)
        transfer, data = self.model.whitened(index, self.disc, noise)
        images = self._images(index, boxes.at(nodes.unit)[:, row], transfer)
        weight = nodes.weight[:, None]
        if self.integrates:
            places = boxes.at(turned.unit)[:, row]
            still = self._still(index, places, transfer)
            changes = self._changes(index, places, transfer).flatten(1, 2)
            images = torch.cat([images, still, changes], 1)
            weight = _weights_of_fields(nodes.weight, turned.weight, still.shape[1])
        cross, among = _products_at_places(weight, images.flatten(2), data.flatten(1))

        def of_particles(of_images: Float[Tensor, "image place"]) -> Float[Tensor, "place some"]:
            total = of_images.new_zeros(of_images.shape[1], size)
            return total.index_add_(1, row, of_images.T.contiguous())

        with_data, power = cross[..., 0], among[..., 0, 0]
        if not self.integrates:
            precision = self.state.contrast_sd**-2
            contrast = (with_data + precision) / (power + precision)
            left = contrast**2 * power - 2 * contrast * with_data + precision * (contrast - 1) ** 2
            return Between(of_particles(left), of_particles(with_data), of_particles(power))
        start = self.start(index, boxes.at(nodes.place)[:, row]).transpose(0, 1)
        equations = self._equations(cross, among)
        if self.shares_poses:
            rotation = self.model.pose_of_file(index).rotation
            begun = self._shared_start(block.particle, boxes.at(nodes.place))
            left, mode = shared_poses(
                equations, as_seen(rotation), row, start=begun, prior_sd=self._widest
            )
            return Between(left, of_particles(with_data), of_particles(power), mode)
        flat = NormalEquations(
            equations.matrix.flatten(0, 1),
            equations.gradient.flatten(0, 1),
            equations.chi2.flatten(),
        )
        found = integrate_pose(lambda at: flat, start.flatten(0, 1), self._widest, steps=1)
        step = found.mode.view(*power.shape, POSE_NUMBERS) - start
        by_step = (among[..., 1:, 1:] @ step[..., None])[..., 0]
        power = power + (step * (2 * among[..., 0, 1:] + by_step)).sum(-1)
        with_data = with_data + (step * cross[..., 1:]).sum(-1)
        sd = found.covariance.diagonal(dim1=1, dim2=2).sqrt()
        return Between(
            of_particles(found.chi2.view(power.shape)),
            of_particles(with_data),
            of_particles(power.clamp_min(0.0)),
            found.mode.view(step.shape).transpose(0, 1),
            sd.view(step.shape).transpose(0, 1),
        )

    def start(
        self, index: Int[Tensor, "image"], place: Float[Tensor, "some image k"]
    ) -> Float[Tensor, "some image 5"]:
        """Corrections of poses at places of the images' particles.

        About these images are taken as linear in the pose.
        """
        if self.poses is None:
            return place.new_zeros(*place.shape[:2], POSE_NUMBERS)
        if not self.shares_poses:
            return self.poses[index].at(place)
        step = self.poses[self.model.particle[index]].at(place)
        return (as_seen(self.model.pose_of_file(index).rotation) @ step[..., None])[..., 0]

    def _shared_start(
        self, particle: Int[Tensor, "some"], place: Float[Tensor, "place some k"]
    ) -> Float[Tensor, "some place 6"]:
        """Steps of particles as wholes that their poses begin with."""
        if self.poses is None:
            return place.new_zeros(place.shape[1], place.shape[0], 6)
        return self.poses[particle].at(place).transpose(0, 1)

    @property
    def _widest(self) -> Float[Tensor, "5"]:
        """How far poses may be off, where they may."""
        assert self.pose_sd is not None, "poses that are exact are not integrated out"
        return self.pose_sd

    def _equations(
        self,
        cross: Float[Tensor, "image place field"],
        among: Float[Tensor, "image place field field"],
    ) -> NormalEquations:
        """Equations of the pose alone, of each image at each place."""
        none = cross.new_zeros(cross.shape[:2])
        products = ImageProducts(
            matrix=among[..., 1:, 1:],
            with_prediction=among[..., 0, 1:],
            with_data=cross[..., 1:],
            prediction2=among[..., 0, 0],
            prediction_data=cross[..., 0],
            data2=none,
        )
        return products.normal_equations(self.state.contrast_sd, none)

    def _images(
        self,
        index: Int[Tensor, "image"],
        places: Float[Tensor, "node image k"],
        transfer: Float[Tensor, "image frequency"],
    ) -> Float[Tensor, "image node 2 frequency"]:
        """Predictions at nodes; where poses are integrated out, without what stands still."""
        seen, deformation, made = self.seen, self.model.deformation, []
        beads = replace(seen, still=())
        for place in places:
            pose = self._pose(index, place)
            made.append(predict(deformation, beads, self.surface(place), pose=pose, disc=self.disc))
        images = torch.stack(made, 1)
        if seen.still and not self.integrates:  # the same at all
            images += seen.still_images(self._pose(index, places[0]), self.disc)[:, None]
        return images.mul_(transfer[:, None, None])

    def _whole_images(
        self,
        index: Int[Tensor, "image"],
        places: Float[Tensor, "node image k"],
        transfer: Float[Tensor, "image frequency"],
    ) -> Float[Tensor, "image node 2 frequency"]:
        """Predictions at nodes; what stands still as the first of them has it."""
        images = self._images(index, places, transfer)
        still = self._still(index, places[:1], transfer)
        return images + still if self.integrates and still.shape[1] else images

    def _still(
        self,
        index: Int[Tensor, "image"],
        places: Float[Tensor, "node image k"],
        transfer: Float[Tensor, "image frequency"],
    ) -> Float[Tensor, "image node_or_none 2 frequency"]:
        """What stands still, at the poses of nodes; none where nothing does."""
        seen = self.seen
        if not seen.still:
            return transfer.new_zeros(len(index), 0, 2, len(self.disc))
        made = [seen.still_images(self._pose(index, place), self.disc) for place in places]
        return torch.stack(made, 1).mul_(transfer[:, None, None])

    def _changes(
        self,
        index: Int[Tensor, "image"],
        places: Float[Tensor, "node image k"],
        transfer: Float[Tensor, "image frequency"],
    ) -> Float[Tensor, "image node 5 2 frequency"]:
        """How poses change predictions at nodes."""
        seen, deformation, made = self.seen, self.model.deformation, []
        for place in places:
            _, change = pose_images(
                deformation,
                seen,
                self.surface(place),
                pose=self._pose(index, place),
                disc=self.disc,
                transfer=transfer,
            )
            made.append(change)
        return torch.stack(made, 1)

    def _pose(self, index: Int[Tensor, "image"], place: Float[Tensor, "image k"]) -> Pose:
        """Where images are linear in the pose, at a place of each image's particle."""
        pose = self.model.pose_of_file(index)
        return corrected(pose, self.start(index, place[None])[0]) if self.integrates else pose


def as_seen(rotation: Float[Tensor, "image 3 3"]) -> Float[Tensor, "image 5 6"]:
    """From a step of the molecule to what the camera sees of it.

    The step is along and about the molecule's axes; seen are shifts along the camera's x and y and
    turns about its axes.
    """
    seen = rotation.new_zeros(len(rotation), POSE_NUMBERS, 6)
    seen[:, :2, :3], seen[:, 2:, 3:] = rotation[:, :2], rotation
    return seen


def shared_poses(
    equations: NormalEquations,
    seen: Float[Tensor, "image 5 6"],
    row: Int[Tensor, "image"],
    *,
    start: Float[Tensor, "particle place 6"],
    prior_sd: Float[Tensor, "5"],
) -> tuple[Float[Tensor, "place particle"], Float[Tensor, "place particle 6"]]:
    """Likelihoods of particles whose images share one error of the pose, integrated over it.

    Parameters
    ----------
    equations : NormalEquations
        Of the pose of each image at each place, (image, place, 5).
    seen : (image, 5, 6)
        As :func:`as_seen` makes it.
    row : (image,)
        Whose each image is.
    start : (particle, place, 6)
        Steps of the particles, about which the equations are.
    prior_sd : (5,)
        Of shifts and turns.

    Returns
    -------
    (place, particle)
        Minus twice the log-likelihood.
    (place, particle, 6)
        The likeliest step.
    """
    seen = seen[:, None]
    matrix = seen.mT @ equations.matrix @ seen
    gradient = (seen.mT @ equations.gradient[..., None])[..., 0]
    of_all = start.new_zeros(*start.shape, 6).index_add_(0, row, matrix).double()
    right = torch.zeros_like(start).index_add_(0, row, gradient).double()
    left = start.new_zeros(start.shape[:2]).index_add_(0, row, equations.chi2)
    scale = torch.cat([prior_sd[:1].expand(3), prior_sd[-1:].expand(3)]).double()
    offset = start.double() / scale.clamp_min(1e-9)
    inside = torch.linalg.cholesky(scale[:, None] * of_all * scale + torch.eye(6).to(scale))
    slope = (scale * right - offset)[..., None]
    half = torch.linalg.solve_triangular(inside, slope, upper=False)
    step = scale * torch.linalg.solve_triangular(inside.mT, half, upper=True)[..., 0]
    volume = 2 * inside.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    left = left + offset.square().sum(-1) - half.square().sum((-1, -2)) + volume
    return left.T.float(), (start + step.float()).transpose(0, 1)


def _weights_of_fields(
    image: Float[Tensor, "place node"], change: Float[Tensor, "place turned"], still: int
) -> Float[Tensor, "place 6 row"]:
    """Weights of images and their changes by the pose, one row after the other.

    Fields are the image and its five changes. Rows are images of the beads at nodes; at the nodes
    of changes what stands `still`, if anything does; and there the five changes.
    """
    places, nodes = image.shape
    rows = nodes + still + POSE_NUMBERS * change.shape[1]
    weight = image.new_zeros(places, 1 + POSE_NUMBERS, rows)
    weight[:, 0, :nodes] = image
    weight[:, 0, nodes : nodes + still] = change[:, :still]
    for number in range(POSE_NUMBERS):
        weight[:, 1 + number, nodes + still + number :: POSE_NUMBERS] = change
    return weight


def _products_at_places(
    weight: Float[Tensor, "place field row"],
    rows: Float[Tensor, "image row number"],
    data: Float[Tensor, "image number"],
) -> tuple[Float[Tensor, "image place field"], Float[Tensor, "image place field field"]]:
    """Products of fields with the data and with one another, of what they are at each place."""
    places, fields, count = weight.shape
    flat = weight.flatten(0, 1)
    cross = (rows @ data[..., None])[..., 0] @ flat.T
    among = (flat @ (rows @ rows.mT)).view(len(rows), places, fields, count)
    return cross.view(len(rows), places, fields), among @ weight.mT


def _base_alone(surface: Surface) -> Surface:
    """A surface that is the base model everywhere."""
    return Surface(surface.scale, torch.zeros_like(surface.coefficient))
