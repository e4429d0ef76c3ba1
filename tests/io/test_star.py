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
    assert particles.columns["rlnImageName"] == [
        "001@stack.mrcs",
        "002@stack.mrcs",
        "003@st#ck.mrcs",
    ]
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


@pytest.mark.parametrize(
    "text, message",
    [
        ("just words\n", "line 1: expected a data_ block"),
        ("", "no data_ block"),
        ("data_\n_a\n", "line 2: _a has 0 values"),
        ("data_\nwords\n", "belong to no name"),
        ("data_\nloop_\n_a\n_a\n", "stands twice"),
    ],
)
def test_what_is_no_star_file_is_refused(tmp_path, text, message):
    path = tmp_path / "x.star"
    path.write_text(text)
    with pytest.raises(FileFormatError, match=message):
        read_star(path)


def test_an_empty_loop_has_columns_and_no_rows(tmp_path):
    path = tmp_path / "empty.star"
    path.write_text("data_\n\nloop_\n_rlnCoordinateX #1\n\n")
    (table,) = read_star(path)
    assert (
        len(table) == 0
        and "rlnCoordinateX" in table
        and table.numbers("rlnCoordinateX").shape == (0,)
    )


def test_two_loops_of_a_block_and_pairs_after_a_loop(tmp_path):
    path = tmp_path / "two.star"
    path.write_text("data_x\nloop_\n_a\n1\n2\nloop_\n_b\n3\n_c 4\n_d 5\n")
    assert [(table.block, table.is_loop, dict(table.columns)) for table in read_star(path)] == [
        ("x", True, {"a": ["1", "2"]}),
        ("x", True, {"b": ["3"]}),
        ("x", False, {"c": ["4"], "d": ["5"]}),
    ]


def test_faults_name_file_column_and_row(path, tmp_path):
    particles = find_table(read_star(path), "particles")
    with pytest.raises(
        FileFormatError,
        match="particles.star: row 1 of rlnImageName is '001@stack.mrcs', expected a number",
    ):
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
        if path.name == "sample.star":  # it has a row too long, in line 20
            with pytest.raises(FileFormatError, match="sample.star line 20: 5 values"):
                read_star(path)
            continue
        tables, theirs = read_star(path), list(cif.read(str(path)))
        loops = [(block.name.strip(), item.loop) for block in theirs for item in block if item.loop]
        ours = [
            (table.block, list(zip(*table.columns.values(), strict=True)))
            for table in tables
            if table.is_loop
        ]
        assert [(name, [value for row in rows for value in row]) for name, rows in ours] == [
            (name, list(loop.values)) for name, loop in loops
        ]
        write_star(tmp_path / "copy.star", tables)
        assert read_star(tmp_path / "copy.star") == tables


def loop(names, *rows):
    return (
        "data_particles\n\nloop_\n"
        + "".join(f"_{name} #{i}\n" for i, name in enumerate(names, 1))
        + "\n".join(rows)
        + "\n"
    )


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "x.star"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


THREE = ("rlnMicrographName", "rlnImageName", "rlnDefocusU")
BEGINNINGS = [
    "data_0412/mic.mrc",
    "data_",
    "data_0412",
    "loop_",
    "loop_7/mic.mrc",
    "save_/mic.mrc",
    "_mic.mrc",
    "#2/mic.mrc",
    ";mic.mrc",
    "mic\N{NO-BREAK SPACE}1.mrc",
    "mic\N{EM SPACE}1.mrc",
    "mic#1.mrc",
    "'a b'",
    "it's",
    "Stra\N{LATIN SMALL LETTER SHARP S}e/a.mrc",
]


@pytest.mark.filterwarnings("ignore:.*begins with #")
@pytest.mark.parametrize("name", BEGINNINGS)
@pytest.mark.parametrize("place", ["first", "middle", "last", "all"])
def test_a_value_may_begin_with_anything(tmp_path, name, place):
    rows = [["set/mic.mrc", f"{i}@s.mrcs", f"{i}.50"] for i in (1, 2, 3)]
    for i in {"first": [0], "middle": [1], "last": [2], "all": [0, 1, 2]}[place]:
        rows[i][0] = name
    path = written(
        tmp_path,
        loop(THREE, *map(" ".join, rows)) + "\n# version 30001\n\ndata_next\n\nloop_\n_a #1\n1\n",
    )
    tables = read_star(path)
    assert [table.block for table in tables] == ["particles", "next"]
    assert list(zip(*tables[0].columns.values(), strict=True)) == [tuple(row) for row in rows]
    write_star(tmp_path / "copy.star", tables)
    assert read_star(tmp_path / "copy.star") == tables


@pytest.mark.parametrize("name", ["data_0412/mic.mrc", "loop_", "_mic.mrc", "#2", "save_1"])
def test_a_value_elsewhere_in_a_row_may_begin_with_anything(tmp_path, name):
    (table,) = read_star(
        written(tmp_path, loop(THREE, f"a {name} 1  # a remark", f"b c {name}", "d e 2 #remark"))
    )
    assert table.columns["rlnImageName"] == [name, "c", "e"] and table.columns["rlnDefocusU"] == [
        "1",
        name,
        "2",
    ]


def test_rows_that_begin_with_a_hash_are_told_from_comments(tmp_path):
    path = written(
        tmp_path,
        loop(
            THREE,
            "# a remark",
            "a 1@s 5",
            "#b 2@s 6",
            "#0003@s c 7",
            "#4.5 d 8",
            "# e 3@s",
            "#f",
            "#g h i",
            "z 9@s 9",
            "",
            "#j 4@s 7",
        ),
    )
    with pytest.warns(
        UserWarning, match="x.star: line 9 begins with # and has as many values as a row"
    ) as found:
        (table,) = read_star(path)
    assert table.columns["rlnMicrographName"] == ["a", "#b", "z"] and len(found) == 1


def test_in_a_loop_of_one_column_an_empty_line_tells_a_block_from_a_value(tmp_path):
    names = ["rlnMicrographName"]
    (table,) = read_star(
        written(
            tmp_path, loop(names, "loop_", "data_1/a.mrc", "data_1/b.mrc", "save_d", "e", "_f.mrc")
        )
    )
    assert table.columns["rlnMicrographName"] == [
        "loop_",
        "data_1/a.mrc",
        "data_1/b.mrc",
        "save_d",
        "e",
        "_f.mrc",
    ]
    for between in ("\n", "\n# version 30001\n\n", ""):
        tables = read_star(
            written(tmp_path, loop(names, "data_1/a.mrc") + between + "data_next\nloop_\n_a\n1\n")
        )
        assert [(table.block, len(table)) for table in tables] == [("particles", 1), ("next", 1)]
    with pytest.raises(
        FileFormatError,
        match="line 7: data_next may begin a block, or be a value of the only column",
    ):
        read_star(
            written(tmp_path, loop(names, "data_1/a.mrc", "a", "data_next", "", "loop_", "_a", "1"))
        )


def test_a_loop_without_rows_ends_where_a_block_begins(tmp_path):
    assert [
        (t.block, len(t))
        for t in read_star(written(tmp_path, loop(["a"]) + "\ndata_b\n\nloop_\n_c\n1\n"))
    ] == [("particles", 0), ("b", 1)]


def test_a_row_of_two_that_might_be_a_name_and_its_value_is_refused(tmp_path):
    with pytest.raises(
        FileFormatError, match="line 7: _b 3 may be a row of the loop, or a name and its value"
    ):
        read_star(written(tmp_path, loop(["a", "c"], "1 2", "_b 3")))
    tables = read_star(written(tmp_path, loop(["a", "c"], "1 2", "", "_b 3")))
    assert [dict(table.columns) for table in tables] == [{"a": ["1"], "c": ["2"]}, {"b": ["3"]}]


@pytest.mark.parametrize(
    "text, message",
    [
        ("data_a b\n", "line 1: expected a data_ block before 'data_a b'"),
        ("data_a\nloop_ _b\n1\n", "line 2: values that belong to no name"),
        ("data_a\nsave_frame\n", "line 2: .*save frames"),
        ("data_a\n_b\n;several\nlines\n;\n", "line 2: _b has 0 values, expected one on its line"),
        ("data_a\nloop_\n_b\n_c\n1 2\n;two words\n;\n", "line 6: a text of several lines"),
        ("version https://git-lfs.github.com/spec/v1\n", "before 'version https://git-lfs"),
    ],
)
def test_what_might_be_misread_is_refused(tmp_path, text, message):
    with pytest.raises(FileFormatError, match=message):
        read_star(written(tmp_path, text))


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: b"\xef\xbb\xbf" + raw,
        lambda raw: raw.replace(b"\n", b"\r\n"),
        lambda raw: raw.replace(b"\n", b"\r"),
        lambda raw: raw.replace(b" ", b"\t "),
        lambda raw: raw.decode().encode("utf-16"),
        lambda raw: b"\xef\xbb\xbf" + raw.replace(b"\n", b" \t\r\n"),
        lambda raw: raw.rstrip(),
    ],
    ids=["mark", "windows", "mac", "tabs", "utf-16", "mark and windows", "no last line end"],
)
def test_files_of_other_systems_read_the_same(path, tmp_path, change):
    text = TEXT.replace("the first", "first").replace("5 o", "5o")
    other = written(tmp_path, change(text.encode()))
    path.write_text(text)
    plain = [(table.block, table.columns) for table in read_star(path)]
    assert [(table.block, table.columns) for table in read_star(other)] == plain


def test_bytes_that_are_no_utf8_are_written_back_as_they_were(tmp_path):
    row = "m\N{LATIN SMALL LETTER E WITH ACUTE}.mrc 1@s 5".encode("latin-1")
    path = written(tmp_path, loop(THREE).encode() + row + b"\n")
    write_star(tmp_path / "copy.star", read_star(path))
    assert row in (tmp_path / "copy.star").read_bytes().splitlines()


def test_the_locale_does_not_matter(tmp_path):
    import os
    import subprocess
    import sys

    path = written(tmp_path, loop(THREE, "\N{LATIN SMALL LETTER E WITH ACUTE}/mic.mrc 1@s 5"))
    code = (
        "import sys; from atomdrgn.io.star import read_star, write_star; write_star(sys.argv[2], "
        "read_star(sys.argv[1]))"
    )
    environment = os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    subprocess.run(
        [sys.executable, "-c", code, path, tmp_path / "copy.star"], env=environment, check=True
    )
    assert read_star(tmp_path / "copy.star") == read_star(path)


def test_a_block_that_stands_twice_is_refused_when_it_is_asked_for(tmp_path):
    tables = read_star(
        written(tmp_path, loop(["a"], "1") + "\n" + loop(["a"], "2") + "\ndata_other\n_b 1\n")
    )
    with pytest.raises(FileFormatError, match="data_particles stands 2 times .lines 1 and 7."):
        find_table(tables, "particles")
    assert find_table(tables, "other").numbers("b") == [1]
    write_star(tmp_path / "copy.star", tables)
    assert [table.columns for table in read_star(tmp_path / "copy.star")] == [
        table.columns for table in tables
    ]
    two_loops = read_star(written(tmp_path, loop(["a"], "1") + "\nloop_\n_b\n2\n"))
    assert "a" in find_table(two_loops, "particles")


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "",
        "two words",
        "data_x",
        "loop_",
        "_a",
        "#b",
        "'q",
        '"q',
        'a" b',
        "a' b",
        ";c",
        "mic#1",
        "a\tb",
        "it's",
    ],
)
def test_new_values_are_quoted_where_that_is_needed(tmp_path, value):
    (table,) = read_star(written(tmp_path, loop(THREE, "a b 1", "c d 2")))
    write_star(tmp_path / "new.star", [table.with_texts("rlnMicrographName", [value, "x"])])
    (again,) = read_star(tmp_path / "new.star")
    assert again.texts("rlnMicrographName") == [value, "x"] and again.columns["rlnImageName"] == [
        "b",
        "d",
    ]
    theirs = cif.read(str(tmp_path / "new.star"))[0].find_values("_rlnMicrographName")
    assert [cif.as_string(token) for token in theirs] == [value, "x"]


def test_a_value_that_no_quotes_hold_is_refused():
    from atomdrgn.errors import InputError
    from atomdrgn.io.star import token_of

    for value in ("two\nlines", "a' b\" c"):
        with pytest.raises(InputError, match="cannot stand in a STAR file"):
            token_of(value)


def test_numbers_may_be_quoted_and_python_is_not_star(tmp_path):
    (table,) = read_star(written(tmp_path, loop(["a"], '"1.5"', "'2'")))
    assert table.numbers("a").tolist() == [1.5, 2]
    (table,) = read_star(written(tmp_path, loop(["a"], "1", "1_000")))
    with pytest.raises(FileFormatError, match="row 2 of a is '1_000', expected a number"):
        table.numbers("a")
