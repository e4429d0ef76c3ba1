import numpy as np
import pytest

from atomdrgn.errors import InputError
from atomdrgn.structure.atoms import read_structure
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.selection import describe_chains, describe_residues, select
from molecules import atom_line, helix, write_pdb


@pytest.fixture
def beads(tmp_path):
    antibody = helix("B", 5, first=80)  # 80 .. 84
    inserted = [
        atom_line(60 + 4 * k + m, name, "SER", "B", 82, (9 + 3 * k, m, 9), icode=icode)
        for k, icode in enumerate("AB")
        for m, name in enumerate(("N", "CA", "C", "O"))
    ]
    antibody[15:15] = inserted  # behind residue 82
    return coarse_grain(
        read_structure(
            write_pdb(
                tmp_path / "three.pdb",
                helix("A", 20, start=(30, 0, 0)),
                antibody,
                helix("Cx", 6, first=-3, start=(60, 0, 0)),
                helix(" ", 3, start=(90, 0, 0)),
            )
        )
    )


def names(beads, selection):
    return [beads.label(i) for i in select(beads, selection).nonzero()[0]]


def test_chains_and_ranges(beads):
    assert names(beads, "A:19-20,Cx:2") == ["A:19", "A:20", "Cx:2"]
    assert len(names(beads, "A")) == 20 and len(names(beads, "A, B")) == 27
    assert names(beads, "A:1-2,5-6,9") == ["A:1", "A:2", "A:5", "A:6", "A:9"]
    assert names(beads, "A:1-2,A:2") == ["A:1", "A:2"]


def test_insertions_stand_behind_their_number(beads):
    assert names(beads, "B:82-82B") == ["B:82", "B:82A", "B:82B"]
    assert names(beads, "B:82") == ["B:82"] and names(beads, "B:82B-83") == ["B:82B", "B:83"]
    assert names(beads, "B:82A-82a") == ["B:82A"]


def test_negative_numbers(beads):
    assert names(beads, "Cx:-3--2") == ["Cx:-3", "Cx:-2"]
    assert names(beads, "Cx:-1-0") == ["Cx:-1", "Cx:0"] and names(beads, "Cx:-1") == ["Cx:-1"]


def test_a_chain_without_a_name(beads):
    assert names(beads, ":2-3") == [":2", ":3"] and len(names(beads, ":")) == 3


@pytest.mark.parametrize(
    "selection, message",
    [
        ("Q", "no chain 'Q'; the chains are A:1-20, B:80-84, Cx:-3-2, :1-3"),
        ("A:30-40", "'A:30-40' holds no residue; what exists is A:1-20"),
        ("A:5-2", "ends before it begins"),
        ("A:five", "'five' is no range"),
        ("A:1-1" + "0" * 26, "is no range"),
        ("", "chain"),
        ("a", "no chain 'a'"),
    ],
)
def test_what_names_nothing_lists_what_exists(tmp_path, beads, selection, message):
    if selection == "":
        beads = coarse_grain(read_structure(write_pdb(tmp_path / "one.pdb", helix("A", 4))))
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        select(beads, selection)


def test_chains_are_described_with_their_ends(beads):
    assert describe_chains(beads, "B") == "B:80-84"


@pytest.mark.parametrize("selection", ["A:3-9", "A:1-4,A:8-20,B:82A-82B", "B:82", "Cx:-3-0,:2-3"])
def test_residues_are_described_so_that_they_are_selected_again(beads, selection):
    chosen = select(beads, selection)
    assert describe_residues(beads, chosen) == selection and not describe_residues(
        beads, np.zeros(len(beads), bool)
    )
