import numpy as np
import pytest

from atomdrgn import read_structure
from atomdrgn.runs.run import require_base_survives
from atomdrgn.structure.beads import coarse_grain, residue_kinds
from molecules import atom_line, helix, peptide, write_pdb

CHAIN = peptide("A", 6)


def renamed(lines, name, record="ATOM"):
    return [f"{record:<6}{line[6:17]}{name:>3}{line[20:]}" for line in lines]


def residue(number, lines=CHAIN):
    return [line for line in lines if int(line[22:26]) == number]


def kinds(path, *groups):
    """The kind of each residue of a file, which is the same once the structure is the base of a
    run.
    """
    structure = read_structure(write_pdb(path, *groups))
    require_base_survives(structure)
    return residue_kinds(structure).tolist()


def molecule(name, atoms, *, number=101, record="HETATM", at=(30.0, 0.0, 0.0)):
    """Atoms in a row, each bonded to the next."""
    return [
        atom_line(90 + i, atom, name, "A", number, (at[0] + 1.4 * i, *at[1:]), record=record)
        for i, atom in enumerate(atoms.split())
    ]


def nucleotide(number, name, *, record="ATOM", first=False):
    """P to O3' of a nucleotide, with a base of two atoms; O3' is 1.6 A from the P of the next."""
    atoms = {"P": 0.0, "O5'": 1.4, "C5'": 2.4, "C4'": 3.2, "C3'": 4.0, "O3'": 5.0}
    x = 6.6 * number
    lines = [
        atom_line(number * 10 + i, atom, name, "R", number, (x + along, 0, 0), record=record)
        for i, (atom, along) in enumerate(atoms.items())
        if not (first and atom == "P")
    ]
    return lines + [
        atom_line(
            number * 10 + 7 + i, atom, name, "R", number, (x + 3.6, 1.4 * (i + 1), 0), record=record
        )
        for i, atom in enumerate(("C1'", "N9", "C8"))
    ]


@pytest.mark.parametrize(
    "name", ["MSE", "SEP", "HYP", "HIE", "HSD", "CYX", "ASH", "GLH", "LYN", "DSG", "UNK", "X9X"]
)
@pytest.mark.parametrize("record", ["ATOM", "HETATM"])
def test_amino_acids_of_any_name_are_residues_wherever_they_stand(tmp_path, name, record):
    path = tmp_path / "a.pdb"
    odd = renamed(residue(3), name, record)
    front, back = residue(1) + residue(2), residue(4) + residue(5) + residue(6)
    assert kinds(path, front + odd + back) == ["amino acid"] * 6
    assert kinds(path, front, odd + back) == ["amino acid"] * 6
    # at the end of the file, as some programs sort
    assert kinds(path, front + back, odd) == ["amino acid"] * 6
    assert kinds(path, residue(1), odd + residue(4)) == ["amino acid"] * 3  # behind a gap
    if record == "ATOM":
        assert kinds(path, residue(1), residue(6), odd) == ["amino acid"] * 3  # and alone


@pytest.mark.parametrize(
    "names",
    [
        ("RA5", "RA", "RU3"),
        ("ADE", "GUA", "URA"),
        ("DA5", "DT", "DC3"),
        ("A5", "G", "C3"),
        ("PSU", "H2U", "5MC"),
        ("THY", "CYT", "X9X"),
    ],
)
def test_nucleotides_of_any_name_are_residues_wherever_they_stand(tmp_path, names):
    path = tmp_path / "a.pdb"
    one, two, three = (nucleotide(i, name, first=i == 1) for i, name in enumerate(names, 1))
    far = nucleotide(9, names[1])
    for groups in (
        [one + two + three],
        [one, two, three],
        [one + three],
        [one, far],
        [one + two, far],
    ):
        assert set(kinds(path, CHAIN, *groups)) == {"amino acid", "nucleotide"}
    modified = [
        nucleotide(i, name, record="HETATM", first=i == 1) for i, name in enumerate(names, 1)
    ]
    assert kinds(path, CHAIN, sum(modified, []))[6:] == ["nucleotide"] * 3
    assert kinds(path, CHAIN, modified[0] + two, modified[2])[6:] == ["nucleotide"] * 3


@pytest.mark.parametrize(
    "name, atoms",
    [
        ("GLU", "N CA C O OXT"),
        ("SAM", "N CA C OXT SD C1' O3'"),
        ("SAH", "N CA C OXT SD C1' O3'"),
        ("ADP", "PB PA O3' C1' N9"),
        ("ATP", "PG PB PA O3' C1' N9"),
        ("ANP", "PG PB PA O3' C1'"),
        ("GTP", "PG PB PA O3' C1' N9"),
        ("AMP", "P O3' C1' N9"),
        ("NAD", "PA PN C1B C1D"),
        ("FAD", "PA P C1' O3' N10"),
        ("LIG", "C C1 N CA"),
        ("UNL", "C N O C"),
    ],
)
@pytest.mark.parametrize("ter", [True, False])
@pytest.mark.filterwarnings("ignore:.*several atoms of one name")
def test_molecules_that_stand_alone_are_ligands(tmp_path, name, atoms, ter):
    ligand = molecule(name, atoms)
    assert kinds(tmp_path / "a.pdb", *([CHAIN, ligand] if ter else [CHAIN + ligand])) == [
        "amino acid"
    ] * 6 + ["ligand"]


@pytest.mark.parametrize(
    "name, atoms",
    [
        ("ATP", "PG PB PA O3' C1' N9"),
        ("GTP", "PG PB PA O3' C1' N9"),
        ("LIG", "C C1 N CA"),
        ("SAM", "N CA C OXT SD C1' O3'"),
        ("FAD", "PA P C1' O3' N10"),
    ],
)
def test_ligands_of_files_without_hetatm_are_ligands(tmp_path, name, atoms):
    assert kinds(tmp_path / "a.pdb", CHAIN, molecule(name, atoms, record="ATOM"))[-1] == "ligand"


def caps():
    return [
        [
            line.replace(" CA ", " CH3")
            for line in renamed(residue(number), name, "HETATM")
            if line[12:16].strip() in atoms
        ]
        for number, name, atoms in ((1, "ACE", ("CA", "C", "O")), (6, "NME", ("N", "CA")))
    ]


def test_caps_are_of_the_chain_wherever_they_stand(tmp_path):
    acetyl, amide = caps()
    middle = sum((residue(i) for i in range(2, 6)), [])
    inside = ["other polymer", *["amino acid"] * 4, "other polymer"]
    assert kinds(tmp_path / "a.pdb", acetyl + middle + amide) == inside
    assert kinds(tmp_path / "a.pdb", middle, acetyl + amide) == sorted(inside)


@pytest.mark.parametrize("name, kind", [("CRO", "amino acid"), ("X9X", "other polymer")])
def test_chromophores_that_hold_a_chain_together_are_of_it(tmp_path, name, kind):
    own = {"N": " N1 ", "CA": " CA1", "C": " C3 ", "O": " O3 ", "CB": " CB1"}
    odd = [
        line[:12] + own[line[12:16].strip()] + line[16:]
        for line in renamed(residue(3), name, "HETATM")
    ]
    front, back = residue(1) + residue(2), residue(4) + residue(5)
    assert (
        kinds(tmp_path / "a.pdb", front + odd + back)
        == ["amino acid"] * 2 + [kind] + ["amino acid"] * 2
    )
    assert kinds(tmp_path / "a.pdb", front + back, odd)[-1] in ("amino acid", "other polymer")


def test_traces_of_other_names_are_residues(tmp_path):
    trace = [line for line in helix("A", 4) if " CA " in line]
    path = write_pdb(tmp_path / "a.pdb", trace[:2], renamed(trace[2:], "HSD"))
    with pytest.warns(UserWarning, match="4 residues have their trace atom only"):
        assert coarse_grain(read_structure(path)).trace.all()


def test_kinds_are_those_of_the_file_when_atoms_have_moved(tmp_path):
    structure = read_structure(
        write_pdb(tmp_path / "a.pdb", residue(1) + residue(2), renamed(residue(3), "MSE", "HETATM"))
    )
    apart = structure.moved(structure.position * 10)
    assert (
        np.array_equal(residue_kinds(apart), residue_kinds(structure))
        and (residue_kinds(structure) == "amino acid").all()
    )
