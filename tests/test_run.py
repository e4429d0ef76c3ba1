from pathlib import Path

import numpy as np
import pytest

from atomdrgn.errors import FileFormatError, InputError, MissingFileError, OutputExistsError
from atomdrgn.io.folder_lock import LOCK
from atomdrgn.run import (
    FILES,
    FORMAT,
    create_run_folder,
    find_file_of_run,
    open_run,
    read_text_table,
    require_free,
    require_whole,
    write_json,
    write_table,
)
from hinged import hinged_run, two_helices


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


def test_a_number_that_json_cannot_say_is_named(tmp_path):
    with pytest.raises(InputError, match="motions 1 variance is no finite number"):
        write_json(tmp_path / "x.json", {"a": 1.0, "motions": [{"variance": 2.0}, {"variance": float("inf")}]})


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
    for name in ("base.cif", "model.npz", "latents.npz", "motions.npz", "particles.csv", "residues.csv", "summary.json"):
        content = (run.folder / name).read_bytes()
        (run.folder / name).write_bytes(b"")      # as a power cut leaves it
        with pytest.raises((FileFormatError, MissingFileError), match=name):
            require_whole(run.folder)
        (run.folder / name).unlink()
        with pytest.raises(MissingFileError, match=name):
            require_whole(run.folder)
        (run.folder / name).write_bytes(content)


def test_files_are_looked_for_beside_the_run_too(tmp_path, monkeypatch):
    run = hinged_run(tmp_path, two_helices(tmp_path), np.linspace(-3, 3, 6))
    (tmp_path / "particles.star").write_text("")
    monkeypatch.chdir(run.folder)
    for name in ("set/particles.star", "particles.star", str(tmp_path / "particles.star")):
        assert find_file_of_run(run, name, what="particle file", option="--particles-file").samefile(tmp_path / "particles.star")
    with pytest.raises(MissingFileError, match="tried gone.star, .*--particles-file"):
        find_file_of_run(run, "gone.star", what="particle file", option="--particles-file")
    with pytest.raises(FileFormatError, match="does not say"):
        find_file_of_run(run, None, what="particle file", option="--particles-file")


def test_tables_keep_what_stands_in_them(tmp_path):
    odd = ['A,"B"', "two\nlines", "é", "=1+1", "", "\r", "{{script}}"]
    write_table(tmp_path / "t.csv", {"name": odd, 'odd "name", too': range(len(odd))})
    found = read_text_table(tmp_path / "t.csv")
    assert found == {"name": odd, 'odd "name", too': [str(i) for i in range(len(odd))]}
