"""Many PDB files of one molecule, in which only the coordinates differ."""

import numpy as np

X_TO_Z = np.arange(30, 54)  # columns of x, y and z in an ATOM record, from 0
B_FACTOR = np.arange(60, 66)
LARGEST_B = 999.99

# Columns, from 0, of an atom's name, location, residue, chain and number in an ATOM record, and of
# both ends of a LINK record; of residue, chain and number in an SSBOND record, which leaves out a
# column behind the chain; of its symmetry and distance.
ATOM, ENDS_OF_LINK, ENDS_OF_SSBOND = (
    slice(12, 27),
    (slice(12, 27), slice(42, 57)),
    (slice(11, 22), slice(25, 36)),
)
SYMMETRY, DISTANCE = (slice(59, 65), slice(66, 72)), np.arange(73, 78)
LARGEST_DISTANCE = 99.99

# Columns of the digits of a number as %8.3f, and what a digit counts there in thousandths. A
# leading zero is written in the last column before the point only.
DIGIT_COLUMNS = {7: 1, 6: 10, 5: 100, 3: 1000, 2: 10**4, 1: 10**5, 0: 10**6}
LAST_LEADING = 3


class PdbSeries:
    """The text of one PDB file, into which other coordinates are put.

    It is some twenty times as quick as writing the file anew.

    LINK and SSBOND records get the distance by the new coordinates, or none where one end is an
    image by symmetry.

    Parameters
    ----------
    text : bytes
        A PDB file of one model. Anisotropic B-factors are left out: they do not turn with the
        atoms.

    Examples
    --------
    >>> series = PdbSeries(open("model.pdb", "rb").read())
    >>> series.with_coordinates(np.zeros((120, 3)))[30:54]
    b'   0.000   0.000   0.000'
    """

    def __init__(self, text: bytes) -> None:
        lines = [line for line in text.splitlines(keepends=True) if not line.startswith(b"ANISOU")]
        start = np.cumsum([0, *map(len, lines[:-1])])
        atoms = [line.startswith((b"ATOM  ", b"HETATM")) for line in lines]
        self.text = np.frombuffer(b"".join(lines), dtype=np.uint8)
        self.first = start[atoms][:, None]
        self._find_links(
            lines, start, [line for line, is_atom in zip(lines, atoms, strict=True) if is_atom]
        )

    def _find_links(self, lines: list[bytes], start: np.ndarray, atoms: list[bytes]) -> None:
        number: dict[bytes, int] = {}
        for i, line in enumerate(atoms):
            number.setdefault(line[ATOM], i)
            if line[12:16].strip() == b"SG":
                number.setdefault(_in_ssbond(line), i)
        links, unknown = [], []
        for line, at in zip(lines, start.tolist(), strict=True):
            ends = (
                ENDS_OF_LINK
                if line.startswith(b"LINK  ")
                else ENDS_OF_SSBOND
                if line.startswith(b"SSBOND")
                else None
            )
            if ends is None or not line[DISTANCE[0] : DISTANCE[-1] + 1].strip():
                continue
            pair = [number.get(line[end]) for end in ends]
            if None in pair or line[SYMMETRY[0]] != line[SYMMETRY[1]]:
                unknown.append(at)
            else:
                links.append((at, *pair))
        if unknown:
            text = self.text.copy()
            text[np.array(unknown)[:, None] + DISTANCE] = ord(" ")
            self.text = text
        self.linked = np.array(links, dtype=np.int64).reshape(-1, 3)

    def with_coordinates(self, position: np.ndarray, b_factor: np.ndarray | None = None) -> bytes:
        """The file with other coordinates and B-factors.

        Parameters
        ----------
        position : (atom, 3)
            A, between -999.999 and 9999.999.
        b_factor : (atom,), optional
            A^2, to 999.99.

        Returns
        -------
        bytes
        """
        text = self.text.copy()
        text[self.first + X_TO_Z] = fixed_point(position).reshape(len(self.first), len(X_TO_Z))
        if b_factor is not None:
            # %6.2f
            text[self.first + B_FACTOR] = fixed_point(np.round(np.minimum(b_factor, LARGEST_B), 2))[
                :, 1:7
            ]
        if len(self.linked):
            at, one, other = self.linked.T
            xyz = np.round(np.asarray(position, dtype=np.float64), 3)
            distance = np.minimum(np.linalg.norm(xyz[one] - xyz[other], axis=1), LARGEST_DISTANCE)
            text[at[:, None] + DISTANCE] = fixed_point(np.round(distance, 2))[:, 2:7]  # %5.2f
        return text.tobytes()


def _in_ssbond(atom: bytes) -> bytes:
    """Residue, chain and number of an ATOM record as an SSBOND record has them."""
    return atom[17:22] + b" " + atom[22:27]


def fixed_point(values: np.ndarray) -> np.ndarray:
    """The bytes (*values, 8) of numbers as %8.3f writes them.

    Parameters
    ----------
    values : array
        Between -999.999 and 9999.999.

    Returns
    -------
    (*values, 8) uint8

    Examples
    --------
    >>> fixed_point(np.array([-1.5, 12.3456])).tobytes()
    b'  -1.500  12.346'
    """
    thousandths = np.rint(np.asarray(values, dtype=np.float64) * 1000).astype(np.int64)
    size = np.abs(thousandths)
    text = np.full((*size.shape, 8), ord(" "), dtype=np.uint8)
    text[..., LAST_LEADING + 1] = ord(".")
    for column, unit in DIGIT_COLUMNS.items():
        written = (size >= unit) | (column >= LAST_LEADING)
        text[..., column] = np.where(written, ord("0") + size // unit % 10, ord(" "))
    before = LAST_LEADING - 1 - (size >= 10**4) - (size >= 10**5)
    negative = np.nonzero(thousandths < 0)
    text[(*negative, before[negative])] = ord("-")
    return text
