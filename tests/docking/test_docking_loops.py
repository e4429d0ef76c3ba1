import numpy as np
import pytest
from scipy.ndimage import map_coordinates, spline_filter

from atomdrgn.docking.docking_loops import spline_sum


@pytest.fixture
def spline():
    grid = np.random.default_rng(0).normal(size=(9, 8, 10)).astype(np.float32)
    return spline_filter(grid, order=3, mode="grid-wrap", output=np.float32)


EXTENT = np.array([20.0, 24.0, 27.0])


def summed(spline, position, amplitude):
    slope = np.empty_like(position)
    return spline_sum(spline, 1 / EXTENT, position, amplitude, slope), slope


def test_values_are_those_of_scipys_spline(spline):
    generator = np.random.default_rng(1)
    position, amplitude = generator.uniform(-0.5, 0.5, (50, 3)) * EXTENT, generator.normal(size=50)
    at = (position / EXTENT * spline.shape[::-1])[:, ::-1].T
    expected = map_coordinates(spline.astype(float), at, order=3, mode="grid-wrap", prefilter=False)
    value, _ = summed(spline, position, amplitude)
    assert value == pytest.approx((amplitude * expected).sum(), rel=1e-5)


def test_slopes_are_exact(spline):
    generator = np.random.default_rng(2)
    position, amplitude = generator.uniform(-0.4, 0.4, (5, 3)) * EXTENT, generator.normal(size=5)
    slope = summed(spline, position, amplitude)[1]
    step = 1e-4
    for point in range(5):
        for axis in range(3):
            ends = []
            for sign in (1, -1):
                moved = position.copy()
                moved[point, axis] += sign * step
                ends.append(summed(spline, moved, amplitude)[0])
            assert slope[point, axis] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-6)


def test_points_outside_of_the_box_see_nothing(spline):
    value, slope = summed(spline, np.array([[10.1, 0, 0], [0, 0, -13.6]]), np.ones(2))
    assert value == 0 and not slope.any()
