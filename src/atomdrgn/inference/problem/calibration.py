"""Brightness, bead width and noise: the scales that images share.

They are measured at the conformations found so far.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar
from torch import Tensor

from ...likelihood.normal_equations import pose_images, power_along, predict
from ...parallel import Portions, in_order
from ...physics.disc import FourierDisc
from ...physics.record import Record
from ...structure.beads import BeadModel
from ..population.bounded_directions import MOST_DIRECTIONS, is_bounded
from .fit_problem import FitModel
from .fit_state import FitState

# of which scales are measured: enough for a spectrum, few enough to be quick
IMAGES_MEASURED = 2000
IMAGES_SPREAD = 256  # of which the power hidden by uncertainty is measured
NO_NOISE = 1e-9  # of the largest noise power: there is no less
# of a group's largest power: in rings that hold less there is nothing but rounding
EMPTY = 1e-11
NARROWEST = 0.5  # A, a bead's width
# A^2: a squared width grows by so much at once, and not beyond where it is so much more already
WIDER, WIDEST = 60.0, 60.0
GAIN_SCALE = 1 / 80  # 1/A, over which departures of the gain from a Gaussian are alike
STRENGTHS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # of these departures, r.m.s.
CLEAR_GAIN = 3.0  # nats, by which departures have to be likelier than none


@dataclass(frozen=True)
class ShellSums(Record):
    """Sums over images, for each noise group and ring of frequencies.

    Parameters
    ----------
    count : (group, shell)
        Coefficients of the whole Fourier plane summed over.
    data2, prediction_data, prediction2 : (group, shell)
        Data with itself, prediction with data, prediction with itself, each image's prediction at
        its contrast; noise not divided out.
    spread : (group, shell)
        Power that the conformations' uncertainty adds to the residual.
    spread_count : (group, shell)
        As `count`, of the images over which `spread` was summed.
    """

    count: Float[Tensor, "group shell"]
    data2: Float[Tensor, "group shell"]
    prediction_data: Float[Tensor, "group shell"]
    prediction2: Float[Tensor, "group shell"]
    spread: Float[Tensor, "group shell"]
    spread_count: Float[Tensor, "group shell"]

    @property
    def hidden(self) -> Float[Tensor, "group shell"]:
        """Power a coefficient that uncertainty adds to the predictions'."""
        return self.spread / self.spread_count.clamp_min(1)

    @property
    def gain(self) -> Float[Tensor, "shell"]:
        """What the predictions are multiplied by in each ring where they fit the data best."""
        expected_power = (self.prediction2 + self.hidden * self.count).sum(0)
        return (self.prediction_data.sum(0) / expected_power.clamp_min(1e-20)).clamp_min(0)

    def noise(self, gain: Float[Tensor, "shell"]) -> Float[Tensor, "group shell"]:
        """Noise power a coefficient when the prediction is multiplied by `gain`.

        It is the residual's, and what uncertainty hides.

        A group of which no image was measured gets the mean of the others. Rings that a filter has
        emptied say nothing.
        """
        residual = self.data2 - 2 * gain * self.prediction_data + gain**2 * self.prediction2
        power = residual / self.count.clamp_min(1) + gain**2 * self.hidden
        measured = self.count.sum(1) > 0
        power[~measured] = power[measured].mean(0)
        of_data, largest = self.data2 / self.count.clamp_min(1), float(power.max())
        emptied = (of_data < EMPTY * of_data.amax(1, keepdim=True)) & measured[:, None]
        return torch.where(emptied, largest / NO_NOISE, power.clamp_min(NO_NOISE * largest))


def sum_by_shell(
    compared: Callable,
    batches: Sequence[Tensor],
    *,
    group: Int[Tensor, "image"],
    disc: FourierDisc,
    hidden: Callable | None = None,
    portions: Portions | None = None,
) -> ShellSums:
    """Shell sums over images, of batches on several threads.

    Parameters
    ----------
    compared : callable
        From images (batch,) to their transfer function (batch, frequency), data and prediction
        (batch, 2, frequency), all with the root of the multiplicity and without the noise divided
        out.
    batches : sequence of (batch,)
        The images.
    group : (image,)
        Noise group of each image.
    disc : FourierDisc
        The frequencies that are compared.
    hidden : callable, optional
        From images (batch,) and their transfer function to the power that uncertainty adds (batch,
        frequency), and the images of the batch for which it was measured (batch,); by default it is
        for none.
    portions : Portions, optional
        Of the images; each batch is of one of them.
    """
    portions = portions or Portions.one(len(group))
    n_groups, n_shells = int(group.max()) + 1, int(disc.shell.max()) + 1

    def of_batch(index: Int[Tensor, "batch"]) -> tuple[int, list[Tensor]]:
        with torch.no_grad():
            transfer, data, prediction = compared(index)
            held = (transfer != 0) * disc.multiplicity
            spread, measured = (
                hidden(index, transfer)
                if hidden
                else (torch.zeros_like(transfer), transfer.new_zeros(len(index)))
            )
            terms = (
                held,
                data.square().sum(1),
                (prediction * data).sum(1),
                prediction.square().sum(1),
                spread,
                held * measured[:, None],
            )
            of_images = [
                term.new_zeros(len(index), n_shells).index_add_(1, disc.shell, term)
                for term in terms
            ]
        return portions.of(index), [
            zero.index_add(0, group[index], term.double().cpu()) for term in of_images
        ]

    zero = torch.zeros(n_groups, n_shells, dtype=torch.float64)
    return ShellSums(
        *(each.float() for each in portions.sum(in_order(of_batch, batches), [zero] * 6))
    )


def fit_gain(
    sums: ShellSums,
    noise: Float[Tensor, "group shell"],
    k2: Float[Tensor, "shell"],
    *,
    smallest_width2: float,
    largest_width2: float = WIDER,
) -> tuple[float, float]:
    """Amplitude and extra squared width (A^2) that fit the data best.

    ``gain(k) = amplitude exp(-2 pi^2 width2 k^2)``.

    Where images show next to nothing of the predictions, the amplitude is its own standard error
    and the width stays: less cannot be told from it, and every prediction still has some
    brightness.

    Parameters
    ----------
    sums, noise
        Measured at gain 1.
    k2 : (shell,)
        Squared frequency of each shell, 1/A^2.
    smallest_width2, largest_width2 : float
        What the squared width may change by (negative: beads may become narrower by this), A^2.
    """
    cross = (sums.prediction_data / noise).sum(0).double()
    power = ((sums.prediction2 + sums.hidden * sums.count) / noise).sum(0).double()

    def amplitude(width2: float) -> tuple[Tensor, float, float]:
        """Shape of the gain, the amplitude that is best with it, and its standard error."""
        shape = torch.exp(-2 * math.pi**2 * width2 * k2.double())
        own = (shape**2 * power).sum().clamp_min(torch.finfo(torch.float64).tiny)
        return shape, float(((shape * cross).sum() / own).clamp_min(0)), float(own**-0.5)

    def misfit(width2: float) -> float:
        shape, best, _ = amplitude(width2)
        return float((best**2 * shape**2 * power - 2 * best * shape * cross).sum())

    found = minimize_scalar(misfit, bounds=(smallest_width2, largest_width2), method="bounded")
    _, best, error = amplitude(found.x)
    if best > error:
        return best, float(found.x)
    width2 = max(0.0, smallest_width2)
    return amplitude(width2)[2], width2


def fit_scales(
    sums: ShellSums, disc: FourierDisc, *, beads: BeadModel, width2: float
) -> tuple[float, float, Float[Tensor, "group shell"]]:
    """Amplitude, squared width and noise where these fit the data best.

    Returned are the factor of the amplitude, and what is added to the squared width (A^2).

    Parameters
    ----------
    sums, disc
        Measured, and over which frequencies.
    beads : BeadModel
        The base model.
    width2 : float
        What its squared widths were raised by already, A^2.
    """
    k2 = shell_k2(sums, disc)
    narrowest = NARROWEST**2 - float((beads.sigma**2).min()) - width2
    # where images show nothing, noise of the coarsest rings alone would widen beads again and again
    widest = WIDER if width2 < WIDEST else 0.0
    amplitude, added = fit_gain(
        sums, sums.noise(sums.gain), k2, smallest_width2=narrowest, largest_width2=widest
    )
    return amplitude, added, sums.noise(amplitude * torch.exp(-2 * math.pi**2 * added * k2))


def shell_k2(sums: ShellSums, disc: FourierDisc) -> Float[Tensor, "shell"]:
    """Squared frequency of each ring that is summed over, 1/A^2."""
    return ((torch.arange(sums.count.shape[1]) + 1) / disc.grid.extent) ** 2


@dataclass(frozen=True)
class GainByShell(Record):
    """What images show of the beads in each ring, times what amplitude and width say.

    Parameters
    ----------
    value, sd : (shell,)
        And how sure that is.
    """

    value: Float[Tensor, "shell"]
    sd: Float[Tensor, "shell"]


def fit_gain_by_shell(
    sums: ShellSums,
    noise: Float[Tensor, "group shell"],
    smooth: Float[Tensor, "shell"],
    *,
    shells: float,
) -> GainByShell | None:
    """How the gain departs from one amplitude and one Gaussian width, where images ask for that.

    The departure is a Gaussian process over the rings, about 1, as strong as its evidence has it:
    smooth, and of either sign where the data say so, as where solvent reverses the contrast of what
    is coarse. None where no departure is likelier by more than chance.

    Parameters
    ----------
    sums, noise
        Measured at gain 1, and the noise.
    smooth : (shell,)
        The gain that amplitude and width make.
    shells : float
        Over how many rings departures are alike.

    References
    ----------
    Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), equations 2.25, 2.26 and
    2.30.
    """
    cross = (smooth * (sums.prediction_data / noise).sum(0)).double()
    power = (smooth**2 * ((sums.prediction2 + sums.hidden * sums.count) / noise).sum(0)).double()
    held = power > power.sum() * EMPTY
    departure = torch.where(held, cross / power.clamp_min(1e-300) - 1, 0.0)
    root = torch.where(held, power, 0.0).sqrt()
    place = torch.arange(len(power), dtype=torch.float64)
    alike = torch.exp(-0.5 * ((place[:, None] - place) / shells) ** 2)
    target, white = root * departure, root[:, None] * alike * root

    def evidence(strength: float) -> float:
        factor = torch.linalg.cholesky(strength**2 * white + torch.eye(len(root)).double())
        half = torch.linalg.solve_triangular(factor, target[:, None], upper=False)
        return float(-0.5 * half.square().sum() - factor.diagonal().log().sum())

    best = max(STRENGTHS, key=evidence)
    if evidence(best) - evidence(0.0) < CLEAR_GAIN:
        return None
    prior = best**2 * alike
    inverse = torch.linalg.inv(best**2 * white + torch.eye(len(root)).double())
    part = (prior * root) @ inverse
    variance = (prior - part @ (root[:, None] * prior)).diagonal().clamp_min(0)
    return GainByShell((1 + part @ target).float(), variance.sqrt().float())


def calibrate(
    model: FitModel, state: FitState, disc: FourierDisc, generator: torch.Generator
) -> FitState:
    """The state with brightness, bead width and noise spectrum measured.

    They are measured up to the resolution of `disc`.
    """
    sums = measure(model, state, disc, generator)
    amplitude, width2, spectrum = fit_scales(sums, disc, beads=model.beads, width2=state.width2)
    state = replace(
        state,
        amplitude=state.amplitude * amplitude,
        width2=state.width2 + width2,
        spectrum=spectrum,
        gain=None,
    )
    if not model.finds_residual:
        return state
    smooth = amplitude * torch.exp(-2 * math.pi**2 * width2 * shell_k2(sums, disc))
    found = fit_gain_by_shell(sums, spectrum, smooth, shells=disc.grid.extent * GAIN_SCALE)
    if found is None:
        return state
    return replace(state, gain=found.value, spectrum=sums.noise(smooth * found.value))


def measure(
    model: FitModel, state: FitState, disc: FourierDisc, generator: torch.Generator
) -> ShellSums:
    """Shell sums over a sample of the images at the conformations of `state`.

    The same share of each noise group is taken.
    """
    sample = sample_of_groups(model.images.group, IMAGES_MEASURED, generator)
    for_spread = torch.zeros(len(model.images), dtype=torch.bool)
    for_spread[sample[sample_of_groups(model.images.group[sample], IMAGES_SPREAD, generator)]] = (
        True
    )
    n_groups, n_shells = int(model.images.group.max()) + 1, int(disc.shell.max()) + 1
    there, on_device, its_disc = model.at_batches(state, disc)
    # the gain is measured anew
    seen = replace(there.image_model(on_device), gain=None)
    moving = replace(seen, still=())
    flat = there.noise(torch.ones(n_groups, n_shells, device=model.device))

    # images see next to nothing of what stands behind the directions of a pass
    most = MOST_DIRECTIONS if is_bounded(model.deformation.n_latent) else None
    uncertainty = on_device.uncertainty[:, :most]

    def compared(index: Int[Tensor, "batch"]) -> tuple[Tensor, Tensor, Tensor]:
        transfer, data = there.whitened(index, its_disc, flat)
        transfer = transfer * on_device.contrast[index, None]
        pose = there.pose(on_device, index)
        latent = on_device.latent[model.particle[index]]
        image = predict(there.deformation, moving, latent, pose=pose, disc=its_disc)
        return (
            transfer,
            data - seen.still_images(pose, its_disc) * transfer[:, None],
            image * transfer[:, None],
        )

    def hidden(
        index: Int[Tensor, "batch"], transfer: Float[Tensor, "batch frequency"]
    ) -> tuple[Tensor, Tensor]:
        chosen, power = for_spread[index], torch.zeros_like(transfer)
        if state.step and chosen.any():
            some = index[chosen]
            where: dict[str, Any] = {
                "pose": there.pose(on_device, some),
                "disc": its_disc,
                "transfer": transfer[chosen],
            }
            latent = on_device.latent[model.particle[some]]
            power[chosen] = power_along(there.deformation, seen, latent, uncertainty, **where)
            if on_device.poses is not None:
                _, by_pose = pose_images(there.deformation, seen, latent, **where)
                power[chosen] += (
                    (by_pose * on_device.poses.sd[some][..., None, None]).square().sum((1, 2))
                )
        return power, chosen.to(model.device)

    return sum_by_shell(
        compared,
        model.batches(disc, model.mine(sample)),
        group=model.images.group,
        disc=its_disc,
        hidden=hidden,
        portions=model.portions,
    )


def sample_of_groups(
    group: Int[Tensor, "image"], count: int, generator: torch.Generator
) -> Int[Tensor, "some"]:
    """Indices of about `count` images, the first of a shuffle of each group, in file order."""
    shuffled = torch.randperm(len(group), generator=generator)
    by_group = shuffled[torch.argsort(group[shuffled], stable=True)]
    size = torch.bincount(group)
    place = torch.arange(len(group)) - torch.repeat_interleave(size.cumsum(0) - size, size)
    return by_group[place < max(1, count // len(size))].sort().values
