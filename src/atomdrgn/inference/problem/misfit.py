"""How badly conformations explain their images."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...likelihood.normal_equations import pose_products, predict
from ...likelihood.pose_equations import eliminate_pose
from ...parallel import in_order
from ...physics.disc import FourierDisc
from ..population.pose_corrections import prior_sd
from .fit_problem import FitModel
from .fit_state import FitState


def misfits(
    model: FitModel,
    state: FitState,
    disc: FourierDisc,
    candidates: Sequence,
    *,
    advance: Callable[[int], None] = lambda images: None,
) -> tuple[Float[Tensor, "candidate particle"], Float[Tensor, "particle"]]:
    """Weighted squares of what each candidate leaves of each particle's images.

    Every image has its likeliest contrast.

    Where poses are refined, every image has its likeliest pose for each candidate too, a step of
    Newton's from where it stands: at the pose that was found with another conformation, no
    candidate would have a chance against that one.

    Parameters
    ----------
    model, state, disc
        The fit, its scales and noise, and the frequencies that count.
    candidates : sequence of (particle, latent)
        Conformations to compare: tensors, or what decodes particles when it is indexed by them.
    advance : callable
        Is told the number of images that are done.

    Returns
    -------
    (candidate, particle)
        Minus twice the log-likelihood, the priors of contrast and pose included.
    (particle,)
        Numbers of the images that count: what the right conformation leaves on average.
    """
    beads, noise = model.bright_beads(state), model.noise(state.spectrum)
    precision = state.contrast_sd**-2

    def of_batch(index: Int[Tensor, "batch"]) -> tuple[Tensor, Tensor]:
        transfer, data = model.whitened(index, disc, noise)
        pose, particle, power_of_data = (
            model.pose(state, index),
            model.particle[index],
            data.square().sum((1, 2)),
        )
        left = []
        for candidate in candidates:
            if state.poses is not None:
                products = pose_products(
                    model.deformation,
                    beads,
                    candidate[particle],
                    pose=pose,
                    disc=disc,
                    transfer=transfer,
                    data=data,
                )
                equations = products.normal_equations(state.contrast_sd, torch.zeros(len(index)))
                equations, _ = eliminate_pose(equations, state.poses.value[index], prior_sd())
                left.append(equations.chi2 - power_of_data)
                continue
            prediction = (
                predict(model.deformation, beads, candidate[particle], pose=pose, disc=disc)
                * transfer[:, None]
            )
            power, cross = prediction.square().sum((1, 2)), (prediction * data).sum((1, 2))
            contrast = (cross + precision) / (power + precision)
            left.append(
                contrast**2 * power - 2 * contrast * cross + precision * (contrast - 1) ** 2
            )
        return torch.stack(left) + power_of_data, ((transfer != 0) * disc.multiplicity).sum(1)

    total, count = torch.zeros(len(candidates), model.n_particles), torch.zeros(model.n_particles)
    batches = model.batches(disc)
    for index, (left, numbers) in zip(batches, in_order(of_batch, batches), strict=True):
        total.index_add_(1, model.particle[index], left)
        count.index_add_(0, model.particle[index], numbers)
        advance(len(index))
    return model.processes.total(total), model.processes.total(count)
