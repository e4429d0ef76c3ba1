import numpy as np
import pytest
import torch

from atomdrgn.errors import InputError, UnmodelledWarning
from atomdrgn.structure.atoms import read_structure
from atomdrgn.structure.beads import ATOMIC_BLUR, coarse_grain, residue_kinds, unmodelled
from molecules import atom_line, helix, write_pdb


@pytest.fixture
def peptide(tmp_path):
    return read_structure(
        write_pdb(tmp_path / "peptide.pdb", helix("A", 6, names=("ALA", "GLY", "SER")))
    )


@pytest.mark.parametrize("beads", [1, 2])
def test_amplitudes_sum_to_the_electrons(peptide, beads):
    model = coarse_grain(peptide, beads=beads)
    assert model.amplitude.sum().item() == pytest.approx(peptide.element.sum())
    assert model.trace.sum() == 6 and len(model) == (6 if beads == 1 else 10)


def test_a_bead_is_the_centroid_of_electrons_and_as_wide_as_its_atoms(peptide):
    model = coarse_grain(peptide)
    atoms = peptide.residue == 3
    weight, position = (
        torch.tensor(peptide.element[atoms]).double(),
        peptide.position[torch.tensor(atoms)].double(),
    )
    centroid = (weight[:, None] * position).sum(0) / weight.sum()
    spread2 = (weight[:, None] * (position - centroid) ** 2).sum(0).mean() / weight.sum()
    torch.testing.assert_close(model.position[2].double(), centroid, rtol=0, atol=1e-5)
    assert model.sigma[2].item() == pytest.approx(
        (ATOMIC_BLUR**2 + spread2.item()) ** 0.5, rel=1e-5
    )


def test_backbone_and_side_chain_are_partners(peptide):
    model = coarse_grain(peptide, beads=2)
    side = model.partner != np.arange(len(model))
    assert (model.residue_name[side] != "GLY").all() and not model.trace[side].any()
    assert np.array_equal(model.residue[side], model.residue[model.partner[side]])
    assert model.trace[model.partner].all()
    beta = peptide.atom_name == "CB"
    assert side[model.bead_of_atom[beta]].all() and not side[model.bead_of_atom[~beta]].any()


def test_nucleotides_are_sugar_phosphate_and_base(tmp_path):
    lines = []
    for i in range(3):
        # the first has no phosphate
        for k, name in enumerate(["P", "OP1", "O5'", "C1'", "N9", "C8"][0 if i else 2 :]):
            lines.append(atom_line(len(lines) + 1, name, "A", "R", i + 1, (k, 6.0 * i, 0)))
    structure = read_structure(write_pdb(tmp_path / "rna.pdb", lines))
    model = coarse_grain(structure, beads=2)
    assert len(model) == 6 and model.trace.sum() == 3
    base = np.isin(structure.atom_name, ("N9", "C8"))
    assert (~model.trace[model.bead_of_atom[base]]).all() and model.trace[
        model.bead_of_atom[~base]
    ].all()


def test_one_conformer_counts_with_the_occupancy_of_all(tmp_path):
    lines = helix("A", 3)
    lines += [
        atom_line(30, "OG", "ALA", "A", 3, (9, 0, 0), altloc="A", occupancy=0.3),
        atom_line(31, "OG", "ALA", "A", 3, (-9, 0, 0), altloc="B", occupancy=0.7),
    ]
    structure = read_structure(write_pdb(tmp_path / "alt.pdb", lines))
    model, plain = (
        coarse_grain(structure),
        coarse_grain(read_structure(write_pdb(tmp_path / "plain.pdb", helix("A", 3)))),
    )
    assert model.amplitude.sum().item() == pytest.approx(plain.amplitude.sum().item() + 8)
    assert model.position[2, 0] < plain.position[2, 0]
    assert (model.bead_of_atom[structure.residue == 3] == 2).all()
    assert unmodelled(structure) == [
        "1 atoms in alternative locations other than the one with the highest occupancy: they "
        "follow their residue's bead"
    ]


def test_two_residues_in_one_place_are_one_bead(tmp_path):
    atoms = list(enumerate(("N", "CA", "C", "O")))
    serine = [
        atom_line(40 + k, name, "SER", "A", 2, (k, 5, 5), altloc="A", occupancy=0.4)
        for k, name in atoms
    ]
    alanine = [
        atom_line(50 + k, name, "ALA", "A", 2, (k, 9, 9), altloc="B", occupancy=0.6)
        for k, name in atoms
    ]
    lines = helix("A", 1) + serine + alanine + helix("A", 1, first=3)
    model = coarse_grain(read_structure(write_pdb(tmp_path / "micro.pdb", lines)))
    assert model.residue.tolist() == [1, 2, 3] and model.residue_name[1] == "ALA"
    assert model.amplitude[1].item() == pytest.approx(7 + 6 + 6 + 8, rel=1e-4)


def test_occupancies_of_zero_throughout_count_as_one(tmp_path):
    lines = [line[:54] + "  0.00" + line[60:] for line in helix("A", 3)]
    model = coarse_grain(read_structure(write_pdb(tmp_path / "zero.pdb", lines)))
    assert model.amplitude.sum().item() == pytest.approx(3 * (7 + 6 + 6 + 8 + 6))


def test_single_atoms_of_occupancy_zero_add_nothing(tmp_path):
    lines = helix("A", 3)
    lines[:5] = [line[:54] + "  0.00" + line[60:] for line in lines[:5]]
    structure = read_structure(write_pdb(tmp_path / "zero.pdb", lines))
    model = coarse_grain(structure)
    assert model.amplitude[0] == 0 and torch.isfinite(model.position).all()
    assert unmodelled(structure) == ["5 atoms of occupancy 0: they add no density"]


def test_a_trace_alone_has_the_electrons_of_whole_residues(tmp_path):
    lines = [line for line in helix("A", 4, names=("GLY", "ALA")) if " CA " in line]
    structure = read_structure(write_pdb(tmp_path / "trace.pdb", lines))
    with pytest.warns(UnmodelledWarning, match="4 residues have their trace atom only"):
        model = coarse_grain(structure, beads=2)
    # C2H3NO and C3H5NO
    assert model.amplitude.tolist() == [30, 38, 30, 38]
    assert (model.sigma > ATOMIC_BLUR).all()


def test_phosphates_alone_stand_for_nucleotides(tmp_path):
    lines = [atom_line(i + 1, "P", "A", "R", i + 1, (0, 0, 6.0 * i)) for i in range(4)]
    with pytest.warns(UnmodelledWarning, match="4 residues"):
        model = coarse_grain(read_structure(write_pdb(tmp_path / "p.pdb", lines)))
    # C10H12N5O6P: 170 electrons
    assert len(model) == 4 and model.amplitude[0] == pytest.approx(170, abs=2)


def test_water_has_no_bead_and_follows_the_nearest(tmp_path):
    water = [
        atom_line(90, "O", "HOH", "W", 1, (0, 0, 9), record="HETATM"),
        atom_line(91, "O", "HOH", "W", 2, (0, 0, -5), record="HETATM"),
    ]
    structure = read_structure(write_pdb(tmp_path / "wet.pdb", helix("A", 5), water))
    model = coarse_grain(structure)
    assert len(model) == 5 and (model.bead_of_atom >= 0).all()
    assert model.bead_of_atom[-2:].tolist() == [4, 0]
    assert unmodelled(structure) == [
        "2 waters (2 atoms): they have no beads; in written files they follow the nearest bead"
    ]


def test_calcium_is_an_ion_and_follows_the_nearest_residue(tmp_path):
    ion = [atom_line(90, "CA", "CA", "A", 300, (3, 0, 9), element="CA", record="HETATM")]
    model = coarse_grain(read_structure(write_pdb(tmp_path / "ion.pdb", helix("A", 10), ion)))
    assert model.amplitude[-1] == 20 and not model.polymer[-1] and not model.trace[-1]
    assert model.anchor[-1] == (model.position[:-1] - model.position[-1]).norm(dim=1).argmin()


def test_ligands_in_front_of_a_ter_are_no_residues(tmp_path):
    lines = helix("A", 10) + [
        atom_line(90, "CA", "CA", "A", 300, (3, 0, 9), element="CA", record="HETATM"),
        atom_line(91, "C1'", "ADP", "A", 301, (9, 0, 9), record="HETATM"),
        atom_line(92, "O3'", "ADP", "A", 301, (9, 1, 9), record="HETATM"),
    ]
    model = coarse_grain(read_structure(write_pdb(tmp_path / "no_ter.pdb", lines)))
    assert model.polymer.tolist() == [True] * 10 + [False] * 2


def test_files_without_a_polymer_are_refused(tmp_path):
    ion = [atom_line(90, "ZN", "ZN", "A", 1, (0, 0, 0), element="ZN", record="HETATM")]
    structure = read_structure(write_pdb(tmp_path / "ion.pdb", ion))
    with pytest.raises(InputError, match="no amino acid or nucleotide among 1 residues"):
        coarse_grain(structure)
    with pytest.raises(InputError, match="3 beads"):
        coarse_grain(structure, beads=3)


def test_torn_residues_are_said(tmp_path):
    lines = helix("A", 3)
    lines[4] = atom_line(5, "CB", "ALA", "A", 1, (100, 0, 0))
    with pytest.warns(UnmodelledWarning, match="1 residues lie far.*A:1"):
        coarse_grain(read_structure(write_pdb(tmp_path / "torn.pdb", lines)))


def test_sugars_follow_the_residue_they_are_bonded_to(shared):
    model = coarse_grain(read_structure(shared / "data/structures/1igy.cif"))
    assert (~model.polymer).sum() == 18
    for chain, heavy in (("E", "B:314"), ("F", "D:314")):
        assert {model.label(a) for a in model.anchor[model.chain == chain]} == {heavy}
    assert set(model.residue_name[model.anchor[~model.polymer]].tolist()) == {"ASN"}


@pytest.mark.seconds
@pytest.mark.filterwarnings("ignore::atomdrgn.errors.UnmodelledWarning")
def test_the_largest_complexes(shared):
    chaperonin = coarse_grain(read_structure(shared / "data/structures/4v8r_h36.pdb.gz"))
    assert chaperonin.trace.sum() == 16_716 and len(set(chaperonin.chain.tolist())) == 32
    ribosome = read_structure(shared / "data/particles/warptools_dev/model_50S_placed.cif.gz")
    kinds = residue_kinds(ribosome)
    # its file calls 970 residues of chains ligands
    assert (kinds == "ligand").sum() == 5 and (kinds == "water").sum() == 51
    dry = ribosome.element[kinds[ribosome.residue_index] != "water"]
    for beads in (1, 2):
        assert coarse_grain(ribosome, beads=beads).amplitude.sum().item() == pytest.approx(
            dry.sum(), rel=1e-6
        )


def test_a_bead_model_is_not_indexed(peptide):
    with pytest.raises(TypeError, match="index the tensors"):
        coarse_grain(peptide)[:3]


def test_beads_as_images_show_them_are_brighter_and_wider(peptide):
    model = coarse_grain(peptide)
    seen = model.bright(0.5, 3.0)
    torch.testing.assert_close(seen.amplitude, 0.5 * model.amplitude)
    torch.testing.assert_close(seen.sigma**2, model.sigma**2 + 3.0)
    assert torch.equal(model.bright(2.0).sigma, model.sigma) and torch.equal(
        seen.position, model.position
    )
