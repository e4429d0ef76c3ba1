import re
from fnmatch import fnmatchcase

import pytest

from atomdrgn.analysis.structure_files.chimerax import (
    chimerax_selection,
    write_placed_script,
    write_script,
)


@pytest.mark.parametrize(
    "ours, theirs",
    [
        ("A", "/A"),
        ("A:2-214,B:2-236", "/A:2-214/B:2-236"),
        ("A:1-5,A:10-20,B", "/A:1-5,10-20/B"),
        ("B:82A", "/B:82A"),
        (":1-27,:104-119", ":1-27,104-119"),
    ],
)
def test_selections_are_written_as_chimerax_reads_them(ours, theirs):
    assert chimerax_selection(ours) == theirs


ODD = [
    "A",
    "A-2",
    "a-2",
    "A red; runscript evil.py; color /A",
    "A,B",
    "x:1",
    "new\nline",
    "q'",
    'q"',
    "*",
    "a*",
    "[x]",
    "é",
    "A B",
    " p",
    "A#1",
    "back\\slash",
    "B",
]


@pytest.mark.parametrize(
    "name, written",
    [
        ("A-2", '//chain_id="A-2"'),
        ("A B", '//chain_id="A B"'),
        ("A,B", '//chain_id="A,B"'),
        ("A:1", '//chain_id="A:1"'),
        ("*", '//chain_id="[*]"'),
        ("[x]", '//chain_id="[[]x]"'),
        ("q'", '//chain_id="q\'"'),
        ('q"', "//chain_id='q\"'"),
        ("a;b", '//chain_id="a?b"'),
        ("a\nb", '//chain_id="a?b"'),
        ("A_1", "/A_1"),
    ],
)
def test_chain_names_that_are_no_plain_words_are_compared_as_a_whole(name, written):
    """After ChimeraX's grammar of atom specifications: a value in quotes, in which *, ? and [ are
    wildcards.
    """
    assert chimerax_selection(f"{name}:118-141", [name, "A"]) == f"{written}:118-141"
    assert chimerax_selection(name, [name, "A"]) == written


def matches(specification, chain):
    """Whether the one chain that a specification names is this one, as ChimeraX compares."""
    plain = re.fullmatch(r"/(\w+):.*", specification)
    if plain:
        # some chain here has small letters: then ChimeraX looks at capitals
        return chain == plain[1]
    operator, _, pattern = re.fullmatch(r"//chain_id(==?)([\"'])(.*)\2:.*", specification).groups()
    return (
        fnmatchcase(chain, pattern)
        if operator == "=="
        else fnmatchcase(chain.lower(), pattern.lower())
    )


@pytest.mark.parametrize("name", ODD)
def test_every_name_is_told_from_all_others(name):
    specification = chimerax_selection(f"{name}:1-36", ODD)
    assert [chain for chain in ODD if matches(specification, chain)] == [name]
    assert ";" not in specification and "\n" not in specification and "\\" not in specification


def test_names_that_look_alike_are_not_coloured(tmp_path):
    names = ["x;y", "x#y"]
    assert chimerax_selection("x;y:1", names) is None
    write_script(
        tmp_path / "show.cxc",
        files={"motion1.cif": ""},
        topology=None,
        groups=[{"selection": "x;y:1"}],
        chains=names,
    )
    assert "# group 1 has no colour" in (tmp_path / "show.cxc").read_text()


def test_no_name_of_a_chain_can_be_a_command(tmp_path):
    for name in ODD:
        write_script(
            tmp_path / "show.cxc",
            files={"motion1.cif": ""},
            topology=None,
            groups=[{"selection": f"{name}:1-9"}],
            chains=ODD,
        )
        lines = (tmp_path / "show.cxc").read_text().splitlines()
        commands = [
            part.split()[0]
            for line in lines
            if not line.startswith("#")
            for part in line.split(";")
        ]
        assert set(commands) == {
            "set",
            "lighting",
            "graphics",
            "open",
            "hide",
            "show",
            "color",
            "view",
            "coordset",
        }
    text = "A:1; runscript evil.py"
    assert chimerax_selection(text, ["A"]) is None and chimerax_selection("Z:1", ["A"]) is None


def test_a_chain_without_a_name_is_what_is_in_none_of_the_others():
    assert chimerax_selection(":1-5", ["", "A"]) == ":1-5 & ~(/A)"
    assert chimerax_selection("A:3,:1-5", ["", "A", "B-1"]) == '/A:3 | :1-5 & ~(//chain_id="B-1"/A)'


def test_the_script_opens_what_is_there_and_colours_the_groups(tmp_path):
    groups = [{"selection": "A:1-20"}, {"selection": ":21-40"}]
    files = {"motion1.cif": "along motion 1", "centres.cif": "centres"}
    folder = tmp_path
    write_script(folder / "show.cxc", files=files, topology=None, groups=groups, name="my run;.fit")
    lines = (folder / "show.cxc").read_text().splitlines()
    own = "atomdrgn my_run_.fit"
    assert f'open "motion1.cif" coordsets true name "{own} motion1"' in lines
    assert f'open "centres.cif" coordsets true name "{own} centres"' in lines
    assert f'color ##name="{own} *" & (/A:1-20) #0072B2' in lines
    assert f'hide ##name="{own} centres" models' in lines
    write_script(
        folder / "show.cxc",
        files={"motion1.dcd": "along motion 1"},
        topology="reference.pdb",
        groups=groups,
        name="my run;.fit",
    )
    text = (folder / "show.cxc").read_text()
    assert (
        f'open "reference.pdb" name "{own} motion1"\n'
        f'open "motion1.dcd" structureModel ##name="{own} motion1"' in text
    )


@pytest.mark.parametrize("files", [["particles.cif"], ["000001.cif", "000004.cif"]])
def test_scripts_leave_alone_what_is_open(tmp_path, files):
    """Nothing is closed, and no command is about all models or one by its number in a session."""
    motions = {"motion1.cif": "along motion 1", "centres.cif": "centres"}
    groups = [{"selection": "A:1-20"}]
    write_script(tmp_path / "show.cxc", files=motions, topology=None, groups=groups)
    write_placed_script(
        tmp_path / "place.cxc",
        files=files,
        colours=["#123456", "#654321"],
        tomogram="TS_01",
        ends=None,
        tomogram_map=tmp_path / "TS_01.mrc",
    )
    for script in ("show.cxc", "place.cxc"):
        commands = [
            line
            for line in (tmp_path / script).read_text().splitlines()
            if line.split()[0] not in ("#", "open", "set", "lighting", "graphics")
        ]
        assert len(commands) > 4
        assert all('##name="atomdrgn ' in line or " #9001." in line for line in commands)


@pytest.mark.parametrize(
    "name, opened",
    [("tomo 1.mrc", True), ('tomo"; runscript evil.py; "1.mrc', False), ("to\nmo.mrc", False)],
)
def test_a_tomogram_whose_path_could_be_a_command_is_not_opened(tmp_path, name, opened):
    write_placed_script(
        tmp_path / "place.cxc",
        files=["particles.cif"],
        colours=["#123456"],
        tomogram="t\nrunscript evil.py",
        ends=None,
        tomogram_map=tmp_path / name,
    )
    lines = (tmp_path / "place.cxc").read_text().splitlines()
    assert any(line.startswith(f'open "{tmp_path / name}" name') for line in lines) == opened
    assert not [line for line in lines if "runscript" in line and not line.startswith("#")]
