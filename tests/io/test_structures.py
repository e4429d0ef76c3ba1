import gzip
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from atomdrgn.errors import FileFormatError, InputError, MissingFileError
from atomdrgn.io.structure_writing import write_gemmi
from atomdrgn.io.structures import read_gemmi, structure_format
from atomdrgn.structure.atoms import read_structure, write_structure
from molecules import atom_line, helix, write_pdb

COLUMNS = ("element", "atom_name", "residue", "insertion_code", "residue_name", "chain", "altloc", "occupancy", "b_factor",
           "residue_index")
REAL = ["structures/1ake_chainA.pdb", "structures/1ake_chimerax.cif", "structures/1aon.pdb.gz", "structures/1igy.cif",
        "structures/2dhb.cif", "structures/2dhb.pdb", "structures/4ake_chainA_H.pdb", "structures/4v8r_h36.pdb.gz",
        "structures/pdb7pbl.pdb", "ensembles/1gya.cif", "ensembles/adk_closed.pdb", "ensembles/pdb2k39_ca.pdb",
        "particles/warptools_dev/model_50S_placed.cif.gz"]


@pytest.fixture
def awkward(tmp_path):
    """Insertion codes, two conformers, a ligand behind the chain of its name, an ion, water, a chain of two characters."""
    chain = helix("A", 6)
    chain += [atom_line(40, "CA", "SER", "A", 6, (9, 9, 9), icode="A"), atom_line(41, "OG", "SER", "A", 6, (9, 10, 9), icode="A"),
              atom_line(42, "CA", "SER", "A", 6, (12, 9, 9), icode="B"),
              atom_line(43, "OG", "SER", "A", 6, (12, 10, 9), icode="B", altloc="A", occupancy=0.4),
              atom_line(44, "OG", "SER", "A", 6, (12, 8, 9), icode="B", altloc="B", occupancy=0.6)]
    other = helix("Bx", 4, first=-2, start=(20, 0, 0))
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


def test_elements_follow_from_names_where_the_column_is_missing(tmp_path):
    lines = helix("A", 2, element="")
    lines += [atom_line(20, "HE1", "MET", "A", 2, (1, 1, 1), element="").replace(" HE1", "HE1 "),
              atom_line(21, "CD", "MET", "A", 2, (1, 2, 1), element="").replace(" CD ", "CD  "),
              atom_line(22, "1HB", "MET", "A", 2, (1, 2, 2), element="")]
    ion = [atom_line(30, "CA", "CA", "B", 1, (9, 9, 9), element="", record="HETATM"),
           atom_line(31, "SOD", "SOD", "B", 2, (9, 9, 5), element="", record="HETATM")]
    structure = read_structure(write_pdb(tmp_path / "bare.pdb", lines, ion))
    names = zip(structure.residue_name.tolist(), structure.atom_name.tolist(), strict=True)
    by_name = dict(zip(names, structure.element.tolist(), strict=True))
    assert by_name["MET", "HE1"] == 1 and by_name["MET", "CD"] == 6 and by_name["MET", "1HB"] == 1
    assert by_name["ALA", "CA"] == 6 and by_name["CA", "CA"] == 20 and by_name["SOD", "SOD"] == 11


def test_elements_are_mended_in_mmcif_too(tmp_path):
    source = read_gemmi(write_pdb(tmp_path / "plain.pdb", helix("A", 2)))
    document = source.make_mmcif_document()
    for row in document[0].find(["_atom_site.type_symbol"]):
        row[0] = "?"
    document.write_file(str(tmp_path / "bare.cif"))
    assert read_structure(tmp_path / "bare.cif").element.tolist() == [7, 6, 6, 8, 6] * 2


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


def test_adenylate_kinase_has_hydrogen_and_no_helium(shared):
    structure = read_structure(shared / "data/ensembles/adk_closed.pdb")
    assert set(structure.element.tolist()) == {1, 6, 7, 8, 16}
    assert (structure.atom_name == "HE1").any() and set(structure.element[structure.atom_name == "HE1"].tolist()) == {1}


def test_chains_of_two_characters_and_hybrid_serials(shared):
    structure = read_structure(shared / "data/structures/4v8r_h36.pdb.gz")
    assert len(structure) == 128_780
    assert len(set(structure.chain.tolist())) == 32 and "AA" in structure.chain
    assert structure.residue_index[-1] + 1 == 16_716 + 96


def test_numbers_are_the_authors(shared):
    structure = read_structure(shared / "data/structures/1igy.cif")
    heavy = structure.chain == "B"
    numbers = zip(structure.residue[heavy], structure.insertion_code[heavy], strict=True)
    assert {"82", "82A", "82B"} <= {f"{number}{icode}" for number, icode in numbers}


def test_the_first_of_several_models_is_used_and_said(tmp_path):
    models = [["MODEL     1", *helix("A", 3), "ENDMDL"], ["MODEL     2", *helix("A", 3, start=(5, 5, 5)), "ENDMDL"]]
    path = tmp_path / "two.pdb"
    path.write_text("\n".join(line for model in models for line in model) + "\nEND\n")
    with pytest.warns(UserWarning, match="2 models; the first"):
        structure = read_structure(path)
    assert len(structure) == 15 and structure.position[1, 0] == pytest.approx(2.3)
    write_structure(structure, tmp_path / "one.cif")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_structure(tmp_path / "one.cif")) == 15


@pytest.mark.parametrize("name, content, message", [
    ("empty.pdb", b"", "holds no atom"),
    ("empty.cif", b"", "empty.cif"),
    ("text.pdb", b"this is not a structure\n", "holds no atom"),
    ("no_atoms.cif", b"data_x\n_entry.id x\n", "holds no atom"),
    ("broken.cif", b"loop_ loop_", "cannot be read as mmcif"),
    ("broken.bcif", b"\x00\x01", "cannot be read as bcif"),
    ("broken.pdb.gz", b"not compressed", "broken.pdb.gz"),
    ("structure.xyz", b"1\n", "has to end in"),
    ("a.pdb", b"\ndata_x\nloop_\n_atom_site.id\n1\n", "begins with data_, as mmCIF files do: .* ends in .cif"),
    ("a.cif", b"REMARK\nATOM\n", "begins as PDB files do: .* ends in .pdb"),
])
def test_unreadable_files_are_said(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        read_gemmi(tmp_path / name)


def test_compressed_files_are_known_by_what_they_hold(awkward, tmp_path):
    structure = read_structure(awkward)
    (tmp_path / "packed.pdb").write_bytes(gzip.compress(awkward.read_bytes()))
    (tmp_path / "unpacked.pdb.gz").write_bytes(awkward.read_bytes())
    for name in ("packed.pdb", "unpacked.pdb.gz"):
        assert_same_atoms(structure, read_structure(tmp_path / name))


def test_missing_files_and_folders_are_said(awkward, tmp_path):
    with pytest.raises(MissingFileError, match="no such file"):
        read_gemmi(tmp_path / "absent.pdb")
    with pytest.raises(MissingFileError, match="folder"):
        write_gemmi(read_gemmi(awkward), tmp_path / "absent" / "out.pdb")


def test_a_pdb_file_refuses_what_it_cannot_hold(awkward, tmp_path):
    source = read_gemmi(awkward)
    source[0][0].name = "LONG"
    with pytest.raises(InputError, match="LONG.*write mmCIF"):
        write_gemmi(source, tmp_path / "out.pdb")
    write_gemmi(source, tmp_path / "out.cif")
    assert read_gemmi(tmp_path / "out.cif")[0][0].name == "LONG"


def test_the_same_bytes_come_out_twice(awkward, tmp_path):
    for name in ("one.cif.gz", "two.cif.gz"):
        write_gemmi(read_gemmi(awkward), tmp_path / name)
    assert gzip.decompress((tmp_path / "one.cif.gz").read_bytes()) == gzip.decompress((tmp_path / "two.cif.gz").read_bytes())


@pytest.mark.parametrize("environment", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONUTF8": "1"}])
def test_paths_and_texts_need_not_be_ascii_whatever_the_locale(awkward, tmp_path, environment):
    folder = tmp_path / "Zürich"
    folder.mkdir()
    structure = read_structure(awkward)
    for ending in ("pdb", "cif", "bcif", "pdb.gz", "cif.gz", "bcif.gz"):
        write_structure(structure, folder / f"Å.{ending}")
    path = folder / "Å.pdb"
    path.write_text("REMARK   1 MÜLLER\n" + path.read_text(), encoding="utf-8")
    code = ("import sys; from pathlib import Path; from atomdrgn import read_structure\n"
            "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
            "    if path.is_dir(): print(*{len(read_structure(file)) for file in path.iterdir()})")
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, check=True)
    assert done.stdout.decode().split() == [str(len(structure))]


def test_formats_are_known_by_name():
    names = {"a.pdb": "pdb", "A.ENT": "pdb", "a.cif.gz": "mmcif", "a.mmcif": "mmcif", "a.bcif.gz": "bcif"}
    assert {name: structure_format(name) for name in names} == names
