import numpy as np
import pytest
import torch

from atomdrgn.inference.images import BYTES_A_COEFFICIENT, FourierImages
from atomdrgn.parallel import Portions
from hinge import with_pixels
from processes import together


@pytest.mark.parametrize("resolution", [40.0, 20.0, 9.0])
def test_what_is_kept_is_what_is_read(hinged, resolution):
    """To half precision, whether all coefficients fit into memory, some, or none."""
    _, particles, _ = hinged
    index = torch.tensor([3, 4, 77, 149])
    read = FourierImages(particles, 9.0)
    disc = read.disc.coarser(resolution)
    expected = disc.parts(particles.read(index))
    for memory in (1e9, *(float(BYTES_A_COEFFICIENT * len(particles) * count) for count in (len(disc), 20, 0))):
        images = FourierImages(particles, 9.0)
        images.load(memory=memory)
        assert images.kept.numel() * 2 <= memory
        found = images.coefficients(index, disc)
        scale = expected.square().mean((1, 2), keepdim=True).sqrt()
        assert ((found - expected) / scale).square().mean() < 1e-6
    assert torch.equal(read.coefficients(index, disc), expected)


def test_a_share_of_the_images_is_kept(hinged):
    _, particles, _ = hinged
    images = FourierImages(particles, 15.0)
    images.load(torch.arange(10, 150, 2))
    assert len(images.kept) == 70
    expected = images.disc.parts(particles.read(torch.tensor([20, 148])))
    torch.testing.assert_close(images.coefficients(torch.tensor([20, 148]), images.disc), expected, rtol=0.01, atol=0.02)


def test_images_that_others_keep_are_read(hinged):
    _, particles, _ = hinged
    images = FourierImages(particles, 15.0)
    images.load(torch.arange(9))
    index = torch.tensor([20, 148])
    assert torch.equal(images.coefficients(index, images.disc), images.disc.parts(particles.read(index)))


def test_images_of_any_scale_are_kept_well(hinged):
    """Half precision would round images of 1e-8 to nothing and those of 1e8 to infinity."""
    _, particles, _ = hinged
    for factor in (1e-8, 1e8):
        images = FourierImages(particles, 15.0)
        sign = particles.images.sign
        object.__setattr__(particles.images, "sign", factor * sign)
        try:
            images.load(torch.arange(5))
            expected = images.disc.parts(particles.read(torch.arange(5)))
        finally:
            object.__setattr__(particles.images, "sign", sign)
        found = images.coefficients(torch.arange(5), images.disc)
        assert (found - expected).norm() < 1e-3 * expected.norm()


def one_hot_pixel(pixels):
    pixels[7, 20, 30] = 1000 * pixels.std()


@pytest.mark.parametrize("memory", [1e9, 0.0])
def test_an_image_that_stands_out_is_left_out(hinged, tmp_path, memory):
    """Whether images are kept or read again; the others are as they were, and a part of the set remembers."""
    _, particles, _ = hinged
    spoilt = with_pixels(particles, tmp_path / "spoilt", one_hot_pixel)
    images, others = FourierImages(spoilt, 15.0), FourierImages(particles, 15.0)
    for each in (images, others):
        each.load(memory=memory)
    assert torch.nonzero(images.left_out)[:, 0].tolist() == [7] and not others.left_out.any() and others.warnings == ()
    assert len(images.warnings) == 1 and "1 of 150 images (row 8)" in images.warnings[0]
    index = torch.tensor([3, 7, 149])
    found, expected = (each.coefficients(index, images.disc) for each in (images, others))
    assert not found[1].any() and torch.equal(found[[0, 2]], expected[[0, 2]])
    part = images.part(torch.tensor([7, 20]))
    assert part.left_out.tolist() == [True, False] and not part.coefficients(torch.tensor([0]), images.disc).any()


@pytest.mark.parametrize("memory", [1e9, 0.0])
def test_ramps_are_taken_off(hinged, tmp_path, memory):
    _, particles, _ = hinged
    line = np.linspace(-1, 1, 48, dtype=np.float32)

    def lean(pixels):
        pixels += 20 * pixels.std() * line

    images, plain = FourierImages(with_pixels(particles, tmp_path / "leaning", lean), 15.0), FourierImages(particles, 15.0)
    for each in (images, plain):
        each.load(memory=memory)
    assert not images.left_out.any() and "150 of 150 images are brighter on one side" in images.warnings[0]
    index = torch.tensor([3, 77])
    for each in (images, images.part(torch.arange(150))):
        found, expected = each.coefficients(index, images.disc), plain.coefficients(index, images.disc)
        assert (found - expected).square().mean() < 1e-3 * expected.square().mean()


def test_shares_of_processes_are_screened_together(hinged, tmp_path):
    """Each reads its own images and knows of all which are left out."""
    _, particles, _ = hinged
    stack = with_pixels(particles, tmp_path / "spoilt", one_hot_pixel)

    def left_out(processes):
        number = (torch.arange(150) >= 60).long()
        images = FourierImages(stack, 15.0)
        images.load(torch.nonzero(number == processes.rank)[:, 0], portions=Portions(number, 2, processes))
        return torch.nonzero(images.left_out)[:, 0].tolist()

    assert together(2, left_out) == [[7], [7]]
