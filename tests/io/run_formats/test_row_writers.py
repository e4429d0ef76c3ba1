"""Files that grow by rows are what is written at once, and are there whole or not at all."""

import csv

import numpy as np
import pytest

from atomdrgn.io.run_formats.row_writers import row_arrays, row_table


def test_arrays_are_those_of_numpy(tmp_path):
    generator = np.random.default_rng(0)
    whole = {
        "place": generator.normal(size=(7, 3)).astype(np.float32),
        "draws": generator.normal(size=(7, 2, 3)),
        "count": np.arange(7),
        "seen": np.arange(7) % 2 == 0,
        "none": np.zeros((7, 0), np.float32),
    }
    with row_arrays(tmp_path / "rows.npz") as rows:
        for part in (slice(0, 4), slice(4, 4), slice(4, 7)):
            # also where memory is in another order
            rows.append(**{name: np.asfortranarray(value[part]) for name, value in whole.items()})
    with np.load(tmp_path / "rows.npz", allow_pickle=False) as found:
        assert set(found) == set(whole)
        for name, value in whole.items():
            assert found[name].dtype == value.dtype
            np.testing.assert_array_equal(found[name], value)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.npz"]


def test_a_table_is_that_of_csv(tmp_path):
    columns = {
        "name, with comma": ["plain", 'a "quoted" one', "two\nlines", ""],
        "value": [0.125, -3.0, float("inf"), 1e-9],
        "number": [0, 1, 2, 3],
    }
    with row_table(tmp_path / "rows.csv") as rows:
        for part in (slice(0, 1), slice(1, 1), slice(1, 4)):
            rows.append({name: value[part] for name, value in columns.items()})
    with open(tmp_path / "rows.csv", newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [row["name, with comma"] for row in found] == columns["name, with comma"]
    assert [float(row["value"]) for row in found] == columns["value"]
    assert [int(row["number"]) for row in found] == columns["number"]


def test_other_rows_are_refused_and_leave_no_file(tmp_path):
    for second in (np.zeros((1, 3)), np.zeros((1, 2), np.float32)):
        with pytest.raises(ValueError, match="rows of sd"), row_arrays(tmp_path / "a.npz") as rows:
            rows.append(sd=np.zeros((1, 2)))
            rows.append(sd=second)
    with pytest.raises(ValueError, match="columns"), row_table(tmp_path / "a.csv") as table:
        table.append({"particle": [0]})
        table.append({"particles": [1]})
    with pytest.raises(ValueError), row_table(tmp_path / "a.csv") as table:
        table.append({"particle": [0], "rows": [1, 2]})
    assert not list(tmp_path.iterdir())


def test_what_was_there_stays_where_writing_fails(tmp_path):
    for name in ("rows.npz", "rows.csv"):
        (tmp_path / name).write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), row_arrays(tmp_path / "rows.npz") as rows:
        rows.append(sd=np.zeros((2, 1)))
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), row_table(tmp_path / "rows.csv") as table:
        table.append({"particle": [0]})
        raise KeyboardInterrupt
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"before"}
    assert len(list(tmp_path.iterdir())) == 2
