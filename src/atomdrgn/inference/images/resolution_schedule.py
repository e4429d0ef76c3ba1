"""Which resolutions a fit goes through."""

from collections.abc import Sequence

from ...errors import InputError
from ...physics.grid import ImageGrid

COARSEST = 60.0  # A: where a fit starts, or at a third of a small box
FINEST = 5.0  # A: one bead a residue says nothing beyond
SMALLEST_BOX = 8  # pixels
STEP = 1.35  # from one resolution to the next
COARSE_PASSES, FINE_PASSES = 3, 2
# parts of the passes after which the leading motions are looked at widely
SEARCHES = (0.4, 0.6, 0.8)


def finest_resolution(grid: ImageGrid, resolution: float | None = None) -> float:
    """The resolution a fit ends at, A.

    It is the one asked for, else Nyquist's or 5 A, whichever is coarser.

    Raises
    ------
    InputError
        The images have next to no pixels, or a resolution is asked for that these cannot hold, or
        that is coarser than the box allows to start from.
    """
    if grid.box_size < SMALLEST_BOX:
        raise InputError(
            f"images of {grid.box_size} pixels: at least {SMALLEST_BOX} are needed to see anything "
            "in them"
        )
    if resolution is None:
        return max(grid.nyquist, FINEST)
    if not grid.nyquist * 0.999 <= resolution <= grid.extent / 2:
        raise InputError(
            f"a resolution of {resolution} A: images of {grid.box_size} pixels of "
            f"{grid.pixel_size:.4g} A hold {grid.nyquist:.4g} A (Nyquist) to {grid.extent / 2:.4g} "
            "A (half the box)"
        )
    return resolution


def coarsest_resolution(grid: ImageGrid, finest: float) -> float:
    """The resolution a fit begins at, A."""
    return max(finest, min(COARSEST, grid.extent / 3))


def resolutions(coarsest: float, finest: float) -> list[float]:
    """Resolution of each pass, A.

    The coarsest is repeated, then it gets finer by steps, and the finest is repeated.
    """
    return [coarsest] * (COARSE_PASSES - 1) + finer_steps(coarsest, finest) + [finest] * FINE_PASSES


def finer_steps(coarsest: float, finest: float) -> list[float]:
    """Resolutions from the coarsest on by equal factors, A.

    They go on as far as they are clearly coarser than the finest.
    """
    steps = [coarsest]
    while steps[-1] / STEP > finest * STEP**0.5:
        steps.append(steps[-1] / STEP)
    return steps


def search_after(passes: Sequence[float]) -> list[int]:
    """Numbers of the passes after which particles are searched for that went astray.

    They count from 1, in order.
    """
    return [round(part * len(passes)) for part in SEARCHES]
