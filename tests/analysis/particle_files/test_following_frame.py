"""The motion of a part is found, by whichever name the part goes, and poses that follow it show it
at rest.
"""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from atomdrgn import (
    ImageGrid,
    normalized_cross_correlation,
    project_beads,
    read_particles,
    read_structure,
    simulate_particles,
)
from atomdrgn.analysis.particle_files.following_frame import motion_of_part
from atomdrgn.analysis.particle_files.selecting import select_particles
from atomdrgn.errors import InputError
from molecules import helix, write_pdb
from runs import write_bead_run, write_run

COUNT = 8


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """A run of two helices; the second turns by up to 60 degrees and moves, and its images are on
    disk without noise.
    """
    folder = tmp_path_factory.mktemp("follow")
    lines = helix("A", 12, start=(0, 0, -9)) + helix("A", 12, first=13, start=(14, 0, -9))
    structure = read_structure(write_pdb(folder / "two.pdb", lines))
    rng = np.random.default_rng(2)
    turn = Rotation.from_rotvec(rng.normal(size=(COUNT, 3)) * 0.5)
    quaternion = turn.as_quat()[:, [3, 0, 1, 2]]
    still = structure.position.expand(COUNT, -1, -1)
    star = simulate_particles(structure, still, folder / "set", grid=ImageGrid(48, 2.0), snr=np.inf)
    run = write_run(
        folder / "run",
        structure,
        star,
        part=structure.residue > 12,
        rotation=quaternion,
        translation=rng.normal(size=(COUNT, 3)) * 5,
    )
    return run


@pytest.mark.parametrize("part", ["segment:2", "group:2", "A:13-24", " A:14-20 "])
def test_all_names_of_a_part_give_its_motion(moved, part):
    turn, shift = motion_of_part(moved, part, np.arange(COUNT))
    atoms, mine = moved.atoms(range(COUNT)).numpy(), moved.structure.residue > 12
    rest = moved.structure.position.numpy()[mine]
    np.testing.assert_allclose(
        np.einsum("nij,pj->npi", turn, rest) + shift[:, None], atoms[:, mine], atol=2e-3
    )


def test_what_is_still_is_not_moved(moved):
    turn, shift = motion_of_part(moved, "A:1-12", [3, 5])
    np.testing.assert_allclose(turn, np.tile(np.eye(3), (2, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(shift, 0, atol=1e-4)


@pytest.mark.parametrize(
    "part, says",
    [
        ("segment:3", "segments 1 to 2"),
        ("group:9", "the groups 1, 2"),
        ("B:1-3", "no chain 'B'"),
        ("A:3-4", "at least 3"),
        ("segment:0", "no segment 0"),
    ],
)
def test_parts_that_are_none(moved, part, says):
    with pytest.raises(InputError, match=says):
        motion_of_part(moved, part, [0])


def test_residues_are_followed_where_every_bead_moves_by_itself_and_segments_are_not_there(
    moved, tmp_path
):
    shift = np.arange(24)[:, None] >= 12  # the second helix goes along x, by 3 A a particle
    run = write_bead_run(
        tmp_path / "run",
        moved.structure,
        moved.folder.parent / "set" / "particles.star",
        mode=[shift * [3.0, 0, 0]],
        feature=np.arange(COUNT)[:, None],
    )
    turn, shift = motion_of_part(run, "A:13-24", [0, 2])
    np.testing.assert_allclose(turn, np.tile(np.eye(3), (2, 1, 1)), atol=1e-5)
    np.testing.assert_allclose(shift, [[0, 0, 0], [6, 0, 0]], atol=1e-3)
    with pytest.raises(
        InputError, match="segment:2 needs segments .* fit again without --deformation beads"
    ):
        motion_of_part(run, "segment:2", [0])


def test_images_of_the_moved_part_are_those_of_a_still_one_under_the_new_poses(moved, tmp_path):
    """What refinement focused on the part sees: the part alone, moved and imaged at the old poses,
    against one still part.
    """
    chosen = [0, 2, 3, 7]
    old = read_particles(moved.folder.parent / "set" / "particles.star").of_particles(chosen)
    select_particles(moved, tmp_path / "followed.star", particles=chosen, follow="A:13-24")
    new = read_particles(tmp_path / "followed.star", data_folder=moved.folder.parent / "set")
    mine = torch.from_numpy(moved.structure.residue > 12)
    amplitude, sigma = torch.full((int(mine.sum()),), 7.0), torch.full((int(mine.sum()),), 1.5)
    true = project_beads(
        old.pose.apply(moved.atoms(chosen)[:, mine].float()), amplitude, sigma, old.grid
    )
    still = moved.structure.position[mine].expand(len(chosen), -1, -1)
    followed = normalized_cross_correlation(
        project_beads(new.pose.apply(still), amplitude, sigma, old.grid), true
    )
    left = normalized_cross_correlation(
        project_beads(old.pose.apply(still), amplitude, sigma, old.grid), true
    )
    assert followed.min() > 0.9999 and left.max() < 0.95
