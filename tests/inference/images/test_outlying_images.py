import math

import pytest
import torch

from atomdrgn.errors import InputError
from atomdrgn.inference.images.outlying_images import (
    Figures,
    figures_of,
    find_backgrounds,
    stand_out,
)
from atomdrgn.particles.stack.corrections import TERMS, background_terms

BOX = 32


def noise(count, *, seed=0, box=BOX):
    return torch.randn(count, box, box, generator=torch.Generator().manual_seed(seed))


def ramp(slope, box=BOX):
    """Planes of these slopes."""
    return background(torch.cat([slope, torch.zeros(len(slope), TERMS - 2)], 1), box)


def background(terms, box=BOX):
    return (terms @ background_terms(box)).unflatten(1, (box, box))


def find_ramps(figures, group, box):
    found = find_backgrounds(figures, group, box)
    assert not found[:, 2:].any()
    return found[:, :2]


def in_group(count, number=0):
    return torch.full((count,), number)


def odd(images, group=None, tilt=None):
    zero = in_group(len(images))
    found = stand_out(
        figures_of(images),
        group=zero if group is None else group,
        tilt=zero if tilt is None else tilt,
    )
    return torch.nonzero(found)[:, 0].tolist()


def test_of_ten_thousand_images_of_noise_none_stands_out():
    images = noise(10_000)
    assert odd(images) == []
    assert not find_ramps(figures_of(images), in_group(len(images)), BOX).any()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda image: image.index_put((torch.tensor(20), torch.tensor(7)), torch.tensor(100.0)),
        lambda image: image.index_put((torch.tensor(0), torch.tensor(0)), torch.tensor(-30.0)),
        lambda image: image.index_put((torch.tensor(3), torch.tensor(3)), torch.tensor(3e38)),
        lambda image: 10 * image,
        lambda image: 0.1 * image,
        lambda image: 1e20 * image,
        lambda image: 1e-30 * image,
        lambda image: torch.where(torch.arange(BOX) < 8, 60.0, image),
    ],
)
def test_a_spoilt_image_stands_out_and_no_other(spoil):
    images = noise(200)
    images[7] = spoil(images[7])
    assert odd(images) == [7]


def test_images_that_were_not_normalised_stand_out():
    images = noise(300)
    images[::50] *= 10
    assert odd(images) == list(range(0, 300, 50))


def test_what_experiments_differ_by_does_not_stand_out():
    """Contrast, ice that is thicker here and there, a bright particle or a neighbour in some of the
    images.
    """
    generator = torch.Generator().manual_seed(1)
    line = torch.linspace(-1, 1, BOX)
    blob = torch.exp(-20 * (line.square() + line[:, None].square()))
    contrast = 1 + 0.2 * torch.randn(500, 1, 1, generator=generator)
    neighbour = (torch.rand(500, 1, 1, generator=generator) < 0.1) * blob.roll((10, 10), (0, 1))
    ice = torch.exp(0.3 * torch.randn(500, 1, 1, generator=generator))
    images = ice * noise(500) + 2 * contrast * (blob + neighbour)
    assert odd(images) == []
    assert not find_ramps(figures_of(images), in_group(500), BOX).any()


def test_each_noise_group_is_compared_with_itself():
    """A group that is thirty times as bright is not odd, and an image of the other scale among them
    is.
    """
    images = noise(120)
    group = torch.arange(120) % 2
    images[group == 1] *= 30
    assert odd(images, group) == []
    images[5] /= 30
    assert odd(images, group) == [5]


def test_small_groups_are_compared_with_their_tilt():
    """Ten particles in each of four tomograms: power falls with the dose, and one image is spoilt."""
    tilt = torch.arange(30).repeat(40)
    group = tilt + 30 * torch.arange(4).repeat_interleave(300)
    images = noise(1200) * (0.9**tilt)[:, None, None]
    assert odd(images, group, tilt) == []
    images[100] *= 10
    assert odd(images, group, tilt) == [100]


def test_next_to_no_images_and_copies_of_one():
    assert odd(noise(7) * torch.tensor([1.0, 1, 1, 1, 1, 1, 100])[:, None, None]) == []
    copies = noise(1).expand(100, -1, -1).clone()
    assert odd(copies) == []
    copies[3] *= 10
    assert odd(copies) == [3]


@pytest.mark.parametrize("factor", [1e20, 1e-20])
def test_sets_that_no_arithmetic_can_hold_are_refused(factor):
    with pytest.raises(InputError, match="scale the images"):
        odd(factor * noise(20))


def test_figures_are_those_of_the_pixels():
    image = noise(3) + 100 + ramp(torch.tensor([[1.0, -2.0]]), BOX)
    found = figures_of(image)
    torch.testing.assert_close(
        found.power, image.double().var((1, 2), correction=0), rtol=1e-4, atol=0
    )
    farthest = (image - image.mean((1, 2), keepdim=True)).abs().amax((1, 2)) / found.rms
    torch.testing.assert_close(found.extreme, farthest.double(), rtol=1e-4, atol=0)
    assert (found.background[:, :2] - torch.tensor([1.0, -2.0])).abs().max() < 0.3


def test_backgrounds_do_not_see_what_stands_in_the_circle():
    line = torch.linspace(-1, 1, BOX)
    within = (line.square() + line[:, None].square() < 0.9) * line * 50.0
    assert figures_of(within[None]).background.abs().max() < 1e-4


def test_a_ramp_of_one_image_is_found():
    images, group = noise(100), in_group(100)
    images[3] += ramp(torch.tensor([[5.0, 3.0]]), BOX)[0]
    found = find_ramps(figures_of(images), group, BOX)
    assert torch.nonzero(found.any(1))[:, 0].tolist() == [3]
    assert (found[3] - torch.tensor([5.0, 3.0])).abs().max() < 0.5


@pytest.mark.parametrize("slope", [(0.1, 0.0), (0.0, 0.3), (-2.0, 1.0)])
def test_a_ramp_that_a_group_shares_is_found(slope):
    """Also where it is too faint to be told in one image; another group has none."""
    images, group = noise(800, box=64), torch.arange(800) % 2
    images[group == 1] += ramp(torch.tensor([slope]), 64)
    found = find_ramps(figures_of(images), group, 64)
    assert (found[group == 1] - torch.tensor(slope)).abs().max() < 0.02 and not found[
        group == 0
    ].any()


def test_ramps_of_all_directions_are_found():
    images, group = noise(200), in_group(200)
    angle = 2 * math.pi * torch.rand(200, 1, generator=torch.Generator().manual_seed(1))
    slope = 3 * torch.cat([angle.cos(), angle.sin()], 1)
    assert (find_ramps(figures_of(images + ramp(slope, BOX)), group, BOX) - slope).abs().max() < 0.6


def test_real_particles_do_not_stand_out(shared):
    from atomdrgn.particles.reading import read_particles

    stack = read_particles(shared / "data/particles/bgal417/particles.star")
    figures = figures_of(stack.read())
    assert isinstance(figures, Figures) and len(figures.power) == 417
    assert not stand_out(figures, group=stack.optics_group, tilt=stack.tilt).any()
    assert not find_ramps(figures, stack.optics_group, stack.grid.box_size).any()
