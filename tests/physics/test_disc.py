import pytest
import torch

from atomdrgn.physics.disc import make_disc
from atomdrgn.physics.grid import ImageGrid


@pytest.mark.parametrize("box_size", [15, 16])
def test_power_of_a_band_limited_image_is_on_its_disc(box_size):
    """Parseval: coefficients times multiplicity hold the whole power of an image without its mean
    and beyond Nyquist nothing.
    """
    grid = ImageGrid(box_size, 2.0)
    disc = make_disc(grid, 2 * grid.pixel_size * 1.3)
    image = torch.randn(3, box_size, box_size, generator=torch.Generator().manual_seed(1))
    plane = torch.fft.fft2(image)
    ky, kx = torch.meshgrid(*(torch.fft.fftfreq(box_size, 2.0),) * 2, indexing="ij")
    inside = (torch.hypot(kx, ky) <= 1 / disc.resolution + 1e-9) & (torch.hypot(kx, ky) > 0)
    expected = (plane.abs().square() * inside).sum((-2, -1)) / box_size**2
    power = (disc.coefficients(image).abs().square() * disc.multiplicity).sum(-1)
    torch.testing.assert_close(power, expected, rtol=1e-4, atol=1e-4)


def test_white_noise_has_unit_power_a_coefficient():
    grid = ImageGrid(32, 1.0)
    noise = torch.randn(500, 32, 32, generator=torch.Generator().manual_seed(0))
    disc = make_disc(grid, 2.0)
    power = disc.coefficients(noise).abs().square().mean()
    assert abs(power - 1) < 0.01


def test_a_coarser_disc_has_the_first_ranks():
    disc = make_disc(ImageGrid(32, 2.0), 4.0)
    coarse = disc.coarser(10.0)
    assert 0 < len(coarse) < len(disc)
    assert torch.equal(coarse.rank.sort().values, torch.arange(len(coarse)))
    by_rank = torch.argsort(disc.rank)
    assert torch.equal(disc.x_index[by_rank][coarse.rank], coarse.x_index)
    radius = torch.hypot(disc.kx, disc.ky)[by_rank]
    assert radius[: len(coarse)].max() <= 1 / 10.0 < radius[len(coarse)]


@pytest.mark.parametrize("resolution", [4.0, 9.0])
def test_rows_hold_every_frequency_once_with_x_rising(resolution):
    disc = make_disc(ImageGrid(32, 2.0), 4.0).coarser(resolution)
    held = [(first + i, y) for y, first, _, length in disc.rows.tolist() for i in range(length)]
    assert held == list(zip(disc.x_index.tolist(), disc.y_index.tolist(), strict=True))
    assert disc.rows[:, 2].tolist() == [0, *disc.rows[:-1, 3].cumsum().tolist()]


def test_nyquist_is_left_out_and_every_other_frequency_is_there_once():
    disc = make_disc(ImageGrid(8, 1.0), 2.0)
    points = set(zip(disc.x_index.tolist(), disc.y_index.tolist(), strict=True))
    assert len(points) == len(disc)
    assert points == {(x, y) for x in range(4) for y in range(-3, 4) if 0 < x * x + y * y < 16}


def test_shells_are_rounded_radii_and_count_from_zero_at_radius_one():
    disc = make_disc(ImageGrid(16, 1.0), 2.0)
    for x, y, shell in zip(
        disc.x_index.tolist(), disc.y_index.tolist(), disc.shell.tolist(), strict=True
    ):
        assert abs((x * x + y * y) ** 0.5 - (shell + 1)) <= 0.5
