import pytest
from gemmi import cif

from atomdrgn.errors import FileFormatError, MissingFileError
from atomdrgn.io.star import find_table, read_star, write_star

TEXT = """
# Created by a test

# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
1 "the first"

# version 30001

data_particles

loop_
_rlnImageName #1
_rlnDefocusU #2
_rlnGroupName #3
001@stack.mrcs 1e-7 '5 o''clock'
002@stack.mrcs 0010.500 ""
003@st#ck.mrcs +3 a"b   # a remark

data_general
_rlnTomoSubTomosAre2DStacks 1
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "particles.star"
    path.write_text(TEXT)
    return path


def test_values_are_the_tokens_of_the_file(path):
    particles = find_table(read_star(path), "particles")
    assert particles.columns["rlnImageName"] == ["001@stack.mrcs", "002@stack.mrcs", "003@st#ck.mrcs"]
    assert particles.columns["rlnDefocusU"] == ["1e-7", "0010.500", "+3"]
    assert particles.numbers("rlnDefocusU").tolist() == [1e-7, 10.5, 3.0]
    assert particles.texts("rlnGroupName") == ["5 o''clock", "", 'a"b']
    assert find_table(read_star(path), "nothing") is None


def test_a_file_that_was_written_reads_the_same(path, tmp_path):
    tables = read_star(path)
    write_star(tmp_path / "copy.star", tables)
    assert read_star(tmp_path / "copy.star") == tables


def test_a_subset_keeps_tokens_and_version(path, tmp_path):
    tables = read_star(path)
    write_star(tmp_path / "subset.star", [tables[0], tables[1].rows([2, 0]), tables[2]])
    text = (tmp_path / "subset.star").read_text()
    assert text.count("# version 30001") == 2
    again = find_table(read_star(tmp_path / "subset.star"), "particles")
    assert again.columns["rlnDefocusU"] == ["+3", "1e-7"]
    assert len(find_table(read_star(tmp_path / "subset.star"), "particles").rows([])) == 0


@pytest.mark.parametrize("row, line", [("3 4 5", 6), ("3", 6)])
def test_a_ragged_row_is_refused_with_its_line(tmp_path, row, line):
    path = tmp_path / "ragged.star"
    path.write_text(f"data_\nloop_\n_a #1\n_b #2\n1 2\n{row}\n5 6\n")
    with pytest.raises(FileFormatError, match=f"ragged.star line {line}: .* 2 columns"):
        read_star(path)


@pytest.mark.parametrize("text, message", [
    ("just words\n", "line 1: expected a data_ block"), ("", "no data_ block"), ("data_\n_a\n", "line 2: _a has 0 values"),
    ("data_\nwords\n", "belong to no name"), ("data_\nloop_\n_a\n_a\n", "stands twice")])
def test_what_is_no_star_file_is_refused(tmp_path, text, message):
    path = tmp_path / "x.star"
    path.write_text(text)
    with pytest.raises(FileFormatError, match=message):
        read_star(path)


def test_an_empty_loop_has_columns_and_no_rows(tmp_path):
    path = tmp_path / "empty.star"
    path.write_text("data_\n\nloop_\n_rlnCoordinateX #1\n\n")
    (table,) = read_star(path)
    assert len(table) == 0 and "rlnCoordinateX" in table and table.numbers("rlnCoordinateX").shape == (0,)


def test_two_loops_of_a_block_and_pairs_after_a_loop(tmp_path):
    path = tmp_path / "two.star"
    path.write_text("data_x\nloop_\n_a\n1\n2\nloop_\n_b\n3\n_c 4\n_d 5\n")
    assert [(table.block, table.is_loop, dict(table.columns)) for table in read_star(path)] == [
        ("x", True, {"a": ["1", "2"]}), ("x", True, {"b": ["3"]}), ("x", False, {"c": ["4"], "d": ["5"]})]


def test_faults_name_file_column_and_row(path, tmp_path):
    particles = find_table(read_star(path), "particles")
    with pytest.raises(FileFormatError, match="particles.star: row 1 of rlnImageName is '001@stack.mrcs', expected a number"):
        particles.numbers("rlnImageName")
    with pytest.raises(FileFormatError, match="has no column rlnAngleRot"):
        particles.numbers("rlnAngleRot")
    with pytest.raises(MissingFileError, match="nowhere.star"):
        read_star(tmp_path / "nowhere.star")
    (tmp_path / "binary.star").write_bytes(bytes(range(256)))
    with pytest.raises(FileFormatError, match="not a STAR file"):
        read_star(tmp_path / "binary.star")


def test_real_files_read_as_gemmi_reads_them(shared, tmp_path):
    files = sorted((shared / "data").rglob("*.star"))
    assert len(files) > 30
    for path in files:
        if path.name == "sample.star":                    # it has a row too long, in line 20
            with pytest.raises(FileFormatError, match="sample.star line 20: 5 values"):
                read_star(path)
            continue
        tables, theirs = read_star(path), list(cif.read(str(path)))
        loops = [(block.name.strip(), item.loop) for block in theirs for item in block if item.loop]
        ours = [(table.block, list(zip(*table.columns.values(), strict=True))) for table in tables if table.is_loop]
        assert [(name, [value for row in rows for value in row]) for name, rows in ours] == [
            (name, list(loop.values)) for name, loop in loops]
        write_star(tmp_path / "copy.star", tables)
        assert read_star(tmp_path / "copy.star") == tables
