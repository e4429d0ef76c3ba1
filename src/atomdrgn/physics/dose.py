"""Radiation damage: how fast each frequency fades with the dose (Grant & Grigorieff 2015)."""

import torch
from torch import Tensor


def critical_dose(k: Tensor, *, voltage_kv: float | Tensor = 300.0) -> Tensor:
    """Dose after which the signal has fallen to exp(-1/2) in amplitude, e/A^2.

    Below 300 kV damage per electron is larger: 0.8 of the dose at 200 kV, in between and beyond by
    linear interpolation of that figure, kept within 0.57 (100 kV, Peet et al. 2019: damage goes
    with the inelastic cross-section) and 1.

    Parameters
    ----------
    k : Tensor
        Frequency, 1/A.
    voltage_kv : float or Tensor
        Of the microscope, kV; broadcast with `k`.

    Returns
    -------
    Tensor
        One value for each frequency and voltage.

    References
    ----------
    Grant & Grigorieff, eLife 4:e06980 (2015), equation 3 and table 1.

    Examples
    --------
    >>> critical_dose(torch.tensor([1 / 20, 1 / 4])).round(decimals=1)
    tensor([38.7000,  5.3000])
    """
    voltage = torch.as_tensor(voltage_kv, dtype=k.dtype, device=k.device)
    relative = (1 - 0.2 * (300 - voltage) / 100).clamp(0.57, 1.0)
    return relative * (0.24499 * k.clamp_min(1e-6) ** -1.6649 + 2.8141)


def dose_weight(dose: Tensor, k: Tensor, *, voltage_kv: float | Tensor = 300.0) -> Tensor:
    """Factor by which damage lowers the amplitude at a frequency after a dose.

    Parameters
    ----------
    dose : Tensor
        e/A^2, broadcast with `k`.
    k : Tensor
        Frequency, 1/A.
    voltage_kv : float or Tensor
        Of the microscope, kV.

    Returns
    -------
    Tensor
        1 for no dose, towards 0 as it grows.

    Examples
    --------
    >>> dose_weight(torch.tensor(30.0), torch.tensor([1 / 20, 1 / 4])).round(decimals=2)
    tensor([0.6800, 0.0600])
    """
    return torch.exp(-0.5 * dose / critical_dose(k, voltage_kv=voltage_kv))


def optimal_dose(k: Tensor, *, voltage_kv: float | Tensor = 300.0) -> Tensor:
    """Dose after which exposure only lowers the signal-to-noise ratio at a frequency, e/A^2.

    Parameters
    ----------
    k : Tensor
        Frequency, 1/A.
    voltage_kv : float or Tensor
        Of the microscope, kV; broadcast with `k`.

    Returns
    -------
    Tensor
        One value for each frequency and voltage.

    Examples
    --------
    >>> optimal_dose(torch.tensor([1 / 20, 1 / 4])).round(decimals=1)
    tensor([97.3000, 13.3000])
    """
    return 2.51284 * critical_dose(k, voltage_kv=voltage_kv)
