import warnings

import numpy as np
import pytest

from atomdrgn.errors import FileFormatError, UnmodelledWarning
from atomdrgn.structure.atoms import read_structure
from atomdrgn.structure.beads import coarse_grain, unmodelled
from atomdrgn.structure.residue_kinds import residue_kinds
from molecules import atom_line, helix, write_pdb

LINES = helix("A", 3)


def write(path, lines):
    path.write_text("\n".join([*lines, "END"]) + "\n")
    return path


def replaced(start, text, line=0):
    """The lines, with other text in one of them from a column (from 0) on."""
    changed = list(LINES)
    changed[line] = changed[line][:start] + text + changed[line][start + len(text) :]
    return changed


@pytest.mark.parametrize(
    "start, text, message",
    [
        (
            30,
            "     nan",
            r"x of N of A:1 ALA is '     nan'; expected a number, in A, in columns 31 to 38",
        ),
        (
            38,
            "********",
            r"y of N of A:1 ALA is '\*{8}'; expected a number, in A, in columns 39 to 46",
        ),
        (46, "        ", r"z of N of A:1 ALA"),
        (46, "     inf", r"z of N of A:1 ALA"),
        (30, "  1.0e+0", r"x of N"),
        (30, "-1234.567", r"of N of A:1 ALA"),
        (30, "9999.0009999.0009999.000", r"N of A:1 ALA is at 9999, 9999, 9999, .* not known"),
        (30, "99999999", r"N of A:1 ALA is at 1e\+08"),
        (
            54,
            "   nan",
            r"the occupancy of N of A:1 ALA is '   nan'; expected a number from 0 to 1 in columns "
            r"55 to 60",
        ),
        (54, " -0.50", r"the occupancy of N of A:1 ALA is ' -0.50'"),
        (
            60,
            "******",
            r"the B-factor of N of A:1 ALA is '\*{6}'; expected a number, in A\^2, in columns "
            r"61 to 66",
        ),
        (
            22,
            "    ",
            r"the number of the residue ALA is '     '; expected a whole number in columns "
            r"23 to 26",
        ),
        (22, "****", r"the number of the residue ALA is '\*{4} '"),
    ],
)
def test_a_number_that_is_none_is_said_with_its_line(tmp_path, start, text, message):
    path = write(tmp_path / "a.pdb", ["REMARK", *replaced(start, text)])
    with pytest.raises(FileFormatError, match=f"a.pdb line 2: .*{message}"):
        read_structure(path)


def test_a_line_that_ends_too_early_is_said(tmp_path):
    with pytest.raises(FileFormatError, match="line 1: y of N of A:1 ALA"):
        read_structure(write(tmp_path / "a.pdb", [LINES[0][:40], *LINES[1:]]))


def test_occupancies_above_one_count_as_one_and_are_said(tmp_path):
    with pytest.warns(
        UserWarning, match=r"1 atoms have occupancies above 1 \(line 2: 3\): they count as 1"
    ):
        structure = read_structure(write(tmp_path / "a.pdb", replaced(54, "  3.00", line=1)))
    assert coarse_grain(structure).amplitude.sum() == structure.element.sum()


def test_a_blank_occupancy_is_one(tmp_path):
    lines = [LINES[0], *(line[:54] + "      " + line[60:] for line in LINES[1:])]
    structure = read_structure(write(tmp_path / "a.pdb", lines))
    assert (structure.occupancy == 1).all() and (structure.b_factor == 20).all()


def test_membranes_of_dummy_atoms_are_left_out_and_named(tmp_path):
    # OPM writes z with four decimals, which runs into the columns of the occupancy
    dummies = [
        f"HETATM{i:5d}  {'NO'[i % 2]}   DUM  {i:4d}    {10.0 * i:8.3f}{0:8.3f}{13.4233:9.4f}"
        for i in range(1, 13)
    ]
    with pytest.warns(UnmodelledWarning, match=r"12 dummy atoms \(DUM\): left out"):
        structure = read_structure(write_pdb(tmp_path / "opm.pdb", LINES, dummies))
    assert len(structure) == 15 and "DUM" not in structure.residue_name
    assert unmodelled(structure) == ["12 dummy atoms (DUM): left out"]
    assert unmodelled(structure.moved(structure.position + 1)) == unmodelled(structure)


def test_pseudo_atoms_are_known_by_their_names_and_ligands_of_their_residue_names_stay(tmp_path):
    marks = [
        atom_line(90, "PS1", "PSD", "P", 1, (0, 0, 0), element="PS", record="HETATM"),
        atom_line(91, "APOL", "STP", "C", 1, (0, 0, 0), element="Ve", record="HETATM"),
        atom_line(92, "C7", "STP", "L", 1, (0, 9, 0), record="HETATM"),
    ]
    with pytest.warns(
        UnmodelledWarning, match=r"1 dummy atoms \(PSD\): left out; 1 dummy atoms \(STP\): left out"
    ):
        structure = read_structure(write_pdb(tmp_path / "a.pdb", LINES, marks))
    assert (
        structure.residue_name[-1] == "STP"
        and structure.atom_name[-1] == "C7"
        and len(structure) == 16
    )


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("latin-1"),
        lambda text: text.encode(),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("        ", "\t").encode(),
    ],
    ids=["latin-1", "utf-8", "mark", "mark and CRLF", "CR", "utf-16", "tabs"],
)
def test_text_is_read_however_it_was_saved(tmp_path, encode):
    plain = read_structure(write(tmp_path / "plain.pdb", LINES))
    (tmp_path / "saved.pdb").write_bytes(
        encode("\n".join([*LINES, "REMARK  3.2 Å, Müller", "END"]) + "\n")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        saved = read_structure(tmp_path / "saved.pdb")
    assert len(saved) == 15
    for column in ("position", "element", "atom_name", "residue", "chain", "occupancy", "b_factor"):
        assert np.array_equal(getattr(saved, column), getattr(plain, column)), column


def test_a_mark_in_front_of_the_first_atom_costs_no_atom(tmp_path):
    (tmp_path / "mark.pdb").write_bytes("\n".join([*LINES, "END"]).encode("utf-8-sig"))
    assert len(read_structure(tmp_path / "mark.pdb")) == 15


def test_tabs_that_do_not_keep_the_columns_are_refused(tmp_path):
    with pytest.raises(
        FileFormatError, match="line 1: holds tabs, and its coordinates are not in columns 31 to 54"
    ):
        read_structure(write(tmp_path / "a.pdb", ["ATOM\t1\tN\tALA\tA\t1\t1.000\t2.000\t3.000"]))


@pytest.mark.parametrize(
    "text, number, icode",
    [
        ("9999 ", 9999, ""),
        ("10000", 10_000, ""),
        ("A000 ", 10_000, ""),
        ("A001A", 10_001, "A"),
        ("271a ", 0x271A, ""),
        ("fffe ", 0xFFFE, ""),
        ("  -5 ", -5, ""),
        ("  82B", 82, "B"),
        ("  601", 60, "1"),
    ],
)
def test_numbers_of_residues(tmp_path, text, number, icode):
    water = atom_line(90, "O", "HOH", "W", 1, (9, 9, 9), record="HETATM")
    path = write(tmp_path / "a.pdb", [*LINES, water[:22] + text + water[27:]])
    structure = read_structure(path)
    assert structure.residue[-1] == number and structure.insertion_code[-1] == icode


def test_residue_names_of_four_letters(tmp_path):
    water = [
        "ATOM     90  OH2 TIP3W   1      30.000   0.000   0.000  1.00  0.00      WAT  O",
        "ATOM     91  P   POPC    7      35.000   0.000   0.000  1.00  0.00      MEMB P",
        "ATOM     92  N   POPC    7      36.000   0.000   0.000  1.00  0.00      MEMB N",
    ]
    structure = read_structure(write_pdb(tmp_path / "charmm.pdb", LINES, water))
    assert structure.residue_name[-3:].tolist() == ["TIP3", "POPC", "POPC"]
    assert structure.chain[-3:].tolist() == ["W", "", ""] and unmodelled(structure)[0].startswith(
        "1 waters (1 atoms)"
    )


def test_chains_of_two_letters_are_no_fourth_letter_of_a_residue(tmp_path):
    structure = read_structure(
        write_pdb(tmp_path / "large.pdb", helix("Aa", 3), helix("Ab", 3, start=(20, 0, 0)))
    )
    assert set(structure.chain.tolist()) == {"Aa", "Ab"} and set(
        structure.residue_name.tolist()
    ) == {"ALA"}


@pytest.mark.parametrize("chain", ["A", " "])
@pytest.mark.parametrize("name", ["HISD", "HISE", "LYSH", "ASPH", "GLUH", "CYS2", "ARGN"])
def test_letters_that_tell_of_protons_are_no_chain(tmp_path, name, chain):
    lines = [
        line[:17] + (name if line[22:26].strip() == "2" else "ALA ") + chain + line[22:]
        for line in helix("A", 3)
    ]
    structure = read_structure(write(tmp_path / "gromacs.pdb", lines))
    assert set(structure.chain.tolist()) == {chain.strip()}
    assert list(dict.fromkeys(structure.residue_name.tolist())) == ["ALA", name]
    assert set(residue_kinds(structure).tolist()) == {"amino acid"}


def test_chains_of_two_letters_hold_residues_with_protons(tmp_path):
    lines = [
        line.replace("ALA", "LYS") if line[22:26].strip() == "2" else line
        for line in helix("HA", 3)
    ]
    structure = read_structure(write(tmp_path / "large.pdb", lines))
    assert set(structure.chain.tolist()) == {"HA"} and set(structure.residue_name.tolist()) == {
        "ALA",
        "LYS",
    }


def test_line_numbers_of_old_files_are_no_charges(tmp_path):
    """Before 1996 columns 73 to 80 held the entry and the number of the line."""
    lines = [f"{line[:72]}1ABC{9 * number:4d}" for number, line in enumerate(LINES, 1)]
    structure = read_structure(write(tmp_path / "old.pdb", lines))
    assert len(structure) == 15 and set(structure.element.tolist()) == {6, 7, 8}
    assert {site.atom.charge for site in structure.source[0].all()} <= set(range(10))


@pytest.mark.parametrize(
    "text, charge", [("1+", 1), ("2-", -2), ("+1", 1), ("  ", 0), ("01", 0), ("A1", 0)]
)
def test_charges(tmp_path, text, charge):
    structure = read_structure(
        write(tmp_path / "a.pdb", [line[:78].ljust(78) + text for line in LINES])
    )
    assert {site.atom.charge for site in structure.source[0].all()} == {charge}


def test_atoms_behind_the_end_are_said(tmp_path):
    path = write(tmp_path / "two.pdb", [*LINES, "END", *helix("B", 2, start=(20, 0, 0))])
    with pytest.warns(UserWarning, match=r"10 atoms stand behind END \(line 16\) and are not read"):
        assert len(read_structure(path)) == 15


def test_displacements_stay_with_their_atoms_where_a_residue_is_put_together(tmp_path):
    def with_displacement(line, value):
        return [line, f"ANISOU{line[6:28]}{value:7d}{value:7d}{value:7d}{0:7d}{0:7d}{0:7d}"]

    late = with_displacement(atom_line(90, "HA", "ALA", "A", 1, (1, 1, 1)), 7000)
    lines = with_displacement(LINES[0], 1000) + LINES[1:] + late
    with pytest.warns(UserWarning, match="put together"):
        structure = read_structure(write(tmp_path / "a.pdb", lines))
    atoms = [site.atom for site in structure.source[0].all()]
    assert (
        atoms[0].aniso.u11 == pytest.approx(0.1)
        and atoms[5].name == "HA"
        and atoms[5].aniso.u11 == pytest.approx(0.7)
    )
    assert sum(atom.aniso.nonzero() for atom in atoms) == 2
