import pytest

from atomdrgn.errors import FileFormatError, InputError, MissingFileError
from atomdrgn.inference.folder import begin_run
from atomdrgn.reporting import Reporter
from atomdrgn.run import FORMAT, open_run, require_base_survives, write_json, write_table
from atomdrgn.structure.atoms import read_structure, structure_from_gemmi
from molecules import helix, write_pdb


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(MissingFileError, match="no such folder"):
        open_run(tmp_path / "nowhere")
    with pytest.raises(MissingFileError, match="is no run"):
        open_run(tmp_path)


def test_a_run_that_did_not_end_says_so(tmp_path):
    write_json(tmp_path / "run.json", {"format": FORMAT})
    with pytest.raises(MissingFileError, match="--resume"):
        open_run(tmp_path)


def test_a_later_format_and_a_damaged_file_are_refused(tmp_path):
    write_json(tmp_path / "run.json", {"format": FORMAT + 1, "version": "9.9"})
    with pytest.raises(FileFormatError, match="9.9"):
        open_run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(FileFormatError, match="JSON"):
        open_run(tmp_path)


def test_arrays_with_code_in_them_are_not_loaded(tmp_path):
    import numpy as np
    write_json(tmp_path / "run.json", {"format": FORMAT})
    write_json(tmp_path / "summary.json", {})
    np.savez(tmp_path / "latents.npz", latent=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FileFormatError, match="damaged"):
        _ = open_run(tmp_path).latent


def test_json_holds_no_nan_and_tables_are_whole(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"value": float("nan")})
    assert not (tmp_path / "x.json").exists()
    write_table(tmp_path / "t.csv", {"a": [1, 2], "b": ["x", "y"]})
    assert (tmp_path / "t.csv").read_text().splitlines() == ["a,b", "1,x", "2,y"]
    with pytest.raises(ValueError):
        write_table(tmp_path / "u.csv", {"a": [1, 2], "b": ["x"]})
    assert not (tmp_path / "u.csv").exists()


def test_a_base_whose_residues_share_a_name_is_refused_before_anything_is_written(tmp_path):
    structure = read_structure(write_pdb(tmp_path / "two.pdb", helix("A", 4), helix("B", 4, start=(20, 0, 0))))
    require_base_survives(structure)
    source = structure.source.clone()
    source[0]["B"].name = "A"
    doubled = structure_from_gemmi(source, name="two.pdb")
    with pytest.raises(InputError, match=r"two.pdb: residue A:1 ALA \(atom 1\) and residue A:1 ALA \(atom 21\) cannot be told"):
        begin_run(tmp_path / "run", {}, doubled, resume=False, overwrite=False, reporter=Reporter())
    assert not (tmp_path / "run").exists()


def test_a_base_that_would_be_read_as_another_is_refused(tmp_path):
    structure = read_structure(write_pdb(tmp_path / "one.pdb", helix("A", 4)))
    structure.chain[5:10] = "Q"      # the record and the file behind it say different things
    with pytest.raises(InputError, match="residue Q:2 ALA is read as residue A:2 ALA once written as mmCIF"):
        require_base_survives(structure)
