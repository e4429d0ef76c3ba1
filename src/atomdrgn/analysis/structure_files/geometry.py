"""How good the local geometry of an ensemble is, beside that of its base model."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from ...runs.run import write_json, write_table
from ...structure.atoms import Structure
from ...structure.bonds.bonding import HYDROGEN, Bonding, find_bonds, same_site
from ...structure.bonds.internal_coordinates import angle, distance, off_plane, torsion, turn

LONGEST_STEP = 4.3  # A between CA atoms of residues that follow each other
CLASH = 2.5  # A between atoms other than hydrogen, more than two bonds apart
OPEN = 0.1  # A longer than it should be: a declared bond that is open
TETRAHEDRAL = np.radians(20)  # an improper that is further off its plane has a hand
LARGE_SHIFT = np.radians(30)  # of phi or psi

COLUMNS = {
    "bond_rms": "difference of bond lengths from the base model's (from usual ones of declared "
    "bonds open there), r.m.s., A",
    "bond_max": "the largest of them, A",
    "open_declared_bonds": f"bonds that the file declares and that are more than {OPEN} A longer "
    "than that",
    "angle_rms_deg": "difference of bond angles from the base model's, r.m.s., degrees",
    "angle_max_deg": "the largest of them, degrees",
    "gaps": f"residues that follow each other with their CA atoms more than {LONGEST_STEP} A apart",
    "new_gaps": "of these, those that the base model does not have",
    "clashes": "pairs of atoms other than hydrogen, more than two bonds apart, nearer than "
    f"{CLASH} A",
    "new_clashes": "of these, those that the base model does not have",
    "omega_rms_deg": "how far peptides are off their plane (omega off 0 or 180), r.m.s., degrees",
    "omega_max_deg": "the farthest, degrees",
    "omega_flipped": "peptides that have gone from cis to trans or back",
    "inverted": "atoms with three or more bonds whose hand is not the base model's",
    "phi_psi_rms_deg": "shift of phi and psi from the base model's, r.m.s., degrees",
    "phi_psi_shifted": "residues whose phi or psi has shifted by more than "
    f"{np.degrees(LARGE_SHIFT):.0f} degrees",
}
FILES = ("geometry.csv", "geometry.json")
STRAINED = 0.2  # A: a bond that relaxation has left so far off
MOVED = "by how much relaxation moved the atoms, r.m.s., A"


@dataclass(frozen=True)
class GeometryReport:
    """Geometry of an ensemble.

    Parameters
    ----------
    base : dict
        Of the base model: a number for each of :data:`COLUMNS`.
    names : list of str
        Of the structures.
    rows : list of dict
        As `base`, one a structure; with "moved" where they have been relaxed.
    """

    base: dict[str, float | int]
    names: list[str]
    rows: list[dict[str, float | int]]

    def median(self, column: str) -> float:
        """Over the structures."""
        return float(np.median([row[column] for row in self.rows]))

    def largest(self, column: str) -> float | int:
        """Over the structures."""
        return max(row[column] for row in self.rows)


class Geometry:
    """Measures conformations of one molecule against its base model.

    Calling it gives a number for each of :data:`COLUMNS`.

    Parameters
    ----------
    structure : Structure
        The base model.
    bonding : Bonding, optional
        Its bonds, where they are known already.
    """

    def __init__(self, structure: Structure, bonding: Bonding | None = None) -> None:
        self.bonding = find_bonds(structure) if bonding is None else bonding
        bonding, position = self.bonding, structure.position.double().numpy()
        self._angle = angle(position, bonding.angles)
        steps = np.concatenate([bonding.omega[:, [0, 3]], bonding.steps])
        self._step = steps[(structure.atom_name[steps] == "CA").all(1)]
        self._long = distance(position, self._step) > LONGEST_STEP
        self._omega, self._phi, self._psi = (
            torsion(position, rows) for rows in (bonding.omega, bonding.phi, bonding.psi)
        )
        hand = torsion(position, bonding.impropers)
        handed = (np.abs(hand) > TETRAHEDRAL) & (np.abs(hand) < np.pi - TETRAHEDRAL)
        self._handed, self._hand = bonding.impropers[handed], hand[handed] > 0
        self._heavy, self._altloc = np.flatnonzero(structure.element != HYDROGEN), structure.altloc
        self._count = len(structure)
        self._apart = self._keys(bonding.near_pairs())
        self._clashing = self._clashes(position, None)
        self.base = self(position)

    def __call__(
        self, position: np.ndarray, present: np.ndarray | None = None
    ) -> dict[str, float | int]:
        """A row of the report.

        Parameters
        ----------
        position : (atom, 3)
            A conformation, A.
        present : (atom,) bool, optional
            Only these atoms are looked at; all of them by default.
        """
        position = np.asarray(position, dtype=np.float64)
        bonding = self.bonding

        def there(rows: np.ndarray) -> np.ndarray:
            return np.ones(len(rows), dtype=bool) if present is None else present[rows].all(1)

        stretch = (distance(position, bonding.bonds) - bonding.lengths)[there(bonding.bonds)]
        bond, opened = np.abs(stretch), (stretch > OPEN) & bonding.declared[there(bonding.bonds)]
        bend = np.abs(angle(position, bonding.angles) - self._angle)[there(bonding.angles)]
        long = (distance(position, self._step) > LONGEST_STEP) & there(self._step)
        clashes = self._clashes(position, present)
        omega = torsion(position, bonding.omega)[there(bonding.omega)]
        flat = np.abs(off_plane(omega))
        flipped = np.abs(turn(omega, self._omega[there(bonding.omega)])) > np.pi / 2
        inverted = ((torsion(position, self._handed) > 0) != self._hand) & there(self._handed)
        shifts = [
            np.abs(turn(torsion(position, rows), before))[there(rows)]
            for rows, before in ((bonding.phi, self._phi), (bonding.psi, self._psi))
        ]
        # columns 2 and 1: the CA of the residue that phi and psi belong to
        residue = [
            rows[there(rows), column] for rows, column in ((bonding.phi, 2), (bonding.psi, 1))
        ]
        shift, owner = np.concatenate(shifts), np.concatenate(residue)
        values = (
            _rms(bond),
            bond.max(initial=0),
            opened.sum(),
            np.degrees(_rms(bend)),
            np.degrees(bend.max(initial=0)),
            long.sum(),
            (long & ~self._long).sum(),
            len(clashes),
            len(np.setdiff1d(clashes, self._clashing)),
            np.degrees(_rms(flat)),
            np.degrees(flat.max(initial=0)),
            flipped.sum(),
            len(np.unique(self._handed[inverted, 0])),
            np.degrees(_rms(shift)),
            len(np.unique(owner[shift > LARGE_SHIFT])),
        )
        return {name: np.asarray(value).item() for name, value in zip(COLUMNS, values, strict=True)}

    def _clashes(self, position: np.ndarray, present: np.ndarray | None) -> np.ndarray:
        """Sorted keys of the pairs that clash."""
        heavy = self._heavy if present is None else self._heavy[present[self._heavy]]
        pairs = heavy[
            cKDTree(position[heavy]).query_pairs(CLASH, output_type="ndarray").reshape(-1, 2)
        ]
        return np.setdiff1d(self._keys(pairs[same_site(self._altloc, *pairs.T)]), self._apart)

    def _keys(self, pairs: np.ndarray) -> np.ndarray:
        """One number for each pair, whatever the order of its atoms."""
        return pairs.min(1, initial=self._count) * self._count + pairs.max(1, initial=0)


def write_geometry(report: GeometryReport, folder: Path) -> tuple[Path, Path]:
    """Write geometry.csv, a row for the base model and one for each structure, and geometry.json.

    The latter holds their medians and extremes.
    """
    table, words = (folder / name for name in FILES)
    columns = [*COLUMNS, *(["moved"] if "moved" in report.rows[0] else [])]
    rows = [{"moved": 0.0, **report.base}, *report.rows]
    write_table(
        table,
        {
            "structure": ["base", *report.names],
            **{name: [_short(row[name]) for row in rows] for name in columns},
        },
    )
    write_json(
        words,
        {
            "structures": len(report.rows),
            "columns": {name: COLUMNS.get(name, MOVED) for name in columns},
            "base": {name: _short(value) for name, value in report.base.items()},
            "median": {name: _short(report.median(name)) for name in columns},
            "largest": {name: _short(report.largest(name)) for name in columns},
        },
    )
    return table, words


def geometry_lines(report: GeometryReport) -> list[str]:
    """The report in a few lines."""
    base, largest = report.base, report.largest

    def compared(column: str, digits: int) -> str:
        middle, most, own = (
            f"{value:.{digits}f}"
            for value in (report.median(column), largest(column), base[column])
        )
        return f"{middle}, at most {most} (base {own})"

    lines = [
        f"geometry of {len(report.rows):,} structures (median, and the worst of them) beside the "
        "base model's:",
        f"  bonds off by {report.median('bond_rms'):.3f} A r.m.s., none by more than "
        f"{largest('bond_max'):.2f} A; angles by {report.median('angle_rms_deg'):.1f} degrees "
        f"r.m.s., none by more than {largest('angle_max_deg'):.0f}",
        f"  gaps in chains: {compared('gaps', 0)}, new ones at most {largest('new_gaps'):.0f}",
        f"  clashes: {compared('clashes', 0)}, new ones at most {largest('new_clashes'):.0f}",
        f"  peptides off their plane, degrees r.m.s.: {compared('omega_rms_deg', 1)}",
        f"  peptides flipped: at most {largest('omega_flipped'):.0f}; centres inverted: at most "
        f"{largest('inverted'):.0f}",
        f"  phi and psi shifted by {report.median('phi_psi_rms_deg'):.1f} degrees r.m.s., by more "
        f"than 30 degrees in {report.median('phi_psi_shifted'):.0f} residues, at most "
        f"{largest('phi_psi_shifted'):.0f}",
    ]
    if largest("open_declared_bonds"):
        left = sum(row["open_declared_bonds"] > 0 for row in report.rows)
        lines.append(
            f"  bonds that the file declares are open (more than {OPEN} A too long) in {left:,} of "
            f"them: at most {largest('open_declared_bonds'):.0f} (base "
            f"{base['open_declared_bonds']:.0f})"
        )
    if "moved" in report.rows[0]:
        lines.append(
            f"  relaxation moved the atoms by {report.median('moved'):.2f} A r.m.s., at most "
            f"{largest('moved'):.2f}"
        )
        left = sum(row["bond_max"] > STRAINED for row in report.rows)
        if left:
            lines.append(
                f"  {left:,} of them keep a bond that is more than {STRAINED} A off: where parts "
                "overlap deeply, a chain may have gone through a ring"
            )
    return lines


def _rms(values: np.ndarray) -> float:
    return np.sqrt(np.square(values).mean()) if len(values) else 0.0


def _short(value: float | int) -> float | int:
    return round(value, 4)
