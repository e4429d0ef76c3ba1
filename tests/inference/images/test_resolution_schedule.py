import pytest

from atomdrgn.errors import InputError
from atomdrgn.inference.images.resolution_schedule import (
    coarsest_resolution,
    finest_resolution,
    resolutions,
    search_after,
)
from atomdrgn.physics.grid import ImageGrid


@pytest.mark.parametrize(
    "box, pixel", [(64, 4.0), (64, 1.6), (128, 1.0), (32, 12.0), (190, 1.0), (16, 3.0)]
)
def test_passes_go_from_coarse_to_the_finest(box, pixel):
    grid = ImageGrid(box, pixel)
    finest = finest_resolution(grid)
    passes = resolutions(coarsest_resolution(grid, finest), finest)
    assert passes[-1] == passes[-2] == finest >= grid.nyquist
    assert passes[0] <= max(60.0, finest) and passes == sorted(passes, reverse=True)
    assert all(0 < number <= len(passes) for number in search_after(passes))


def test_a_resolution_that_pixels_do_not_hold_is_refused():
    with pytest.raises(InputError, match="Nyquist"):
        finest_resolution(ImageGrid(64, 4.0), 5.0)
    assert finest_resolution(ImageGrid(64, 4.0), 12.0) == 12.0
