"""How well a structure explains images at their poses.

It also finds whether one of the usual faults would explain them better.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from ...parallel import in_order
from ...particles.stack.stack import ParticleStack
from ...physics.disc import FourierDisc, make_disc
from ...physics.pose import Pose
from ...physics.projection.bead_transform import bead_transform
from ...reporting import Reporter
from ...structure.beads import BeadModel
from ..noise import Noise, noise_groups
from .tilt_agreement import TiltAgreement, by_tilt, standard_errors
from .tilt_geometry import (
    BY_ANGLE,
    BY_DOSE,
    BY_FALLING_ANGLE,
    REVERSED,
    other_orders,
    shift_along,
    specimen_normal,
    tilt_angles,
    with_other_sign,
    without_tilt,
)

# A. Beads of a residue hold no more, and the ratios of difference to error hardly change with it
FINEST = 8.0
# resolution in pixels where that is coarser: the last rings are spoilt by interpolation
PIXELS_ABOVE_NYQUIST = 2.2
PARTNERS = 8  # other particles whose rotations each particle is tried with
# how much better a fault has to explain the images: many images make small differences significant
WORTH_NAMING = 1.05
IMAGES_AT_A_TIME = 128
MISFITS_NAMED = 8  # tilts that a verdict names
BEAD_VALUES = 2**23  # waves of beads that a chunk of images may hold

AS_READ, OTHERS, BLOB = "as in the file", "rotations of other particles", "a round blob instead"
MIRRORS = MIRRORED, MIRRORED_X, LAID_OVER = (
    "hand mirrored",
    "hand mirrored along x",
    "mirror image laid over the model",
)


@dataclass(frozen=True)
class Shape:
    """What faults have to know of a model.

    Parameters
    ----------
    centre : (3,)
        A.
    reflection : (3, 3)
        Reflection in the plane through the centre that lays the model's mirror image best over the
        model.
    """

    centre: Float[Tensor, "3"]
    reflection: Float[Tensor, "3 3"]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong between programs.

    It says how a pose that has it is mended, and what to tell the user.

    Parameters
    ----------
    mended : callable
        From the poses in the file, and the model's shape, to the poses that would be right.
    advice : str
    """

    mended: Callable[[Pose, Shape], Pose]
    advice: str


def _seen_in_a_mirror(
    pose: Pose, reflection: Float[Tensor, "3 3"], centre: Float[Tensor, "3"]
) -> Pose:
    """Poses of the molecule reflected in a plane through `centre`.

    A second reflection, along the camera's z, does not show.
    """
    moved = centre - reflection @ centre
    return Pose(pose.rotation @ reflection, pose.shift + (pose.rotation @ moved)[..., :2])


def _along_axis(pose: Pose, *signs: int) -> Pose:
    return _seen_in_a_mirror(
        pose, torch.diag(pose.rotation.new_tensor(signs)), pose.rotation.new_zeros(3)
    )


FAULTS = {
    MIRRORED: Fault(
        lambda pose, shape: _along_axis(pose, 1, 1, -1),
        "the hand is mirrored: the poses belong to the mirror image of the model; refine them "
        "against a map of the model's hand",
    ),
    MIRRORED_X: Fault(
        lambda pose, shape: _along_axis(pose, -1, 1, 1),
        "the hand is mirrored, along x: the model fits a map that was flipped in x after the poses "
        "were found; refine them against the flipped map",
    ),
    LAID_OVER: Fault(
        lambda pose, shape: _seen_in_a_mirror(pose, shape.reflection, shape.centre),
        "the hand is mirrored: the images show the mirror image of the model, about where the "
        "model stands; flip the map and build the model into it again",
    ),
    "rotations inverted": Fault(
        lambda pose, shape: replace(pose, rotation=pose.rotation.transpose(-1, -2)),
        "the rotations are inverted: the file holds those from the camera to the molecule; convert "
        "it again",
    ),
    "shifts with the other sign": Fault(
        lambda pose, shape: replace(pose, shift=-pose.shift),
        "the shifts have the wrong sign; convert the file again",
    ),
    "shifts left out": Fault(
        lambda pose, shape: replace(pose, shift=torch.zeros_like(pose.shift)),
        "the shifts do harm: the images are centred already, or the shifts are in another unit",
    ),
    "model's centre at the box centre": Fault(
        lambda pose, shape: replace(
            pose, shift=pose.shift - (pose.rotation @ shape.centre)[..., :2]
        ),
        "the model stands beside the molecule: is it in the map's frame? Give the map with --map",
    ),
}

OTHER_SIGN, UNTILTED = "tilts with the other sign", "tilts left out"
TILTED = {OTHER_SIGN: with_other_sign, UNTILTED: without_tilt}
TILT_FAULTS = {
    OTHER_SIGN: "the tilt angles have the other sign",
    REVERSED: "the images stand in the reverse order of the tilts",
    BY_ANGLE: "the images stand in the order of their tilt angles and the tilts in another",
    BY_FALLING_ANGLE: "the images stand in the order of their tilt angles and the tilts in another",
    BY_DOSE: "the images stand in the order of their dose and the tilts in another",
    UNTILTED: "the tilts do harm: the images fit better as if they were not tilted",
}
TILT_ADVICE = {
    OTHER_SIGN: "import the tilt series again with the angles of the other sign",
    UNTILTED: "are the tilt angles, their axis and the order of the images right?",
}
ORDER_ADVICE = "write stacks and tilts again in one order"


@dataclass(frozen=True)
class Agreement:
    """Correlations of images with predictions of a model, and what they mean.

    The correlation of a particle is that of all its images together, whitened: the sum over its
    images and their frequencies of prediction times data, over the norms of both.

    Parameters
    ----------
    correlation : dict of str to (particle,)
        With the poses in the file (:data:`AS_READ`), with each of :data:`FAULTS` mended, and for
        tilt series those of :data:`TILT_FAULTS` that could be, with the rotations of other
        particles (the mean of a few; not a number where there is no other) and with a blob in the
        model's place.
    n_images : int
        Compared.
    resolution : float
        Down to which they were compared, A.
    inverted_on_reading : bool
        Whether the images were inverted when they were read.
    tilts : TiltAgreement or None
        Tilt by tilt, as in the file, for a tilt series.
    """

    correlation: dict[str, Float[Tensor, "particle"]]
    n_images: int
    resolution: float
    inverted_on_reading: bool = False
    tilts: TiltAgreement | None = None

    @property
    def n_particles(self) -> int:
        """How many particles there are."""
        return len(self.correlation[AS_READ])

    def mean(self, name: str) -> tuple[float, float]:
        """Mean correlation over the particles, and its standard error."""
        return _mean_and_error(self.correlation[name])

    def difference(self, name: str, other: str) -> tuple[float, float]:
        """Mean over the particles of how much larger the one correlation is.

        Each is taken in its better contrast; the error of the mean comes with it.
        """
        return _mean_and_error(self._upright(name) - self._upright(other))

    def in_errors(self, name: str, other: str) -> float:
        """The same difference in standard errors."""
        difference, error = self.difference(name, other)
        return difference / error if error > 0 else 0.0

    @property
    def needed(self) -> float:
        """Standard errors that decide."""
        return standard_errors(self.n_particles)

    @property
    def possible(self) -> list[str]:
        """What was compared and does not come to the same: where all shifts are zero, say.

        Some faults cannot be there.
        """
        own = self.correlation[AS_READ]
        return [
            name
            for name, value in self.correlation.items()
            if name != AS_READ and not torch.equal(value, own)
        ]

    @property
    def best(self) -> str:
        """The fault that would explain the images clearly better if mended, or :data:`AS_READ`."""
        better = {name: abs(self.mean(name)[0]) for name in self._better}
        return max(better, key=lambda name: better[name], default=AS_READ)

    @property
    def _better(self) -> list[str]:
        """Faults that would explain the images clearly better if they were mended."""
        enough = WORTH_NAMING * abs(self.mean(AS_READ)[0])
        return [
            name
            for name in (*FAULTS, *TILT_FAULTS)
            if name in self.correlation
            and self.in_errors(name, AS_READ) >= self.needed
            and abs(self.mean(name)[0]) >= enough
        ]

    @property
    def contrast(self) -> int:
        """1 where protein is white in the images as they were read, -1 where it is dark.

        It is the sign of the mean correlation.
        """
        return -1 if self.mean(self.best)[0] < 0 else 1

    @property
    def explained(self) -> bool:
        """Whether images fit better at their own poses than at other particles'.

        Poses are mended where need be.
        """
        return self.in_errors(self.best, OTHERS) >= self.needed

    @property
    def signal(self) -> bool:
        """Whether the images hold anything like the model, or at least a blob of its size."""
        return any(abs(self._from_zero(name)) >= self.needed for name in (AS_READ, OTHERS, BLOB))

    @property
    def closest_mirror(self) -> str:
        """Which mirror image explains the images best."""
        return min(MIRRORS, key=lambda name: self.in_errors(AS_READ, name))

    @property
    def hand_is_told(self) -> bool:
        """Whether every mirror image explains the images clearly worse."""
        return self.in_errors(AS_READ, self.closest_mirror) >= self.needed

    @property
    def closest_tilts(self) -> str | None:
        """Which change of the tilts explains the images best.

        It is None where there are no tilts that could be wrong.
        """
        could_be = [name for name in TILTED if name in self.possible]
        return min(could_be, key=lambda name: self.in_errors(AS_READ, name), default=None)

    @property
    def tilts_are_told(self) -> bool:
        """Whether every change of the tilts explains the images clearly worse."""
        return (
            self.closest_tilts is None or self.in_errors(AS_READ, self.closest_tilts) >= self.needed
        )

    @property
    def verdict(self) -> str:
        """The likeliest fault in words, or that there is none, or that it cannot be told."""
        if self.n_particles < 2:
            return "one particle: it cannot be told from chance whether the model explains it"
        ahead = self.in_errors(self.best, OTHERS)
        gap = f"{ahead:.1f} standard errors better, {self.needed:.1f} would tell"
        if not self.explained and self.signal:
            return (
                "there is signal, but the model explains it no better as in the file than with the "
                f"rotations of other particles ({gap}): is the model in the map's frame (--map), "
                f"and of this molecule, and do its sides differ at {self.resolution:.2g} A?"
            )
        if not self.explained:
            return (
                "no signal: it cannot be told whether the poses fit the model (as in the file is "
                f"{gap} than with the rotations of other particles); more images may tell (--limit)"
            )
        faults = self.faults
        if faults:
            return "; ".join(faults)
        tilts = self.closest_tilts
        if tilts is not None and not self.tilts_are_told:
            return (
                "the model explains the images, but whether the tilts are right cannot be told "
                f"(with {tilts} the images fit {self._by_how_much(tilts)}); more images may tell "
                "(--limit)"
            )
        if self.hand_is_told:
            return "poses, contrast and hand agree with the model"
        return (
            "poses and contrast agree with the model; the hand cannot be told (a mirror image "
            f"explains the images {self._by_how_much(self.closest_mirror)})"
        )

    @property
    def faults(self) -> list[str]:
        """What is wrong and what to do, where that can be told."""
        if not self.explained:
            return []
        faults = [self._contrast_advice()] if self.contrast < 0 else []
        if self.best != AS_READ:
            return [*faults, self._advice()]
        return faults + self._misfits()

    def _advice(self) -> str:
        """Advice on the likeliest fault; of tilts, also on those that could as well be it."""
        if self.best not in TILT_FAULTS:
            return FAULTS[self.best].advice
        alike = [
            name
            for name in TILT_FAULTS
            if name == self.best
            or name in self._better
            and self.in_errors(self.best, name) < self.needed
        ]
        remedies = dict.fromkeys(TILT_ADVICE.get(name, ORDER_ADVICE) for name in alike)
        what = dict.fromkeys(TILT_FAULTS[name] for name in alike)
        return f"{', or '.join(what)}; {', or '.join(remedies)}"

    def _misfits(self) -> list[str]:
        """Tilts of which the images do not fit."""
        if self.tilts is None:
            return []
        for tilts in (self.tilts, self.tilts.in_groups()):
            wrong = tilts.misfits
            if wrong:
                more = (
                    f" and {len(wrong) - MISFITS_NAMED} more" if len(wrong) > MISFITS_NAMED else ""
                )
                return [
                    "the images of some tilts do not fit the model, though larger and later tilts "
                    f"do: {', '.join(wrong[:MISFITS_NAMED])}{more}; are they aligned and in their "
                    "place? Exclude them if not"
                ]
        return []

    def _by_how_much(self, name: str) -> str:
        errors = self.in_errors(AS_READ, name)
        how = "worse" if errors >= 0 else "better"
        return f"{abs(errors):.1f} standard errors {how}; {self.needed:.1f} would tell"

    def _contrast_advice(self) -> str:
        option = "--keep-contrast" if self.inverted_on_reading else "--invert-contrast"
        return f"the contrast is inverted (the correlation is negative): pass {option}"

    def _upright(self, name: str) -> Float[Tensor, "particle"]:
        value = self.correlation[name]
        return -value if value.mean() < 0 else value

    def _from_zero(self, name: str) -> float:
        mean, error = self.mean(name)
        return mean / error if error > 0 else 0.0


def _mean_and_error(value: Float[Tensor, "particle"]) -> tuple[float, float]:
    error = value.std() / math.sqrt(len(value)) if len(value) > 1 else value.new_tensor(math.nan)
    return value.mean().item(), error.item()


def measure_agreement(
    stack: ParticleStack,
    beads: BeadModel,
    *,
    resolution: float | None = None,
    limit: int = 2000,
    generator: torch.Generator | None = None,
    reporter: Reporter | None = None,
) -> Agreement:
    """How well beads explain the images of a sample of the particles.

    For a weak signal in Gaussian noise the sum over frequencies of prediction times data, each
    divided by the noise's amplitude, is what tells best whether the signal is there, and the sums
    of a particle's images add up; dose and tilt weaken the prediction of an image, and so its part
    in the sum. Brightness is not needed, as the norms are divided by. The noise is measured in the
    images themselves, signal included: its power by ring, for each optics group and tilt. Particles
    are independent, and errors are those of a mean over them; images of a tilt series are not.

    Shifts are made by phases: what they move over the edge of the box returns at the other side.

    Parameters
    ----------
    stack : ParticleStack
        The images.
    beads : BeadModel
        In the frame of the poses.
    resolution : float, optional
        Finest frequencies compared, A; by default 8 A or 2.2 pixels, whichever is coarser.
    limit : int
        Images compared: those of as many random particles as fit, of at least two.
    generator : torch.Generator, optional
        Chooses the particles, and which others lend their rotations; a new one with seed 0 by
        default.
    reporter : Reporter, optional
        Watches.
    """
    generator = generator or torch.Generator().manual_seed(0)
    reporter = reporter or Reporter()
    sample = _sample(stack, limit, generator)
    disc = make_disc(
        stack.grid, resolution or max(FINEST, PIXELS_ABOVE_NYQUIST * stack.grid.pixel_size)
    )
    batches = _batches(sample.particle)
    read = reporter.watch(batches, "Reading images", len(batches))
    coefficient = torch.cat([disc.parts(sample.read(some)) for some in read])
    noise = _noise_of_images(sample, coefficient, disc, batches)
    shape, series = _shape(beads), _tilt_series(sample)

    def of_batch(index: Int[Tensor, "batch"]) -> _Compared:
        def whitened(image: Int[Tensor, "batch"] = index) -> tuple[Tensor, Tensor]:
            return noise.whiten(coefficient[image], sample.ctf[index], image, disc=disc)

        tilts = None if series is None else series.of(index)
        return _compared(beads, shape, disc, sample[index], whitened=whitened, series=tilts)

    found = list(
        reporter.watch(in_order(of_batch, batches), "Comparing images with the model", len(batches))
    )
    correlation = {
        name: torch.cat([part.correlation[name] for part in found]) for name in found[0].correlation
    }
    agreement = Agreement(
        correlation,
        len(sample),
        disc.resolution,
        inverted_on_reading=bool((stack.images.sign < 0).any()),
    )
    if series is None or agreement.n_particles < 2:
        return agreement
    signal, expected = (
        torch.cat(parts)
        for parts in zip(*((part.signal, part.expected) for part in found), strict=True)
    )
    return replace(
        agreement,
        tilts=by_tilt(
            agreement.contrast * signal,
            expected,
            particle=sample.particle,
            angle=series.angle,
            dose=sample.ctf.dose,
        ),
    )


def _sample(stack: ParticleStack, limit: int, generator: torch.Generator) -> ParticleStack:
    """Images of random particles, numbered anew in random order and sorted by particle and tilt.

    Neighbours in a file may be copies of one particle (symmetry expansion), whose rotations would
    be as good as its own.
    """
    label, particle, count = stack.particle.unique(return_inverse=True, return_counts=True)
    order = torch.randperm(len(label), generator=generator)
    chosen = order[: max(2, int((count[order].cumsum(0) <= limit).sum()))]
    rank = torch.full((len(label),), -1)
    rank[chosen] = torch.arange(len(chosen))
    index = torch.nonzero(rank[particle] >= 0)[:, 0]
    index = index[torch.argsort(stack.tilt[index], stable=True)]
    index = index[torch.argsort(rank[particle[index]], stable=True)]
    return replace(stack[index], particle=rank[particle[index]])


def _batches(particle: Int[Tensor, "image"]) -> list[Int[Tensor, "batch"]]:
    """Indices of the images of whole particles.

    Each has enough of these for every one to find others in its batch.
    """
    n_particles = int(particle[-1]) + 1
    count = max(1, min(n_particles // (PARTNERS + 1), math.ceil(len(particle) / IMAGES_AT_A_TIME)))
    ends = torch.tensor([part[-1] for part in torch.arange(n_particles).tensor_split(count)])
    sizes = torch.searchsorted(particle, ends, right=True).diff(
        prepend=torch.zeros(1, dtype=torch.long)
    )
    return list(torch.arange(len(particle)).split(sizes.tolist()))


def _noise_of_images(
    stack: ParticleStack,
    coefficient: Float[Tensor, "image 2 frequency"],
    disc: FourierDisc,
    batches: Sequence[Tensor],
) -> Noise:
    """The noise as if the images were nothing else: their mean power in each group and ring."""
    group = noise_groups(stack.optics_group, stack.tilt)
    power = torch.zeros(int(group.max()) + 1, int(disc.shell.max()) + 1)
    count = torch.zeros_like(power)
    flat = Noise(torch.ones_like(power), group, stack.premultiplied)
    for some in batches:
        transfer, data = flat.whiten(coefficient[some], stack.ctf[some], some, disc=disc)
        held = (transfer != 0) * disc.multiplicity
        for total, value in ((power, data.square().sum(1)), (count, held)):
            total.index_add_(
                0,
                group[some],
                value.new_zeros(len(some), power.shape[1]).index_add_(1, disc.shell, value),
            )
    # a ring of which every coefficient is left out, where the CTF is next to zero, has no weight
    # whatever its power
    return replace(flat, spectrum=torch.where(count > 0, power / count.clamp_min(1), 1.0))


@dataclass(frozen=True)
class _Series:
    """What is known of the tilts of each image.

    Parameters
    ----------
    normal : (image, 3)
        The specimen's, in the camera's frame.
    angle : (image,)
        Degrees.
    orders : dict of (image,)
        Which image would belong to each entry.
    one_row : bool
        Whether a particle has one row in the file, so that the shifts of its images come of one
        displacement.
    """

    normal: Float[Tensor, "image 3"]
    angle: Float[Tensor, "image"]
    orders: dict[str, Int[Tensor, "image"]]
    one_row: bool

    def of(self, index: Int[Tensor, "some"]) -> "_Series":
        """Of some images; those that would belong to them keep their numbers."""
        return replace(
            self,
            normal=self.normal[index],
            angle=self.angle[index],
            orders={name: image[index] for name, image in self.orders.items()},
        )

    def mended(
        self, pose: Pose, turned: Callable[[Tensor, Tensor], Tensor], particle: Int[Tensor, "image"]
    ) -> Pose:
        """Poses with other tilts."""
        rotation = turned(pose.rotation, self.normal)
        return Pose(rotation, shift_along(pose, rotation, particle) if self.one_row else pose.shift)


def _tilt_series(stack: ParticleStack) -> _Series | None:
    """The tilts of a sample that is a tilt series; None of single images."""
    if len(stack) == int(stack.particle[-1]) + 1:
        return None
    normal = specimen_normal(stack.pose, stack.ctf.scale, stack.particle)
    angle = tilt_angles(normal)
    one_row = len(stack.row.unique()) < len(stack)
    return _Series(
        normal,
        angle,
        other_orders(stack.images, stack.particle, angle=angle, place=stack.tilt),
        one_row,
    )


@dataclass(frozen=True)
class _Compared:
    """A batch of whole particles, compared.

    Correlations are by particle; signal and what is expected of it are by image.
    """

    correlation: dict[str, Float[Tensor, "particle"]]
    signal: Float[Tensor, "image"]
    expected: Float[Tensor, "image"]


def _compared(
    beads: BeadModel,
    shape: Shape,
    disc: FourierDisc,
    stack: ParticleStack,
    *,
    whitened: Callable[..., tuple[Tensor, Tensor]],
    series: _Series | None,
) -> _Compared:
    """The comparison of one batch of whole particles."""
    particle = stack.particle - stack.particle[0]
    transfer, data = whitened()

    def correlation(prediction: Float[Tensor, "image 2 frequency"]) -> Float[Tensor, "particle"]:
        return _correlation_by_particle(prediction * transfer[:, None], data, particle)

    model = _views(beads, stack.pose.rotation, disc)
    own = _shifted(model, stack.pose.shift, disc)
    found = {AS_READ: correlation(own)}
    poses = {name: fault.mended(stack.pose, shape) for name, fault in FAULTS.items()}
    if series is not None:
        poses |= {
            name: series.mended(stack.pose, turned, particle) for name, turned in TILTED.items()
        }
    for name, pose in poses.items():
        turned = (
            model if pose.rotation is stack.pose.rotation else _views(beads, pose.rotation, disc)
        )
        found[name] = correlation(_shifted(turned, pose.shift, disc))
    others, mean = [], torch.zeros_like(own)
    for partner in _partners(particle):
        other = _shifted(model[partner], stack.pose.shift, disc)
        others.append(correlation(other))
        mean += other
    found[OTHERS] = (
        torch.stack(others).mean(0) if others else torch.full_like(found[AS_READ], math.nan)
    )
    found[BLOB] = correlation(
        _shifted(_blob(beads, shape.centre, disc).expand_as(model), stack.pose.shift, disc)
    )
    for name, image in ({} if series is None else series.orders).items():
        its_transfer, its_data = whitened(image)
        found[name] = _correlation_by_particle(own * its_transfer[:, None], its_data, particle)
    own = own * transfer[:, None]
    of_pose = own - mean * (transfer[:, None] / max(1, len(others)))
    return _Compared(found, (of_pose * data).sum((1, 2)), (of_pose * own).sum((1, 2)))


def _shape(beads: BeadModel) -> Shape:
    """The plane whose mirror image is nearest to the model.

    It is one of those across the principal axes.
    """
    share = beads.amplitude / beads.amplitude.sum()
    centre = share @ beads.position
    arm = beads.position - centre
    axes = torch.linalg.eigh((share[:, None] * arm).T @ arm).eigenvectors.T
    reflections = torch.eye(3) - 2 * axes[:, :, None] * axes[:, None, :]
    tree = cKDTree(arm.numpy())
    distance = [tree.query((arm @ reflection).numpy())[0].mean() for reflection in reflections]
    return Shape(centre, reflections[int(np.argmin(distance))])


def _correlation_by_particle(
    prediction: Float[Tensor, "image 2 frequency"],
    data: Float[Tensor, "image 2 frequency"],
    particle: Int[Tensor, "image"],
) -> Float[Tensor, "particle"]:
    def total(product: Float[Tensor, "image 2 frequency"]) -> Float[Tensor, "particle"]:
        return torch.zeros(int(particle[-1]) + 1, dtype=torch.float64).index_add_(
            0, particle, product.sum((1, 2)).double()
        )

    power = total(prediction.square()) * total(data.square())
    return total(prediction * data) / power.sqrt().clamp_min(torch.finfo(torch.float64).tiny)


def _views(
    beads: BeadModel, rotation: Float[Tensor, "image 3 3"], disc: FourierDisc
) -> Float[Tensor, "image 2 frequency"]:
    """Coefficients of the model as seen at each rotation, without shift and lens."""
    images = max(1, BEAD_VALUES // (6 * len(beads) * (disc.reach + 1)))
    views = []
    for some in rotation.split(images):
        camera = beads.position @ some.transpose(-1, -2)
        weight = beads.amplitude[:, None].expand(len(some), -1, 1)
        views.append(bead_transform(camera, beads.sigma, disc, weight=weight)[:, 0, 0])
    return torch.cat(views)


def _shifted(
    coefficient: Float[Tensor, "image 2 frequency"],
    shift: Float[Tensor, "image 2"],
    disc: FourierDisc,
) -> Float[Tensor, "image 2 frequency"]:
    phase = -2 * math.pi * (shift[:, :1] * disc.kx + shift[:, 1:] * disc.ky)
    cos, sin = phase.cos(), phase.sin()
    real, imaginary = coefficient.unbind(1)
    return torch.stack([real * cos - imaginary * sin, real * sin + imaginary * cos], 1)


def _partners(particle: Int[Tensor, "image"]) -> Iterator[Int[Tensor, "image"]]:
    """For each image that of another particle at the same place of its tilt series.

    There are a few for each.
    """
    count = particle.bincount()
    start = count.cumsum(0) - count
    place = torch.arange(len(particle)) - start[particle]
    for step in range(1, min(PARTNERS, len(count) - 1) + 1):
        other = (particle + step) % len(count)
        yield start[other] + place % count[other]


def _blob(
    beads: BeadModel, centre: Float[Tensor, "3"], disc: FourierDisc
) -> Float[Tensor, "2 frequency"]:
    """One Gaussian at the box centre with the model's radius of gyration."""
    share = beads.amplitude / beads.amplitude.sum()
    variance = (share * (beads.position - centre).square().sum(1)).sum() / 3
    real = torch.exp(-2 * math.pi**2 * variance * (disc.kx**2 + disc.ky**2))
    return torch.stack([real, torch.zeros_like(real)])
