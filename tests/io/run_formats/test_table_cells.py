"""Names in CSV tables are no formulas of spreadsheets, and are read as they were."""

import csv

import numpy as np
import pytest

from atomdrgn.io.run_formats.table_cells import as_cell, from_cell
from atomdrgn.runs.run import read_numbers_table, read_text_table, write_table

NAMES = [
    "=1+1",
    '=HYPERLINK("a")',
    "+A",
    "-A",
    "-",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "＝1",
    "'=1",
    "'",
    "O5'",
    "A",
    "",
    "-1",
    "-1+2",
    "1e5",
    "+3.5e-2",
    "-inf",
    " =1",
    "A;=1",
    "--1",
    "-1_0",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_comes_back_and_begins_no_formula(tmp_path, name):
    write_table(tmp_path / "t.csv", {"chain": [name], name + "x": ["A"]})
    with open(tmp_path / "t.csv", newline="", encoding="utf-8") as file:
        (_, header), (cell, _) = csv.reader(file)
    for written in (cell, header):
        assert written[:1] not in tuple("=+@\t\r＝") or written == "+3.5e-2"
        assert not written.startswith("-") or written in ("-1", "-inf")
    assert read_text_table(tmp_path / "t.csv") == {"chain": [name], name + "x": ["A"]}
    assert from_cell(as_cell(name)) == name


def test_numbers_stay_numbers(tmp_path):
    columns = {
        "a": [-1.5, float("-inf")],
        "b": np.array([-3, 4]),
        "c": np.array([-1e-7, 2], np.float32),
        "d": ["-0.25", "+1"],
    }
    write_table(tmp_path / "t.csv", columns)
    assert (tmp_path / "t.csv").read_bytes().splitlines()[1] == b"-1.5,-3,-1e-07,-0.25"
    for name, column in read_numbers_table(tmp_path / "t.csv").items():
        np.testing.assert_allclose(column, np.array(columns[name], float), rtol=1e-6)
