import numpy as np
import pytest
from numpy.testing import assert_allclose

from atomdrgn.physics.projection import splat_loops as splat


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-9)])
def test_exponentials_are_those_of_numpy(dtype, tolerance):
    values = np.empty(80, dtype)
    splat._gaussian(-4.2, 0.107, values)
    distance = (np.arange(80) - 4.2) * 0.107
    near = distance**2 < 25
    assert_allclose(values[near], np.exp(-(distance**2))[near], rtol=tolerance)
    assert values[~near].max() < 2e-11


@pytest.mark.parametrize(
    ("center", "half", "expected"),
    [
        (3.2, 1.5, (2, 5)),
        (0.0, 2.5, (0, 3)),
        (9.9, 2.0, (8, 10)),
        (-3.0, 2.9, (0, 0)),
        (12.5, 2.9, (0, 0)),
        (5.0, 1e9, (0, 10)),
        (-1e300, 1.0, (0, 0)),
        (np.nan, 1.0, (0, 0)),
    ],
)
def test_a_window_stays_on_the_canvas(center, half, expected):
    first, last = splat._window(center, half, 0, 10)
    assert (first, last) == expected or expected[0] == expected[1] and first >= last


@pytest.mark.parametrize("banded", [False, True])
def test_a_part_of_a_banded_matrix_times_columns(banded):
    generator = np.random.default_rng(0)
    matrix, columns = generator.normal(size=(24, 40)), generator.normal(size=(20, 7))
    first, last = np.zeros(6, int), np.full(6, 40)
    if banded:
        first, last = 4 * np.arange(6), 4 * np.arange(6) + 12
        for block, (start, end) in enumerate(zip(first, last, strict=True)):
            matrix[4 * block : 4 * block + 4, :start] = matrix[4 * block : 4 * block + 4, end:] = 0
    product = np.empty((16, 7))
    splat._multiply(matrix, (first, last), 4, 20, 8, 28, columns, product)
    assert_allclose(product, matrix[4:20, 8:28] @ columns, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (33, 18)])
def test_transpose(shape):
    matrix = np.random.default_rng(0).normal(size=shape)
    result = np.zeros((shape[1] + 2, shape[0] + 1))
    splat._transpose(matrix, result)
    assert_allclose(result[:-2, :-1], matrix.T)
    assert not result[-2:].any() and not result[:, -1].any()
