import warnings

import gemmi
import numpy as np
import pytest

from atomdrgn.errors import FileFormatError, UnmodelledWarning
from atomdrgn.structure.atoms import read_structure, write_structure
from atomdrgn.structure.beads import residue_kinds
from molecules import atom_line, helix, write_pdb


@pytest.fixture
def columns(tmp_path):
    """The _atom_site category of two chains, a ligand and two waters."""
    rest = [
        atom_line(90, "C1", "LIG", "A", 101, (5, 5, 9), record="HETATM"),
        atom_line(91, "O", "HOH", "A", 201, (0, 8, 12), record="HETATM"),
        atom_line(92, "O", "HOH", "A", 202, (0, 8, 15), record="HETATM"),
    ]
    structure = read_structure(
        write_pdb(tmp_path / "whole.pdb", helix("A", 3), helix("B", 2, start=(20, 0, 0)), rest)
    )
    write_structure(structure, tmp_path / "whole.cif")
    return gemmi.cif.read(str(tmp_path / "whole.cif"))[0].get_mmcif_category(
        "_atom_site.", raw=True
    )


def write(path, columns, text="{}"):
    block = gemmi.cif.Document().add_new_block("x")
    block.set_mmcif_category("_atom_site.", columns, raw=True)
    path.write_text(text.format(block.as_string()))
    return path


@pytest.mark.parametrize(
    "missing",
    [
        "id",
        "label_alt_id",
        "label_asym_id",
        "label_seq_id",
        "label_entity_id",
        "auth_seq_id",
        "auth_asym_id",
        "auth_seq_id auth_asym_id",
        "auth_seq_id label_seq_id",
        "type_symbol",
        "occupancy",
        "B_iso_or_equiv",
        "pdbx_PDB_ins_code",
        "pdbx_PDB_model_num",
        "pdbx_formal_charge",
        "id label_alt_id label_asym_id label_seq_id",
    ],
)
def test_columns_that_others_stand_for_may_be_missing(tmp_path, columns, missing):
    whole = read_structure(tmp_path / "whole.pdb")
    left = {tag: column for tag, column in columns.items() if tag not in missing.split()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        structure = read_structure(write(tmp_path / "part.cif", left))
    for column in ("atom_name", "residue_name", "element", "residue_index", "occupancy"):
        assert np.array_equal(getattr(structure, column), getattr(whole, column)), column
    assert np.array_equal(residue_kinds(structure), residue_kinds(whole))
    places = set(
        zip(
            structure.chain.tolist(),
            structure.residue.tolist(),
            structure.residue_name.tolist(),
            strict=True,
        )
    )
    assert len(places) == 8
    if "auth_asym_id" not in missing:
        assert np.array_equal(structure.chain, whole.chain)
    if "auth_seq_id" not in missing:
        assert np.array_equal(structure.residue, whole.residue)


def test_the_authors_names_alone_are_enough(tmp_path, columns):
    renamed = {
        f"auth{tag[5:]}" if tag in ("label_atom_id", "label_comp_id") else tag: column
        for tag, column in columns.items()
    }
    del renamed["label_asym_id"]
    assert read_structure(write(tmp_path / "auth.cif", renamed)).atom_name[:3].tolist() == [
        "N",
        "CA",
        "C",
    ]


@pytest.mark.parametrize(
    "missing, named",
    [
        ("Cartn_y", "Cartn_y"),
        ("label_atom_id", r"label_atom_id \(or auth_atom_id\)"),
        ("label_asym_id auth_asym_id", r"label_asym_id \(or auth_asym_id\)"),
    ],
)
def test_columns_that_nothing_stands_for_are_named(tmp_path, columns, missing, named):
    left = {tag: column for tag, column in columns.items() if tag not in missing.split()}
    with pytest.raises(FileFormatError, match=f"part.cif: its _atom_site category has no {named}"):
        read_structure(write(tmp_path / "part.cif", left))


@pytest.mark.parametrize(
    "tag, value",
    [
        ("Cartn_x", "?"),
        ("Cartn_y", "."),
        ("Cartn_z", "nan"),
        ("Cartn_x", "abc"),
        ("Cartn_x", "1e400"),
        ("Cartn_x", "1e7"),
        ("occupancy", "nan"),
        ("occupancy", "-0.1"),
        ("occupancy", "full"),
        ("B_iso_or_equiv", "nan"),
        ("auth_seq_id", "?"),
        ("auth_seq_id", "1A"),
    ],
)
def test_a_number_that_is_none_is_said_with_its_row(tmp_path, columns, tag, value):
    columns[tag][3] = value
    with pytest.raises(
        FileFormatError,
        match=rf"a.cif: row 4 of _atom_site \(id 4\): {tag} is '{value.replace('?', '.')}'",
    ):
        read_structure(write(tmp_path / "a.cif", columns))


def test_numbers_in_binarycif_are_checked_too(tmp_path, columns):
    from biotite.structure.io import pdbx

    write_structure(read_structure(tmp_path / "whole.pdb"), tmp_path / "a.bcif")
    file = pdbx.BinaryCIFFile.read(tmp_path / "a.bcif")
    x = file.block["atom_site"]["Cartn_x"].as_array(float)
    x[2] = np.nan
    file.block["atom_site"]["Cartn_x"] = pdbx.BinaryCIFColumn(pdbx.BinaryCIFData(x))
    file.write(tmp_path / "nan.bcif")
    with pytest.raises(FileFormatError, match="nan.bcif: row 3 of _atom_site .*Cartn_x is 'nan'"):
        read_structure(tmp_path / "nan.bcif")


def test_digits_of_uncertainty_and_unknown_occupancies_are_read(tmp_path, columns):
    columns["Cartn_x"][0], columns["occupancy"][0] = "1.500(3)", "?"
    structure = read_structure(write(tmp_path / "a.cif", columns))
    assert structure.position[0, 0] == 1.5 and structure.occupancy[0] == 1


def test_occupancies_above_one_are_said(tmp_path, columns):
    columns["occupancy"][4] = "2"
    with pytest.warns(
        UserWarning, match=r"1 atoms have occupancies above 1 \(row 5 of _atom_site: 2\)"
    ):
        read_structure(write(tmp_path / "a.cif", columns))


def test_a_residue_of_two_label_chains_is_one(tmp_path, columns):
    columns["label_asym_id"][4] = "Z"  # the CB of the first residue
    structure = read_structure(write(tmp_path / "a.cif", columns))
    assert (
        structure.residue_index.tolist()
        == read_structure(tmp_path / "whole.pdb").residue_index.tolist()
    )


def test_rows_of_models_may_alternate(tmp_path, columns):
    alternate = {
        tag: [value for token in column for value in (token, token)]
        for tag, column in columns.items()
    }
    alternate["pdbx_PDB_model_num"] = ["1", "2"] * len(columns["id"])
    with pytest.warns(UnmodelledWarning, match="holds 2 models"):
        structure = read_structure(write(tmp_path / "a.cif", alternate))
    whole = read_structure(tmp_path / "whole.pdb")
    assert np.array_equal(structure.atom_name, whole.atom_name) and np.array_equal(
        structure.residue_index, whole.residue_index
    )


def test_dummy_atoms_are_left_out(tmp_path, columns):
    columns["label_comp_id"][-1] = columns["label_comp_id"][-2] = "DUM"
    with pytest.warns(UnmodelledWarning, match=r"2 dummy atoms \(DUM\): left out"):
        assert len(read_structure(write(tmp_path / "a.cif", columns))) == 26


@pytest.mark.parametrize(
    "encoding, newline",
    [("latin-1", "\n"), ("utf-8", "\n"), ("utf-8-sig", "\r\n"), ("utf-16", "\n")],
)
def test_text_is_read_however_it_was_saved(tmp_path, columns, encoding, newline):
    # outside of quotes mmCIF allows ASCII only
    text = write(
        tmp_path / "a.cif",
        columns,
        "{}_citation.title 'Müller, 3.2 Å'\n_citation.journal Zürich\n# Å\n",
    ).read_text()
    (tmp_path / "a.cif").write_bytes(text.replace("\n", newline).encode(encoding))
    assert len(read_structure(tmp_path / "a.cif")) == 28


def test_two_structures_in_one_file_are_refused(tmp_path, columns):
    path = write(tmp_path / "a.cif", columns)
    path.write_text(path.read_text() + path.read_text().replace("data_x", "data_y"))
    with pytest.raises(FileFormatError, match=r"2 of its data blocks hold atoms \(x, y\)"):
        read_structure(path)


def test_crystallographers_cif_is_no_mmcif(tmp_path):
    (tmp_path / "a.cif").write_text("data_x\nloop_\n_atom_site_label\n_atom_site_fract_x\nC1 0.1\n")
    with pytest.raises(
        FileFormatError,
        match="holds no atom; a mmcif file with an _atom_site category was expected",
    ):
        read_structure(tmp_path / "a.cif")
