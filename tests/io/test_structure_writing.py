"""Written structures are right in the programs that open them."""

import gzip

import gemmi
import numpy as np
import pytest
import torch

from atomdrgn.errors import InputError, MissingFileError
from atomdrgn.io.structure_writing import write_gemmi
from atomdrgn.io.structures import read_gemmi
from atomdrgn.structure.atoms import read_structure, why_no_pdb, write_pdb_or_mmcif, write_structure
from molecules import atom_line, helix, write_pdb
from readers import (
    Reading,
    reading_of_biotite,
    reading_of_gemmi,
    reading_of_mdanalysis,
    reading_of_openmm,
    readings_of_molstar,
    why_no_molstar,
)

COLUMNS = ("element", "atom_name", "residue", "insertion_code", "residue_name", "chain", "altloc", "occupancy", "b_factor",
           "residue_index")
REAL = ["structures/1ake_chainA.pdb", "structures/1ake_chimerax.cif", "structures/1aon.pdb.gz", "structures/1igy.cif",
        "structures/2dhb.cif", "structures/2dhb.pdb", "structures/4ake_chainA_H.pdb", "structures/4v8r_h36.pdb.gz",
        "structures/pdb7pbl.pdb", "ensembles/1gya.cif", "ensembles/adk_closed.pdb", "ensembles/pdb2k39_ca.pdb",
        "particles/warptools_dev/model_50S_placed.cif.gz"]


@pytest.fixture
def awkward(tmp_path):
    """Insertion codes, two conformers, a ligand behind the chain of its name, an ion, water."""
    chain = helix("A", 6)
    chain += [atom_line(40, "CA", "SER", "A", 6, (9, 9, 9), icode="A"), atom_line(41, "OG", "SER", "A", 6, (9, 10, 9), icode="A"),
              atom_line(42, "CA", "SER", "A", 6, (12, 9, 9), icode="B"),
              atom_line(43, "OG", "SER", "A", 6, (12, 10, 9), icode="B", altloc="A", occupancy=0.4),
              atom_line(44, "OG", "SER", "A", 6, (12, 8, 9), icode="B", altloc="B", occupancy=0.6)]
    other = helix("B", 4, first=-2, start=(20, 0, 0))
    rest = [atom_line(90, "C1", "LIG", "A", 101, (5, 5, 5), record="HETATM"),
            atom_line(91, "CA", "CA", "A", 102, (7, 5, 5), element="CA", record="HETATM"),
            atom_line(92, "O", "HOH", "A", 201, (0, 8, 8), record="HETATM")]
    return write_pdb(tmp_path / "awkward.pdb", chain, other, rest)


def assert_same_atoms(one, other):
    assert len(one) == len(other)
    for column in COLUMNS:
        assert np.array_equal(getattr(one, column), getattr(other, column)), column
    torch.testing.assert_close(one.position, other.position, rtol=0, atol=6e-4)


@pytest.mark.parametrize("ending", [".pdb", ".cif", ".bcif", ".pdb.gz", ".cif.gz", ".bcif.gz"])
def test_no_atom_is_lost_on_the_way_through_a_format(awkward, tmp_path, ending):
    structure = read_structure(awkward)
    assert len(structure) == len([line for line in awkward.read_text().splitlines() if line.startswith(("ATOM", "HETATM"))])
    assert structure.insertion_code[structure.residue == 6].tolist()[-4:] == ["A", "B", "B", "B"]
    write_structure(structure, tmp_path / f"out{ending}")
    assert_same_atoms(structure, read_structure(tmp_path / f"out{ending}"))


@pytest.mark.filterwarnings("ignore::atomdrgn.errors.UnmodelledWarning")
@pytest.mark.parametrize("ending", [".pdb", ".cif", ".bcif"])
@pytest.mark.parametrize("name", REAL)
def test_no_atom_of_real_files_is_lost(shared, tmp_path, name, ending):
    structure = read_structure(shared / "data" / name)
    if ending == ".pdb" and why_no_pdb(structure):
        with pytest.raises(InputError, match="chain names of one character"):
            write_structure(structure, tmp_path / "out.pdb")
        return
    write_structure(structure, tmp_path / f"out{ending}")
    assert_same_atoms(structure, read_structure(tmp_path / f"out{ending}"))


def test_new_coordinates_and_b_factors_are_written(awkward, tmp_path):
    structure = read_structure(awkward)
    b_factor = torch.arange(len(structure)) / 4
    position = structure.position + torch.tensor([100.0, 0, -3])
    write_structure(structure, tmp_path / "out.bcif", position=position, b_factor=b_factor)
    back = read_structure(tmp_path / "out.bcif")
    torch.testing.assert_close(back.position, position, rtol=0, atol=6e-4)
    np.testing.assert_allclose(back.b_factor, np.round(b_factor.numpy(), 2), atol=0.005)
    assert np.array_equal(back.atom_name, structure.atom_name)


def test_wrong_number_of_coordinates_is_said(awkward, tmp_path):
    structure = read_structure(awkward)
    with pytest.raises(InputError, match=rf"\(3, 3\) for {len(structure)} atoms"):
        write_structure(structure, tmp_path / "out.pdb", position=torch.zeros(3, 3))
    with pytest.raises(InputError, match="not finite"):
        write_structure(structure, tmp_path / "out.pdb", b_factor=torch.full((len(structure),), torch.nan))


def test_a_failed_write_leaves_what_was_there(awkward, tmp_path):
    structure = read_structure(awkward)
    target = tmp_path / "out.pdb"
    target.write_text("precious")
    with pytest.raises(InputError, match="write mmCIF"):
        write_structure(structure, target, position=structure.position + 20_000)
    assert target.read_text() == "precious"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.filterwarnings("ignore:Attribute .auth_:UserWarning")
def test_another_library_reads_and_writes_the_same_binarycif(awkward, tmp_path):
    from biotite.structure.io import pdbx

    structure = read_structure(awkward)
    write_structure(structure, tmp_path / "ours.bcif")
    theirs = pdbx.get_structure(pdbx.BinaryCIFFile.read(tmp_path / "ours.bcif"), model=1, altloc="all")
    assert np.array_equal(theirs.atom_name, structure.atom_name) and np.array_equal(theirs.chain_id, structure.chain)
    assert np.array_equal(theirs.res_id, structure.residue) and np.array_equal(theirs.ins_code, structure.insertion_code)
    np.testing.assert_allclose(theirs.coord, structure.position.numpy(), atol=1e-3)
    file = pdbx.BinaryCIFFile()
    pdbx.set_structure(file, theirs)
    file.write(tmp_path / "theirs.bcif")
    back = read_structure(tmp_path / "theirs.bcif")
    assert np.array_equal(back.element, structure.element) and np.array_equal(back.residue, structure.residue)


def test_large_b_factors_keep_the_columns_of_a_pdb_file(awkward, tmp_path):
    structure = read_structure(awkward)
    write_structure(structure, tmp_path / "out.pdb", b_factor=np.full(len(structure), 12_345.0))
    back = read_structure(tmp_path / "out.pdb")
    assert np.array_equal(back.element, structure.element) and (back.b_factor > 900).all()


def test_a_pdb_file_refuses_what_it_cannot_hold(awkward, tmp_path):
    source = read_gemmi(awkward)
    source[0][0].name = "LONG"
    with pytest.raises(InputError, match="of one character, not 'LONG'.*write mmCIF"):
        write_gemmi(source, tmp_path / "out.pdb")
    write_gemmi(source, tmp_path / "out.cif")
    assert read_gemmi(tmp_path / "out.cif")[0][0].name == "LONG"


def test_the_same_bytes_come_out_twice(awkward, tmp_path):
    for name in ("one.cif.gz", "two.cif.gz"):
        write_gemmi(read_gemmi(awkward), tmp_path / name)
    assert gzip.decompress((tmp_path / "one.cif.gz").read_bytes()) == gzip.decompress((tmp_path / "two.cif.gz").read_bytes())
