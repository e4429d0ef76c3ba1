import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from atomdrgn.physics.ctf import CTF, electron_wavelength
from atomdrgn.physics.dose import dose_weight
from atomdrgn.physics.grid import ImageGrid

GRID = ImageGrid(32, 2.0)

TYPICAL = {
    "defocus_u": 18000.0,
    "defocus_v": 15000.0,
    "defocus_angle": math.radians(30),
    "phase_shift": 0.0,
    "voltage_kv": 300.0,
    "spherical_aberration_mm": 2.7,
    "amplitude_contrast": 0.1,
    "scale": 1.0,
    "b_factor": 0.0,
    "dose": 0.0,
}


def microscope(**changes):
    """A typical CTF, one value for each entry of the longest list among the changes."""
    values = {
        name: torch.as_tensor(changes.get(name, value), dtype=torch.float64)
        for name, value in TYPICAL.items()
    }
    return CTF(*torch.broadcast_tensors(*values.values()))


@pytest.mark.parametrize(
    ("voltage_kv", "wavelength"), [(100.0, 0.03701), (200.0, 0.02508), (300.0, 0.01969)]
)
def test_wavelength_is_the_textbooks(voltage_kv, wavelength):
    """Reimer & Kohl, Transmission Electron Microscopy (2008), table 2.2."""
    assert electron_wavelength(voltage_kv) == pytest.approx(wavelength, abs=1e-5)


@pytest.mark.parametrize("contrast", [0.0, 0.07, 0.1, 1.0])
def test_zero_frequency_shows_the_amplitude_contrast_and_protein_is_white(contrast):
    assert microscope(amplitude_contrast=contrast).evaluate(GRID)[0, 0].item() == pytest.approx(
        contrast
    )


@pytest.mark.parametrize("phase_shift", [0.0, 1.2])
def test_values_are_those_of_the_formula_written_in_numpy(phase_shift):
    wavelength = 12.2639 / np.sqrt(300e3 + 0.97845e-6 * 300e3**2)
    ky, kx = np.meshgrid(np.fft.fftfreq(32, 2.0), np.fft.rfftfreq(32, 2.0), indexing="ij")
    k = np.hypot(kx, ky)
    defocus = (18000 + 15000 + (18000 - 15000) * np.cos(2 * (np.arctan2(ky, kx) - np.pi / 6))) / 2
    chi = (
        np.pi * wavelength * defocus * k**2 - np.pi / 2 * 2.7e7 * wavelength**3 * k**4 + phase_shift
    )
    expected = np.sqrt(1 - 0.1**2) * np.sin(chi) + 0.1 * np.cos(chi)
    assert_close(
        microscope(phase_shift=phase_shift).evaluate(GRID),
        torch.from_numpy(expected),
        atol=1e-5,
        rtol=0,
    )


def test_values_are_those_of_torch_ctf():
    """Golden numbers: torch-ctf 0.6.0 (BSD-3-Clause), calculate_ctf_2d(defocus=1.65,
    astigmatism=0.15, astigmatism_angle=30, voltage=300, spherical_aberration=2.7,
    amplitude_contrast=0.1, phase_shift=40, pixel_size=3, image_shape=(16, 16), rfft=True,
    fftshift=False). Its wavelength has one more digit: hence the tolerance.
    """
    golden = {
        (0, 0): 0.71617,
        (0, 3): -0.96926,
        (3, 0): -0.99353,
        (2, 5): 0.83906,
        (14, 5): 0.6825,
        (8, 0): 0.61812,
        (5, 8): -0.62144,
        (11, 7): -0.13164,
    }
    value = microscope(phase_shift=math.radians(40)).evaluate(ImageGrid(16, 3.0))
    for coefficient, expected in golden.items():
        assert value[coefficient].item() == pytest.approx(expected, abs=2e-3)


def test_along_the_defocus_angle_the_defocus_is_defocus_u():
    k, angle = 0.11, math.radians(30)
    astigmatic, round_u, round_v = (
        microscope(),
        microscope(defocus_v=18000.0),
        microscope(defocus_u=15000.0),
    )

    def at(ctf, direction):
        return ctf.at(
            torch.tensor(k * math.cos(direction)).double(),
            torch.tensor(k * math.sin(direction)).double(),
        )

    assert_close(at(astigmatic, angle), at(round_u, angle), atol=1e-5, rtol=0)
    assert_close(
        at(astigmatic, angle + math.pi / 2), at(round_v, angle + math.pi / 2), atol=1e-5, rtol=0
    )


def test_underfocus_turns_the_contrast_positive_first():
    k = torch.tensor(0.01, dtype=torch.float64)
    zero = torch.zeros_like(k)
    under, over = (
        microscope(amplitude_contrast=0.0),
        microscope(amplitude_contrast=0.0, defocus_u=-18000.0, defocus_v=-15000.0),
    )
    assert under.at(k, zero) > 0 > over.at(k, zero)


def test_a_phase_plate_of_a_quarter_wave_gives_full_contrast_at_zero_frequency():
    ctf = microscope(phase_shift=math.pi / 2, amplitude_contrast=0.0)
    assert ctf.evaluate(GRID)[0, 0].item() == pytest.approx(1)


def test_opposite_frequencies_are_transferred_alike():
    kx, ky = (k.double() for k in GRID.frequencies())
    assert_close(microscope().at(kx, ky), microscope().at(-kx, -ky))


def test_decay_dose_and_scale_multiply():
    kx, ky = (k.double() for k in GRID.frequencies())
    k = torch.hypot(kx, ky)
    expected = (
        0.7
        * torch.exp(-25 * k**2)
        * dose_weight(torch.tensor(20.0).double(), k)
        * microscope().at(kx, ky)
    )
    assert_close(microscope(scale=0.7, b_factor=100.0, dose=20.0).at(kx, ky), expected)


def test_each_image_has_its_own_ctf():
    ctf = microscope(defocus_u=[9000.0, 18000.0, 20000.0], dose=[0.0, 0.0, 30.0])
    assert ctf.evaluate(GRID).shape == (3, 32, 17)
    assert_close(ctf.evaluate(GRID)[1], microscope().evaluate(GRID))
    assert_close(ctf[2].evaluate(GRID), ctf.evaluate(GRID)[2])


def test_no_images_have_no_ctf():
    assert microscope(defocus_u=torch.zeros(0)).evaluate(GRID).shape == (0, 32, 17)
