"""Offsets of beads that all particles share, in the base model's frame.

Meanwhile each particle's segments move as they are known to.

Of each half-set by itself: what one has found is worth what it makes of the images of the other.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...devices import moved
from ...likelihood.restraints.segment_restraints import Restraints
from ...physics.disc import FourierDisc
from ...structure.atoms import Structure
from ...structure.beads import BeadModel, coarse_grain
from ...structure.motion.lifting import small_turns, turned
from ...structure.motion.motion import blended_rotation
from ..problem.fit_problem import FitModel, evenly_spread
from ..problem.fit_state import FitState
from .bead_error import bead_error
from .shared_beads import Look, SharedBeads, descend, doubted

MOST_BEADS = 3000  # the metric of the descent grows with the square: 0.7 GB
MOST_IMAGES = 5000  # of a half-set: what beads cannot show is then more than what noise hides
# of a half-set, to tell whether what the other one has found is more than chance
MOST_JUDGED = 1000
ENOUGH = 0.1  # A r.m.s.: half-sets differ by as much, and a shorter step is the last
# beads of a residue that images are compared with: what one cannot show is as
# much as what is looked for
FINE = 2


@dataclass(frozen=True, eq=False)
class FineBeads:
    """Two beads a residue, which go with those of the fit.

    Parameters
    ----------
    beads : BeadModel
        In the base model.
    owner : (fine,)
        The bead of the fit that each follows.
    arm : (fine, 3)
        From there to it, A.
    """

    beads: BeadModel
    owner: Int[Tensor, "fine"]
    arm: Float[Tensor, "fine 3"]


def fine_beads(structure: Structure, beads: BeadModel) -> FineBeads:
    """Those of a structure whose beads in the fit are given."""
    fine = coarse_grain(structure, beads=FINE)
    owner = torch.zeros(len(fine), dtype=torch.long)
    owner[torch.from_numpy(fine.bead_of_atom)] = torch.from_numpy(beads.bead_of_atom)
    return FineBeads(fine, owner, fine.position - beads.position[owner])


@dataclass(frozen=True, eq=False)
class Part:
    """Some particles, with what is known of each.

    Parameters
    ----------
    model : FitModel
        Of these alone.
    state : FitState
        Of these alone.
    latent : (particle, latent)
        Where each is.
    weight : (particle, field)
        Of each field of offsets in it; a single field is that of the base model, and its weight is
        1.
    """

    model: FitModel
    state: FitState
    latent: Float[Tensor, "particle latent"]
    weight: Float[Tensor, "particle field"]

    @property
    def there(self) -> "Part":
        """The same as batches of images see it, on the device of the fit."""
        latent, weight, state = moved((self.latent, self.weight, self.state), self.model.device)
        return Part(self.model.there, state, latent, weight)

    def images(self, most: int) -> Int[Tensor, "some"]:
        """Those that are looked at, by all processes together."""
        return evenly_spread(len(self.model.images), most)


@dataclass(frozen=True, eq=False)
class Offsets:
    """Positions of beads as each of two parts of the particles has found them.

    Parameters
    ----------
    parts : list of Part
        The two.
    problems, looks
        Their images.
    position : (part, field, bead, 3)
        Where one unit of each field takes the beads of the base model, A.
    """

    parts: list[Part]
    problems: list[SharedBeads]
    looks: list[Look]
    position: Float[Tensor, "part field bead 3"]

    def gains(self, ends: Sequence[int]) -> Iterator[Float[Tensor, "some"]]:
        """By how much fields raise the log likelihood of each image of the other part.

        It had no part in finding them.

        Those up to each of some numbers, over those up to the one before; the first ones over none.
        """
        before = self._held_out(0)
        for end in ends:
            here = self._held_out(end)
            yield here - before
            before = here

    def _held_out(self, count: int) -> Float[Tensor, "some"]:
        """Log likelihood of each image with the first fields of the other part."""
        return torch.cat(
            [
                self._of_part(part, problem, look, self._first(found, count))
                for part, problem, look, found in zip(
                    self.parts, self.problems, self.looks, self.position.flip(0), strict=True
                )
            ]
        )

    def _of_part(
        self,
        part: Part,
        problem: SharedBeads,
        look: Look,
        position: Float[Tensor, "field bead 3"],
    ) -> Float[Tensor, "some"]:
        value, some = (
            torch.zeros(len(part.model.images), dtype=torch.float64),
            part.images(MOST_JUDGED),
        )
        judged = replace(problem, index=part.model.mine(some))
        value[judged.index] = judged.log_likelihood(position, look, part.model.images.disc)
        return part.model.processes.total(value)[some]

    def _first(
        self, position: Float[Tensor, "field bead 3"], count: int
    ) -> Float[Tensor, "field bead 3"]:
        base = self.parts[0].model.beads.position
        return torch.cat([position[:count], base.expand(len(position) - count, -1, -1)])


def find_offsets(
    structure: Structure,
    parts: list[Part],
    *,
    restraints: Restraints,
    steps: int,
    generator: torch.Generator,
    title: str,
) -> Offsets:
    """Offsets that images of each part want.

    Parameters
    ----------
    structure : Structure
        The base model, with beads where the fit has them.
    parts : list of Part
        Two.
    restraints : Restraints
        Of the positions that one unit of each field leads to.
    steps : int
        The most that each part makes.
    generator : torch.Generator
        Of the directions in which atoms and beads are compared.
    title : str
        What a reporter says.
    """
    model = parts[0].model
    disc, beads = model.images.disc, model.beads
    fine = fine_beads(structure, beads)
    error = bead_error(structure, fine.beads, disc, generator)
    problems = [_problem(part, fine) for part in parts]
    looks = [
        doubted(
            problem, Look(part.state.amplitude, part.state.width2, part.state.spectrum), disc, error
        )
        for problem, part in zip(problems, parts, strict=True)
    ]
    found = []
    for part, problem, look in zip(parts, problems, looks, strict=True):
        start = beads.position.expand(part.weight.shape[1], -1, -1)
        taken = descend(
            problem,
            start,
            look,
            disc,
            restraints=restraints,
            weight=1.0,
            steps=steps,
            enough=ENOUGH,
        )
        *_, last = model.reporter.watch(taken, title, steps)
        found.append(last.position)
    return Offsets(parts, problems, looks, torch.stack(found))


def _problem(part: Part, fine: FineBeads) -> SharedBeads:
    """The images of a part as those of shared positions."""
    model = part.model
    index = model.mine(part.images(MOST_IMAGES))
    return SharedBeads(
        model.images,
        index,
        fine.beads,
        _placing(part, fine),
        portions=model.portions,
        sought=model.beads,
        gain=part.state.gain,
        besides=None if part.state.residual is None else partial(_residual, part.there),
        device=model.device,
    )


def _residual(
    part: Part, index: Int[Tensor, "image"], disc: FourierDisc
) -> Float[Tensor, "image 2 frequency"]:
    """What images show besides the beads, which stays where it is."""
    pose = part.model.pose(part.state, index)
    return part.model.image_model(part.state).still_images(pose, disc)


def _placing(part: Part, fine: FineBeads) -> Callable[[Tensor, Tensor], Tensor]:
    """Where fine beads are before the camera.

    They are offset within their segments, then moved with these.
    """
    turns, fine = moved((small_turns(part.model.beads), fine), part.model.device)
    part = part.there
    model, deformation, base = part.model, part.model.segments, part.model.beads.position

    def inside(
        position: Float[Tensor, "field bead 3"], weight: Float[Tensor, "image field"]
    ) -> Float[Tensor, "image fine 3"]:
        """Fine beads about those that they follow, in the base model's frame.

        They are offset with them and turned, in A.

        Turns are small and taken to first order, so that all of it is linear in the positions.
        """
        offset = position - base
        turn = turns(offset)[:, fine.owner]
        field = offset[:, fine.owner] + torch.linalg.cross(turn, fine.arm.expand_as(turn))
        return fine.arm + (weight @ field.flatten(1)).view(-1, *fine.arm.shape)

    def place(
        position: Float[Tensor, "field bead 3"], image: Int[Tensor, "image"]
    ) -> Float[Tensor, "image fine 3"]:
        particle = model.particle[image]
        latent, weight = part.latent[particle], part.weight[particle]
        # a base model is the same in all of them
        arm = inside(position, weight[:1] if weight.shape[1] == 1 else weight)
        rotation = blended_rotation(deformation.motion(latent), deformation.weight).index_select(
            1, fine.owner
        )
        moved = deformation.conformation(latent).position.index_select(1, fine.owner)
        return model.pose(part.state, image).apply(moved + turned(rotation, arm))

    return place
