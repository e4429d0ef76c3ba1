"""Where a rigid model fits a map best.

Fourier transforms try all rotations and translations, gradients do the rest.

Two densities are compared by their mean shell correlation: the correlation of the whitened
densities, in which every coefficient up to the resolution counts alike. The plain correlation is
ruled by the coarsest shells, where all placements look similar.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy.ndimage import spline_filter
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from ..parallel import in_order
from ..physics.rotations import uniform_rotations
from ..reporting import Reporter
from .band import DRAWN_WIDTH, REACH, Band, band_of_points, drawn, thinned
from .docking_loops import spline_sum, turned_transform

ROTATIONS = 4000  # of the search; 8 degrees to the nearest on average
AT_A_TIME = 100  # rotations of a batch
# edge of the box in which the model's transform is interpolated, in boxes
PADDING = 2
ORIENTATIONS = 6  # over which the power of the model's shells is averaged
THINNED = 0.2  # points are joined in cubes of this share of the resolution
CANDIDATES = 60  # placements of the search that are refined
# turns, and moves in radii of gyration, by which candidates differ at least
APART = math.radians(15)
MOVED = 0.2
# turns, and moves in radii of gyration, by which refined placements differ at most that are one
SAME = math.radians(6)
SAME_MOVED = 0.1


@dataclass(frozen=True, eq=False)
class Points:
    """A model for docking: weighted points about their centroid.

    Parameters
    ----------
    position : (point, 3)
        x, y, z from the centroid, A.
    amplitude : (point,)
        Electrons.
    """

    position: np.ndarray
    amplitude: np.ndarray

    @property
    def radius_of_gyration(self) -> float:
        """A, weighted by amplitude."""
        return float(
            math.sqrt((self.amplitude * (self.position**2).sum(1)).sum() / self.amplitude.sum())
        )

    def thinned(self, resolution: float) -> "Points":
        """As few points as look the same at a resolution, A."""
        return Points(*thinned(self.position, self.amplitude, THINNED * resolution))

    def at(self, placement: "Placement") -> np.ndarray:
        """(point, 3) positions in the frame of the poses, A."""
        return self.position @ placement.rotation.T + placement.shift


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a model stands.

    Parameters
    ----------
    rotation : (3, 3)
        Acts on columns xyz about the model's centroid.
    shift : (3,)
        Where the centroid stands in the frame of the poses, A.
    score : float
        Mean shell correlation with the map at the resolution last used.
    """

    rotation: np.ndarray
    shift: np.ndarray
    score: float = math.nan

    def distance(self, other: "Placement") -> tuple[float, float]:
        """Angle (rad) and length (A) of the motion from one placement to the other.

        It takes the model, about its centroid.
        """
        return _angle(self.rotation.T @ other.rotation), float(
            np.linalg.norm(self.shift - other.shift)
        )


def _angle(rotation: np.ndarray) -> float:
    return math.acos(min(1.0, max(-1.0, 0.5 * (np.trace(rotation) - 1))))


def mean_shell_correlation(map_band: Band, model_band: Band) -> float:
    """Correlation of the whitened densities.

    It is the mean of the shell correlations, each shell counted by its coefficients.
    """
    first, second, weight = map_band.whitened(), model_band.whitened(), map_band.multiplicity
    return float(
        (weight * (first.coefficient * second.coefficient.conj()).real).sum() / weight.sum()
    )


# ---- all rotations and translations -------------------------------------------------------------


def search(
    points: Points,
    band: Band,
    *,
    hands: tuple[bool, ...] = (False, True),
    rotations: int = ROTATIONS,
    reporter: Reporter | None = None,
) -> dict[bool, list[Placement]]:
    """The best placements in a map and in its mirror image, among all rotations and translations.

    The best comes first.

    Parameters
    ----------
    points : Points
    band : Band
        Of the map.
    hands : tuple of bool
        False: in the map as it is; True: in the map inverted through the origin.
    rotations : int
        How many are tried.
    reporter : Reporter, optional

    Returns
    -------
    dict of list of Placement
        For each hand at most CANDIDATES of them, which differ by more than APART or MOVED.
    """
    reporter = reporter or Reporter()
    white, weight = band.whitened(), band.multiplicity
    points = points.thinned(band.resolution)
    power = model_power(points, band)[band.shell]
    matrices = uniform_rotations(rotations).numpy()
    transform, cycles = _padded_transform(points, band)
    inverse = (1 / np.sqrt(power)).astype(np.float32)

    def scores(some: slice) -> list[tuple[bool, float, int]]:
        turned = np.empty(len(cycles), np.complex64)
        workspace = np.zeros((*band.shape[:2], band.shape[2] // 2 + 1), np.complex64)
        found = []
        for matrix in matrices[some]:
            turned_transform(transform, cycles, matrix.astype(np.float32), turned)
            model = turned.conj() * inverse
            norm = math.sqrt(weight.sum() * (weight * np.abs(model) ** 2).sum())
            for hand in hands:
                values = (white.other_hand() if hand else white).coefficient
                grid = band.with_coefficient(values * model).on_grid(workspace)
                place = int(grid.argmax())
                found.append((hand, float(grid.flat[place]) / norm, place))
        return found

    batches = [slice(first, first + AT_A_TIME) for first in range(0, rotations, AT_A_TIME)]
    found = [
        one
        for batch in reporter.watch(in_order(scores, batches), "all rotations", len(batches))
        for one in batch
    ]
    return {
        hand: _distinct(found[hands.index(hand) :: len(hands)], matrices, band, points)
        for hand in hands
    }


def _distinct(
    found: list[tuple[bool, float, int]], matrices: np.ndarray, band: Band, points: Points
) -> list[Placement]:
    """The best placements that differ, of one for each rotation."""
    score = np.array([one[1] for one in found])
    steps = np.stack(np.unravel_index([one[2] for one in found], band.shape), 1)[
        :, ::-1
    ] / np.array(band.shape[::-1])
    # what is beyond half of the box stands on the other side
    shifts = (steps - np.round(steps)) * band.extent
    chosen: list[int] = []
    for i in np.argsort(-score, kind="stable"):
        turned = 0.5 * (np.einsum("nij,ij->n", matrices[chosen], matrices[i]) - 1)
        moved = np.linalg.norm(shifts[chosen] - shifts[i], axis=1)
        if not ((turned > math.cos(APART)) & (moved < MOVED * points.radius_of_gyration)).any():
            chosen.append(int(i))
        if len(chosen) == CANDIDATES:
            break
    return [Placement(matrices[i], shifts[i], float(score[i])) for i in chosen]


def model_power(points: Points, band: Band) -> np.ndarray:
    """(shell,) mean power of the model in each shell, whatever its orientation."""
    each = []
    for matrix in uniform_rotations(ORIENTATIONS).numpy():
        turned = band_of_points(points.position @ matrix.T, points.amplitude, band)
        each.append(turned.shell_means(np.abs(turned.coefficient) ** 2))
    return np.maximum(np.mean(each, 0), 1e-30)


def _padded_transform(points: Points, band: Band) -> tuple[np.ndarray, np.ndarray]:
    """The model's transform in a padded box, and the band's frequencies in its cycles."""
    step = band.resolution / 3
    radius = np.linalg.norm(points.position, axis=1).max()
    size = 2 * math.ceil(radius / step + REACH * DRAWN_WIDTH)
    padded = scipy.fft.next_fast_len(PADDING * size, real=True)
    padded += padded % 2
    density = drawn(points.position / step, points.amplitude, (size,) * 3)
    # the triangle that interpolates between frequencies dims the padded box as sinc^2 along each
    # axis: undone beforehand
    dimming = (np.sinc((np.arange(size) - size // 2) / padded) ** 2).astype(np.float32)
    density /= dimming[:, None, None] * dimming[:, None] * dimming
    box = np.zeros((padded,) * 3, np.float32)
    corner = padded // 2 - size // 2
    box[(slice(corner, corner + size),) * 3] = density
    transform = scipy.fft.rfftn(scipy.fft.ifftshift(box))
    along, half = scipy.fft.fftfreq(padded), scipy.fft.rfftfreq(padded)
    z, y, x = (np.exp(2 * np.pi**2 * DRAWN_WIDTH**2 * k**2) for k in (along, along, half))
    transform *= (z[:, None, None] * y[:, None] * x).astype(np.float32)
    cycles = (band.frequency * padded * step).astype(np.float32)
    return np.ascontiguousarray(scipy.fft.fftshift(transform, axes=(0, 1))).astype(
        np.complex64
    ), cycles


# ---- gradients ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Landscape:
    """The mean shell correlation of model and map, smooth in where the model stands.

    A sum over the points of the model of one smooth map, held as a cubic spline: value and
    derivatives cost next to nothing. What the box cuts off the model is not made up for.

    Parameters
    ----------
    spline : (z, y, x)
        Coefficients.
    extent : (3,)
        xyz, A.
    points : Points
    """

    spline: np.ndarray
    extent: np.ndarray
    points: Points

    def value_and_slope(
        self, rotation: np.ndarray, shift: np.ndarray
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """The score, and its derivatives by small turns and by the shift.

        Derivatives are by turns about x, y, z (1/rad) and by the shift (1/A).
        """
        turned = self.points.position @ rotation.T
        slope = np.empty_like(turned)
        value = spline_sum(
            self.spline, 1 / self.extent, turned + shift, self.points.amplitude, slope
        )
        return value, np.cross(turned, slope).sum(0), slope.sum(0)


def landscape(points: Points, band: Band) -> Landscape:
    """The landscape of a model in a map at the band's resolution."""
    points = points.thinned(band.resolution)
    white = band.whitened()
    power = model_power(points, band)[band.shell]
    values = white.coefficient / (np.sqrt(power) * band.multiplicity.sum())
    grid = white.with_coefficient(values.astype(np.complex64)).on_grid()
    return Landscape(
        spline_filter(grid, order=3, mode="grid-wrap", output=np.float32), band.extent, points
    )


def climbed(placement: Placement, ground: Landscape) -> Placement:
    """The placement at the top of the hill that this one stands on."""
    radius = ground.points.radius_of_gyration

    def turned(gibbs: np.ndarray) -> np.ndarray:
        return Rotation.from_quat([*(0.5 * gibbs), 1.0]).as_matrix() @ placement.rotation

    def downhill(step: np.ndarray) -> tuple[float, np.ndarray]:
        # turns by their Gibbs vector, which is the rotation vector to second order: its derivatives
        # need no series
        gibbs, shift = step[:3] / radius, step[3:]
        value, by_turn, by_shift = ground.value_and_slope(turned(gibbs), placement.shift + shift)
        by_gibbs = (by_turn + 0.5 * np.cross(by_turn, gibbs)) / (1 + 0.25 * gibbs @ gibbs)
        return -value, -np.concatenate([by_gibbs / radius, by_shift])

    found = minimize(
        downhill, np.zeros(6), jac=True, method="L-BFGS-B", options={"maxiter": 100, "ftol": 1e-7}
    )
    return Placement(turned(found.x[:3] / radius), placement.shift + found.x[3:], -float(found.fun))


def refined(
    placements: list[Placement], points: Points, band: Band, *, keep: int
) -> list[Placement]:
    """Placements at the tops of their hills at the band's resolution, each once.

    The best comes first, and there are at most `keep`.
    """
    ground = landscape(points, band)
    return merged(
        [climbed(placement, ground) for placement in placements], points.radius_of_gyration
    )[:keep]


def merged(placements: list[Placement], radius: float) -> list[Placement]:
    """Best first, without those that are one with a better one."""
    kept: list[Placement] = []
    for placement in sorted(placements, key=lambda one: -one.score):
        if not any(_one(placement.distance(other), radius) for other in kept):
            kept.append(placement)
    return kept


def _one(distance: tuple[float, float], radius: float) -> bool:
    return distance[0] < SAME and distance[1] < SAME_MOVED * radius
