"""The contrast transfer function of the microscope."""

import math
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from .dose import dose_weight
from .grid import ImageGrid
from .record import Record

MM = 1e7  # angstrom

Voltage = TypeVar("Voltage", float, Tensor)


def electron_wavelength(voltage_kv: Voltage) -> Voltage:
    """Relativistic wavelength of the electron, A.

    Parameters
    ----------
    voltage_kv : float or Tensor
        Accelerating voltage, kV.

    Returns
    -------
    float or Tensor
        As the voltage was given.

    Examples
    --------
    >>> round(electron_wavelength(300.0), 5)
    0.01969
    """
    volt = voltage_kv * 1e3
    return 12.2639 / (volt + 0.97845e-6 * volt**2) ** 0.5


@dataclass(frozen=True)
class CTF(Record):
    """The contrast transfer function of the microscope, one entry an image.

    Underfocus is positive and protein is white: the CTF is +amplitude_contrast at zero frequency.

    Parameters
    ----------
    defocus_u, defocus_v : (*batch,)
        Defocus along the two axes of the astigmatism, A, underfocus positive.
    defocus_angle : (*batch,)
        Angle of the axis of `defocus_u` from x, rad.
    phase_shift : (*batch,)
        Of a phase plate, rad.
    voltage_kv, spherical_aberration_mm, amplitude_contrast : (*batch,)
        Of the microscope.
    scale : (*batch,)
        Weight of the whole image, such as the cosine of the tilt.
    b_factor : (*batch,)
        Extra decay ``exp(-b_factor k^2 / 4)``, A^2.
    dose : (*batch,)
        Electrons per A^2 that the molecule had received before this image; 0: undamaged.

    Examples
    --------
    >>> from atomdrgn import ImageGrid
    >>> names = "defocus_angle", "phase_shift", "b_factor", "dose"
    >>> rest = {name: torch.zeros(1) for name in names} | {"scale": torch.ones(1)}
    >>> ctf = CTF(
    ...     defocus_u=torch.tensor([15000.0]),
    ...     defocus_v=torch.tensor([14800.0]),
    ...     voltage_kv=torch.tensor([300.0]),
    ...     spherical_aberration_mm=torch.tensor([2.7]),
    ...     amplitude_contrast=torch.tensor([0.07]),
    ...     **rest,
    ... )
    >>> ctf.evaluate(ImageGrid(64, 1.5)).shape
    torch.Size([1, 64, 33])
    """

    defocus_u: Float[Tensor, "*batch"]
    defocus_v: Float[Tensor, "*batch"]
    defocus_angle: Float[Tensor, "*batch"]
    phase_shift: Float[Tensor, "*batch"]
    voltage_kv: Float[Tensor, "*batch"]
    spherical_aberration_mm: Float[Tensor, "*batch"]
    amplitude_contrast: Float[Tensor, "*batch"]
    scale: Float[Tensor, "*batch"]
    b_factor: Float[Tensor, "*batch"]
    dose: Float[Tensor, "*batch"]

    def evaluate(self, grid: ImageGrid) -> Float[Tensor, "*batch box half"]:
        """The CTF on the half-plane of ``torch.fft.rfft2`` of an image of this grid."""
        return self.at(*grid.frequencies(self.defocus_u.device))

    def at(
        self, kx: Float[Tensor, "*frequency"], ky: Float[Tensor, "*frequency"]
    ) -> Float[Tensor, "..."]:
        """The CTF at the frequencies (kx, ky), 1/A: one value for each entry and frequency."""
        return self.oscillation(kx, ky) * self.envelope(kx, ky)

    def oscillation(
        self, kx: Float[Tensor, "*frequency"], ky: Float[Tensor, "*frequency"]
    ) -> Float[Tensor, "..."]:
        """The part that changes sign: the lens, without damage, decay and weight of the image."""
        one = (...,) + (None,) * kx.ndim
        k2 = kx**2 + ky**2
        mean = 0.5 * (self.defocus_u + self.defocus_v)
        half_difference = 0.5 * (self.defocus_u - self.defocus_v)
        angle = torch.atan2(ky, kx) - self.defocus_angle[one]
        defocus = mean[one] + half_difference[one] * torch.cos(2 * angle)
        wavelength = electron_wavelength(self.voltage_kv)
        spherical = 0.5 * math.pi * self.spherical_aberration_mm * MM * wavelength**3
        chi = (
            (math.pi * wavelength)[one] * defocus * k2
            - spherical[one] * k2**2
            + self.phase_shift[one]
        )
        w = self.amplitude_contrast[one]
        return torch.sqrt(1 - w**2) * torch.sin(chi) + w * torch.cos(chi)

    def envelope(
        self, kx: Float[Tensor, "*frequency"], ky: Float[Tensor, "*frequency"]
    ) -> Float[Tensor, "..."]:
        """The part that only weakens: the image's scale, its B-factor, damage by the dose."""
        one = (...,) + (None,) * kx.ndim
        k2 = kx**2 + ky**2
        value = self.scale[one] * torch.exp(-0.25 * self.b_factor[one] * k2)
        if self.dose.any():
            value = value * dose_weight(
                self.dose[one], torch.sqrt(k2), voltage_kv=self.voltage_kv[one]
            )
        return value
