import pytest
import torch

from atomdrgn.physics.disc import make_disc
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.projection import rigid_slices
from atomdrgn.physics.projection.bead_transform import bead_transform
from atomdrgn.physics.projection.rigid_slices import (
    RigidParts,
    make_rigid_slices,
    slices_are_quicker,
)
from atomdrgn.physics.rotations import matrix_from_quaternion


def chain(n, *, stretch=(1.0, 1.0, 1.0), width=2.0, seed=301):
    """A random walk of residues 3.8 A apart, drawn out along the axes."""
    generator = torch.Generator().manual_seed(seed)
    step = torch.randn(n, 3, generator=generator)
    walk = (3.8 * step / step.norm(dim=1, keepdim=True)).cumsum(0)
    arm = (walk - walk.mean(0)) * torch.tensor(stretch)
    sigma = width * (0.8 + 0.4 * torch.rand(n, generator=generator))
    return arm, sigma, 20 + 40 * torch.rand(n, generator=generator)


def views(batch=3, seed=301):
    generator = torch.Generator().manual_seed(seed)
    quaternion = torch.randn(batch, 4, generator=generator)
    turn = matrix_from_quaternion(quaternion / quaternion.norm(dim=1, keepdim=True))
    return turn, 4 * torch.randn(batch, 2, generator=generator)


def summed(beads, turn, origin, disc):
    arm, sigma, amplitude = beads
    seen = turn @ arm.T
    plane = seen[:, :2] + origin[..., None]
    field = amplitude * torch.cat([torch.ones_like(seen[:, :1]), seen], 1)
    return bead_transform(plane.mT, sigma, disc, weight=field.mT)[:, 0]


def reach(disc):
    return float(torch.hypot(disc.kx, disc.ky).max())


def apart(a, b):
    """Norm of a difference over that of what it should be, image by image and field by field."""
    return float(((a - b).square().sum((2, 3)) / b.square().sum((2, 3))).sqrt().max())


@pytest.mark.parametrize(
    ("n", "box", "pixel_size", "resolution", "made"),
    [
        (200, 64, 3.0, 7.0, {}),
        (200, 65, 3.0, 6.0, {"width": 1.0}),
        (60, 96, 1.5, 4.0, {"width": 1.5}),
        (900, 128, 2.0, 5.0, {"stretch": (0.6, 0.6, 0.6)}),
        (300, 128, 1.5, 4.0, {"stretch": (1.5, 0.1, 0.1)}),
        (300, 64, 4.0, 10.0, {"width": 5.0}),
        (3, 48, 2.0, 5.0, {}),
        (1, 48, 2.0, 5.0, {}),
    ],
)
def test_slices_are_the_exact_sum(n, box, pixel_size, resolution, made):
    disc, beads, (turn, origin) = (
        make_disc(ImageGrid(box, pixel_size), resolution),
        chain(n, **made),
        views(),
    )
    slices = make_rigid_slices(*beads, reach=reach(disc))
    wanted = summed(beads, turn, origin, disc)
    found = slices.fields(turn, origin, disc)
    if n == 1:  # it is its own centroid: there are no arms
        found, wanted = found[:, :1], wanted[:, :1]
    assert apart(found, wanted) < 1e-3
    image = slices.images(turn, origin, disc)
    torch.testing.assert_close(image, found[:, 0])


def test_a_grid_for_fine_images_serves_coarser_ones():
    grid, beads, (turn, origin) = ImageGrid(96, 2.0), chain(150), views()
    fine, coarse = make_disc(grid, 5.0), make_disc(grid, 12.0)
    slices = make_rigid_slices(*beads, reach=reach(fine))
    found = slices.fields(turn, origin, coarse)
    assert apart(found, summed(beads, turn, origin, coarse)) < 1e-3


def test_loops_are_the_tensor_operations(monkeypatch):
    disc, (turn, origin) = make_disc(ImageGrid(45, 3.0), 8.0), views()
    slices = make_rigid_slices(*chain(80), reach=reach(disc))
    by_loops = [f(turn, origin, disc) for f in (slices.fields, slices.images)]
    monkeypatch.setattr(rigid_slices, "looped", lambda *values: False)
    by_tensors = [f(turn, origin, disc) for f in (slices.fields, slices.images)]
    for a, b in zip(by_loops, by_tensors, strict=True):
        assert (a - b).norm() < 2e-6 * b.norm()


def test_tensor_operations_have_the_gradient_of_the_sum():
    disc, (turn, origin) = make_disc(ImageGrid(48, 3.0), 9.0), views(1)
    beads = chain(80)
    slices = make_rigid_slices(*beads, reach=reach(disc))
    gradients = []
    for image in (
        lambda at: slices.images(turn, at, disc),
        lambda at: summed(beads, turn, at, disc)[:, 0],
    ):
        at = origin.clone().requires_grad_()
        image(at)[:, :, ::7].sum().backward()
        gradients.append(at.grad)
    torch.testing.assert_close(*gradients, rtol=2e-3, atol=0.0)


def parts_of(beads, sizes):
    ends = torch.tensor([0, *sizes]).cumsum(0).tolist()
    parts = [slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)]
    return RigidParts(torch.arange(len(beads[0])), beads[0], parts)


def test_what_has_few_beads_is_summed():
    disc, beads = make_disc(ImageGrid(64, 3.0), 8.0), chain(620)
    parts = parts_of(beads, (20, 600))
    assert list(parts.quicker(beads[2], beads[1], disc, fields=4)) == [1]
    assert slices_are_quicker(600, 4, disc) and not slices_are_quicker(20, 4, disc)


def test_a_grid_is_of_what_is_asked_for_and_of_nothing_before():
    """So that a fit that goes on from a file ends with the same bits; batches share one."""
    grid, (arm, sigma, amplitude) = ImageGrid(64, 3.0), chain(600)
    coarse, fine = make_disc(grid, 20.0), make_disc(grid, 10.0)

    def ask(parts, amplitude, sigma, disc):
        return parts.quicker(amplitude, sigma, disc, fields=4)[0]

    brighter = 0.3 * amplitude
    before, fresh = (parts_of((arm, sigma, amplitude), (600,)) for _ in range(2))
    ask(before, amplitude, sigma, fine)
    again = ask(before, brighter, sigma, coarse)
    assert ask(before, brighter, sigma, coarse) is again
    assert torch.equal(again.values, ask(fresh, brighter, sigma, coarse).values)
    assert before.quicker(0 * amplitude, sigma, fine, fields=4) == {}
