"""How badly conformations explain their images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...devices import brought_back, moved
from ...likelihood.image_model import ImageModel
from ...likelihood.normal_equations import POSE_NUMBERS, NormalEquations, pose_products, predict
from ...likelihood.pose_equations import PoseIntegral, eliminate_pose, integrate_pose
from ...parallel import in_order
from ...physics.disc import FourierDisc
from ..population.pose_corrections import PoseCorrections, corrected
from .fit_problem import FitModel
from .fit_state import FitState

STEPS = 2  # of Gauss and Newton, to the likeliest pose at a conformation, from one that is near


@runtime_checkable
class Conformations(Protocol):
    """Conformations that are looked up by particle: latents of all, or what decodes them."""

    def __getitem__(self, particle: Int[Tensor, "some"]) -> Float[Tensor, "some latent"]:
        """Latents of some particles."""
        ...


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
    candidate would have a chance against that one. Where nothing is known of poses, images'
    likelihoods are integrated over them.

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
    left, count, _ = misfits_and_poses(model, state, disc, candidates, advance=advance)
    return left, count


def misfits_and_poses(
    model: FitModel,
    state: FitState,
    disc: FourierDisc,
    candidates: Sequence,
    *,
    starts: Sequence | None = None,
    steps: Sequence[int] | None = None,
    advance: Callable[[int], None] = lambda images: None,
) -> tuple[
    Float[Tensor, "candidate particle"],
    Float[Tensor, "particle"],
    list[Float[Tensor, "image 5"]] | None,
]:
    """As :func:`misfits`, with where poses are at each candidate.

    Parameters
    ----------
    model, state, disc, candidates, advance
        As there.
    starts : sequence of (image, 5), optional
        For each candidate, where to look for the pose of each image first; tensors, or what gives
        them when it is indexed by images. By default where the state has them.
    steps : sequence of int, optional
        Of Gauss and Newton from there for each candidate, where poses are integrated out.

    Returns
    -------
    (candidate, particle), (particle,)
        As there.
    list of (image, 5), or None
        For each candidate the likeliest corrections of the poses; of images of other processes
        zero. None where poses are not integrated out.
    """
    integrated = model.integrates_poses and state.poses is not None
    there, on_device, its_disc = model.at_batches(state, disc)
    seen, noise = there.image_model(on_device), there.noise(on_device.spectrum)

    def of_batch(index: Int[Tensor, "batch"]) -> tuple[Tensor, Tensor, Tensor]:
        transfer, data = there.whitened(index, its_disc, noise)
        particle, power_of_data = model.particle[index], data.square().sum((1, 2))
        images = _Images(there, seen, its_disc, index, transfer, data, state.contrast_sd)
        left, modes = [], [data.new_zeros(0, len(index), POSE_NUMBERS)]
        for number, candidate in enumerate(candidates):
            latent = candidate[particle].to(model.device)
            if state.poses is None:
                left.append(images.left(latent))
                continue
            start = (state.poses.value if starts is None else starts[number])[index]
            start = start.to(model.device)
            if integrated:
                found = integrate_pose(
                    partial(images.equations, latent),
                    start,
                    there.pose_prior_sd,
                    steps=steps[number] if steps else STEPS,
                )
                modes.append(found.mode[None])
                left.append(found.chi2 - power_of_data)
            else:
                equations, _ = eliminate_pose(
                    images.equations(latent, start), start, there.pose_prior_sd
                )
                left.append(equations.chi2 - power_of_data)
        count = ((transfer != 0) * its_disc.multiplicity).sum(1)
        return torch.stack(left) + power_of_data, count, torch.cat(modes)

    total, count = torch.zeros(len(candidates), model.n_particles), torch.zeros(model.n_particles)
    batches = model.batches(disc)
    modes = torch.zeros(len(candidates) * integrated, len(model.images), POSE_NUMBERS)
    done = in_order(brought_back(of_batch, model.device), batches)
    for index, (left, numbers, of_images) in zip(batches, done, strict=True):
        total.index_add_(1, model.particle[index], left)
        count.index_add_(0, model.particle[index], numbers)
        modes[:, index] = of_images
        advance(len(index))
    return (
        model.processes.total(total),
        model.processes.total(count),
        list(modes) if integrated else None,
    )


def poses_at(
    model: FitModel,
    state: FitState,
    disc: FourierDisc,
    conformations: Conformations,
    start: Float[Tensor, "image 5"],
) -> PoseCorrections:
    """The likeliest pose of each image, and how sure it is, at its particle's conformation.

    Parameters
    ----------
    model, state, disc
        The fit, its scales and noise, and the frequencies that count.
    conformations : Conformations
        Of all particles.
    start : (image, 5)
        Corrections to begin with.
    """
    there, on_device, its_disc = model.at_batches(state, disc)
    seen, noise = there.image_model(on_device), there.noise(on_device.spectrum)

    def of_batch(index: Int[Tensor, "batch"]) -> PoseIntegral:
        transfer, data = there.whitened(index, its_disc, noise)
        images = _Images(there, seen, its_disc, index, transfer, data, state.contrast_sd)
        latent, begun = moved((conformations[model.particle[index]], start[index]), model.device)
        return integrate_pose(
            partial(images.equations, latent), begun, there.pose_prior_sd, steps=STEPS
        )

    value, sd = torch.zeros(2, len(model.images), POSE_NUMBERS)
    batches = model.batches(disc)
    done = in_order(brought_back(of_batch, model.device), batches)
    for index, found in zip(batches, done, strict=True):
        value[index], sd[index] = found.mode, found.covariance.diagonal(dim1=1, dim2=2).sqrt()
    return PoseCorrections(model.processes.total(value), model.processes.total(sd))


def with_poses_at(
    model: FitModel, state: FitState, latent: Float[Tensor, "particle latent"]
) -> FitState:
    """The state with the likeliest poses at these conformations, where poses are integrated out.

    With those that were found at others, what is learned next would undo the difference.
    """
    if not model.integrates_poses or state.poses is None:
        return state
    poses = poses_at(model, state, model.images.disc, latent, state.poses.value)
    return replace(state, poses=poses)


@dataclass(frozen=True)
class _Images:
    """Some images and what they are compared with."""

    model: FitModel
    seen: ImageModel
    disc: FourierDisc
    index: Tensor  # (batch,)
    transfer: Tensor  # (batch, frequency)
    data: Tensor  # (batch, 2, frequency)
    contrast_sd: float

    def left(self, latent: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch"]:
        """What conformations leave at the poses of the file, less the power of the data."""
        pose, precision = self.model.pose_of_file(self.index), self.contrast_sd**-2
        prediction = (
            predict(self.model.deformation, self.seen, latent, pose=pose, disc=self.disc)
            * self.transfer[:, None]
        )
        power, cross = prediction.square().sum((1, 2)), (prediction * self.data).sum((1, 2))
        contrast = (cross + precision) / (power + precision)
        return contrast**2 * power - 2 * contrast * cross + precision * (contrast - 1) ** 2

    def equations(
        self, latent: Float[Tensor, "batch latent"], correction: Float[Tensor, "batch 5"]
    ) -> NormalEquations:
        """Equations of the poses alone, where these are corrected so far."""
        products = pose_products(
            self.model.deformation,
            self.seen,
            latent,
            pose=corrected(self.model.pose_of_file(self.index), correction),
            disc=self.disc,
            transfer=self.transfer,
            data=self.data,
        )
        return products.normal_equations(self.contrast_sd, self.data.new_zeros(len(self.index)))
