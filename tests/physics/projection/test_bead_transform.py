import pytest
import torch

from atomdrgn.physics.disc import make_disc
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.projection.bead_transform import bead_transform, inside
from atomdrgn.physics.projection.project import project_beads


def beads(batch=2, n=30, spread=8.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    position = spread * torch.randn(batch, n, 3, generator=generator).clamp(-2, 2)
    return position, 3 + torch.rand(n, generator=generator), 1 + torch.rand(n, generator=generator)


@pytest.mark.parametrize("box_size", [48, 45])
def test_it_is_the_transform_of_the_projected_image(box_size):
    """Two routes to one image: sums of waves, and pixels that are transformed."""
    grid = ImageGrid(box_size, 2.0)
    position, sigma, amplitude = beads()
    disc = make_disc(grid, 6.0)
    by_sums = bead_transform(position, sigma, disc, weight=amplitude[:, None].expand(2, -1, 1))[
        :, 0, 0
    ]
    by_pixels = torch.view_as_real(
        disc.coefficients(project_beads(position, amplitude, sigma, grid))
    ).movedim(-1, -2)
    assert (by_sums - by_pixels).norm() < 2e-4 * by_pixels.norm()


def test_parts_add_up_and_fields_are_apart():
    disc = make_disc(ImageGrid(32, 2.0), 8.0)
    position, sigma, amplitude = beads()
    weight = torch.stack([amplitude, 2 * amplitude, 0 * amplitude], -1).expand(2, -1, 3)
    whole = bead_transform(position, sigma, disc, weight=weight)
    apart = bead_transform(
        position, sigma, disc, weight=weight, parts=[slice(0, 11), slice(11, 30)]
    )
    torch.testing.assert_close(apart.sum(1, keepdim=True), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole[:, :, 1], 2 * whole[:, :, 0])
    assert (whole[:, :, 2] == 0).all()


def test_an_empty_part_is_zero():
    disc = make_disc(ImageGrid(32, 2.0), 8.0)
    position, sigma, amplitude = beads()
    out = bead_transform(
        position,
        sigma,
        disc,
        weight=amplitude[:, None].expand(2, -1, 1),
        parts=[slice(0, 30), slice(30, 30)],
    )
    assert (out[:, 1] == 0).all()


def test_a_bead_outside_the_box_is_lost_and_does_not_wrap():
    grid = ImageGrid(32, 2.0)
    position = torch.tensor([[[40.0, 0.0, 0.0]], [[0.0, 0.0, 500.0]]])
    assert inside(position, grid).tolist() == [[0.0], [1.0]]
    disc = make_disc(grid, 8.0)
    out = bead_transform(position, torch.tensor([3.0]), disc, weight=torch.ones(2, 1, 1))
    assert (out[0] == 0).all() and (out[1] != 0).any()


@pytest.mark.parametrize("box_size", [6, 45, 200])
def test_loops_and_tensor_operations_agree(box_size, monkeypatch):
    """The compiled loops and their slow twin, on more beads than are taken at once."""
    monkeypatch.setattr("atomdrgn.physics.projection.bead_transform.BEADS_AT_ONCE", 16)
    disc = make_disc(ImageGrid(box_size, 2.0), 4.5)
    position, sigma, amplitude = beads(n=50, spread=0.5 * box_size)
    weight = torch.stack([amplitude, -2 * amplitude.flip(0)], -1).expand(2, -1, 2)
    parts = [slice(0, 7), slice(7, 7), slice(7, 50)]
    quick = bead_transform(position, sigma, disc, weight=weight, parts=parts)
    slow = bead_transform(
        position.double(), sigma.double(), disc, weight=weight.double(), parts=parts
    )
    assert (quick - slow).norm() < 1e-5 * slow.norm()
    position.requires_grad_()
    exact = position.detach().double().requires_grad_()
    quick, slow = (
        bead_transform(x, sigma.to(x), disc, weight=weight.to(x), parts=parts)
        for x in (position, exact)
    )
    wanted = torch.randn(
        slow.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    (quick * wanted.float()).sum().backward()
    (slow * wanted).sum().backward()
    assert (quick - slow).norm() < 1e-5 * slow.norm()
    assert (position.grad - exact.grad).norm() < 1e-4 * exact.grad.norm()
