"""Images of rigid sets of beads, as slices of a transform that is made once and interpolated.

The work of an image does not grow with the beads. The exact sum of :mod:`.bead_transform` is the
slow twin.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from threading import Lock

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from ...devices import looped
from ..disc import FourierDisc
from .rigid_slice_loops import BETA, OVERSAMPLING, WIDTH, kernel_taps

TAIL = 3.0  # r.m.s. widths of the beads, by which the box is wider than their centres
# How many multiplications of the exact sum's matrix product take as long as the interpolation of
# one coefficient: for finding and weighting its grid points, and for the WIDTH^3 values of each
# field (benchmarks.rigid_slices).
PRODUCTS_A_COEFFICIENT, PRODUCTS_A_FIELD = 700, 160
LARGEST = 2**26  # numbers of a grid (256 MiB); what is larger is summed


@dataclass(frozen=True, eq=False)
class RigidSlices:
    """The transform of a rigid set of beads on a grid, for slices at any turn.

    Axes are the principal ones of the beads, so that a long set has a long grid. Coefficients are
    made for a Kaiser-Bessel kernel: what that does to the box is undone beforehand.

    Parameters
    ----------
    values : (z, y, x, 8)
        Real and imaginary parts by turns, of the amplitude and of the amplitude times each
        component of the arm along the axes. y and z rise from below zero; x begins at -WIDTH / 2.
    axes : (3, 3)
        Rows are the grid's x, y and z in the frame of the arms.
    period : (3,)
        Of the grid in space, A: one over its step.
    centre : (3,)
        Middle of the beads, from the origin of the arms, in their frame, A.
    longest : float
        The longest arm, A.
    reach : float
        Highest frequency, 1/A.

    References
    ----------
    Fessler & Sutton, IEEE Trans. Signal Process. 51:560 (2003): interpolated transforms. Beatty,
    Nishimura & Pauly, IEEE Trans. Med. Imaging 24:799 (2005), equation 5: the kernel's shape.
    """

    values: Float[Tensor, "z y x number"]
    axes: Float[Tensor, "3 3"]
    period: Float[Tensor, "3"]
    centre: Float[Tensor, "3"]
    longest: float
    reach: float

    def fields(
        self,
        turn: Float[Tensor, "batch 3 3"],
        origin: Float[Tensor, "batch 2"],
        disc: FourierDisc,
    ) -> Float[Tensor, "batch 4 2 frequency"]:
        """Coefficients of the amplitude, and of that times each component of the arm.

        Parameters
        ----------
        turn : (batch, 3, 3)
            From the frame of the arms to the camera's.
        origin : (batch, 2)
            Where the camera sees the origin of the arms, A.
        disc : FourierDisc
            Where coefficients are wanted.

        Returns
        -------
        (batch, 4, 2, frequency)
            Arms along the camera's axes, A; scaled as the images' transforms are by
            :func:`~atomdrgn.physics.projection.bead_transform.bead_transform`.
        """
        return self._cut(self.values, turn, origin, disc)

    def images(
        self,
        turn: Float[Tensor, "batch 3 3"],
        origin: Float[Tensor, "batch 2"],
        disc: FourierDisc,
    ) -> Float[Tensor, "batch 2 frequency"]:
        """Coefficients of the amplitude alone; parameters as for :meth:`fields`."""
        return self._cut(self._amplitude, turn, origin, disc)[:, 0]

    @cached_property
    def _amplitude(self) -> Float[Tensor, "z y x 2"]:
        return self.values[..., :2].contiguous()

    def _cut(
        self,
        values: Float[Tensor, "z y x number"],
        turn: Float[Tensor, "batch 3 3"],
        origin: Float[Tensor, "batch 2"],
        disc: FourierDisc,
    ) -> Float[Tensor, "batch field 2 frequency"]:
        seen = turn @ self.axes.T
        middle = origin + turn[:, :2] @ self.centre
        along = seen[:, :2] * (self.period / disc.grid.extent)
        scale = 1 / (disc.grid.pixel_size**2 * disc.grid.box_size)
        strength = torch.full_like(disc.kx, scale)
        if not looped(values, turn, origin, strength):
            return _cut_by_tensors(values, seen, along, middle, disc) * strength
        from .rigid_slice_loops import cut_slices

        out = torch.empty(len(turn), values.shape[3] // 2, 2, len(disc))
        cut_slices(
            values.numpy(),
            seen.numpy(),
            along.contiguous().numpy(),
            (middle / disc.grid.extent).numpy(),
            disc.rows,
            strength.numpy(),
            out.numpy(),
        )
        return out


def _cut_by_tensors(
    values: Float[Tensor, "z y x number"],
    seen: Float[Tensor, "batch 3 3"],
    along: Float[Tensor, "batch 2 3"],
    middle: Float[Tensor, "batch 2"],
    disc: FourierDisc,
) -> Float[Tensor, "batch field 2 frequency"]:
    """The slow twin of the loops."""
    index = torch.stack([disc.x_index, disc.y_index], 1).to(values.dtype)
    place = index @ along
    mirrored = place[..., 0] < 0
    place = torch.where(mirrored[..., None], -place, place)
    first = (place - WIDTH / 2).ceil()
    weight = kernel_taps(first - place + WIDTH / 2)
    size_z, size_y, size_x, _ = values.shape
    x, y, z = (
        first[..., axis].long() + zero
        for axis, zero in enumerate((WIDTH // 2, size_y // 2, size_z // 2))
    )
    flat, total = values.flatten(0, 2), values.new_zeros(*place.shape[:2], values.shape[3])
    for i, j, k in product(range(WIDTH), repeat=3):
        at = ((z + i) * size_y + y + j) * size_x + x + k
        share = weight[i][..., 2] * weight[j][..., 1] * weight[k][..., 0]
        total = total + share[..., None] * flat[at]
    real, imaginary = total.unflatten(2, (-1, 2)).unbind(-1)
    value = torch.complex(real, torch.where(mirrored[..., None], -imaginary, imaginary))
    phase = (middle @ index.T) * (-2 * math.pi / disc.grid.extent)
    value = (value * torch.polar(torch.ones_like(phase), phase)[..., None]).mT
    if value.shape[1] > 1:
        arms = torch.einsum("bij,bjf->bif", seen.to(value.dtype), value[:, 1:])
        value = torch.cat([value[:, :1], arms], 1)
    return torch.view_as_real(value).movedim(-1, 2)


def make_rigid_slices(
    arm: Float[Tensor, "bead 3"],
    sigma: Float[Tensor, "bead"],
    amplitude: Float[Tensor, "bead"],
    *,
    reach: float,
) -> RigidSlices:
    """The transform of some beads, to be cut into slices.

    Parameters
    ----------
    arm : (bead, 3)
        From the point that arms are counted from, A.
    sigma : (bead,)
        Width, A.
    amplitude : (bead,)
        Integral of each.
    reach : float
        Highest frequency that is wanted, 1/A.

    Returns
    -------
    RigidSlices

    Examples
    --------
    >>> one = make_rigid_slices(torch.zeros(1, 3), torch.ones(1), torch.ones(1), reach=0.1)
    >>> one.values.shape
    torch.Size([9, 9, 7, 8])
    """
    arm, sigma2, weight = arm.double(), sigma.double()[:, None] ** 2, amplitude.double()
    axes = torch.linalg.svd(arm - arm.mean(0), full_matrices=True)[2]
    along = arm @ axes.T
    low, high = along.amin(0), along.amax(0)
    middle = 0.5 * (low + high)
    tail = TAIL * float((weight.abs() @ sigma2 / weight.abs().sum()).sqrt())
    period = OVERSAMPLING * (high - low + 2 * tail)
    offset, wider2, weight = _undone(along - middle, sigma2, weight, period)
    field = weight[:, None] * torch.cat([torch.ones_like(weight)[:, None], along], 1)
    values = _on_grid(offset, wider2, field, period=period, reach=reach)
    longest = float(arm.norm(dim=1).max())
    values, axes, period, centre = (
        each.to(amplitude.dtype) for each in (values, axes, period, middle @ axes)
    )
    return RigidSlices(values, axes, period, centre, longest, reach)


def _undone(
    offset: Float[Tensor, "bead 3"],
    sigma2: Float[Tensor, "bead 1"],
    weight: Float[Tensor, "bead"],
    period: Float[Tensor, "3"],
) -> tuple[Float[Tensor, "bead 3"], Float[Tensor, "bead 3"], Float[Tensor, "bead"]]:
    """Beads over the kernel's image of the box: centres, squared widths and weights.

    Along each axis the logarithm of one over the kernel's transform is a parabola across a bead, so
    that the quotient is a Gaussian again.
    """
    bend = (math.pi * WIDTH) ** 2
    u = offset / period
    root = (BETA**2 - bend * u**2).sqrt()
    # sinh(root) / root, of which exp(-root) is not seen
    log = -(root - root.log() + math.log(WIDTH / 2) - _log_i0(BETA))
    slope = 1 - 1 / root
    first = slope * bend * u / root / period
    second = (
        slope * (bend / root + bend**2 * u**2 / root**3) - (bend * u / root**2) ** 2
    ) / period**2
    wider2 = 1 / (1 / sigma2 - second)
    factor = log + 0.5 * (wider2 / sigma2).log() + 0.5 * first**2 * wider2
    return offset + wider2 * first, wider2, weight * factor.sum(1).exp()


def _log_i0(value: float) -> float:
    return float(torch.special.i0(torch.tensor(value, dtype=torch.float64)).log())


def _on_grid(
    offset: Float[Tensor, "bead 3"],
    sigma2: Float[Tensor, "bead 3"],
    field: Float[Tensor, "bead field"],
    *,
    period: Float[Tensor, "3"],
    reach: float,
) -> Float[Tensor, "z y x number"]:
    """Exact coefficients of fields of beads at the grid points about a ball of frequencies."""
    half = WIDTH // 2
    far = [int(reach * float(each)) + half + 1 for each in period]
    index = [torch.arange(-far[axis] if axis else -half, far[axis] + 1) for axis in range(3)]
    x, y, z = (
        _waves(offset[:, axis], sigma2[:, axis], index[axis].to(offset.device) / period[axis])
        for axis in range(3)
    )
    size = len(index[2]), len(index[1]), len(index[0])
    values = torch.zeros(*size, 2 * field.shape[1], device=offset.device)
    weighted = field.T.to(x.dtype)
    # a point counts if it is one of those about a frequency of the ball
    step_y, step_z = 1 / float(period[1]), 1 / float(period[2])
    for place, number in enumerate(index[2].tolist()):
        near = max(0.0, abs(number) - half) * step_z
        rows = min(far[1], int(math.sqrt(max(0.0, reach**2 - near**2)) / step_y) + half + 1)
        some = slice(far[1] - rows, far[1] + rows + 1)
        left = (weighted * z[place])[:, None] * y[some]
        plane = torch.view_as_real(left @ x.T)
        values[place, some] = plane.permute(1, 2, 0, 3).flatten(2)
    return values


def _waves(
    offset: Float[Tensor, "bead"], sigma2: Float[Tensor, "bead"], k: Float[Tensor, "index"]
) -> Complex[Tensor, "index bead"]:
    damping = torch.exp(-2 * math.pi**2 * sigma2 * k[:, None] ** 2)
    return torch.polar(damping, -2 * math.pi * offset * k[:, None]).to(torch.complex64)


def slices_are_quicker(beads: int, fields: int, disc: FourierDisc) -> bool:
    """Whether slices of so many beads cost less than their sum.

    The sum is a matrix product of waves: two along each axis, `reach` + 1 indices.

    Parameters
    ----------
    beads : int
        That move as one.
    fields : int
        Numbers of each that are transformed.
    disc : FourierDisc
        Where coefficients are wanted.

    Examples
    --------
    >>> from atomdrgn.physics.disc import make_disc
    >>> from atomdrgn.physics.grid import ImageGrid
    >>> disc = make_disc(ImageGrid(128, 2.0), 6.0)
    >>> slices_are_quicker(50, 4, disc), slices_are_quicker(500, 4, disc)
    (False, True)
    """
    summed = 4 * beads * fields * (disc.reach + 1) ** 2
    return summed > len(disc) * (PRODUCTS_A_COEFFICIENT + PRODUCTS_A_FIELD * fields)


class RigidParts:
    """Parts of a model that move as rigid bodies, with their grids: made when asked for.

    They are made of the beads that are asked for and of nothing that was before, so that a fit that
    goes on from a file ends with the same bits.

    Parameters
    ----------
    bead : (entry,)
        The beads of all parts, one part after the other.
    arm : (entry, 3)
        From the origin of its part, A.
    parts : list of slice
        The entries of each part.
    """

    def __init__(
        self, bead: Int[Tensor, "entry"], arm: Float[Tensor, "entry 3"], parts: list[slice]
    ) -> None:
        self._bead, self._arm, self._parts = bead, arm, parts
        # for so many fields: what was asked last, and what was found
        self._last: dict[int, tuple[tuple, dict[int, RigidSlices]]] = {}
        self._lock = Lock()

    def on_device(self, device: torch.device) -> "RigidParts":
        """The same for beads on a device; grids are made there."""
        if self._arm.device == device:
            return self
        return RigidParts(self._bead.to(device), self._arm.to(device), self._parts)

    def quicker(
        self,
        amplitude: Float[Tensor, "bead"],
        sigma: Float[Tensor, "bead"],
        disc: FourierDisc,
        *,
        fields: int,
    ) -> dict[int, RigidSlices]:
        """The parts whose slices cost less than their sums, by number.

        Parameters
        ----------
        amplitude, sigma : (bead,)
            Of all beads: integral, and width in A.
        disc : FourierDisc
            Where coefficients are wanted.
        fields : int
            Numbers of each bead that are transformed.
        """
        asked = (amplitude, sigma, disc)
        with self._lock:
            last = self._last.get(fields)
            # the same of one batch after the other
            if last is not None and all(a is b for a, b in zip(last[0], asked, strict=True)):
                return last[1]
            found: dict[int, RigidSlices] = {}
            reach = float((disc.kx**2 + disc.ky**2).max().sqrt())
            for number, part in enumerate(self._parts):
                if slices_are_quicker(part.stop - part.start, fields, disc):
                    entry = self._bead[part]
                    slices = self._part(number, amplitude[entry], sigma[entry], reach)
                    found |= {} if slices is None else {number: slices}
            self._last[fields] = (asked, found)
            return found

    def _part(
        self,
        number: int,
        amplitude: Float[Tensor, "bead"],
        sigma: Float[Tensor, "bead"],
        reach: float,
    ) -> RigidSlices | None:
        """Slices of one part; none where they are too many, or where nothing is there."""
        arm = self._arm[self._parts[number]]
        if not bool((amplitude != 0).any()) or _numbers(arm, reach) > LARGEST:
            return None
        return make_rigid_slices(arm, sigma, amplitude, reach=reach)


def _numbers(arm: Float[Tensor, "bead 3"], reach: float) -> float:
    """About how many numbers a grid of beads has: those of the box that holds them at any turn."""
    across = 2 * float((arm - arm.mean(0)).norm(dim=1).max())
    return 4 * (2 * reach * OVERSAMPLING * across) ** 3
