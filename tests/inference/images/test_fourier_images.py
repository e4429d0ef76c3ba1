import numpy as np
import pytest
import torch

from atomdrgn.inference.images.fourier_images import BYTES_A_COEFFICIENT, FourierImages
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
    for memory in (
        1e9,
        *(float(BYTES_A_COEFFICIENT * len(particles) * count) for count in (len(disc), 20, 0)),
    ):
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
    torch.testing.assert_close(
        images.coefficients(torch.tensor([20, 148]), images.disc), expected, rtol=0.01, atol=0.02
    )


def test_images_that_others_keep_are_read(hinged):
    _, particles, _ = hinged
    images = FourierImages(particles, 15.0)
    images.load(torch.arange(9))
    index = torch.tensor([20, 148])
    assert torch.equal(
        images.coefficients(index, images.disc), images.disc.parts(particles.read(index))
    )


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
    """Whether images are kept or read again; the others are as they were, and a part of the set
    remembers.
    """
    _, particles, _ = hinged
    spoilt = with_pixels(particles, tmp_path / "spoilt", one_hot_pixel)
    images, others = FourierImages(spoilt, 15.0), FourierImages(particles, 15.0)
    for each in (images, others):
        each.load(memory=memory)
    assert (
        torch.nonzero(images.left_out)[:, 0].tolist() == [7]
        and not others.left_out.any()
        and others.warnings == ()
    )
    assert len(images.warnings) == 1 and "1 of 150 images (row 8)" in images.warnings[0]
    index = torch.tensor([3, 7, 149])
    found, expected = (each.coefficients(index, images.disc) for each in (images, others))
    assert not found[1].any() and torch.equal(found[[0, 2]], expected[[0, 2]])
    part = images.part(torch.tensor([7, 20]))
    assert (
        part.left_out.tolist() == [True, False]
        and not part.coefficients(torch.tensor([0]), images.disc).any()
    )


@pytest.mark.parametrize("memory", [1e9, 0.0])
def test_ramps_are_taken_off(hinged, tmp_path, memory):
    _, particles, _ = hinged
    line = np.linspace(-1, 1, 48, dtype=np.float32)

    def lean(pixels):
        pixels += 20 * pixels.std() * line

    images, plain = (
        FourierImages(with_pixels(particles, tmp_path / "leaning", lean), 15.0),
        FourierImages(particles, 15.0),
    )
    for each in (images, plain):
        each.load(memory=memory)
    assert (
        not images.left_out.any()
        and "150 of 150 images are brighter on one side" in images.warnings[0]
    )
    index = torch.tensor([3, 77])
    for each in (images, images.part(torch.arange(150))):
        found, expected = (
            each.coefficients(index, images.disc),
            plain.coefficients(index, images.disc),
        )
        assert (found - expected).square().mean() < 1e-3 * expected.square().mean()


def test_shares_of_processes_are_screened_together(hinged, tmp_path):
    """Each reads its own images and knows of all which are left out."""
    _, particles, _ = hinged
    stack = with_pixels(particles, tmp_path / "spoilt", one_hot_pixel)

    def left_out(processes):
        number = (torch.arange(150) >= 60).long()
        images = FourierImages(stack, 15.0)
        images.load(
            torch.nonzero(number == processes.rank)[:, 0], portions=Portions(number, 2, processes)
        )
        return torch.nonzero(images.left_out)[:, 0].tolist()

    assert together(2, left_out) == [[7], [7]]


@pytest.mark.parametrize("memory", [1e9, 0.0])
def test_images_of_another_scale_are_brought_to_that_of_the_others(hinged, tmp_path, memory):
    """They tell what they told; one that differs in more than its scale does not."""
    _, particles, _ = hinged

    def scale(pixels):
        pixels[::50] *= 10
        pixels[7] *= 0.01
        pixels[20, :8] += 60 * pixels[20].std()

    images, plain = (
        FourierImages(with_pixels(particles, tmp_path / "scaled", scale), 15.0),
        FourierImages(particles, 15.0),
    )
    for each in (images, plain):
        each.load(memory=memory)
    assert torch.nonzero(images.left_out)[:, 0].tolist() == [20]
    assert torch.nonzero(images.stack.corrections.scale != 1)[:, 0].tolist() == [0, 7, 50, 100]
    assert "4 of 150 images (rows 1, 8, 51 and 101) are of another scale" in images.warnings[1]
    index = torch.tensor([0, 7, 8])
    found, expected = (each.coefficients(index, images.disc) for each in (images, plain))
    ratio = (found * expected).sum((1, 2)) / expected.square().sum((1, 2))
    torch.testing.assert_close(ratio, torch.ones(3), rtol=0.1, atol=0)
    assert (
        found - ratio[:, None, None] * expected
    ).square().mean() < 1e-3 * expected.square().mean()


@pytest.mark.parametrize("memory", [1e9, 0.0])
@pytest.mark.parametrize("place", [(20, 30), (slice(None), 11), (slice(3, 5), slice(None))])
def test_pixels_that_are_faulty_in_all_images_are_filled_in(hinged, tmp_path, place, memory):
    """One pixel, a column, two rows."""
    _, particles, _ = hinged

    def spoil(pixels):
        pixels[(slice(None), *place)] += 20 * pixels.std()

    spoilt = FourierImages(with_pixels(particles, tmp_path / "spoilt", spoil), 15.0)
    spoilt.load(memory=memory)
    expected = torch.zeros(48, 48, dtype=torch.bool)
    expected[place] = True
    assert spoilt.stack.corrections.faulty == tuple(
        torch.nonzero(expected.flatten())[:, 0].tolist()
    )
    assert (
        not spoilt.left_out.any()
        and "nothing like those around in all images alike" in spoilt.warnings[0]
    )
    index = torch.tensor([3, 77])
    plain = particles.read(index)
    assert torch.equal(spoilt.stack.read(index)[:, ~expected], plain[:, ~expected])
    assert (
        spoilt.stack.read(index)[:, expected] - plain[:, expected]
    ).abs().max() < 6 * plain.std()
    part = spoilt.part(torch.tensor([77, 3])).coefficients(torch.tensor([1, 0]), spoilt.disc)
    torch.testing.assert_close(part, spoilt.coefficients(index, spoilt.disc), rtol=0, atol=0)


def test_a_background_that_all_images_share_is_taken_off(hinged, tmp_path):
    _, particles, _ = hinged
    line = np.linspace(-1, 1, 48, dtype=np.float32)

    def light(pixels):
        pixels += (
            3 * pixels.std() * (line**2 - 0.5 * line[:, None] ** 2 + 0.3 * line * line[:, None])
        )

    images, plain = (
        FourierImages(with_pixels(particles, tmp_path / "lit", light), 15.0),
        FourierImages(particles, 15.0),
    )
    for each in (images, plain):
        each.load()
    assert (
        not images.left_out.any()
        and "150 of 150 images are brighter on one side or in the middle" in images.warnings[0]
    )
    index = torch.tensor([3, 77])
    found, expected = (each.coefficients(index, images.disc) for each in (images, plain))
    assert (found - expected).square().mean() < 0.02 * expected.square().mean()


def test_images_are_left_out_and_taken_back_while_spoilt_ones_stay_out(hinged, tmp_path):
    _, particles, _ = hinged
    images = FourierImages(with_pixels(particles, tmp_path / "set", one_hot_pixel), 15.0)
    images.load()
    some = torch.arange(150) % 30 == 4
    fewer = images.leaving_out(some)
    assert torch.equal(fewer.left_out, some | images.spoilt) and images.spoilt.sum() == 1
    assert fewer.kept is images.kept and torch.equal(images.left_out, images.spoilt)
    index = torch.nonzero(some)[:, 0]
    assert not fewer.coefficients(index, images.disc).any()
    part = fewer.part(torch.arange(140, 150))
    back = part.leaving_out(torch.zeros(10, dtype=torch.bool))
    assert torch.equal(back.left_out, images.spoilt[140:])
    assert torch.equal(
        fewer.leaving_out(torch.zeros_like(some)).coefficients(index, images.disc),
        images.coefficients(index, images.disc),
    )
