"""Brightness, bead width and noise: the scales that are shared by many images, measured at the conformations found so far."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from torch import Tensor

from ..physics.record import Record


@dataclass(frozen=True)
class ShellSums(Record):
    """Sums over images, for each noise group and ring of frequencies.

    Parameters
    ----------
    count : (group, shell)
        Coefficients of the whole Fourier plane summed over.
    data2, prediction_data, prediction2 : (group, shell)
        Data with itself, prediction with data, prediction with itself, each image's prediction at its contrast; noise not divided out.
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

    def noise(self, gain: Float[Tensor, "shell"]) -> Float[Tensor, "group shell"]:
        """Noise power a coefficient when the prediction is multiplied by `gain`: the residual's, and what uncertainty hides of it.

        A shell that no image of a group reaches gets the nearest finer or coarser one's power.
        """
        residual = self.data2 - 2 * gain * self.prediction_data + gain**2 * self.prediction2
        power = residual / self.count.clamp_min(1) + gain**2 * self.spread / self.spread_count.clamp_min(1)
        return power.clamp_min(1e-12 * float(power.max()))


def fit_gain(sums: ShellSums, noise: Float[Tensor, "group shell"], k2: Float[Tensor, "shell"], *,
             smallest_width2: float) -> tuple[float, float]:
    """Amplitude and extra squared width (A^2) with which the predictions fit the data best: gain(k) = amplitude exp(-2 pi^2 width2 k^2).

    Parameters
    ----------
    sums, noise
        Measured at gain 1.
    k2 : (shell,)
        Squared frequency of each shell, 1/A^2.
    smallest_width2 : float
        The least that the width may change by (negative: beads may become narrower by this), A^2.
    """
    cross = (sums.prediction_data / noise).sum(0).double()
    power = (sums.prediction2 / noise).sum(0).double()

    def amplitude(width2):
        shape = torch.exp(-2 * math.pi**2 * width2 * k2.double())
        return shape, float(((shape * cross).sum() / (shape**2 * power).sum()).clamp_min(1e-6))

    def misfit(width2):
        shape, best = amplitude(width2)
        return float((best**2 * shape**2 * power - 2 * best * shape * cross).sum())

    found = minimize_scalar(misfit, bounds=(smallest_width2, 60.0), method="bounded")
    return amplitude(found.x)[1], float(found.x)
