"""Small molecules whose files declare bonds: peptides, nucleotides, sugars and ligands of the
chemical component dictionary.

Coordinates inside residues are the dictionary's ideal ones; residues are put beside each other
where they touch least.
"""

import gemmi
import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from atomdrgn import read_structure
from molecules import atom_line, peptide

TRIALS = 2000
ROOM = 3.4  # A: atoms of two residues that are farther apart are far enough
SIDE_CHAIN_FREE = ("N", "C", "O", "OXT", "CA")
TRIPHOSPHATE = ("OP3",)


class Linked:
    """Atoms of residues, one after the other, and the bonds that their file declares."""

    def __init__(self):
        # a row: chain, number, residue name, atom name, element, xyz
        self.rows, self.links, self.conect = [], [], []

    def at(self, address):
        """Number of the atom "A:12:SG"."""
        chain, number, name = address.split(":")
        return next(
            k
            for k, row in enumerate(self.rows)
            if (row[0], row[1], row[3]) == (chain, int(number), name)
        )

    def link(self, one, other, *, length=None):
        """Declare a bond between residues, as long as it is or as it is said to be."""
        if length is None:
            length = float(
                np.linalg.norm(self.rows[self.at(one)][5] - self.rows[self.at(other)][5])
            )
        self.links.append((one, other, length))

    def join(self, rows, at=None, by=None, length=None):
        """Add residues so that their atom `by` is `length` from the atom `at`, touching as little
        as can be.
        """
        if self.rows:
            rows = self._placed(rows, self.rows[self.at(at)][5], by, length)
        self.rows += rows
        return self

    def _placed(self, rows, anchor, by, length):
        chain, number, name = by.split(":")
        hook = next(
            k
            for k, row in enumerate(rows)
            if (row[0], row[1], row[3]) == (chain, int(number), name)
        )
        here, new = (np.array([row[5] for row in some]) for some in (self.rows, rows))
        new, generator = new - new[hook], np.random.default_rng(0)
        tree, best = cKDTree(here), (-np.inf, None)
        others = np.arange(len(new)) != hook
        for _ in range(TRIALS):
            direction = generator.normal(size=3)
            placed = (
                Rotation.random(random_state=generator).apply(new)
                + anchor
                + length * direction / np.linalg.norm(direction)
            )
            # the anchor's own neighbours are about 2.5 A from the hook, and the hook's from the
            # anchor
            apart = np.sort(tree.query(placed, k=2)[0], axis=1)
            rest = apart[others, 0]
            worth = (
                np.minimum(rest, ROOM).sum() + 3 * min(apart[hook, 1], 2.5) + rest.min(initial=3.0)
            )
            if worth > best[0]:
                best = worth, placed
        return [(*row[:5], xyz) for row, xyz in zip(rows, best[1], strict=True)]

    def write(self, path):
        """A PDB file with LINK, SSBOND and CONECT records; a path in .cif: the same as _struct_conn
        and without CONECT.
        """
        lines = []
        for number, (one, other, length) in enumerate(self.links, 1):
            (a, b), ends = (self.rows[self.at(x)] for x in (one, other)), []
            if a[3] == b[3] == "SG":
                lines.append(
                    f"SSBOND{number:4d} CYS {a[0]}{a[1]:5d}    CYS {b[0]}{b[1]:5d}{'':26}1555   "
                    f"1555{length:6.2f}"
                )
                continue
            for row in (a, b):
                column = f" {row[3]:<3}" if len(row[4]) < 2 and len(row[3]) < 4 else f"{row[3]:<4}"
                ends.append(f"{column} {row[2]:>3} {row[0]}{row[1]:4d} ")
            lines.append(
                f"LINK        {ends[0]}               {ends[1]}    1555   1555{length:6.2f}"
            )
        chains = list(dict.fromkeys(row[0] for row in self.rows))
        place = {}
        for chain in chains:
            for k, row in enumerate(self.rows):
                if row[0] == chain:
                    place[k] = len(place) + 1
                    record = (
                        "ATOM" if gemmi.find_tabulated_residue(row[2]).is_standard() else "HETATM"
                    )
                    lines.append(
                        atom_line(
                            place[k],
                            row[3],
                            row[2],
                            *row[:2],
                            row[5],
                            element=row[4].upper(),
                            record=record,
                        )
                    )
            lines.append("TER")
        for one, other in self.conect:
            i, j = sorted((place[one], place[other]))
            lines += [f"CONECT{i:5d}{j:5d}", f"CONECT{j:5d}{i:5d}"]
        text = "\n".join([*lines, "END"]) + "\n"
        if path.suffix == ".cif":
            structure = gemmi.read_pdb_string(text)
            structure.setup_entities()
            structure.make_mmcif_document().write_file(str(path))
        else:
            path.write_text(text)
        return path


def component(chain, number, name, *, called=None, without=()):
    """Rows of the heavy atoms of a residue in the chemical component dictionary."""
    from biotite.structure.info import residue

    ideal = residue(name)
    return [
        (
            chain,
            number,
            called or name,
            atom.atom_name,
            atom.element.capitalize(),
            atom.coord.astype(float),
        )
        for atom in ideal
        if atom.element not in ("H", "D") and atom.atom_name not in without
    ]


def chain_of(chain, names, *, first=1):
    """Rows of a peptide of these residues, as a helix."""
    rows = []
    lines = peptide(chain, len(names))
    for k, name in enumerate(names):
        own = {
            line[12:16].strip(): np.array([float(line[c : c + 8]) for c in (30, 38, 46)])
            for line in lines[5 * k : 5 * k + 5]
        }
        rows += [
            (chain, first + k, name, atom, atom[0], own[atom]) for atom in ("N", "CA", "C", "O")
        ]
        side = component(chain, first + k, name)
        frame = {row[3]: row[5] for row in side}
        turn = Rotation.align_vectors(
            *(np.array([at["N"] - at["CA"], at["C"] - at["CA"]]) for at in (own, frame))
        )[0]
        rows += [
            (*row[:5], turn.apply(row[5] - frame["CA"]) + own["CA"])
            for row in side
            if row[3] not in SIDE_CHAIN_FREE
        ]
    return rows


def _holding(third):
    """A peptide whose third residue is of a kind."""
    return Linked().join(chain_of("A", ["ALA", "VAL", third, "ALA", "LEU", "ALA"]))


def _peptides(third, other, at, by, length):
    made = _holding(third).join(chain_of("B", other), at, by, length)
    made.link(at, by)
    return made


def thioester():
    """A cysteine on the C end of another chain."""
    return _peptides("CYS", ["ALA", "SER", "ALA", "ALA", "GLY", "GLY"], "A:3:SG", "B:6:C", 1.77)


def isopeptide():
    """A lysine on the C end of another chain, as of ubiquitin."""
    return _peptides("LYS", ["ALA", "SER", "ALA", "ALA", "GLY", "GLY"], "A:3:NZ", "B:6:C", 1.33)


def disulfide():
    """Two cysteines of two chains."""
    return _peptides("CYS", ["ALA", "SER", "CYS", "ALA", "GLY", "ALA"], "A:3:SG", "B:3:SG", 2.04)


def lanthionine():
    """The sulfur of a cysteine on what was a serine."""
    made = _holding("CYS")
    made.join(
        [row for row in chain_of("B", ["ALA", "SER", "ALA", "ALA"]) if row[3] != "OG"],
        "A:3:SG",
        "B:2:CB",
        1.81,
    )
    made.link("A:3:SG", "B:2:CB")
    return made


def glycan():
    """Two sugars on an asparagine."""
    made = _holding("ASN")
    made.join(component("B", 1, "NAG", without=("O1",)), "A:3:ND2", "B:1:C1", 1.44)
    made.join(component("B", 2, "NAG", without=("O1",)), "B:1:O4", "B:2:C1", 1.40)
    made.link("A:3:ND2", "B:1:C1")
    made.link("B:1:O4", "B:2:C1")
    return made


def nucleotides():
    """RNA with a modified base, and a branch from a 2' oxygen."""
    made = Linked().join(component("A", 1, "A", without=TRIPHOSPHATE))
    for number, name in ((2, "5MC"), (3, "G"), (4, "PSU")):
        made.join(
            component("A", number, name, without=TRIPHOSPHATE),
            f"A:{number - 1}:O3'",
            f"A:{number}:P",
            1.60,
        )
        made.link(f"A:{number - 1}:O3'", f"A:{number}:P")
    made.join(component("B", 1, "U", without=TRIPHOSPHATE), "A:2:O2'", "B:1:P", 1.60)
    made.link("A:2:O2'", "B:1:P")
    return made


def chromophore():
    """The chromophore of a green fluorescent protein between two pieces of its chain."""
    made = Linked().join(chain_of("A", ["ALA", "VAL", "LEU", "ALA", "LEU"], first=61))
    made.join(component("A", 66, "CRO", without=("OXT",)), "A:65:C", "A:66:N1", 1.33)
    made.join(chain_of("A", ["VAL", "GLN", "ALA", "ALA"], first=68), "A:66:C3", "A:68:N", 1.33)
    made.link("A:65:C", "A:66:N1")
    made.link("A:66:C3", "A:68:N")
    return made


def drug(name="LIG"):
    """Imatinib under the name that structure predictors give to ligands, beside a peptide, with
    CONECT records.
    """
    made = _holding("PHE")
    made.join(component("L", 1, "STI", called=name), "A:3:CZ", "L:1:C16", 3.6)
    from biotite.structure.info import bonds_in_residue

    there = {row[3] for row in made.rows if row[0] == "L"}
    made.conect = [
        (made.at(f"L:1:{a}"), made.at(f"L:1:{b}"))
        for a, b in bonds_in_residue("STI")
        if {a, b} <= there
    ]
    return made


def zinc():
    """Zinc between two cysteines and two histidines of two chains."""
    made = Linked().join(chain_of("A", ["ALA", "CYS", "ALA", "ALA", "ALA"]))
    made.join([("C", 1, "ZN", "ZN", "Zn", np.zeros(3))], "A:2:SG", "C:1:ZN", 2.3)
    made.join(chain_of("B", ["ALA", "CYS", "ALA"]), "C:1:ZN", "B:2:SG", 2.3)
    made.join(chain_of("D", ["ALA", "HIS", "ALA"]), "C:1:ZN", "D:2:NE2", 2.05)
    made.join(chain_of("E", ["ALA", "HIS", "ALA"]), "C:1:ZN", "E:2:NE2", 2.05)
    for partner in ("A:2:SG", "B:2:SG", "D:2:NE2", "E:2:NE2"):
        made.link(partner, "C:1:ZN")
    return made


def haem():
    """HEM on a histidine by its iron."""
    made = _holding("HIS")
    made.join(component("B", 1, "HEM"), "A:3:NE2", "B:1:FE", 2.1)
    made.link("A:3:NE2", "B:1:FE")
    return made


MOLECULES = {
    made.__name__: made
    for made in (
        thioester,
        isopeptide,
        disulfide,
        lanthionine,
        glycan,
        nucleotides,
        chromophore,
        drug,
        zinc,
        haem,
    )
}


def structure_of(made, path):
    """The structure that is read from its file."""
    return read_structure(made.write(path))
