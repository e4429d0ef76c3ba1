"""How much better one placement is than another, and the error of the difference.

Densities and their errors are alike over some distance, so that voxels do not count singly: the box
is cut into blocks, and errors are the jackknife's, which leaves out one block at a time. A model in
the mirror image of a map is judged as the mirrored model in the map itself, so that both are judged
by the same blocks.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from .band import Band, band_of_points, correlation
from .rigid_search import Placement, Points, mean_shell_correlation

# mean shell correlation of a model with itself, moved, from which it is symmetric
ALIKE = 0.7
BLOCK = 0.8  # edge of a block, in radii of gyration
CLEAR = 3.0  # standard errors from which a difference is one


@dataclass(frozen=True, eq=False)
class Alternative:
    """Another placement, against the best one.

    Parameters
    ----------
    placement : Placement
        In the map, or in its mirror image.
    correlation : float
        Of densities, over the box.
    behind, error : float
        How much less its mean shell correlation is than that of the best, and the standard error of
        that difference.
    alike : bool
        The model looks the same here and at the best placement: it is symmetric.
    """

    placement: Placement
    correlation: float
    behind: float
    error: float
    alike: bool = False

    @property
    def clearly_worse(self) -> bool:
        """Whether the difference is more than three standard errors."""
        return self.behind > CLEAR * self.error


def compared(
    found: dict[bool, list[Placement]], points: Points, band: Band
) -> tuple[Placement, float, float, dict[bool, list[Alternative]]]:
    """The best placement and every other one against it.

    Each comes with the correlation of densities there, and the standard error of its score.

    Parameters
    ----------
    found : dict of list of Placement
        Best first; False: in the map, True: in its mirror image. The first of the former is what
        others are compared with.
    points : Points
        The model.
    band : Band
        Of the map.
    """
    blocks = _blocks(band, BLOCK * points.radius_of_gyration)
    map_white = band.whitened().on_grid()
    best, model = (
        found[False][0],
        band_of_points(points.at(found[False][0]), points.amplitude, band),
    )
    score, left_out = _scores(map_white, model, blocks)
    others: dict[bool, list[Alternative]] = {hand: [] for hand in found}
    for hand, placement in [
        (hand, one) for hand, placements in found.items() for one in placements if one is not best
    ]:
        other = band_of_points(points.at(placement), points.amplitude, band)
        alike = not hand and mean_shell_correlation(model, other) >= ALIKE
        # the mirrored model in the map, block by block
        other = other.other_hand() if hand else other
        its_score, its_left_out = _scores(map_white, other, blocks)
        others[hand].append(
            Alternative(
                replace(placement, score=its_score),
                correlation(band, other),
                score - its_score,
                _standard_error(left_out - its_left_out),
                alike,
            )
        )
    others = {hand: sorted(some, key=lambda other: other.behind) for hand, some in others.items()}
    return replace(best, score=score), correlation(band, model), _standard_error(left_out), others


def _blocks(band: Band, edge: float) -> np.ndarray:
    """(z, y, x) number of the cube in which each point of the band's grid is."""
    along = []
    for n, extent in zip(band.shape, band.extent[::-1], strict=True):
        turns = np.arange(n) / n
        along.append(np.floor((turns - np.round(turns)) * extent / edge).astype(np.int64))
    z, y, x = (cells - cells.min() for cells in along)
    return (z[:, None, None] * (y.max() + 1) + y[:, None]) * (x.max() + 1) + x


def _scores(map_white: np.ndarray, model: Band, blocks: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean shell correlation of a model and a map, and, (block,), without each block."""
    model_white = model.whitened().on_grid()
    pairs = (map_white, model_white), (map_white, map_white), (model_white, model_white)
    product, of_map, of_model = (
        np.bincount(blocks.ravel(), (a * b).ravel().astype(float)) for a, b in pairs
    )
    return (
        float(product.sum() / math.sqrt(of_map.sum() * of_model.sum())),
        (product.sum() - product) / np.sqrt((of_map.sum() - of_map) * (of_model.sum() - of_model)),
    )


def _standard_error(left_out: np.ndarray) -> float:
    """Standard error of a statistic, from its values without one block each: the jackknife's."""
    return float(math.sqrt((len(left_out) - 1) * left_out.var()))
