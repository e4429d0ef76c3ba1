import pytest
import torch

from atomdrgn.likelihood.image_likelihood import Comparison, compare
from atomdrgn.physics.correlation import normalized_cross_correlation
from atomdrgn.physics.disc import make_disc
from atomdrgn.physics.fourier import half_plane_weight, inverse_transform, transform
from atomdrgn.physics.grid import ImageGrid


def scene(box_size, *, resolution=0.0, dtype=torch.float64):
    """Images, a disc, a transfer function with the root of the multiplicity, and whitened data."""
    generator = torch.Generator().manual_seed(0)
    grid = ImageGrid(box_size, 2.0)
    disc = make_disc(grid, resolution or grid.nyquist)
    image, seen = torch.randn(2, 3, box_size, box_size, generator=generator, dtype=dtype)
    lens = torch.cos(
        3 * torch.hypot(disc.kx, disc.ky) * (1 + torch.rand(3, 1, generator=generator))
    ).to(dtype)
    root = disc.multiplicity.sqrt()
    return image, disc, lens * root, disc.coefficients(seen) * root


@pytest.mark.parametrize("box_size", [16, 17])
def test_products_are_those_over_the_coefficients(box_size):
    image, disc, transfer, data = scene(box_size, resolution=6.0)
    found = compare(image, transfer, data, disc=disc)
    prediction = disc.coefficients(image) * transfer
    torch.testing.assert_close(found.prediction2, prediction.abs().square().sum(1))
    torch.testing.assert_close(found.prediction_data, (prediction * data.conj()).real.sum(1))
    torch.testing.assert_close(found.data2, data.abs().square().sum(1))


@pytest.mark.parametrize("box_size", [16, 17])
def test_gradients_agree_with_finite_differences(box_size):
    image, disc, transfer, data = scene(box_size, resolution=6.0)

    def likelihood(value):
        found = compare(value, transfer, data, disc=disc)
        return found.log_likelihood(0.3), found.correlation()

    assert torch.autograd.gradcheck(likelihood, image.requires_grad_())


def test_the_likelihood_at_contrast_one_is_a_sum_over_pixels():
    """Parseval: white noise of unit variance a pixel, nothing beyond the disc in either image."""
    image, disc, _, _ = scene(17)
    inside = torch.zeros(17, 9, dtype=torch.bool)
    inside[disc.y_index % 17, disc.x_index] = True
    image, seen = (
        inverse_transform(transform(each) * inside, 17) for each in (image, image.flip(1))
    )
    root = disc.multiplicity.double().sqrt()
    found = compare(image, root.expand(3, -1), disc.coefficients(seen) * root, disc=disc)
    torch.testing.assert_close(
        found.log_likelihood(0.0), -0.5 * (image - seen).square().sum((1, 2))
    )
    torch.testing.assert_close(found.correlation(), normalized_cross_correlation(image, seen))
    assert half_plane_weight(disc.grid)[disc.y_index % 17, disc.x_index].equal(disc.multiplicity)


def test_the_contrast_is_the_likeliest():
    power, cross, data2 = (
        torch.tensor([value], dtype=torch.float64) for value in (40.0, 55.0, 200.0)
    )
    contrast = torch.linspace(0, 3, 30001, dtype=torch.float64)
    for sd in (0.05, 0.3, 2.0):
        tried = -0.5 * (
            data2 - 2 * contrast * cross + contrast**2 * power + ((contrast - 1) / sd) ** 2
        )
        torch.testing.assert_close(
            Comparison(power, cross, data2).log_likelihood(sd), tried.max()[None], rtol=1e-7, atol=0
        )


def test_a_correlation_does_not_change_with_scale():
    image, disc, transfer, data = scene(16)
    once, brighter = (
        compare(scale * image, transfer, data, disc=disc).correlation() for scale in (1.0, 7.0)
    )
    torch.testing.assert_close(once, brighter)
    itself = compare(image, transfer, disc.coefficients(image) * transfer, disc=disc)
    torch.testing.assert_close(itself.correlation(), torch.ones(3, dtype=torch.float64))
