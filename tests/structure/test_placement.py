from pathlib import Path

import gemmi
import numpy as np
import pytest
import torch

from atomdrgn.errors import FileFormatError, InputError, UnmodelledWarning
from atomdrgn.io.mrc import MrcHeader, read_header
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.structure.atoms import read_structure, write_structure
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.placement import centre_of_map, moved_rigidly, place, require_inside
from molecules import helix, write_pdb


def header(**changes):
    values = {
        "path": Path("map.mrc"),
        "shape": (12, 10, 8),
        "available": 12,
        "dtype": np.dtype("<f4"),
        "offset": 1024,
        "voxel_size": (1.0, 2.0, 3.0),
        "origin": (0.0, 0.0, 0.0),
        "nstart": (0, 0, 0),
        "axis_order": (1, 2, 3),
    }
    return MrcHeader(**{**values, **changes})


def test_a_plain_map_has_its_corner_at_zero():
    assert centre_of_map(header()).tolist() == [4, 10, 18]


def test_an_odd_box_has_its_centre_at_half_rounded_down():
    assert centre_of_map(header(shape=(5, 5, 5))).tolist() == [2, 4, 6]


def test_nstart_counts_in_voxels_and_the_origin_goes_before_it():
    assert centre_of_map(header(nstart=(-4, -5, -6))).tolist() == [0, 0, 0]
    assert centre_of_map(header(nstart=(-4, -5, -6), origin=(100.0, 0.0, 0.0))).tolist() == [
        104,
        10,
        18,
    ]


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"voxel_size": (np.nan, 1.0, 1.0)}, "voxel size .* is nan, 1, 1; expected 0 to 10000 A"),
        ({"voxel_size": (1.0, -1.0, 1.0)}, "voxel size"),
        ({"voxel_size": (1.0, 1.0, np.inf)}, "voxel size"),
        ({"voxel_size": (1e30,) * 3}, "voxel size"),
        ({"origin": (0.0, np.nan, 0.0)}, "origin is 0, nan, 0"),
        ({"origin": (0.0, 0.0, -1e20)}, "origin"),
        ({"nstart": (-(2**31), 0, 0)}, "nstart"),
        ({"angles": (90.0, 90.0, 120.0)}, "angles of 90, 90, 120 degrees; expected 90"),
    ],
)
def test_a_place_that_is_no_number_or_out_of_range_is_refused(changes, says):
    with pytest.raises(FileFormatError, match=f"map.mrc: the header's .*{says}"):
        centre_of_map(header(**changes))
    assert centre_of_map(header(angles=(0.0, 0.0, 0.0))).tolist() == [4, 10, 18]


def test_other_orders_of_axes_are_put_right():
    # columns along z, rows along y, sections along x: 8 columns are 8 voxels of 3 A in z
    assert centre_of_map(header(axis_order=(3, 2, 1), nstart=(1, 0, 0))).tolist() == [6, 10, 12 + 3]


def test_a_map_without_voxel_size_is_refused():
    with pytest.raises(InputError, match="map.mrc.*no voxel size"):
        centre_of_map(header(voxel_size=(0.0, 0.0, 0.0)))


@pytest.fixture
def structure(tmp_path):
    return read_structure(write_pdb(tmp_path / "a.pdb", helix("A", 20, start=(100, 100, 100))))


def test_the_centre_of_the_map_becomes_zero(structure):
    placed = place(structure, np.array([100.0, 90.0, 80.0]))
    torch.testing.assert_close(
        placed.position + torch.tensor([100.0, 90.0, 80.0]), structure.position
    )
    assert np.array_equal(placed.atom_name, structure.atom_name)


QUARTER_TURN = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # about z


def test_a_rigid_motion_and_its_inverse_leave_nothing(structure):
    moved = moved_rigidly(structure, QUARTER_TURN, [1.0, 2.0, 3.0])
    x, y, z = structure.position.T
    torch.testing.assert_close(moved.position, torch.stack([1 - y, 2 + x, 3 + z], 1))
    back = moved_rigidly(moved, QUARTER_TURN.T, -QUARTER_TURN.T @ [1.0, 2.0, 3.0])
    torch.testing.assert_close(back.position, structure.position)
    assert np.array_equal(moved.atom_name, structure.atom_name) and np.array_equal(
        moved.b_factor, structure.b_factor
    )


def test_anisotropic_b_factors_turn_with_their_atoms(structure, tmp_path):
    for atom in structure.source[0].all():
        atom.atom.aniso = gemmi.SMat33f(0.4, 0.1, 0.2, 0, 0, 0)
    write_structure(moved_rigidly(structure, QUARTER_TURN, [0.0, 0, 0]), tmp_path / "moved.cif")
    aniso = next(iter(read_structure(tmp_path / "moved.cif").source[0].all())).atom.aniso
    assert aniso.elements_pdb() == pytest.approx([0.1, 0.4, 0.2, 0, 0, 0])


def test_operators_of_assemblies_and_symmetry_follow(structure):
    """The copy that an operator makes of the moved model is the moved copy."""
    operator = gemmi.Transform(
        gemmi.Mat33([[-1, 0, 0], [0, -1, 0], [0, 0, 1]]), gemmi.Vec3(30, 40, 0)
    )
    assembly, generator, one = gemmi.Assembly("1"), gemmi.Assembly.Gen(), gemmi.Assembly.Operator()
    one.transform = operator
    generator.operators.append(one)
    assembly.generators.append(generator)
    structure.source.assemblies.append(assembly)
    structure.source.ncs.append(gemmi.NcsOp(operator, "1", False))
    moved = moved_rigidly(structure, QUARTER_TURN, [1.0, 2.0, 3.0])
    place_before, place_after = (
        gemmi.Position(*s.position[0].tolist()) for s in (structure, moved)
    )
    expected = QUARTER_TURN @ operator.apply(place_before).tolist() + [1.0, 2.0, 3.0]
    for follower in (
        moved.source.assemblies[0].generators[0].operators[0].transform,
        moved.source.ncs[0].tr,
    ):
        assert follower.apply(place_after).tolist() == pytest.approx(expected.tolist(), abs=1e-4)


def test_a_model_in_the_corner_frame_is_refused(structure):
    with pytest.raises(
        InputError,
        match=r"100% .*centre is at \(100, 100, 115\).*from -64 to 64 A.*--map.*--origin",
    ):
        require_inside(coarse_grain(structure), ImageGrid(64, 2.0))


def test_a_few_beads_outside_are_said(structure):
    beads = coarse_grain(place(structure, (100, 100, 100 - 45)))
    with pytest.warns(UnmodelledWarning, match=r"[1-9] of 20 beads lie outside"):
        require_inside(beads, ImageGrid(64, 2.0))


def test_a_placed_model_is_inside(structure, recwarn):
    require_inside(coarse_grain(place(structure, (100, 100, 115))), ImageGrid(64, 2.0))
    assert not recwarn.list


def test_a_deposited_model_stands_in_its_map(shared):
    """TRPV1 and its map: with the map's centre at zero the model's beads lie within the map's own
    box.
    """
    folder = shared / "data/maps/emdb_chain_maps"
    map_header = read_header(folder / "emd_5778_zone.mrc")
    beads = coarse_grain(
        place(read_structure(folder / "5778_native.pdb"), centre_of_map(map_header))
    )
    half = np.array(map_header.shape[::-1]) * np.array(map_header.voxel_size) / 2
    assert (np.abs(beads.position.numpy()) < half).all()
