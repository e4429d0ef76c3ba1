"""How likely each particle's images are when a part of the molecule is turned.

The part is turned by any of many rotations.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from ...likelihood.normal_equations import predict
from ...parallel import in_order
from ...physics.disc import FourierDisc
from ...structure.beads import BeadModel
from ..problem.fit_problem import FitModel
from ..problem.fit_state import FitState
from .rigid_parts import RigidPart
from .turned_part_loops import agreements

# edge of the box whose transform is interpolated, in lengths of the part's longest arm
PADDING = 5.0


def likelihood_of_turns(
    model: FitModel,
    state: FitState,
    disc: FourierDisc,
    part: RigidPart,
    rotations: Float[Tensor, "rotation 3 3"],
    *,
    advance: Callable[[int], None] = lambda images: None,
) -> Float[Tensor, "rotation particle"]:
    """Logarithm of each particle's likelihood with the part turned about its pivot.

    It is known up to a constant for each particle.

    The part is turned from where it stands in the base model, the rest of the molecule is where the
    particle's latent has it.

    Parameters
    ----------
    model, state, disc
        The fit, and the frequencies that count.
    part : RigidPart
    rotations : (rotation, 3, 3)
        Of the part, in the molecule's frame.
    advance : callable
        Is told the number of images that are done.
    """
    beads, noise = model.bright_beads(state), model.noise(state.spectrum)
    rest = replace(beads, amplitude=beads.amplitude * ~part.bead)
    others = replace(model.image_model(state), beads=rest)
    transform, step = _transform(beads, part, disc)
    turns = rotations.float().numpy()

    def of_batch(index: Int[Tensor, "batch"]) -> Float[Tensor, "batch rotation"]:
        transfer, data = model.whitened(index, disc, noise)
        transfer, pose = transfer * state.contrast[index, None], model.pose(state, index)
        latent = state.latent[model.particle[index]]
        left = (
            data
            - predict(model.deformation, others, latent, pose=pose, disc=disc) * transfer[:, None]
        )
        camera = torch.stack([disc.kx, disc.ky], 1)
        pivot = pose.apply(part.pivot[None])[:, 0, :2]
        phase = torch.polar(torch.ones(len(index), len(disc)), 2 * math.pi * pivot @ camera.T)
        target = (
            (torch.complex(left[:, 0], left[:, 1]) * phase * transfer).to(torch.complex64).numpy()
        )
        frequency = (camera @ pose.rotation[:, :2] / step).float().contiguous().numpy()
        weight, out = transfer.square().numpy(), np.empty((len(index), len(turns)), np.float32)
        for image in range(len(index)):
            agreements(transform, frequency[image], turns, target[image], weight[image], out[image])
        return torch.from_numpy(out)

    total, batches = torch.zeros(len(turns), model.n_particles), model.batches(disc)
    for index, found in zip(batches, in_order(of_batch, batches), strict=True):
        total.index_add_(1, model.particle[index], found.T)
        advance(len(index))
    return model.processes.total(total)


def _transform(
    beads: BeadModel, part: RigidPart, disc: FourierDisc
) -> tuple[Complex[np.ndarray, "z y x"], float]:
    """The part's transform about its pivot on a grid of frequencies (z, y, x).

    The grid's step (1/A) comes with it.
    """
    arm, amplitude = (
        (beads.position[part.bead] - part.pivot).double(),
        beads.amplitude[part.bead].double(),
    )
    sigma2 = beads.sigma[part.bead].double() ** 2
    step = 1 / (PADDING * float(arm.norm(dim=1).max() + 1))
    reach = math.ceil(math.hypot(float(disc.kx.max()), float(disc.ky.abs().max())) / step) + 1
    k = torch.arange(-reach, reach + 1, dtype=torch.float64) * step
    # the triangle that interpolates between frequencies dims the box as sinc^2 along
    # each axis: undone beforehand
    amplitude = amplitude / (
        torch.sinc(arm * step).square().prod(1) * disc.grid.pixel_size**2 * disc.grid.box_size
    )
    x, y, z = (
        torch.polar(
            torch.exp(-2 * math.pi**2 * sigma2[:, None] * k**2),
            -2 * math.pi * arm[:, axis, None] * k,
        )
        for axis in range(3)
    )
    plane = (amplitude[:, None, None] * z[:, :, None] * y[:, None]).flatten(1)
    return (plane.T @ x).view(len(k), len(k), len(k)).to(torch.complex64).numpy(), step
