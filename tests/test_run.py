import pytest

from atomdrgn.errors import FileFormatError, MissingFileError
from atomdrgn.run import FORMAT, open_run, write_json, write_table


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
