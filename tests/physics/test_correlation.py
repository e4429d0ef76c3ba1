import numpy as np
import pytest
import torch
from torch.testing import assert_close

from atomdrgn.physics.correlation import (
    fourier_ring_correlation,
    fourier_shell_correlation,
    normalized_cross_correlation,
)


def noise(*shape, seed=5):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_contrast_and_offset_do_not_matter():
    image = noise(3, 16, 16)
    assert_close(normalized_cross_correlation(image, 2 * image + 5), torch.ones(3).double())
    assert_close(normalized_cross_correlation(image, -image), -torch.ones(3).double())


def test_it_is_numpys_correlation():
    first, second = noise(9, 9), noise(9, 9, seed=6)
    expected = np.corrcoef(first.flatten(), second.flatten())[0, 1]
    assert normalized_cross_correlation(first, second).item() == pytest.approx(expected)


def test_a_constant_image_is_like_nothing():
    assert normalized_cross_correlation(torch.ones(8, 8), torch.randn(8, 8)).item() == 0


def test_many_images_compare_with_one():
    images = noise(4, 8, 8)
    assert_close(normalized_cross_correlation(images, images[2])[2], torch.ones(()).double())


@pytest.mark.parametrize("box_size", [16, 17])
@pytest.mark.parametrize(
    ("correlation", "dimensions"), [(fourier_ring_correlation, 2), (fourier_shell_correlation, 3)]
)
class TestShells:
    def test_like_and_like_correlate_at_every_frequency(self, correlation, dimensions, box_size):
        image = noise(*[box_size] * dimensions)
        assert_close(correlation(image, 3 * image), torch.ones(box_size // 2 + 1).double())

    def test_each_shell_is_the_sum_over_the_whole_transform(
        self, correlation, dimensions, box_size
    ):
        first, second = noise(*[box_size] * dimensions), noise(*[box_size] * dimensions, seed=6)
        a, b = np.fft.fftn(first), np.fft.fftn(second)
        frequency = np.meshgrid(
            *[np.fft.fftfreq(box_size, 1 / box_size)] * dimensions, indexing="ij"
        )
        radius = np.round(np.sqrt(sum(k**2 for k in frequency)))
        expected = []
        for shell in range(box_size // 2 + 1):
            x, y = a[radius == shell], b[radius == shell]
            expected.append(
                (x * y.conj()).sum().real / np.sqrt((abs(x) ** 2).sum() * (abs(y) ** 2).sum())
            )
        assert_close(correlation(first, second), torch.tensor(expected))

    def test_a_filter_that_spares_a_shell_leaves_its_correlation(
        self, correlation, dimensions, box_size
    ):
        first, second = noise(*[box_size] * dimensions), noise(*[box_size] * dimensions, seed=6)
        assert_close(correlation(first + 7, second + 3)[1:], correlation(first, second)[1:])

    def test_a_batch_is_one_by_one(self, correlation, dimensions, box_size):
        first, second = (
            noise(2, *[box_size] * dimensions),
            noise(2, *[box_size] * dimensions, seed=6),
        )
        assert_close(correlation(first, second)[1], correlation(first[1], second[1]))

    def test_single_precision_stays_single(self, correlation, dimensions, box_size):
        image = noise(*[box_size] * dimensions).float()
        assert correlation(image, image).dtype == torch.float32


def test_a_shared_signal_of_power_s_in_noise_of_power_n_gives_s_over_s_plus_n():
    signal = noise(64, 64, 64)
    halves = [signal + 2 * noise(64, 64, 64, seed=seed) for seed in (7, 8)]
    correlation = fourier_shell_correlation(*halves)[10:]
    assert_close(correlation, torch.full_like(correlation, 0.2), atol=0.06, rtol=0)
