import pytest
import torch

from atomdrgn.inference.images import BYTES_A_COEFFICIENT, FourierImages


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
