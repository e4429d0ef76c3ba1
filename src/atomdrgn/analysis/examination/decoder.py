"""From places along a run's motions to conformations, whatever kind of fit has made the run."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...physics.rotations import left_jacobian, vector_from_quaternion
from ...runs.run import Run
from ...structure.motion.flexing import with_feature
from ...structure.motion.motion import RigidMotion, screw_motion, twists
from ...structure.motion.segment_deformation import SegmentDeformation
from ...structure.motion.surface import Surface, fit_surface

GAUSSIAN_DRAWS = 20


@dataclass(frozen=True)
class Decoder:
    """What a place decodes to.

    Parameters
    ----------
    surface : Surface
        From places to twists of the free segments.
    free : (free,)
        Segments that move.
    radius : (segment,)
        Radius of gyration, A, which turns are counted in.
    fitted : bool
        The surface is the fit's own; else it is laid through the conformations of the particles by
        least squares.
    flexes : bool
        Beads move within their segments, by the surface's features.
    """

    surface: Surface
    free: Int[Tensor, "free"]
    radius: Float[Tensor, "segment"]
    fitted: bool
    flexes: bool = False

    def __call__(self, place: Float[Tensor, "*batch k"]) -> RigidMotion:
        """The motion of each segment at some places."""
        place = place.to(self.surface.coefficient.dtype)  # amortised fits write double precision
        motion = screw_motion(*twists(self.surface(place), free=self.free, radius=self.radius))
        return with_feature(motion, self.surface.features(place)) if self.flexes else motion


def decoder_of(run: Run) -> Decoder:
    """The decoder of a run to motions of segments.

    Amortised fits and those of earlier versions have none of their own, nor has what moves segments
    otherwise than by their twists.
    """
    model = run.model
    if "surface_scale" in model and run.kind == SegmentDeformation.kind:
        free, radius = (torch.from_numpy(model[name]) for name in ("free", "radius"))
        return Decoder(run.surface, free, radius, fitted=True, flexes="flexing" in model)
    motion = run.segment_motion
    vector = vector_from_quaternion(motion.rotation)
    speed = torch.linalg.solve(left_jacobian(vector), motion.translation)
    n_segments = vector.shape[1]
    latent = torch.cat([speed, vector], -1).flatten(1)
    place = torch.from_numpy(run.latent).to(latent.dtype)
    surface = fit_surface(place, latent, place.square().mean(0).sqrt().clamp_min(1e-3))
    return Decoder(surface, torch.arange(n_segments), torch.ones(n_segments), fitted=False)


def draws_of(run: Run, *, seed: int = 0) -> np.ndarray:
    """Places from each particle's posterior, (particle, draw, k).

    Where a run holds none, they are drawn from the Gaussian of its errors.
    """
    if run.has_draws:
        return run.draws
    normal = np.random.default_rng(seed).standard_normal(
        (len(run.latent), GAUSSIAN_DRAWS, run.latent.shape[1])
    )
    return (run.latent[:, None] + run.latent_sd[:, None] * normal).astype(np.float32)
