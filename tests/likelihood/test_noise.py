import math

import torch

from atomdrgn.likelihood.noise import Noise, noise_groups
from atomdrgn.physics.ctf import CTF
from atomdrgn.physics.disc import make_disc
from atomdrgn.physics.grid import ImageGrid

GRID = ImageGrid(32, 3.0)
DISC = make_disc(GRID, 7.0)


def ctfs(n):
    zero = torch.zeros(n)
    return CTF(
        zero + 15000,
        zero + 14500,
        zero + 0.3,
        zero,
        zero + 300,
        zero + 2.7,
        zero + 0.1,
        zero + 0.7,
        zero,
        zero,
    )


def coefficients(image):
    return torch.view_as_real(DISC.coefficients(image)).movedim(-1, -2)


def test_whitened_noise_is_white():
    """Noise of a known spectrum in two groups has unit power after whitening, ring by ring."""
    generator = torch.Generator().manual_seed(0)
    shells = int(DISC.shell.max()) + 1
    spectrum = torch.stack([torch.linspace(9, 1, shells), torch.linspace(1, 4, shells)])
    group = torch.arange(400) % 2
    noise = Noise(spectrum, group, torch.zeros(400, dtype=torch.bool))
    white = coefficients(torch.randn(400, 32, 32, generator=generator))
    coloured = white * spectrum[group][:, DISC.shell].sqrt()[:, None]
    _, data = noise.whiten(coloured, ctfs(400), torch.arange(400), disc=DISC)
    for number in (0, 1):
        power = (data[group == number].square().sum(1) / DISC.multiplicity).mean(0)
        means = torch.zeros(shells).index_add_(0, DISC.shell, power) / torch.bincount(DISC.shell)
        assert (means - 1).abs().max() < 0.15


def test_premultiplied_images_say_the_same_as_plain_ones():
    """Multiplying image and noise by the CTF changes neither the whitened data nor the transfer
    where the CTF is not small.
    """
    generator = torch.Generator().manual_seed(1)
    ctf, plain = ctfs(3), coefficients(torch.randn(3, 32, 32, generator=generator))
    oscillation = ctf.oscillation(DISC.kx, DISC.ky)
    spectrum, group = torch.full((1, 40), 2.0), torch.zeros(3, dtype=torch.long)
    index = torch.arange(3)
    transfer, data = Noise(spectrum, group, torch.zeros(3, dtype=torch.bool)).whiten(
        plain, ctf, index, disc=DISC
    )
    multiplied = Noise(spectrum, group, torch.ones(3, dtype=torch.bool))
    transfer2, data2 = multiplied.whiten(plain * oscillation[:, None], ctf, index, disc=DISC)
    used = transfer2 != 0
    assert 0.5 < used.float().mean() < 1
    torch.testing.assert_close(transfer2[used], transfer[used])
    torch.testing.assert_close(
        data2.movedim(1, 2)[used], data.movedim(1, 2)[used], rtol=1e-3, atol=1e-4
    )
    assert (oscillation[~used].abs() <= 0.1).all()


def test_the_transfer_holds_ctf_weight_and_noise():
    noise = Noise(
        torch.full((1, 40), 4.0), torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.bool)
    )
    ctf = ctfs(1)
    transfer, _ = noise.whiten(torch.zeros(1, 2, len(DISC)), ctf, torch.tensor([0]), disc=DISC)
    torch.testing.assert_close(transfer, ctf.at(DISC.kx, DISC.ky) * (DISC.multiplicity / 4).sqrt())
    assert math.isclose(float(ctf.scale[0]), 0.7, rel_tol=1e-6)


def test_an_image_that_is_left_out_adds_nothing_to_any_sum():
    images, index = (
        torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0)),
        torch.arange(3),
    )
    spectrum, group = torch.ones(1, int(DISC.shell.max()) + 1), torch.zeros(3, dtype=torch.long)
    premultiplied = torch.tensor([False, False, True])
    plain = Noise(spectrum, group, premultiplied).whiten(
        coefficients(images), ctfs(3), index, disc=DISC
    )
    without = Noise(spectrum, group, premultiplied, left_out=torch.tensor([False, True, False]))
    found = without.whiten(coefficients(images), ctfs(3), index, disc=DISC)
    for some, every in zip(found, plain, strict=True):
        assert not some[1].any() and torch.equal(some[[0, 2]], every[[0, 2]])


def test_groups_are_pairs_of_optics_group_and_tilt_that_occur():
    assert noise_groups(torch.tensor([0, 0, 1, 1, 0]), torch.tensor([0, 2, 0, 0, 2])).tolist() == [
        0,
        1,
        2,
        2,
        1,
    ]
