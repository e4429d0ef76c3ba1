from pathlib import Path

import numpy as np
import pytest

from atomdrgn.errors import FileFormatError, InputError, MissingFileError, OutputExistsError
from atomdrgn.io.folder_lock import LOCK
from atomdrgn.runs.run import (
    FILES,
    FORMAT,
    create_run_folder,
    open_run,
    read_text_table,
    require_base_survives,
    require_free,
    require_whole,
    write_json,
    write_table,
)
from atomdrgn.runs.run_folder import require_beginning
from atomdrgn.structure.atoms import read_structure, structure_from_gemmi
from hinged import hinged_run, two_helices
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
    structure = read_structure(
        write_pdb(tmp_path / "two.pdb", helix("A", 4), helix("B", 4, start=(20, 0, 0)))
    )
    require_base_survives(structure)
    source = structure.source.clone()
    source[0]["B"].name = "A"
    doubled = structure_from_gemmi(source, name="two.pdb")
    with pytest.raises(
        InputError,
        match=r"two.pdb: residue A:1 ALA \(atom 1\) and residue A:1 ALA \(atom 21\) cannot be told",
    ):
        require_beginning(tmp_path / "run", doubled, resume=False, overwrite=False)
    assert not (tmp_path / "run").exists()


def test_a_base_that_would_be_read_as_another_is_refused(tmp_path):
    structure = read_structure(write_pdb(tmp_path / "one.pdb", helix("A", 4)))
    structure.chain[5:10] = "Q"  # the record and the file behind it say different things
    with pytest.raises(
        InputError, match="residue Q:2 ALA is read as residue A:2 ALA once written as mmCIF"
    ):
        require_base_survives(structure)


def test_a_number_that_json_cannot_say_is_named(tmp_path):
    with pytest.raises(InputError, match="motions 1 variance is no finite number"):
        write_json(
            tmp_path / "x.json",
            {"a": 1.0, "motions": [{"variance": 2.0}, {"variance": float("inf")}]},
        )


def test_what_is_left_of_a_begun_run_is_nothing(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".run.json.123.part").write_text("{")
    (folder / LOCK).write_text("")
    require_free(folder, overwrite=False)
    (folder / "notes.txt").write_text("")
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError, match="is no run"):
            require_free(folder, overwrite=overwrite)


def test_files_of_a_run_go_in_an_order_that_can_be_stopped(tmp_path, monkeypatch):
    """What calls it complete goes first, and what calls it a run stays: it is replaced."""
    for name in FILES:
        (tmp_path / name).write_text("")
    gone, unlink = [], Path.unlink

    def watched(path, missing_ok=False):
        gone.append(path.name)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    create_run_folder(tmp_path, overwrite=True)
    assert gone[0] == "summary.json" and [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_run_that_calls_itself_complete_is_looked_through(tmp_path):
    run = hinged_run(tmp_path, two_helices(tmp_path), np.linspace(-3, 3, 6))
    require_whole(run.folder)
    for name in (
        "base.cif",
        "model.npz",
        "latents.npz",
        "motions.npz",
        "particles.csv",
        "residues.csv",
        "summary.json",
    ):
        content = (run.folder / name).read_bytes()
        (run.folder / name).write_bytes(b"")  # as a power cut leaves it
        with pytest.raises((FileFormatError, MissingFileError), match=name):
            require_whole(run.folder)
        (run.folder / name).unlink()
        with pytest.raises(MissingFileError, match=name):
            require_whole(run.folder)
        (run.folder / name).write_bytes(content)


def test_tables_keep_what_stands_in_them(tmp_path):
    odd = ['A,"B"', "two\nlines", "é", "=1+1", "", "\r", "{{script}}"]
    write_table(tmp_path / "t.csv", {"name": odd, 'odd "name", too': range(len(odd))})
    found = read_text_table(tmp_path / "t.csv")
    assert found == {"name": odd, 'odd "name", too': [str(i) for i in range(len(odd))]}
