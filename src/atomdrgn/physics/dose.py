"""Radiation damage: how fast each frequency fades with the dose (Grant & Grigorieff 2015)."""

import torch
from torch import Tensor


def critical_dose(k: Tensor, *, voltage_kv=300.0) -> Tensor:
    """Dose after which the signal at frequency `k` (1/A) has fallen to exp(-1/2) in amplitude,
    e/A^2.

    Below 300 kV damage per electron is larger: 0.8 of the dose at 200 kV, in between and beyond by
    linear interpolation of that figure, kept within 0.57 (100 kV, Peet et al. 2019: damage goes
    with the inelastic cross-section) and 1.

    References
    ----------
    Grant & Grigorieff, eLife 4:e06980 (2015), equation 3 and table 1.
    """
    voltage = torch.as_tensor(voltage_kv, dtype=k.dtype, device=k.device)
    relative = (1 - 0.2 * (300 - voltage) / 100).clamp(0.57, 1.0)
    return relative * (0.24499 * k.clamp_min(1e-6) ** -1.6649 + 2.8141)


def dose_weight(dose: Tensor, k: Tensor, *, voltage_kv=300.0) -> Tensor:
    """Factor by which damage lowers the amplitude at frequency `k` (1/A) after `dose` (e/A^2)."""
    return torch.exp(-0.5 * dose / critical_dose(k, voltage_kv=voltage_kv))


def optimal_dose(k: Tensor, *, voltage_kv=300.0) -> Tensor:
    """Dose after which further exposure only lowers the signal-to-noise ratio at frequency `k`
    (1/A), e/A^2.
    """
    return 2.51284 * critical_dose(k, voltage_kv=voltage_kv)
