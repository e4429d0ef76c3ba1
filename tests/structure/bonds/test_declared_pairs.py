"""What a file declares as bonded, as pairs of atoms: links, disulfides, records of ligands; no
symmetry mates.
"""

import gemmi
import pytest

from atomdrgn import read_structure
from atomdrgn.structure.atoms import structure_from_gemmi
from atomdrgn.structure.bonds.declared_pairs import declared_bonds, declared_links
from molecules import atom_line

SULFURS = [
    atom_line(1, "SG", "CYS", "A", 1, (0, 0, 0)),
    atom_line(2, "SG", "CYS", "A", 5, (2.05, 0, 0)),
]
LINK = "LINK         SG  CYS A   1                 SG  CYS A   5     1555   1555  2.03"


def declared(tmp_path, header, atoms, *, conect=()):
    path = tmp_path / "model.pdb"
    path.write_text("\n".join([header, *atoms, *conect, "END"]) + "\n")
    return read_structure(path)


@pytest.mark.parametrize(
    "header",
    [
        LINK,
        LINK[:59],
        "SSBOND   1 CYS A    1    CYS A    5                          1555   1555  2.03",
        LINK.replace("   1     ", "   5     ", 1).replace("   5     1555", "   1     1555"),
    ],
)
def test_a_link_and_a_disulfide_are_bonds(tmp_path, header):
    assert declared_bonds(declared(tmp_path, header, SULFURS)).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    "header",
    [
        LINK.replace("1555  2.03", "2555  2.03"),
        LINK.replace("SG", "SD", 1),
        LINK.replace("CYS A   5", "CYS B   5"),
        LINK.replace("CYS A   5", "CYS A   1"),
    ],
)
def test_a_symmetry_mate_and_atoms_that_are_not_there_are_none(tmp_path, header):
    assert declared_bonds(declared(tmp_path, header, SULFURS)).shape == (0, 2)


def test_the_length_is_what_the_file_says(tmp_path):
    assert declared_links(declared(tmp_path, LINK, SULFURS)) == {(0, 1): pytest.approx(2.03)}
    assert declared_links(declared(tmp_path, LINK[:59], SULFURS)) == {(0, 1): 0.0}


def test_names_of_two_letters_none_and_insertion_codes(tmp_path):
    for chain in ("", "AB"):
        atoms = [
            atom_line(1, "SG", "CYS", chain, 1, (0, 0, 0), icode="C"),
            atom_line(2, "SG", "CYS", chain, 1, (2.05, 0, 0)),
        ]
        header = f"LINK         SG  CYS{chain:>2}   1C                SG  CYS{chain:>2}   1     1555   1555  2.05"
        assert declared_bonds(declared(tmp_path, header, atoms)).tolist() == [[0, 1]]


def test_locations_are_bonded_to_those_that_are_there_with_them(tmp_path):
    two = [
        atom_line(1 + k, "SG", "CYS", "A", 1, (0, 0.4 * k, 0), altloc=name, occupancy=0.5)
        for k, name in enumerate("AB")
    ]
    partner = [atom_line(3, "C1", "Q9Q", "A", 5, (1.8, 0, 0), record="HETATM")]
    header = "LINK         SG ZCYS A   1                 C1  Q9Q A   5     1555   1555  1.80"
    assert declared_bonds(declared(tmp_path, header.replace("Z", " "), two + partner)).tolist() == [
        [0, 2],
        [1, 2],
    ]
    assert declared_bonds(declared(tmp_path, header.replace("Z", "B"), two + partner)).tolist() == [
        [1, 2]
    ]
    other = [line.replace("C1  Q9Q", "C1 AQ9Q") for line in partner]
    assert declared_bonds(declared(tmp_path, header.replace("Z", "B"), two + other)).shape == (0, 2)
    assert declared_bonds(declared(tmp_path, header.replace("Z", " "), two + other)).tolist() == [
        [0, 2]
    ]


def test_a_name_that_two_atoms_bear_is_no_partner():
    again = [line.replace("   0.000   0.000", "  20.000   0.000") for line in SULFURS]
    source = gemmi.read_pdb_string("\n".join([LINK, *SULFURS, "TER", *again]))
    assert len(source[0]) == 1 and declared_bonds(structure_from_gemmi(source)).shape == (0, 2)


def test_records_of_ligands_come_beside_links(tmp_path):
    ligand = [
        atom_line(7 + k, f"C{k}", "Q9Q", "A", 9, (9 + 1.5 * k, 0, 0), record="HETATM")
        for k in (1, 2, 3)
    ]
    conect = ["CONECT    8    9", "CONECT   10    9    9", "CONECT    8    2"]
    structure = declared(tmp_path, LINK, SULFURS + ligand, conect=conect)
    assert declared_bonds(structure).tolist() == [[0, 1], [1, 2], [2, 3], [3, 4]]


def test_a_file_that_declares_nothing_has_none(tmp_path):
    assert declared_bonds(declared(tmp_path, "REMARK", SULFURS)).shape == (0, 2)
