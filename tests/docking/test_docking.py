"""Models that were turned and moved come back to their place; what is said of it is true."""

import json
import math

import numpy as np
import pytest
import torch

from atomdrgn import dock, read_structure
from atomdrgn.docking.docking import density_points
from atomdrgn.docking.placement_comparison import _standard_error
from atomdrgn.errors import (
    FileFormatError,
    InputError,
    MissingFileError,
    OutputExistsError,
    UnmodelledWarning,
)
from atomdrgn.physics.maps.maps import mirrored
from atomdrgn.physics.rotations import matrix_from_vector
from atomdrgn.structure.atoms import structure_from_gemmi
from atomdrgn.structure.density_map import DensityMap, read_density_map
from atomdrgn.structure.placement import moved_rigidly, place
from docking_scene import map_of, three_helices
from molecules import atom_line, helix, write_pdb

pytestmark = pytest.mark.seconds

CENTRE = (30.0, 42.0, -25.0)  # of the map, in the frame of models
TURN = matrix_from_vector(torch.tensor([2.0, -0.7, 1.1], dtype=torch.float64)).numpy()


@pytest.fixture(scope="module")
def molecule(tmp_path_factory):
    """The model where it belongs: about the centre of its map."""
    structure = read_structure(three_helices(tmp_path_factory.mktemp("molecule")))
    return place(
        structure,
        structure.position.mean(0) - torch.tensor(CENTRE) + torch.tensor([2.0, -1.0, 3.0]),
    )


def rmsd(one, other):
    return float((one.position - other.position).square().sum(1).mean().sqrt())


@pytest.fixture(scope="module")
def docked(molecule, tmp_path_factory):
    """Found again after it was turned and moved, in a noisy map."""
    folder = tmp_path_factory.mktemp("docked")
    astray = moved_rigidly(molecule, TURN, [100.0, -50.0, 7.0])
    return dock(
        astray, map_of(molecule, centre=CENTRE, noise=0.5), folder / "base.docked.cif"
    ), astray


@pytest.mark.filterwarnings("ignore:.*no cube")
class TestFound:
    def test_it_stands_in_the_frame_of_the_poses(self, docked, molecule):
        assert rmsd(docked[0].structure, place(molecule, CENTRE)) < 0.2

    def test_its_motion_is_rigid_and_said(self, docked):
        found, astray = docked
        moved = astray.position.double().numpy() @ found.rotation.T + found.translation
        np.testing.assert_allclose(found.structure.position, moved, atol=1e-3)
        assert np.linalg.det(found.rotation) == pytest.approx(1)

    def test_the_hand_is_right_and_the_second_best_far_behind(self, docked):
        found = docked[0]
        assert found.hand == "right" and found.second.clearly_worse and found.symmetric == 1
        assert found.correlation > 0.8 > 0.6 > found.second.correlation
        assert any("the hand is right" in line for line in found.lines())

    def test_it_is_written_with_a_summary(self, docked, molecule):
        found = docked[0]
        written = read_structure(found.path)
        assert rmsd(written, found.structure) < 0.002 and np.array_equal(
            written.atom_name, molecule.atom_name
        )
        said = json.loads(found.summary_path.read_text())
        assert found.summary_path.name == "base.docked.json"
        assert (
            said["hand"] == "right"
            and said["map_centre"] == list(CENTRE)
            and said["frame"] == "poses"
        )
        assert (
            said["correlation"] == found.correlation
            and said["mirror"]["behind"] > 3 * said["mirror"]["behind_error"]
        )
        assert said["mean_shell_correlation"] - said["alternatives"][0][
            "mean_shell_correlation"
        ] == pytest.approx(said["alternatives"][0]["behind"])

    def test_what_is_there_is_kept(self, docked, molecule):
        found, before = docked[0], docked[0].path.read_bytes()
        with pytest.raises(
            OutputExistsError, match="base.docked.cif is already there.*--overwrite"
        ):
            dock(molecule, map_of(molecule, centre=CENTRE), found.path)
        with pytest.raises(OutputExistsError, match="base.docked.json"):
            dock(molecule, map_of(molecule, centre=CENTRE), found.path.with_name("base.docked.pdb"))
        assert found.path.read_bytes() == before


def test_a_local_refinement_starts_in_either_frame(molecule, tmp_path):
    density_map = map_of(molecule, shape=(40, 40, 40), centre=CENTRE, noise=0.5)
    tilt = matrix_from_vector(torch.tensor([0.1, 0.15, -0.1], dtype=torch.float64)).numpy()
    astray = moved_rigidly(
        molecule, tilt, np.array(CENTRE) - tilt @ np.array(CENTRE) + [1.5, -1, 1]
    )
    in_map = dock(astray, density_map, local=True, frame="map")
    assert rmsd(in_map.structure, molecule) < 0.2
    assert in_map.hand == "not tested" and in_map.second is None and in_map.path is None
    of_poses = dock(place(astray, CENTRE), density_map, tmp_path / "l.pdb", local=True)
    assert rmsd(of_poses.structure, place(molecule, CENTRE)) < 0.2 and (tmp_path / "l.pdb").exists()
    # asked for less detail, it looks at less
    assert dock(astray, density_map, local=True, resolution=9.0).resolution == 9.0


def test_a_mirrored_map_is_noticed(molecule):
    given = map_of(molecule, shape=(40, 40, 40), centre=CENTRE, noise=0.5)
    with pytest.warns(UserWarning) as said:
        found = dock(molecule, given.with_density(mirrored(given.density)))
    assert any("mirror image of the map fits better" in str(one.message) for one in said)
    assert found.hand == "wrong" and found.mirror.placement.score > found.placement.score
    assert any("WRONG" in line for line in found.lines())


def test_a_symmetric_model_has_several_right_places(tmp_path):
    """Two copies of a chain about an axis: two placements are the same, and none of them is a
    second best.
    """
    half = helix("A", 20, start=(9, 0, 0)) + helix("A", 10, first=21, start=(16, 8, 5))
    copy = [
        line[:21]
        + "B"
        + line[22:30]
        + f"{-float(line[30:38]):8.3f}{-float(line[38:46]):8.3f}"
        + line[46:]
        for line in half
    ]
    dimer = read_structure(write_pdb(tmp_path / "dimer.pdb", half, copy))
    centre = tuple(dimer.position.mean(0).tolist())
    found = dock(
        moved_rigidly(dimer, TURN, [9.0, 9.0, 9.0]),
        map_of(dimer, shape=(40, 40, 40), centre=centre, noise=0.5),
    )
    assert found.symmetric == 2 and found.second.clearly_worse and found.hand == "right"
    assert "2 placements are the same" in "\n".join(found.lines())
    turned = math.degrees(
        found.placement.distance(next(o for o in found.alternatives if o.alike).placement)[0]
    )
    assert turned == pytest.approx(180, abs=3)


def test_noise_has_no_place_for_the_model(molecule):
    noise = torch.randn(24, 24, 24, generator=torch.Generator().manual_seed(1))
    with pytest.warns(UserWarning, match="another placement fits as well"):
        found = dock(place(molecule, CENTRE), DensityMap(noise, 3.0))
    assert found.hand == "not told" and found.correlation < 0.3


def test_the_error_of_a_mean_is_the_jackknifes():
    value = np.random.default_rng(0).normal(size=50)
    left_out = (value.sum() - value) / 49
    assert _standard_error(left_out) == pytest.approx(value.std(ddof=1) / math.sqrt(50))


class TestPoints:
    def test_waters_and_absent_atoms_count_nothing(self, tmp_path):
        lines = [
            *helix("A", 4),
            atom_line(90, "CA", "ALA", "A", 9, (50, 0, 0), occupancy=0.0),
            atom_line(91, "O", "HOH", "A", 10, (60, 0, 0), record="HETATM"),
        ]
        points, centroid = density_points(read_structure(write_pdb(tmp_path / "a.pdb", lines)))
        assert len(points.position) == 20 and centroid[0] < 10
        np.testing.assert_allclose(
            (points.amplitude[:, None] * points.position).sum(0), 0, atol=1e-3
        )

    def test_a_file_of_occupancies_zero_counts_whole(self, tmp_path):
        structure = read_structure(write_pdb(tmp_path / "a.pdb", helix("A", 4)))
        source = structure.source.clone()
        for atom in source[0].all():
            atom.atom.occ = 0
        absent = density_points(structure_from_gemmi(source))[0]
        np.testing.assert_array_equal(absent.amplitude, density_points(structure)[0].amplitude)

    def test_water_alone_is_refused(self, tmp_path):
        lines = [
            atom_line(n, "O", "HOH", "A", n, (3 * n, 0, 0), record="HETATM") for n in range(1, 5)
        ]
        with pytest.raises(InputError, match="0 of 4 atoms give density"):
            density_points(read_structure(write_pdb(tmp_path / "w.pdb", lines)))


class TestRefused:
    def test_a_map_smaller_than_the_model(self, molecule):
        with pytest.raises(InputError, match="smaller than the model.*voxel size"):
            dock(molecule, DensityMap(map_of(molecule, centre=CENTRE).density, 0.2))

    def test_a_resolution_beyond_the_voxels(self, molecule):
        with pytest.raises(InputError, match="a resolution of 3 A in a map of 2 A voxels"):
            dock(molecule, map_of(molecule, centre=CENTRE), resolution=3.0)

    def test_another_frame(self, molecule):
        with pytest.raises(InputError, match="frame 'box'"):
            dock(molecule, map_of(molecule, centre=CENTRE), frame="box")

    @pytest.mark.parametrize(
        "name, error", [("a.xyz", FileFormatError), ("absent/a.pdb", MissingFileError)]
    )
    def test_a_file_that_cannot_be_written(self, molecule, tmp_path, name, error):
        with pytest.raises(error):
            dock(molecule, map_of(molecule, centre=CENTRE), tmp_path / name)

    def test_a_model_that_no_pdb_file_holds(self, tmp_path):
        """Before it is docked, which takes minutes."""
        large = read_structure(write_pdb(tmp_path / "base.pdb", helix("A", 20)))
        large.source[0][0].name = "AA"
        with pytest.raises(
            InputError,
            match=r"a.pdb: a PDB file holds chain names of one character.* ends in .cif with --out",
        ):
            dock(large, map_of(large, centre=CENTRE), tmp_path / "a.pdb")

    def test_a_model_that_is_mostly_elsewhere(self, molecule):
        away = place(molecule, np.array(CENTRE) + [0.0, 0.0, 37.0])
        with pytest.raises(InputError, match="of the model outside of the map"):
            dock(
                away,
                DensityMap(
                    map_of(place(molecule, CENTRE), shape=(36, 36, 36)).density.roll(-18, 0), 2.0
                ),
                local=True,
            )


def test_a_cut_map_is_said(molecule):
    with pytest.warns(UserWarning, match="36 x 40 x 36 voxels are no cube"):
        dock(molecule, map_of(molecule, centre=CENTRE), local=True)


def test_a_model_partly_outside_is_said(molecule):
    whole = map_of(molecule, shape=(40, 40, 40), centre=CENTRE)
    cut = DensityMap(
        whole.density[:, :, 16:].contiguous(), 2.0, (CENTRE[0] + 16, *CENTRE[1:]), "cut.mrc"
    )
    with pytest.warns(UnmodelledWarning, match="of the model lies outside of the map"):
        assert rmsd(dock(molecule, cut, local=True, frame="map").structure, molecule) < 0.5


def test_a_deposited_model_finds_its_place(shared):
    """A domain of MAVS (EMD-5925): turned, it comes back to where it was deposited."""
    folder = shared / "data/maps/emdb_chain_maps"
    deposited = read_structure(folder / "5925_native.pdb")
    with pytest.warns(UserWarning, match="header puts the first voxel"):
        density_map = read_density_map(folder / "emd_5925_zone.mrc")
    found = dock(moved_rigidly(deposited, TURN, [0.0, 80.0, 0.0]), density_map, frame="map")
    assert rmsd(found.structure, deposited) < 0.5 and found.hand == "right"
