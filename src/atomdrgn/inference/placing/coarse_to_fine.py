"""Some particles on a learned landscape: boxes about each that narrow as images get finer."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...likelihood.normal_equations import POSE_NUMBERS
from ...physics.disc import FourierDisc
from ...physics.record import Record
from ...structure.motion.surface import Surface
from ..population.latent_density import Density
from ..posterior.poses_along_motions import PosesAlong, poses_along, poses_that_stay
from ..problem.fit_problem import FitModel
from ..problem.fit_state import FitState
from .likelihood_between import Comparison
from .nodes import PLACES, Boxes, Nodes
from .reach import COUNTS, Reach, measure_reach

# Resolutions that particles are looked at, over the finest: where far apart places are told apart
# by few nodes, and then what narrows boxes for the next. Where poses are integrated out, too coarse
# images led one particle in 500 to a pose from which there was no way to the right place.
STAGES, STAGES_OF_POSES = (3.0, 2.0, 1.0), (2.0, 1.0)
# What a log-likelihood may be wrong by between nodes, at first and in the end.
ROUGHLY, CLOSELY = 0.3, 0.1
# A box reaches so many standard deviations of what is believed by coarser images,
REACH = 3.5
# and the first one beyond all places that a density was seen to have by so much.
MARGIN, DRAWN = 1.15, 4000
# A posterior of which so much is in the outer part of its box is looked at again, in a box about
# it that is as wide again.
EDGE, AT_EDGE = 0.85, 0.02
MOST_NODES = 96  # of a box
# Where poses are integrated out, particles whose posterior is so many times as wide as the median
# one are looked at again, at most so often.
BROAD, MOST_AGAIN = 1.5, 5
# Shifts that are tried where poses may be off, at so many nodes along each axis: up to so many
# standard deviations, in steps of this part of the resolution.
NODES_OF_SHIFTS, SPREAD, SHIFT_STEP = 3, 2.0, 0.25


@dataclass(frozen=True, eq=False)
class Landscape:
    """What was learned on some particles, as far as others are placed by it.

    Parameters
    ----------
    surface : Surface
        From latent coordinates to conformations.
    density : Density or None
        Of particles over these; none where nothing moves.
    discs : tuple of FourierDisc
        The frequencies that count, from coarse to fine.
    reaches : tuple of Reach
        Of nodes, for each.
    pose_sd : (5,), optional
        How far poses may be off; None where they are exact.
    """

    surface: Surface
    density: Density | None
    discs: tuple[FourierDisc, ...]
    reaches: tuple[Reach, ...]
    pose_sd: Float[Tensor, "5"] | None = None

    @property
    def looked_along(self) -> Surface:
        """The surface along the motions that the density is over."""
        count = len(self.surface.scale)
        kept = 0 if self.density is None else self.density.mean.shape[1]
        return self.surface.reparametrised(torch.zeros(count), torch.eye(count)[:, :kept])


@dataclass(frozen=True)
class Placement(Record):
    """What the images of some particles say of where these are.

    Parameters
    ----------
    centre : (particle, k)
        Of a box that holds what is likely, A along each motion.
    axes : (particle, k, k)
        Its axes (see :class:`Boxes`).
    likelihood : (particle, place)
        Logarithm of the images' likelihood at places all over the box.
    signal, expected : (particle,)
        As in :class:`~atomdrgn.inference.findings.junk.Signals`.
    left, of_base : (particle,)
        Weighted squares of what the likeliest conformation and the base model leave.
    count : (particle,)
        Numbers of the images that count.
    other, other_root : (particle, other), (particle, other, other)
        Where particles are along motions beyond those of the box, and the lower triangular root of
        its covariance.
    """

    centre: Float[Tensor, "particle k"]
    axes: Float[Tensor, "particle k k"]
    likelihood: Float[Tensor, "particle place"]
    signal: Float[Tensor, "particle"]
    expected: Float[Tensor, "particle"]
    left: Float[Tensor, "particle"]
    of_base: Float[Tensor, "particle"]
    count: Float[Tensor, "particle"]
    other: Float[Tensor, "particle other"]
    other_root: Float[Tensor, "particle other other"]

    @property
    def boxes(self) -> Boxes:
        """The boxes."""
        return Boxes(self.centre, self.axes)

    @property
    def place(self) -> Float[Tensor, "place particle k"]:
        """Places all over each box."""
        return self.boxes.at(Nodes.of_box([1] * self.centre.shape[1]).place)


def learn_reaches(model: FitModel, state: FitState, landscape: Landscape) -> Landscape:
    """The landscape with how wide boxes may be, measured on images that it was learned on."""
    places = _drawn(landscape, model)
    some = [
        measure_reach(
            Comparison(model, state, landscape.looked_along, disc),
            places,
            CLOSELY if disc is landscape.discs[-1] else ROUGHLY,
        )
        for disc in landscape.discs
    ]
    return replace(landscape, reaches=tuple(some))


def landscape_of(
    surface: Surface,
    density: Density | None,
    finest: FourierDisc,
    pose_sd: Float[Tensor, "5"] | None,
) -> Landscape:
    """A landscape whose boxes are not measured yet; parameters as those of :class:`Landscape`."""
    stages: tuple[float, ...] = STAGES if pose_sd is None else STAGES_OF_POSES
    if density is None:
        stages = stages[-1:]
    discs = tuple(finest.coarser(times * finest.resolution) for times in stages)
    return Landscape(surface, density, discs, (), pose_sd)


def place_particles(
    model: FitModel, state: FitState, landscape: Landscape
) -> tuple[Placement, tuple[PosesAlong, Float[Tensor, "image 5"]] | None]:
    """Where particles are on a landscape, by their images alone.

    Parameters
    ----------
    model, state
        Of these particles, with scales and noise that were learned.
    landscape : Landscape
        What they are placed on.

    Returns
    -------
    Placement
    (PosesAlong, (image, 5)) or None
        Where poses of images are along the motions, and standard deviations of them at a known
        coordinate, where they are integrated out image by image.
    """
    everyone, poses = torch.arange(model.n_particles), None
    whole = _widest(landscape, model)
    n = len(everyone)
    boxes = Boxes(whole.centre.expand(n, -1), whole.axes.expand(n, -1, -1))
    for disc, reach in zip(landscape.discs, landscape.reaches, strict=True):
        comparison = Comparison(
            model, state, landscape.looked_along, disc, landscape.pose_sd, poses
        )
        if comparison.integrates and not comparison.shares_poses and poses is None:
            poses = _found_shifts(comparison, boxes)
            comparison = replace(comparison, poses=poses)
        looks = _Looks(comparison, landscape.density, whole, boxes)
        looks.look(reach, everyone)
        if disc is landscape.discs[0]:
            looks.settle(reach)
        again = looks.at_edge()
        if len(again):
            looks.boxes = looks.about(2.0, again)
            looks.look(reach, again)
        poses = looks.poses_along()
        if disc is not landscape.discs[-1]:
            boxes = looks.about(1.0, everyone)
    if poses is None or comparison.shares_poses:
        return looks.placement(landscape.surface), None
    return looks.placement(landscape.surface), (poses, looks.mean_pose_sd())


def _drawn(landscape: Landscape, model: FitModel) -> Float[Tensor, "some k"]:
    """Places of particles at random."""
    if landscape.density is None:
        return torch.zeros(1, 0)
    return landscape.density.draw(DRAWN, torch.Generator().manual_seed(model.seed))


def _widest(landscape: Landscape, model: FitModel) -> Boxes:
    """A box, of one particle, that holds all that particles are at."""
    draws = _drawn(landscape, model)
    low, high = draws.min(0).values, draws.max(0).values
    return Boxes(0.5 * (low + high)[None], (0.5 * MARGIN * (high - low)).diag()[None])


def _found_shifts(comparison: Comparison, boxes: Boxes) -> PosesAlong:
    """Where images are in the plane, as far as poses may be off: on a grid as fine as they are."""
    assert comparison.pose_sd is not None, "poses that are exact are not looked for"
    k, farthest = boxes.centre.shape[1], SPREAD * float(comparison.pose_sd[0])
    step = SHIFT_STEP * comparison.disc.resolution
    steps = step * torch.arange(-int(farthest / step), int(farthest / step) + 1)
    nodes = Nodes.of_box([NODES_OF_SHIFTS] * k)
    found = comparison.best_shifts(nodes, boxes, torch.cartesian_prod(steps, steps))
    value = torch.nn.functional.pad(found, (0, POSE_NUMBERS - 2))
    return poses_that_stay(value, k)


class _Looks:
    """What particles look like at one resolution, all over a box each.

    Parameters
    ----------
    comparison : Comparison
        Of these particles.
    density : Density or None
        Of all particles.
    whole : Boxes
        The box, of one particle, that no other leaves.
    boxes : Boxes
        Of each particle.
    """

    def __init__(
        self, comparison: Comparison, density: Density | None, whole: Boxes, boxes: Boxes
    ) -> None:
        self.comparison, self.density, self.whole, self.boxes = comparison, density, whole, boxes
        (size, k), model = boxes.centre.shape, comparison.model
        self.unit = Nodes.of_box([1] * k).place
        self.left, self.cross, self.power = torch.zeros(3, len(self.unit), size)
        # what poses are of, and the particle of each
        self.whose = torch.arange(size) if comparison.shares_poses else model.particle
        numbers = 6 if comparison.shares_poses else POSE_NUMBERS
        units = len(self.whose) if comparison.integrates else 0
        self.pose, self.pose_sd = torch.zeros(2, len(self.unit), units, numbers)

    def look(self, reach: Reach, particles: Int[Tensor, "some"]) -> None:
        """Compare some particles with images all over their boxes."""
        boxes = Boxes(self.boxes.centre[particles], self.boxes.axes[particles])
        if not boxes.centre.shape[1]:  # a point
            kinds, kind = torch.zeros(1, 0, dtype=torch.long), torch.zeros_like(particles)
        else:
            counts = _affordable(reach.counts(boxes))
            kinds, kind = torch.unique(counts, dim=0, return_inverse=True)
        for number, counts in enumerate(kinds.tolist()):
            some, nodes = particles[kind == number], Nodes.of_box(counts)
            turned = Nodes.of_box([-(-count // 2) for count in counts])
            for block, found in self.comparison.between(nodes, self.boxes, some, turned):
                at = block.particle
                self.left[:, at], self.cross[:, at] = found.left, found.cross
                self.power[:, at] = found.power
                if found.pose is not None:
                    unit = at if self.comparison.shares_poses else block.image
                    self.pose[:, unit] = found.pose
                    if found.pose_sd is not None:
                        self.pose_sd[:, unit] = found.pose_sd

    def settle(self, reach: Reach) -> None:
        """Look again at particles of which little is known, with the poses that were found.

        Poses that are far off take several steps.
        """
        if not self.comparison.integrates or self.density is None:
            return
        for _ in range(MOST_AGAIN):
            size = torch.linalg.det(self._moments()[1])
            broad = torch.nonzero(size > BROAD ** (2 * self.unit.shape[1]) * size.median())[:, 0]
            if not len(broad):
                return
            self.comparison = replace(self.comparison, poses=self.poses_along())
            self.look(reach, broad)

    @property
    def log_weight(self) -> Float[Tensor, "place particle"]:
        """Logarithm of each place's weight in its particle's posterior."""
        if self.density is None:
            return torch.zeros_like(self.left)
        return -0.5 * self.left + self.density.log(self.boxes.at(self.unit))

    def at_edge(self) -> Int[Tensor, "some"]:
        """Particles whose boxes do not hold all that is likely."""
        if self.density is None:  # a point has none
            return torch.zeros(0, dtype=torch.long)
        outer = self.unit.abs().amax(1) > EDGE
        within = self.boxes.axes.abs().sum(2) < 0.99 * self.whole.axes.abs().sum(2)
        out = self.log_weight.softmax(0)[outer].sum(0) > AT_EDGE
        return torch.nonzero(out & within.any(1))[:, 0]

    def about(self, times: float, some: Int[Tensor, "some"]) -> Boxes:
        """Boxes that hold what is likely of some particles, so many times as wide as is enough."""
        mean, covariance = (each[some] for each in self._moments())
        value, vector = torch.linalg.eigh(covariance)
        axes = vector * (times * REACH * value.clamp_min(1e-12).sqrt())[:, None]
        # not beyond what holds all particles
        most = self.whole.axes.abs().sum(2)
        axes = axes * (most / axes.abs().sum(2)).clamp_max(1.0)[..., None]
        room = (most - axes.abs().sum(2)).clamp_min(0.0)
        centre = self.whole.centre + (mean - self.whole.centre).maximum(-room).minimum(room)
        boxes = Boxes(self.boxes.centre.clone(), self.boxes.axes.clone())
        boxes.centre[some], boxes.axes[some] = centre, axes
        return boxes

    def _moments(self) -> tuple[Float[Tensor, "particle k"], Float[Tensor, "particle k k"]]:
        """Mean and covariance of each posterior."""
        place, weight = self.boxes.at(self.unit), self.log_weight.softmax(0)
        mean = torch.einsum("sp,spk->pk", weight, place)
        offset = place - mean
        # a place stands for what is about it
        root = self.boxes.axes / PLACES[mean.shape[1]]
        return mean, torch.einsum("sp,spk,spl->pkl", weight, offset, offset) + root @ root.mT

    def poses_along(self) -> PosesAlong | None:
        """How poses follow the motions, where they are integrated out."""
        if not self.comparison.integrates:
            return None
        place = self.boxes.at(self.unit)[:, self.whose]
        return poses_along(place, self.pose, self.log_weight[:, self.whose])

    def mean_pose_sd(self) -> Float[Tensor, "image 5"]:
        """How sure poses of images are at a known place."""
        return torch.einsum("si,sif->if", self.log_weight.softmax(0)[:, self.whose], self.pose_sd)

    def placement(self, whole: Surface) -> Placement:
        """What is kept of the looks at the finest images.

        Parameters
        ----------
        whole : Surface
            With all motions, those that are not looked along last.
        """
        contrast = self.cross / self.power.sqrt().clamp_min(1e-12)
        signal, best = contrast.max(0)
        of_data, count, of_base = self.comparison.of_base()
        place = self.boxes.at(self.unit)
        mean = torch.einsum("sp,spk->pk", self.log_weight.softmax(0), place)
        after = replace(self.comparison, poses=self.poses_along())
        return Placement(
            self.boxes.centre,
            self.boxes.axes,
            (-0.5 * self.left).T.contiguous(),
            signal,
            self.power.gather(0, best[None])[0].sqrt(),
            of_data + self.left.min(0).values,
            of_data + of_base,
            count,
            *after.along_others(whole, mean),
        )


def _affordable(counts: Int[Tensor, "particle k"]) -> Int[Tensor, "particle k"]:
    """Numbers of nodes along axes whose product is not too large."""
    counts = counts.clone()
    known = torch.tensor(COUNTS)
    while bool((many := counts.prod(1) > MOST_NODES).any()):
        largest = counts.argmax(1)
        here = torch.searchsorted(known, counts.gather(1, largest[:, None])[:, 0])
        fewer = known[(here - 1).clamp_min(0)]
        counts[many, largest[many]] = fewer[many]
    return counts
