import warnings

import gemmi
import numpy as np
import pytest

from atomdrgn.errors import InputError
from atomdrgn.io.structure_files.repeated_chains import AtomNames, tell_apart
from atomdrgn.io.structure_files.structures import is_in_file_order
from atomdrgn.structure.atoms import read_structure, write_structure
from atomdrgn.structure.beads import coarse_grain, unmodelled
from molecules import atom_line, helix, write_pdb


def with_segid(lines, segid):
    return [f"{line[:72]:<72}{segid:<4}" for line in lines]


def residues(structure):
    """Chain and number of each residue, in the order of the atoms."""
    first = np.unique(structure.residue_index, return_index=True)[1]
    return list(
        zip(structure.chain[first].tolist(), structure.residue[first].tolist(), strict=True)
    )


def in_quiet(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_structure(path)


@pytest.mark.parametrize(
    "name, between, warned",
    [
        ("A", ["TER"], r"chain A stands in it twice: the second is read as chain B$"),
        ("A", [], r"chain A stands in it twice: the second is read as chain B$"),
        (
            " ",
            ["TER"],
            r"the chain without a name stands in it twice: the second is read as chain A$",
        ),
        (
            "A",
            helix("B", 2, start=(40, 0, 0)),
            r"chain A stands in it twice: the second is read as chain C$",
        ),
    ],
)
def test_a_copy_of_a_chain_has_a_name_of_its_own(tmp_path, name, between, warned):
    first, second = helix(name, 4), helix(name, 4, start=(20, 0, 0))
    path = write_pdb(tmp_path / "two.pdb", [*first, *between, *second])
    with pytest.warns(UserWarning, match=warned):
        structure = read_structure(path)
    copy = warned.removesuffix("$")[-1]
    of_first, of_second = structure.chain == name.strip(), structure.chain == copy
    assert of_first.sum() == of_second.sum() == 20
    np.testing.assert_allclose(
        structure.position[of_second] - structure.position[of_first], [[20, 0, 0]] * 20, atol=2e-3
    )
    assert coarse_grain(structure).amplitude.sum() == structure.element.sum() and not unmodelled(
        structure
    )
    write_structure(structure, tmp_path / "again.cif")
    assert residues(in_quiet(tmp_path / "again.cif")) == residues(structure)


def test_segids_tell_copies_apart_and_are_said(tmp_path):
    lines = with_segid(helix("P", 3), "PROA") + with_segid(helix("P", 3, start=(20, 0, 0)), "PROB")
    with pytest.warns(
        UserWarning,
        match=r"chain P stands in it twice \(segids PROA, PROB\): the second is read as chain A",
    ):
        structure = read_structure(write_pdb(tmp_path / "charmm.pdb", lines))
    assert residues(structure) == [("P", 1), ("P", 2), ("P", 3), ("A", 1), ("A", 2), ("A", 3)]


def test_many_copies_are_one_sentence(tmp_path):
    groups = [helix(chain, 2, start=(20.0 * i, 0, 0)) for i, chain in enumerate("ABAB A")]
    with pytest.warns(UserWarning) as said:
        structure = read_structure(write_pdb(tmp_path / "many.pdb", *groups))
    assert len(said) == 1
    assert (
        "2 chains stand in it more than once: the copies are read as chains C and E for A, D for B"
        in str(said[0].message)
    )
    assert [chain for chain, number in residues(structure) if number == 1] == [
        "A",
        "B",
        "C",
        "D",
        "",
        "E",
    ]


def test_ligands_behind_the_chains_keep_the_name_of_theirs(tmp_path):
    ligands = [
        atom_line(90 + i, name, "LIG", "A", 9, (x, 5, i), record="HETATM")
        for x in (5, 25)
        for i, name in enumerate(("C1", "C2", "O1"))
    ]
    ligands.append(atom_line(99, "O", "HOH", "A", 20, (0, 9, 9), record="HETATM"))
    with pytest.warns(UserWarning, match="the second is read as chain B"):
        structure = read_structure(
            write_pdb(tmp_path / "a.pdb", helix("A", 3), helix("A", 3, start=(20, 0, 0)), ligands)
        )
    assert residues(structure)[-3:] == [("A", 9), ("B", 9), ("A", 20)]


def test_numbers_that_go_on_behind_a_ter_are_one_chain(tmp_path):
    structure = in_quiet(
        write_pdb(tmp_path / "amber.pdb", helix(" ", 4), helix(" ", 4, first=5, start=(20, 0, 0)))
    )
    assert set(structure.chain.tolist()) == {""} and len(set(structure.residue.tolist())) == 8


def test_steps_back_in_the_numbering_are_no_copies_where_no_number_comes_again(tmp_path):
    lines = (
        helix("A", 3)
        + helix("A", 3, first=1001, start=(20, 0, 0))
        + helix("A", 3, first=4, start=(0, 20, 0))
    )
    assert set(in_quiet(write_pdb(tmp_path / "fusion.pdb", lines)).chain.tolist()) == {"A"}


@pytest.mark.seconds
def test_waters_whose_numbers_begin_again(tmp_path):
    water = [
        atom_line(i, "O", "HOH", "W", 1 + i % 9999, (i * 0.01, 50, 0), record="HETATM")
        for i in range(20_500)
    ]
    with pytest.warns(UserWarning, match="chain W stands in it 3 times: the others as chains B, C"):
        structure = read_structure(write_pdb(tmp_path / "wet.pdb", helix("A", 2), water))
    places = residues(structure)
    assert len(places) == len(set(places)) == 20_502
    assert [place for place in places if place[1] == 9999] == [("W", 9999), ("B", 9999)]


@pytest.mark.parametrize("segids", [True, False])
def test_lipids_of_one_number_are_as_many_residues(tmp_path, segids):
    lipids = [
        [
            atom_line(j, name, "DPP", "L", 1, (30 + i, j, 0))
            for j, name in enumerate("P N C1 C2 O".split())
        ]
        for i in range(70)
    ]
    lines = sum(
        (with_segid(lipid, f"L{i}") if segids else lipid for i, lipid in enumerate(lipids)), []
    )
    with pytest.warns(UserWarning, match="chain L stands in it 70 times"):
        structure = read_structure(write_pdb(tmp_path / "membrane.pdb", helix("A", 3), lines))
    places = residues(structure)
    assert len(set(places)) == 73 and ("AA", 1) in places  # 62 names of one letter, then two
    assert (~coarse_grain(structure).polymer).sum() == 70


def test_a_ligand_whose_atoms_share_a_name_is_one_residue_with_all_its_electrons(tmp_path):
    ligand = [
        atom_line(90 + i, "C", "UNL", "A", 100, (30 + i, 0, 0), record="HETATM") for i in range(6)
    ]
    with pytest.warns(
        UserWarning,
        match=r"1 residues hold several atoms of one name.*A:100 UNL, C.*each counts as an atom",
    ):
        structure = read_structure(write_pdb(tmp_path / "babel.pdb", helix("A", 3), ligand))
    assert residues(structure)[-1] == ("A", 100) and len(residues(structure)) == 4
    assert coarse_grain(structure).amplitude[-1] == 36


def test_two_residues_of_one_number_without_letters_are_two(tmp_path):
    lines = (
        helix("A", 2)
        + helix("A", 1, first=2, names=("SER",), start=(9, 0, 0))
        + helix("A", 2, first=3)
    )
    with pytest.warns(
        UserWarning, match="chain A stands in it twice: the second is read as chain B"
    ):
        structure = read_structure(write_pdb(tmp_path / "odd.pdb", lines))
    assert residues(structure) == [("A", 1), ("A", 2), ("B", 2), ("A", 3), ("A", 4)]


@pytest.mark.parametrize("between", [[], ["TER", *helix("B", 2, start=(20, 0, 0)), "TER"]])
def test_a_residue_in_pieces_is_put_together(tmp_path, between):
    hydrogens = [atom_line(90 + i, "HA", "ALA", "A", 1 + i, (1, 1, 1.5 * i)) for i in range(3)]
    path = write_pdb(tmp_path / "late.pdb", [*helix("A", 3, element=""), *between, *hydrogens])
    with pytest.warns(
        UserWarning,
        match=r"the atoms of 3 residues stand apart in it \(A:1 ALA\): they are put together",
    ):
        structure = read_structure(path)
    assert structure.atom_name[:6].tolist() == ["N", "CA", "C", "O", "CB", "HA"]
    # each with what its own line says
    assert structure.element[:6].tolist() == [7, 6, 6, 8, 6, 1]
    assert len(residues(structure)) == (5 if between else 3) and not is_in_file_order(
        structure.source
    )
    np.testing.assert_allclose(structure.position[5], [1, 1, 0])


def test_conformers_that_stand_apart_are_one_place(tmp_path):
    first = [
        line[:16] + "A" + line[17:54] + "  0.40" + line[60:] for line in helix("A", 2, first=3)
    ]
    second = [
        line[:16] + "B" + line[17:54] + "  0.60" + line[60:]
        for line in helix("A", 2, first=3, names=("SER",))
    ]
    with pytest.warns(UserWarning, match="2 residues stand apart"):
        structure = read_structure(
            write_pdb(tmp_path / "blocks.pdb", helix("A", 2) + first + second)
        )
    model = coarse_grain(structure)
    assert model.residue.tolist() == [1, 2, 3, 4] and model.residue_name.tolist() == [
        "ALA",
        "ALA",
        "SER",
        "SER",
    ]
    assert model.amplitude.tolist() == pytest.approx([33] * 4)


def test_copies_of_a_residue_with_letters_are_copies(tmp_path):
    lines = [line[:16] + "A" + line[17:] for line in helix("A", 2)]
    with pytest.warns(UserWarning, match="the second is read as chain B"):
        structure = read_structure(write_pdb(tmp_path / "letters.pdb", lines, lines))
    assert coarse_grain(structure).trace.sum() == 4


@pytest.mark.filterwarnings("ignore::atomdrgn.errors.UnmodelledWarning")
def test_models_have_the_same_names_and_are_no_copies_of_each_other(tmp_path):
    molecule = [*helix("A", 2), "TER", *helix("A", 2, start=(20, 0, 0)), "TER"]
    path = tmp_path / "models.pdb"
    path.write_text(
        "\n".join(["MODEL     1", *molecule, "ENDMDL", "MODEL     2", *molecule, "ENDMDL", "END"])
        + "\n"
    )
    with pytest.warns(UserWarning, match="chain A stands in it twice"):
        structure = read_structure(path)
    assert residues(structure) == [("A", 1), ("A", 2), ("B", 1), ("B", 2)]


def test_declared_bonds_hold_for_copies(tmp_path):
    def with_sulphur(x):
        return (
            helix("A", 3)
            if x is None
            else [
                line[:30] + f"{float(line[30:38]) + x:8.3f}" + line[38:]
                for line in (
                    helix("A", 3)
                    + [
                        atom_line(40, "SG", "CYS", "A", 8, (9, 9, 9)),
                        atom_line(41, "SG", "CYS", "A", 9, (9, 9, 11)),
                    ]
                )
            ]
        )

    bond = "SSBOND   1 CYS A    8    CYS A    9                          1555   1555  2.00"
    path = write_pdb(tmp_path / "bridges.pdb", [bond, *with_sulphur(0)], with_sulphur(30))
    with pytest.warns(UserWarning, match="the second is read as chain B"):
        links = read_structure(path).source.connections
    assert [(link.partner1.chain_name, link.partner2.chain_name) for link in links] == [
        ("A", "A"),
        ("B", "B"),
    ]
    assert {link.type for link in links} == {gemmi.ConnectionType.Disulf}


def test_copies_in_mmcif_are_told_apart_too(tmp_path):
    path = write_pdb(tmp_path / "a.pdb", helix("A", 3), helix("B", 3, start=(20, 0, 0)))
    write_structure(read_structure(path), tmp_path / "a.cif")
    block = gemmi.cif.read(str(tmp_path / "a.cif"))[0]
    for row in block.find(["_atom_site.auth_asym_id"]):
        row[0] = "A"
    (tmp_path / "same.cif").write_text(block.as_string())
    with pytest.warns(
        UserWarning,
        match=r"chain A stands in it twice \(label_asym_ids .*\): the second is read as chain B",
    ):
        structure = read_structure(tmp_path / "same.cif")
    assert residues(structure) == [(chain, number) for chain in "AB" for number in (1, 2, 3)]


def test_more_copies_than_names_are_refused():
    names = AtomNames()
    for copy in range(64):
        for field, value in (
            ("model", ""),
            ("chain", "A"),
            ("number", 1),
            ("icode", ""),
            ("residue_name", "ALA"),
            ("altloc", ""),
            ("atom_name", "CA"),
            ("segment", str(copy)),
            ("ended", copy),
            ("foreign", False),
        ):
            getattr(names, field).append(value)
    assert len(set(tell_apart(names, path="a.pdb", longest=2).chain)) == 64
    with pytest.raises(
        InputError,
        match=r"a.pdb: more residues share .* than there are names .* number the residues anew",
    ):
        tell_apart(names, path="a.pdb", longest=1)
