"""Declared bonds are kept under serial numbers of their own; what can be read in two ways is left
out with a warning.
"""

import gzip
import warnings

import gemmi
import pytest

from atomdrgn import read_structure
from atomdrgn.io.structure_files.declared_bonds import keep_declared_bonds
from atomdrgn.io.structure_files.structures import read_gemmi
from molecules import atom_line

CHAIN = [
    atom_line(number, f"C{number}", "Q9Q", "A", 1, (1.5 * number, 0, 0), record="HETATM")
    for number in range(1, 7)
]


def ligand(path, *conect, atoms=CHAIN):
    text = "\n".join([*atoms, *conect, "END"]) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def with_serials(*serials):
    return [
        line[:6] + f"{serial:>5}" + line[11:] for line, serial in zip(CHAIN, serials, strict=True)
    ]


def kept(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_gemmi(path).conect_map


@pytest.mark.parametrize("name", ["model.pdb", "model.ent.gz"])
def test_serial_numbers_follow_the_file_and_the_records_follow_them(tmp_path, name):
    atoms = with_serials(31, 30, 7, 8, "A0000", "A0001")
    path = ligand(
        tmp_path / name,
        "CONECT   31   30",
        "CONECT    7    8   30",
        "CONECTA0000A0001",
        "CONECT    8A0000  999",
        atoms=atoms,
    )
    structure = read_gemmi(path)
    assert [atom.atom.serial for atom in structure[0].all()] == [1, 2, 3, 4, 5, 6]
    assert structure.conect_map == {1: [2], 2: [1, 3], 3: [2, 4], 4: [3, 5], 5: [4, 6], 6: [5]}


def test_a_partner_named_twice_has_a_double_bond_and_a_record_said_again_changes_nothing(tmp_path):
    path = ligand(
        tmp_path / "model.pdb",
        "CONECT    1    2    2",
        "CONECT    2    1    1    3",
        "CONECT    1    2    2",
        "CONECT    4    4    5",
    )
    assert kept(path) == {1: [2, 2], 2: [1, 1, 3], 3: [2], 4: [5], 5: [4]}


def test_hydrogen_bonds_and_salt_bridges_of_old_files_are_no_bonds(tmp_path):
    assert kept(
        ligand(tmp_path / "model.pdb", "CONECT    1    2                   5    6         4")
    ) == {1: [2], 2: [1]}


def test_numbers_with_spaces_between_them_are_read_wherever_they_stand(tmp_path):
    assert kept(ligand(tmp_path / "model.pdb", "CONECT 1 2 3", "CONECT 4    5")) == {
        1: [2, 3],
        2: [1],
        3: [1],
        4: [5],
        5: [4],
    }


@pytest.mark.parametrize(
    "serials, record",
    [
        ((1, 2, 3, 1, 2, 4), "CONECT    1    2"),  # numbered anew
        ((1, 2, 3, 4, "*****", "*****"), "CONECT    4*****"),
        # columns that are too narrow: 10000 and 1000, 1
        ((1, 2, 3, 4, 5, 6), "CONECT100000100001"),
        ((1, 2, 186, 4, "186a0", "186a1"), "CONECT186a0186a1"),  # hexadecimal
        ((1, 2, 186, 4, "186a0", "186a1"), "CONECT  186    2"),
        ((1, 2, 3, 4, 5, 6), "CONECT         1    2"),
    ],
)
def test_a_record_that_may_mean_other_atoms_is_left_out_and_named(tmp_path, serials, record):
    path = ligand(tmp_path / "model.pdb", "CONECT    3    4", record, atoms=with_serials(*serials))
    with pytest.warns(
        UserWarning, match=f"model.pdb: 1 CONECT records.*line 8: '{record.replace('*', '.')}'"
    ):
        conect = read_gemmi(path).conect_map
    places = [serials.index(3) + 1, serials.index(4) + 1] if 3 in serials else []
    assert conect == ({places[0]: [places[1]], places[1]: [places[0]]} if places else {})


def test_records_are_of_the_first_model(tmp_path):
    models = [line for number in (1, 2) for line in (f"MODEL     {number:4d}", *CHAIN, "ENDMDL")]
    structure = read_gemmi(ligand(tmp_path / "model.pdb", "CONECT    1    2", atoms=models))
    assert structure.conect_map == {1: [2], 2: [1]}
    assert [[atom.atom.serial for atom in model.all()] for model in structure] == [
        [1, 2, 3, 4, 5, 6]
    ] * 2


def cif(path, components, connections=()):
    """A ligand of two atoms, one of them in two locations, and an alanine, as mmCIF or BinaryCIF."""
    lines = [
        atom_line(1, "CA", "ALA", "A", 1, (0, 0, 0)),
        atom_line(2, "CB", "ALA", "A", 1, (1.5, 0, 0)),
        atom_line(3, "C1", "Q9Q", "B", 1, (9, 0, 0), record="HETATM"),
        atom_line(4, "C2", "Q9Q", "B", 1, (9, 1.2, 0), altloc="A", occupancy=0.5, record="HETATM"),
        atom_line(5, "C2", "Q9Q", "B", 1, (9, 1.3, 0), altloc="B", occupancy=0.5, record="HETATM"),
        atom_line(
            6,
            "X3",
            "Q9Q",
            "B",
            1,
            (9, 2.5, 0),
            altloc="A",
            occupancy=0.5,
            element="C",
            record="HETATM",
        ),
    ]
    structure = gemmi.read_pdb_string("\n".join(lines))
    structure.setup_entities()
    document = structure.make_mmcif_document()
    table = document[0].init_loop(
        "_chem_comp_bond.", ["comp_id", "atom_id_1", "atom_id_2", "value_order"]
    )
    for row in components:
        table.add_row(row)
    table = document[0].init_loop(
        "_struct_conn.",
        [
            "id",
            "conn_type_id",
            "ptnr1_auth_asym_id",
            "ptnr1_auth_seq_id",
            "ptnr1_label_comp_id",
            "ptnr1_label_atom_id",
            "ptnr2_auth_asym_id",
            "ptnr2_auth_seq_id",
            "ptnr2_label_comp_id",
            "ptnr2_label_atom_id",
        ],
    )
    for number, kind in enumerate(connections):
        table.add_row([f"x{number}", kind, "A", "1", "ALA", "CB", "B", "1", "Q9Q", "C1"])
    if path.suffix == ".bcif":
        from atomdrgn.io.structure_writing.structure_writing import _binary_of_document

        path.write_bytes(_binary_of_document(document))
    else:
        document.write_file(str(path))
    return path


@pytest.mark.parametrize("ending", ["cif", "bcif"])
def test_bonds_of_components_are_those_of_ligands(tmp_path, ending):
    path = cif(
        tmp_path / f"model.{ending}",
        [
            ["ALA", "CA", "CB", "SING"],
            ["Q9Q", "C1", "C2", "TRIP"],
            ["Q9Q", "C2", "X3", "AROM"],
            ["Q9Q", "C2", "H9", "SING"],
            ["OTH", "C1", "C2", "SING"],
        ],
    )
    assert kept(path) == {3: [4, 4, 4, 5, 5, 5], 4: [3, 3, 3, 6], 5: [3, 3, 3], 6: [4]}
    assert read_structure(path).source.conect_map[6] == [4]


def test_covalent_links_of_every_name_are_covalent(tmp_path):
    names = [
        "covale",
        "COVALE",
        "covale_base",
        "covale_sugar",
        "covale_phosphate",
        "disulf",
        "MetalC",
        "hydrog",
        "modres",
        "saltbr",
    ]
    found = [
        connection.type.name
        for connection in read_gemmi(cif(tmp_path / "model.cif", [], names)).connections
    ]
    assert found == ["Covale"] * 5 + ["Disulf", "MetalC", "Hydrog", "Unknown", "Unknown"]


def test_without_a_file_atoms_are_numbered(tmp_path):
    structure = gemmi.read_pdb_string("\n".join(with_serials(9, 9, 3, 2, 1, 0)))
    keep_declared_bonds(structure, path="model.pdb")
    assert [atom.atom.serial for atom in structure[0].all()] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ] and structure.conect_map == {}
