"""The parts that a fit is assembled from, and its views for a pass over the images."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...devices import PROCESSOR, moved
from ...likelihood.image_model import ImageModel
from ...likelihood.noise import Noise
from ...likelihood.restraints.segment_restraints import Restraints
from ...parallel import Portions, Processes, even_batches
from ...physics.disc import FourierDisc
from ...physics.pose import Pose
from ...reporting import Reporter
from ...structure.beads import BeadModel
from ...structure.motion.deformation import Deformation
from ...structure.motion.segment_deformation import SegmentDeformation
from ...structure.segmentation import Segmentation
from ..images.fourier_images import FourierImages
from ..images.memory_budget import Memory
from ..population.population import Population, PopulationPrior
from ..population.pose_corrections import prior_sd
from .fit_state import FitState

BATCH_BYTES = 2**26  # what the arrays of one batch may take
MOST_AT_ONCE = 64  # images of a batch
# the same where batches are worked on elsewhere: few large ones
BATCH_BYTES_ELSEWHERE, MOST_ELSEWHERE = 2**28, 1024


def evenly_spread(size: int, count: int) -> Int[Tensor, "some"]:
    """Numbers of so many of `size` things in their order, or of all where there are fewer.

    They are evenly spread.
    """
    return torch.linspace(0, size - 1, min(count, size)).long().unique()


@dataclass(frozen=True)
class Block:
    """Some particles with all their images.

    Parameters
    ----------
    particle : (particle,)
    image : (image,)
    row : (image,)
        Which of the particles each image shows.
    """

    particle: Int[Tensor, "particle"]
    image: Int[Tensor, "image"]
    row: Int[Tensor, "image"]


@dataclass(frozen=True, eq=False)
class FitModel:
    """Images, base model and restraints of one fit: what does not change while it runs.

    Parameters
    ----------
    images : FourierImages
        The data.
    particle : (image,)
        Which row of the latents each image belongs to.
    beads : BeadModel
        The base model, its amplitudes as electrons.
    segmentation : Segmentation
        How it is cut.
    deformation : Deformation
        What a latent decodes to.
    restraints : Restraints, optional
        What holds each conformation together.
    prior : PopulationPrior
        What is believed of the population before any image is seen.
    start : Population
        Where the fit begins.
    memory : Memory
        What may be kept.
    portion : (particle,)
        The portion of the work that each particle belongs to, rising.
    my_particles : (some,)
        The particles that are this process's share: whole portions.
    processes : Processes
        That share the particles.
    reporter : Reporter
        Is told how far the fit is.
    seed : int
        For the choice of images of which scales are measured, and for draws.
    refine_poses : bool
        The poses of the images are corrected as the fit goes.
    unknown_poses : bool
        Poses were refined on these images: nothing is known of them but what each image tells.
    finds_residual : bool
        What images show that the beads are not is looked for as the fit goes, and the beads' gain
        ring by ring, where it is not that of one width.
    device : torch.device
        Where batches of images are worked on; what is known of all particles stays here.
    outside : (bead,), optional
        Beads that are no part of what images are compared with: they do not move, and the residual
        density shows what is there.
    """

    images: FourierImages
    particle: Int[Tensor, "image"]
    beads: BeadModel
    segmentation: Segmentation
    deformation: Deformation
    restraints: Restraints | None
    prior: PopulationPrior
    start: Population
    memory: Memory
    portion: Int[Tensor, "particle"]
    my_particles: Int[Tensor, "some"]
    processes: Processes = field(default_factory=Processes)
    reporter: Reporter = field(default_factory=Reporter)
    seed: int = 0
    refine_poses: bool = False
    unknown_poses: bool = False
    finds_residual: bool = False
    device: torch.device = PROCESSOR
    outside: Bool[Tensor, "bead"] | None = None

    @cached_property
    def there(self) -> "FitModel":
        """The fit as batches of images see it: what moves the beads is on the device."""
        return replace(
            self,
            beads=moved(self.beads, self.device),
            deformation=moved(self.deformation, self.device),
            outside=moved(self.outside, self.device),
        )

    def at_batches(
        self, state: FitState, disc: FourierDisc
    ) -> tuple["FitModel", FitState, FourierDisc]:
        """The fit, a state and a disc as batches of images see them, on the device."""
        return self.there, moved(state, self.device), moved(disc, self.device)

    @property
    def _here(self) -> torch.device:
        """Where the beads of this view are."""
        return self.beads.position.device

    @cached_property
    def rows(self) -> Int[Tensor, "particle"]:
        """How many images each particle has."""
        return torch.bincount(self.particle)

    @property
    def n_particles(self) -> int:
        """How many particles there are."""
        return len(self.rows)

    @cached_property
    def seen(self) -> Bool[Tensor, "particle"]:
        """Which particles have an image that counts.

        What is known of the others is what is known of the population.
        """
        return torch.bincount(self.particle[~self.images.left_out], minlength=self.n_particles) > 0

    @cached_property
    def segment_of_trace(self) -> Int[Tensor, "trace"]:
        """The segment that each trace bead belongs to most: 0 where there are no segments."""
        weight = self.deformation.membership
        trace = self.beads.trace_index
        return torch.zeros_like(trace) if weight is None else weight[trace].argmax(1)

    @property
    def n_segments(self) -> int:
        """How many segments move as rigid bodies: one where nothing says which do."""
        weight = self.deformation.membership
        return 1 if weight is None else weight.shape[1]

    @property
    def of_segments(self) -> bool:
        """Whether the deformation is of segments as the fit has cut them.

        Such can be turned far, cut again and moved to another base model.
        """
        return isinstance(self.deformation, SegmentDeformation)

    @property
    def composition(self) -> bool:
        """Whether some numbers of a latent are occupancies of segments."""
        return self.of_segments and self.segments.composition

    @property
    def segments(self) -> SegmentDeformation:
        """The deformation of a fit that is :attr:`of_segments`."""
        if not isinstance(self.deformation, SegmentDeformation):
            raise TypeError(f"segments of a fit of the kind {self.deformation.kind!r}")
        return self.deformation

    def leaving_out(self, particles: Bool[Tensor, "particle"]) -> "FitModel":
        """The fit in which these particles have no weight, and no others but of spoilt images."""
        return replace(self, images=self.images.leaving_out(particles[self.particle]))

    @property
    def integrates_poses(self) -> bool:
        """Whether the pose of each image is integrated out.

        Images of a tilt series share what is not known: their particle's pose, which its motion as
        a whole stands for.
        """
        return self.unknown_poses and int(self.rows.max()) == 1

    @property
    def finds_poses(self) -> bool:
        """Whether the fit looks for the poses of images as it goes."""
        return self.refine_poses or self.integrates_poses

    @property
    def pose_prior_sd(self) -> Float[Tensor, "5"]:
        """How far poses may be from those of the file: shifts (A) and turns (rad)."""
        return prior_sd(unknown=self.integrates_poses).to(self._here)

    @property
    def by_images(self) -> "FitModel":
        """The fit without restraints on each particle.

        Its equations are those of images alone.
        """
        return replace(self, restraints=None)

    def evenly_spread(self, count: int) -> Int[Tensor, "some"]:
        """Numbers of so many particles, or of all where there are fewer.

        They are evenly spread over the set.
        """
        return evenly_spread(self.n_particles, count)

    @cached_property
    def _by_particle(self) -> tuple[Int[Tensor, "image"], Int[Tensor, "first"]]:
        """Images in the order of their particles, and where each particle's begin."""
        return torch.argsort(self.particle, stable=True), torch.cat(
            [torch.zeros(1, dtype=torch.long), self.rows.cumsum(0)]
        )

    @cached_property
    def my_images(self) -> Int[Tensor, "some"]:
        """The images of :attr:`my_particles`, in the order of the file."""
        mine = torch.zeros(self.n_particles, dtype=torch.bool)
        mine[self.my_particles] = True
        return torch.nonzero(mine[self.particle])[:, 0]

    @cached_property
    def portions(self) -> Portions:
        """Of the images: each is in its particle's."""
        return replace(self.particle_portions, number=self.portion[self.particle])

    @cached_property
    def particle_portions(self) -> Portions:
        """Of the particles."""
        return Portions(self.portion, int(self.portion.max()) + 1, self.processes)

    def mine(self, index: Int[Tensor, "image"]) -> Int[Tensor, "some"]:
        """Those of some images that are this process's share."""
        return index[torch.isin(self.particle[index], self.my_particles)]

    def blocks(self, particles: Int[Tensor, "some"], disc: FourierDisc) -> Iterator[Block]:
        """Particles with their images, in runs that are worked on together.

        About as many images at a time; no run holds particles of two portions.
        """
        order, first = self._by_particle
        for some in self._runs(particles, self.images_at_once(disc)):
            count = self.rows[some]
            row = torch.repeat_interleave(torch.arange(len(some)), count)
            start = torch.repeat_interleave(first[some] - (count.cumsum(0) - count), count)
            yield Block(some, order[start + torch.arange(len(row))], row)

    def _runs(self, particles: Int[Tensor, "all"], images: int) -> Iterator[Int[Tensor, "some"]]:
        """Runs of rising particles of one portion, with about so many images."""
        for some in particles.split(
            torch.unique_consecutive(self.portion[particles], return_counts=True)[1].tolist()
        ):
            done = self.rows[some].cumsum(0)
            number = (done - 1) * even_batches(int(done[-1]), images) // done[-1]
            yield from some.split(torch.unique_consecutive(number, return_counts=True)[1].tolist())

    def pose(self, state: FitState, index: Int[Tensor, "batch"]) -> Pose:
        """Where the molecule stands in some images.

        It is as their file says, with the corrections found so far.
        """
        pose = self.pose_of_file(index)
        return pose if state.poses is None else state.poses.correct(pose, index)

    def pose_of_file(self, index: Int[Tensor, "batch"]) -> Pose:
        """The same as their file says alone."""
        return moved(self.images.stack.pose[index], self._here)

    def hidden(self, state: FitState, index: Int[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """Power that uncertainty of conformation and pose adds to some images' predictions."""
        freedom = state.freedom[self.particle[index]]
        if state.poses is not None:
            freedom = freedom + state.poses[index].freedom(self.pose_prior_sd)
        return freedom / state.contrast[index].square()

    def bright_beads(self, state: FitState) -> BeadModel:
        """The beads as the images show them: with the fitted amplitude and width."""
        beads = self.beads.bright(state.amplitude, state.width2)
        if self.outside is None:
            return beads
        return replace(beads, amplitude=beads.amplitude * ~self.outside)

    def image_model(self, state: FitState) -> ImageModel:
        """What images show: the beads with the fitted scales, and what they are not."""
        still = () if state.residual is None else (state.residual,)
        return ImageModel(self.bright_beads(state), state.gain, still)

    def bead_width(self, state: FitState) -> float:
        """Median width of the beads as the images show them, A."""
        return float(self.bright_beads(state).sigma.median())

    def noise(self, spectrum: Float[Tensor, "group shell"]) -> Noise:
        """The noise of the images with this spectrum."""
        return Noise(
            spectrum, self.images.group, self.images.stack.premultiplied, self.images.left_out
        )

    def whitened(
        self,
        index: Int[Tensor, "batch"],
        disc: FourierDisc,
        noise: Noise,
    ) -> tuple[Float[Tensor, "batch frequency"], Float[Tensor, "batch 2 frequency"]]:
        """Transfer function and data of some images (see :meth:`Noise.whiten`)."""
        return noise.whiten(
            self.images.coefficients(index, disc), self.images.stack.ctf[index], index, disc=disc
        )

    def batches(
        self, disc: FourierDisc, index: Int[Tensor, "image"] | None = None
    ) -> tuple[Int[Tensor, "batch"], ...]:
        """Images, by default this process's share, in runs that are worked on together.

        No run holds images of two portions.
        """
        return self.portions.batches(
            self.my_images if index is None else index, self.images_at_once(disc)
        )

    def images_at_once(self, disc: FourierDisc) -> int:
        """How many images' arrays fit into the processor's nearer memory, or the device's."""
        transforms = self.deformation.transforms
        waves = 10 * transforms.beads * (disc.reach + 1)
        fields = 4 * transforms.fields * (2 * len(disc) + (disc.reach + 1) ** 2)
        most, room = (
            (MOST_AT_ONCE, BATCH_BYTES)
            if self.device == PROCESSOR
            else (MOST_ELSEWHERE, BATCH_BYTES_ELSEWHERE)
        )
        return max(1, min(most, room // (4 * (waves + fields))))
