"""What the quantities of particle files can be.

Values beyond are refused, with the unit that they may have been meant in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import FileFormatError
from ...io.star import StarTable


@dataclass(frozen=True)
class Quantity:
    """Bounds of a quantity in the unit of the file.

    Parameters
    ----------
    least, most : float
        What is still possible.
    unit : str
        Of the file, and of the bounds.
    others : tuple of (str, float)
        Units that it is often given in by mistake, each with what a value has to be multiplied by.
    usual : (float, float), optional
        Where a value would lie after that; left out, within the bounds.
    """

    least: float
    most: float
    unit: str
    others: tuple[tuple[str, float], ...] = ()
    usual: tuple[float, float] | None = None

    def holds(self, values: Any) -> np.ndarray:
        """Whether each value is a number within the bounds.

        Parameters
        ----------
        values : (n,) float

        Examples
        --------
        >>> VOLTAGE.holds(np.array([300.0, np.nan]))
        array([ True, False])
        """
        return (values >= self.least) & (values <= self.most)

    def meant(self, value: float) -> str:
        """A guess at the unit that a value was meant in, for a message; empty where none fits.

        Parameters
        ----------
        value : float

        Examples
        --------
        >>> VOLTAGE.meant(300000.0)
        '; it may be in volts, and would be 300 kV'
        """
        low, high = self.usual or (self.least, self.most)
        for unit, factor in self.others:
            if low <= value * factor <= high:
                in_file = f"{value * factor:.6g} {self.unit.partition('(')[0]}"
                return f"; it may be in {unit}, and would be {in_file}".rstrip()
        return ""


TURNS = 4 * np.pi  # rad: files write angles within one turn or two
VOLTAGE = Quantity(60.0, 1000.0, "kV", (("volts", 1e-3),))
# correctors leave a few micrometres of either sign
SPHERICAL_ABERRATION = Quantity(
    -0.1, 20.0, "mm", (("micrometres", 1e-3), ("nanometres", 1e-6), ("angstrom", 1e-7)), (0.1, 10.0)
)
CONTRAST = Quantity(0.0, 1.0, "(a fraction)", (("percent", 0.01),))
DEFOCUS = Quantity(-3e5, 3e5, "A")
DEGREES, RADIANS = (
    Quantity(-3600.0, 3600.0, "degrees"),
    Quantity(-TURNS, TURNS, "rad", (("degrees", np.pi / 180),)),
)
PIXEL = Quantity(0.1, 100.0, "A", (("nanometres", 10.0), ("picometres", 0.01), ("metres", 1e10)))
ORIGIN_A, ORIGIN_PIXELS = Quantity(-1e5, 1e5, "A"), Quantity(-1e5, 1e5, "pixels")
SCALE = Quantity(0.0, 10.0, "(a factor)", (("percent", 0.01),))
B_FACTOR = Quantity(-1e4, 1e4, "A^2")
DOSE = Quantity(0.0, 2000.0, "e/A^2")
BOX = Quantity(2.0, 65536.0, "pixels")

QUANTITIES = {
    "rlnVoltage": VOLTAGE,
    "rlnSphericalAberration": SPHERICAL_ABERRATION,
    "rlnAmplitudeContrast": CONTRAST,
    "rlnDefocusU": DEFOCUS,
    "rlnDefocusV": DEFOCUS,
    "rlnDefocusAngle": DEGREES,
    "rlnPhaseShift": DEGREES,
    "rlnImagePixelSize": PIXEL,
    "rlnPixelSize": PIXEL,
    "rlnTomoTiltSeriesPixelSize": PIXEL,
    "rlnImageSize": BOX,
    "rlnDetectorPixelSize": Quantity(1e-4, 1000.0, "micrometres"),
    "rlnMagnification": Quantity(1.0, 1e7, "(a factor)"),
    **{
        f"rln{angle}": DEGREES
        for angle in (
            "AngleRot",
            "AngleTilt",
            "AnglePsi",
            "TomoSubtomogramRot",
            "TomoSubtomogramTilt",
            "TomoSubtomogramPsi",
            "TomoXTilt",
            "TomoYTilt",
            "TomoZRot",
        )
    },
    **{f"rlnOrigin{axis}Angst": ORIGIN_A for axis in "XYZ"},
    **{f"rlnOrigin{axis}": ORIGIN_PIXELS for axis in "XYZ"},
    "rlnCtfScalefactor": SCALE,
    "rlnCtfBfactor": B_FACTOR,
    "rlnMicrographPreExposure": DOSE,
    "ctf/accel_kv": VOLTAGE,
    "ctf/cs_mm": SPHERICAL_ABERRATION,
    "ctf/amp_contrast": CONTRAST,
    "ctf/df1_A": DEFOCUS,
    "ctf/df2_A": DEFOCUS,
    "ctf/df_angle_rad": RADIANS,
    "ctf/phase_shift_rad": RADIANS,
    "ctf/scale": SCALE,
    "ctf/bfactor": B_FACTOR,
    "pose": RADIANS,
    "shift": ORIGIN_PIXELS,
    "psize_A": PIXEL,
    "blob/psize_A": PIXEL,
    # rounding goes a little beyond 1
    "class_posterior": Quantity(0.0, 1.01, "(a probability)"),
    # the rest: what an assembled set holds, whatever file it came from
    "voltage_kv": VOLTAGE,
    "spherical_aberration_mm": SPHERICAL_ABERRATION,
    "amplitude_contrast": CONTRAST,
    "defocus_u": DEFOCUS,
    "defocus_v": DEFOCUS,
    "defocus_angle": Quantity(-100.0, 100.0, "rad"),
    "phase_shift": Quantity(-100.0, 100.0, "rad"),
    "scale": SCALE,
    "b_factor": B_FACTOR,
    "dose": DOSE,
    "pixel size": PIXEL,
}

# defocus of so little, A, is hardly ever one: in micrometres it is what images are taken at
MICROMETRES = 20


def numbers_in_range(table: StarTable, name: str, *, used: np.ndarray | None = None) -> np.ndarray:
    """The values of a column, each a number that the quantity of this name can have.

    Parameters
    ----------
    table : StarTable
        Where it stands.
    name : str
        Of the column, and key of :data:`QUANTITIES`.
    used : (row,) bool, optional
        Rows that are used: only these have to be in range.

    Returns
    -------
    (row,) float64

    Raises
    ------
    FileFormatError
        With file, row, column and value of the first that is not.

    Examples
    --------
    >>> numbers_in_range(StarTable("optics", {"rlnVoltage": ["300"]}), "rlnVoltage")
    array([300.])
    """
    values = table.numbers(name)
    row = np.arange(len(values)) if used is None else np.flatnonzero(used)
    require_in_range(
        values[row],
        name,
        path=table.path,
        block=f"data_{table.block}",
        row=row,
        shown=lambda at: table.texts(name)[row[at]],
    )
    return values


def require_in_range(
    values: Any,
    name: str,
    *,
    path: Path,
    quantity: str | None = None,
    block: str | None = None,
    shown: Callable[[int], str] | None = None,
    row: np.ndarray | None = None,
) -> None:
    """Refuse values that a quantity cannot have.

    Parameters
    ----------
    values : (row,) or (row, n) float
        In the unit of the file.
    name : str
        What the file calls it.
    path : Path
        The file.
    quantity : str, optional
        Key of :data:`QUANTITIES`, where that is not `name`.
    block : str, optional
        Where the column stands in the file.
    shown : callable, optional
        A row's value as it stands in the file, by its place in `values`.
    row : (row,) int, optional
        Row of each value in the file, from 0; left out, its place.

    Raises
    ------
    FileFormatError
        With file, row, column and value of the first that is out of range.

    Examples
    --------
    >>> require_in_range([2.7, 2.7e-3], "ctf/cs_mm", path=Path("particles.cs"))
    >>> require_in_range([300e3], "rlnVoltage", path=Path("a.star"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    atomdrgn.errors.FileFormatError: a.star: row 1 of rlnVoltage is 300000, expected 60 to 1000 ...
    """
    values, limits = np.asarray(values, dtype=float), QUANTITIES[quantity or name]
    wrong = ~limits.holds(values)
    if not wrong.any():
        return
    at = tuple(np.argwhere(wrong)[0])
    value, rows = values[at], np.unique(np.argwhere(wrong)[:, 0])
    more = f" (and {len(rows) - 1:,} more rows are out of range)" if len(rows) > 1 else ""
    raise FileFormatError(
        f"{path}: row {(at[0] if row is None else row[at[0]]) + 1} of "
        f"{name}{f' in {block}' if block else ''} is "
        f"{shown(at[0]) if shown else f'{value:g}'}{more}, expected {limits.least:.6g} to "
        f"{limits.most:.6g} {limits.unit}{limits.meant(value)}; mend the file"
    )


def refuse_micrometres(
    defocus_u: np.ndarray,
    defocus_v: np.ndarray,
    names: str,
    *,
    path: Path,
    row: np.ndarray | None = None,
) -> None:
    """Refuse a defocus that is in micrometres, where angstrom are expected.

    A defocus of a few angstrom is possible where images are taken in focus: then many more rows lie
    just beyond. Where they do not, the rows were written in another unit.

    Parameters
    ----------
    defocus_u, defocus_v : (row,) float
        A.
    names : str
        What the file calls them.
    path : Path
    row : (row,) int, optional
        Row of each in the file, from 0.

    Raises
    ------
    FileFormatError
        With the first such row.
    """
    size = np.maximum(np.abs(defocus_u), np.abs(defocus_v))
    small = (size > 0) & (size < MICROMETRES)
    if np.count_nonzero(small) <= np.count_nonzero(
        (size >= MICROMETRES) & (size < 10 * MICROMETRES)
    ):
        return
    first, count = np.flatnonzero(small)[0], np.count_nonzero(small)
    more = f" (and {count - 1:,} more rows are as small)" if count > 1 else ""
    raise FileFormatError(
        f"{path}: row {(first if row is None else row[first]) + 1} of {names} is "
        f"{defocus_u[first]:g} and {defocus_v[first]:g}{more}, expected angstrom, of which images "
        "have some thousands; it may be in micrometres: multiply it by 10,000"
    )
