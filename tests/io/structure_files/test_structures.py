import gzip
import os
import subprocess
import sys
import warnings

import gemmi
import pytest
import torch

from atomdrgn.errors import FileFormatError, MissingFileError
from atomdrgn.io.structure_files.structures import read_gemmi, structure_format
from atomdrgn.structure.atoms import read_structure, write_structure
from atomdrgn.structure.bonds.bonding import find_bonds
from molecules import atom_line, helix, write_pdb


def test_elements_follow_from_names_where_the_column_is_missing(tmp_path):
    lines = helix("A", 2, element="")
    lines += [
        atom_line(20, "HE1", "MET", "A", 2, (1, 1, 1), element="").replace(" HE1", "HE1 "),
        atom_line(21, "CD", "MET", "A", 2, (1, 2, 1), element="").replace(" CD ", "CD  "),
        atom_line(22, "1HB", "MET", "A", 2, (1, 2, 2), element=""),
    ]
    ion = [
        atom_line(30, "CA", "CA", "B", 1, (9, 9, 9), element="", record="HETATM"),
        atom_line(31, "SOD", "SOD", "B", 2, (9, 9, 5), element="", record="HETATM"),
    ]
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


def test_adenylate_kinase_has_hydrogen_and_no_helium(shared):
    structure = read_structure(shared / "data/ensembles/adk_closed.pdb")
    assert set(structure.element.tolist()) == {1, 6, 7, 8, 16}
    assert (structure.atom_name == "HE1").any() and set(
        structure.element[structure.atom_name == "HE1"].tolist()
    ) == {1}


@pytest.mark.seconds
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


@pytest.mark.parametrize("ending", ["pdb", "cif"])
def test_elements_that_a_residue_does_not_hold_follow_from_names(tmp_path, ending):
    """Programs that take the element from the first letters of a name make calcium of CA."""
    ion = atom_line(90, "CA", "CA", "A", 90, (9, 9, 9), element="CA", record="HETATM")
    path = write_pdb(
        tmp_path / "a.pdb",
        [line[:76] + line[12:16].strip()[:2].rjust(2) for line in helix("A", 2)],
        [ion],
    )
    if ending == "cif":
        gemmi.read_structure(str(path)).make_mmcif_document().write_file(str(tmp_path / "a.cif"))
    with pytest.warns(
        UserWarning, match=r"2 atoms .* elements that these do not hold \(CA of A:1 ALA: Ca\)"
    ):
        structure = read_structure(tmp_path / f"a.{ending}")
    assert structure.element[structure.atom_name == "CA"].tolist() == [6, 6, 20]


def test_the_first_of_several_models_is_used_and_said(tmp_path):
    models = [
        ["MODEL     1", *helix("A", 3), "ENDMDL"],
        ["MODEL     2", *helix("A", 3, start=(5, 5, 5)), "ENDMDL"],
    ]
    path = tmp_path / "two.pdb"
    path.write_text("\n".join(line for model in models for line in model) + "\nEND\n")
    with pytest.warns(UserWarning, match="2 models; the first"):
        structure = read_structure(path)
    assert len(structure) == 15 and structure.position[1, 0] == pytest.approx(2.3)
    write_structure(structure, tmp_path / "one.cif")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_structure(tmp_path / "one.cif")) == 15


@pytest.mark.parametrize("move, said", [(20.0, True), (0.5, False), (0.0, False)])
def test_models_that_are_copies_of_one_molecule_are_said(tmp_path, move, said):
    models = [
        ["MODEL     1", *helix("A", 3), "ENDMDL"],
        ["MODEL     2", *helix("A", 3, start=(move, 0, 0)), "ENDMDL"],
    ]
    path = tmp_path / "a.pdb1.pdb"
    path.write_text("\n".join(line for model in models for line in model) + "\nEND\n")
    with pytest.warns(UserWarning, match="2 models; the first is used") as warned:
        read_structure(path)
    assert ("as in a biological assembly" in str(warned[0].message)) is said


def test_models_of_other_shapes_are_no_copies(tmp_path):
    other = helix("A", 3, start=(20, 0, 0))
    other[4] = other[4][:30] + f"{50:8.3f}" + other[4][38:]
    path = tmp_path / "nmr.pdb"
    path.write_text(
        "\n".join(
            ["MODEL     1", *helix("A", 3), "ENDMDL", "MODEL     2", *other, "ENDMDL", "END\n"]
        )
    )
    with pytest.warns(UserWarning, match="the first is used$"):
        read_structure(path)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("empty.pdb", b"", "holds no atom"),
        ("empty.cif", b"", "empty.cif"),
        ("text.pdb", b"this is not a structure\n", "holds no atom"),
        ("no_atoms.cif", b"data_x\n_entry.id x\n", "holds no atom"),
        ("broken.cif", b"loop_ loop_", "cannot be read as mmcif"),
        ("broken.bcif", b"\x00\x01", "cannot be read as bcif"),
        ("broken.pdb.gz", b"not compressed", "broken.pdb.gz"),
        ("structure.xyz", b"1\n", "has to end in"),
        (
            "zero.pdb",
            "\n".join(helix("A", 3)).encode().replace(b"CB", b"C\0", 1),
            "zero.pdb: no text: it holds bytes that are 0",
        ),
        (
            "zero.cif",
            b"data_x\n_atom_site.id 'a\0b'\n",
            "zero.cif: no text: it holds bytes that are 0",
        ),
        (
            "zero.cif",
            "data_x\n_atom_site.id 'a\0b'\n".encode("utf-16"),
            "zero.cif: no text: it holds bytes that are 0",
        ),
        (
            "mixed.cif",
            b"data_x\n_atom_site.id 1\nloop_\n_struct_conn.id\n_truct_conn.name\n1 2\n",
            "mixed.cif line 3: a loop has columns of several categories \\(_struct_conn, "
            "_truct_conn\\)",
        ),
        (
            "a.pdb",
            b"\ndata_x\nloop_\n_atom_site.id\n1\n",
            "begins with data_, as mmCIF files do: .* ends in .cif",
        ),
        ("a.cif", b"REMARK\nATOM\n", "begins as PDB files do: .* ends in .pdb"),
    ],
)
def test_unreadable_files_are_said(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        read_gemmi(tmp_path / name)


@pytest.mark.parametrize("column", range(12, 60))
def test_letters_beyond_ascii_are_one_column_of_any_record(tmp_path, column):
    """gemmi counts in bytes, and would part a letter in two."""
    link = "LINK         CB  ALA A   1                 CB  ALA A   3     1555   1555  2.10"
    link = link[:column] + "\u00e9" + link[column + 1 :]
    (tmp_path / "x.pdb").write_text(
        "\n".join(["TITLE     " + "\u00e9" * 80, link, *helix("A", 3), "END", ""]), encoding="utf-8"
    )
    structure = read_structure(tmp_path / "x.pdb")
    find_bonds(structure)
    assert len(structure) == 15 and dict(structure.source.info)


def test_bugs_are_no_files_that_cannot_be_read(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ValueError("a bug")

    path = write_pdb(tmp_path / "x.pdb", helix("A", 3))
    monkeypatch.setattr("atomdrgn.io.structure_files.pdb_text.tell_apart", broken)
    with pytest.raises(ValueError, match="^a bug$"):
        read_gemmi(path)


def test_compressed_files_are_known_by_what_they_hold(tmp_path):
    plain = write_pdb(tmp_path / "base.pdb", helix("A", 3))
    (tmp_path / "packed.pdb").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "unpacked.pdb.gz").write_bytes(plain.read_bytes())
    for name in ("packed.pdb", "unpacked.pdb.gz"):
        assert torch.equal(read_structure(tmp_path / name).position, read_structure(plain).position)


@pytest.mark.parametrize(
    "environment",
    [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONUTF8": "1"}],
)
def test_paths_and_texts_need_not_be_ascii_whatever_the_locale(tmp_path, environment):
    folder = tmp_path / "Zürich"
    folder.mkdir()
    structure = read_structure(write_pdb(tmp_path / "base.pdb", helix("A", 3)))
    for ending in ("pdb", "cif", "bcif", "pdb.gz", "cif.gz", "bcif.gz"):
        write_structure(structure, folder / f"Å.{ending}")
    path = folder / "Å.pdb"
    path.write_text("REMARK   1 MÜLLER\n" + path.read_text(), encoding="utf-8")
    code = (
        "import sys; from pathlib import Path; from atomdrgn import read_structure\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    if path.is_dir(): print(*{len(read_structure(file)) for file in path.iterdir()})"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, check=True)
    assert done.stdout.decode().split() == [str(len(structure))]


def test_formats_are_known_by_name():
    names = {
        "a.pdb": "pdb",
        "A.ENT": "pdb",
        "a.cif.gz": "mmcif",
        "a.mmcif": "mmcif",
        "a.bcif.gz": "bcif",
    }
    assert {name: structure_format(name) for name in names} == names


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(MissingFileError, match="no such file"):
        read_gemmi(tmp_path / "absent.pdb")
