import gemmi
import numpy as np
import pytest

from atomdrgn import read_structure
from atomdrgn.analysis.structure_files.conformation_files import write_models
from atomdrgn.errors import InputError
from atomdrgn.io.structure_files.structures import read_gemmi
from molecules import atom_line, helix, write_pdb


@pytest.fixture
def structure(tmp_path):
    ligand = [atom_line(80, "ZN", "ZN", "B", 99, (1, 2, 3), element="ZN", record="HETATM")]
    return read_structure(
        write_pdb(tmp_path / "base.pdb", helix("A", 6), helix("B", 5, start=(9, 0, 0)), ligand)
    )


@pytest.mark.parametrize("ending", ["pdb", "cif", "bcif"])
def test_every_conformation_is_a_model_with_all_atoms_in_order(structure, tmp_path, ending):
    positions = structure.position.numpy() + np.arange(4)[:, None, None] * [1.5, 0, -2.25]
    occupancy = np.tile(np.linspace(0, 1, len(structure)).round(2), (4, 1))
    b_factor = np.arange(4)[:, None] + np.zeros(len(structure))
    write_models(
        structure, positions, tmp_path / f"models.{ending}", occupancy=occupancy, b_factor=b_factor
    )
    read = read_gemmi(tmp_path / f"models.{ending}")
    assert [model.num for model in read] == [1, 2, 3, 4]
    for model, expected, value in zip(read, positions, range(4), strict=True):
        atoms = [cra.atom for cra in model.all()]
        np.testing.assert_allclose([atom.pos.tolist() for atom in atoms], expected, atol=5.1e-4)
        assert [atom.name for atom in atoms] == structure.atom_name.tolist()
        np.testing.assert_allclose([atom.occ for atom in atoms], occupancy[0], atol=1e-6)
        assert {atom.b_iso for atom in atoms} == {value}


def test_the_structure_itself_is_left_as_it_was(structure, tmp_path):
    before = structure.source.make_pdb_string()
    write_models(structure, structure.position.numpy()[None] + 5, tmp_path / "models.pdb")
    assert (
        structure.source.make_pdb_string() == before
        and len(gemmi.read_structure(str(tmp_path / "models.pdb"))) == 1
    )


@pytest.mark.parametrize("ending", ["pdb", "cif", "bcif"])
def test_every_model_is_numbered_alike_and_bonds_are_said_once(structure, tmp_path, ending):
    structure.source.assign_serial_numbers()
    structure.source.add_conect(1, 31, 1)  # of A and of B; the end of A has a number, too
    write_models(
        structure,
        structure.position.numpy() + np.arange(3)[:, None, None],
        tmp_path / f"models.{ending}",
    )
    if ending == "pdb":
        records = [
            line.split()
            for line in (tmp_path / "models.pdb").read_text().splitlines()
            if line.startswith("CONECT")
        ]
        assert records == [["CONECT", "1", "32"], ["CONECT", "32", "1"]]
        return
    read = read_gemmi(tmp_path / f"models.{ending}")
    assert len(read.connections) == 1
    numbers = [[residue.label_seq for chain in model for residue in chain] for model in read]
    assert numbers == [[1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, None]] * 3


def test_what_a_pdb_file_cannot_hold_is_said_and_not_written(structure, tmp_path):
    structure.source[0][0].name = "chain"
    with pytest.raises(InputError, match="mmCIF instead"):
        write_models(structure, structure.position.numpy()[None], tmp_path / "models.pdb")
    assert not (tmp_path / "models.pdb").exists()
