"""Which particles a population is learned on: by what the particle file says, never by images."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ...particles.stack.stack import ParticleStack
from ..findings.ensemble import Ensemble

DEFOCUS_STEPS = 8
VIEW_STEPS = 12  # of turns of equal area about the sphere

# A part that is not asked for: so many particles at first, doubled as long as the mean square of
# what half-sets differ by is more than this share of a particle's own error; where nothing moves,
# until so many show nothing.
FIRST, ENOUGH, MOST_WITHOUT = 2000, 0.1, 20_000


@dataclass(frozen=True)
class PartSize:
    """How many particles are learned on.

    Parameters
    ----------
    count : int
        So many.
    grows : bool
        Whether more are taken where these are too few.
    """

    count: int
    grows: bool

    @classmethod
    def first(cls, asked: int | str, particles: int, *, composition: bool) -> "PartSize":
        """The size that a fit begins with.

        Parameters
        ----------
        asked : int, "auto" or "all"
            As in :class:`~atomdrgn.inference.fit_options.FitOptions`.
        particles : int
            How many there are.
        composition : bool
            Parts may be absent, which is found by learning alone.
        """
        if isinstance(asked, int):
            return cls(min(asked, particles), False)
        if asked == "all" or composition:
            return cls(particles, False)
        return cls(FIRST, True).up_to(particles)

    def up_to(self, particles: int) -> "PartSize":
        """All particles where few would be left."""
        return self if 2 * self.count <= particles else PartSize(particles, False)

    def larger(self, ensemble: Ensemble, particles: int) -> "PartSize | None":
        """The size to learn on in place of this one; None where it is enough.

        Parameters
        ----------
        ensemble : Ensemble
            What was learned on this one.
        particles : int
            How many there are.
        """
        if not self.grows or ensemble.supported is None:
            return None
        own, shared = ensemble.trace_error2().mean(), ensemble.half_error.square().nanmean()
        enough = self.count >= MOST_WITHOUT if not ensemble.supported else shared <= ENOUGH * own
        return None if enough else PartSize(2 * self.count, True).up_to(particles)


def choose_part(particles: ParticleStack, count: int, *, seed: int) -> ParticleStack:
    """So many particles that stand for all; all, as they are, where there are no more.

    Particles are ordered by half-set, optics group, view and defocus, as their first image has
    them, and every so manieth of them is taken, from a place that the seed decides: each part of
    that order has the share of the particles that it has in the file.

    Parameters
    ----------
    particles : ParticleStack
        All of them.
    count : int
        How many are wanted.
    seed : int
        Another one takes others.

    References
    ----------
    Cochran, Sampling Techniques, 3rd ed. (1977), chapter 8: systematic sampling.
    """
    number, first = _first_images(particles)
    if count >= len(number):
        return particles
    half, group = particles.half[first].numpy(), particles.optics_group[first].numpy()
    generator = np.random.default_rng(seed)
    order = np.lexsort((generator.random(len(first)), *_defocus_and_view(particles, first), group))
    order = order[np.argsort(half[order], kind="stable")]
    # as many of either half-set, in proportion
    step = len(order) / count
    taken = order[((np.arange(count) + generator.random()) * step).astype(np.int64) % len(order)]
    return particles.of_particles(number[torch.from_numpy(np.sort(taken))])


def _first_images(
    particles: ParticleStack,
) -> tuple[Int[Tensor, "particle"], Int[Tensor, "particle"]]:
    """Each particle's number, rising, and the first of its images."""
    order = torch.argsort(particles.particle, stable=True)
    number, rows = torch.unique_consecutive(particles.particle[order], return_counts=True)
    return number, order[rows.cumsum(0) - rows]


def _defocus_and_view(
    particles: ParticleStack, image: Int[Tensor, "some"]
) -> tuple[np.ndarray, np.ndarray]:
    """Steps of the defocus, and numbers of views of about the same size along a path over all.

    A view and the opposite one are the same image, mirrored.
    """
    ctf = particles.ctf[image]
    defocus = (0.5 * (ctf.defocus_u + ctf.defocus_v)).numpy()
    rank = np.argsort(np.argsort(defocus, kind="stable"), kind="stable")
    axis = particles.pose.rotation[image][:, 2].numpy()
    axis = axis * np.where(axis[:, 2:] < 0, -1.0, 1.0)
    ring = np.minimum((axis[:, 2] * VIEW_STEPS).astype(np.int64), VIEW_STEPS - 1)
    turn = (np.arctan2(axis[:, 1], axis[:, 0]) / (2 * np.pi) + 0.5) * VIEW_STEPS
    return rank * DEFOCUS_STEPS // len(rank), ring * VIEW_STEPS + turn.astype(np.int64) % VIEW_STEPS
