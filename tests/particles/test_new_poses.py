"""Poses that follow a part: with them, images of the part as it has moved are images of the part at
rest.
"""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from atomdrgn import project_beads
from atomdrgn.particles.reading import read_particles
from atomdrgn.particles.subsets import open_particle_file
from tilt_set import tilted  # noqa: F401 - it is a fixture

PART = np.random.default_rng(5).normal(size=(20, 3)) * 8 + [12, 0, -5]  # A


def moves(count):
    """A large turn and shift for each particle."""
    rng = np.random.default_rng(7)
    return Rotation.random(count, random_state=3).as_matrix(), rng.normal(size=(count, 3)) * 10


def require_following(star, out, particles=6, **reading):
    """Written with new poses and read again: the camera sees the part at rest where it saw the
    moved part.
    """
    turn, shift = moves(particles)
    before = read_particles(star, **reading)
    open_particle_file(star, tilt_series=reading.get("tilt_series", False)).following(
        turn, shift
    ).write(out)
    after = read_particles(out, **reading)
    number = before.particle.numpy()
    moved = torch.tensor(np.einsum("nij,pj->npi", turn, PART) + shift[:, None]).float()[number]
    rest = torch.tensor(PART).float().expand(len(after), -1, -1)
    seen, expected = after.pose.apply(rest), before.pose.apply(moved)
    torch.testing.assert_close(seen[..., :2], expected[..., :2], atol=2e-4, rtol=0)
    # depth differs by the shift along the camera's axis alone
    depth, true_depth = (
        camera[..., 2] - camera[..., 2].mean(1, keepdim=True) for camera in (seen, expected)
    )
    torch.testing.assert_close(depth, true_depth, atol=2e-4, rtol=0)
    amplitude, sigma = torch.ones(len(PART)), torch.full((len(PART),), 3.0)
    images = [project_beads(camera, amplitude, sigma, before.grid) for camera in (seen, expected)]
    torch.testing.assert_close(*images, atol=1e-4 * float(images[1].max()), rtol=0)
    return before, after


def test_relion_31(tiny, tmp_path):
    before, after = require_following(tiny.star, tmp_path / "new.star")
    assert (before.pose.rotation - after.pose.rotation).abs().max() > 0.5


def test_relion_31_without_origins_gets_them(tiny, tmp_path):
    for axis in "XY":
        tiny.columns.pop(f"rlnOrigin{axis}Angst")
    require_following(tiny.star, tmp_path / "new.star")


def test_relion_30_has_origins_in_pixels(tiny, tmp_path):
    for axis in "XY":
        tiny.columns[f"rlnOrigin{axis}"] = [
            value / 2.0 for value in tiny.columns.pop(f"rlnOrigin{axis}Angst")
        ]
    tiny.columns.pop("rlnOpticsGroup")
    tiny.columns |= {
        name: tiny.optics[name] * 6
        for name in ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
    }
    tiny.columns["rlnPixelSize"] = [2.0] * 6
    tiny.optics = {}
    require_following(tiny.star, tmp_path / "new.star")
    names = open_particle_file(tmp_path / "new.star").table.columns
    assert "rlnOriginX" in names and "rlnOriginXAngst" not in names


def test_tilt_images_of_warp(tiny, tmp_path):
    tiny.columns |= {
        "rlnGroupName": ["a", "b", "a", "b", "a", "b"],
        "rlnCtfScalefactor": [1, 1, 0.9, 0.9, 0.7, 0.7],
        "rlnCtfBfactor": [0, 0, -8, -8, -16, -16],
    }
    require_following(tiny.star, tmp_path / "new.star", particles=2)


@pytest.mark.parametrize("sub", [False, True])
def test_tilt_stacks(tilted, tmp_path, sub):  # noqa: F811
    """RELION 5's, whose angles may be split into those of the subtomogram and of the particle;
    origins are three-dimensional.
    """
    tilted.particles |= {
        f"rlnOrigin{axis}Angst": [2.0, -3.0, 5.0 + i] for i, axis in enumerate("XYZ")
    }
    if sub:
        tilted.particles |= {
            "rlnTomoSubtomogramRot": [30, 40, -50],
            "rlnTomoSubtomogramTilt": [70, 20, 110],
            "rlnTomoSubtomogramPsi": [1, 2, 3],
        }
    tilted.general = {}
    star = tilted.star
    require_following(star, tmp_path / "new.star", particles=3, tomograms=tilted.tomograms)


@pytest.mark.parametrize(
    "there, written",
    [
        (["rlnOriginX", "rlnOriginY", "rlnOriginZ"], ["rlnOriginX", "rlnOriginY", "rlnOriginZ"]),
        (["rlnOriginX", "rlnOriginY"], ["rlnOriginX", "rlnOriginY", "rlnOriginZ"]),
        (
            ["rlnOriginXAngst", "rlnOriginYAngst"],
            ["rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst"],
        ),
        (["rlnOriginXAngst", "rlnOriginY"], ["rlnOriginXAngst", "rlnOriginY", "rlnOriginZAngst"]),
        ([], ["rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst"]),
    ],
)
def test_origins_of_tilt_stacks_stay_in_their_columns(tilted, tmp_path, there, written):  # noqa: F811
    tilted.particles |= {name: [0.2 + i, -0.3, 0.5] for i, name in enumerate(there)}
    require_following(tilted.star, tmp_path / "new.star", particles=3, tomograms=tilted.tomograms)
    names = open_particle_file(tmp_path / "new.star").table.columns
    assert sorted(name for name in names if "Origin" in name) == written


def test_cryosparc(tiny, tmp_path):
    stack = read_particles(tiny.star)
    rows = np.zeros(
        6,
        dtype=[
            ("uid", "<u8"),
            ("blob/path", "S20"),
            ("blob/idx", "<u4"),
            ("blob/shape", "<u4", (2,)),
            ("blob/psize_A", "<f4"),
            ("alignments3D/pose", "<f4", (3,)),
            ("alignments3D/shift", "<f4", (2,)),
            ("alignments3D/psize_A", "<f4"),
            ("alignments3D/split", "<u4"),
            *(
                (f"ctf/{name}", "<f4")
                for name in ("df1_A", "df2_A", "df_angle_rad", "accel_kv", "cs_mm", "amp_contrast")
            ),
        ],
    )
    rows["uid"], rows["blob/path"], rows["blob/idx"] = np.arange(6), b"stack.mrcs", np.arange(6)
    rows["blob/shape"], rows["blob/psize_A"], rows["alignments3D/psize_A"] = 32, 2.0, 4.0
    rows["alignments3D/pose"] = Rotation.from_matrix(stack.pose.rotation.numpy()).inv().as_rotvec()
    rows["alignments3D/shift"] = -stack.pose.shift.numpy() / 4.0
    rows["ctf/df1_A"] = rows["ctf/df2_A"] = 12000
    rows["ctf/accel_kv"], rows["ctf/cs_mm"], rows["ctf/amp_contrast"] = 300, 2.7, 0.1
    with open(tmp_path / "p.cs", "wb") as file:
        np.save(file, rows)
    require_following(tmp_path / "p.cs", tmp_path / "new.cs")
    new = np.load(tmp_path / "new.cs")
    kept = [
        name for name in rows.dtype.names if name not in ("alignments3D/pose", "alignments3D/shift")
    ]
    assert new.dtype == rows.dtype and all((new[name] == rows[name]).all() for name in kept)


def test_only_angles_origins_and_priors_are_written(tiny, tmp_path):
    tiny.columns |= {"rlnAngleTiltPrior": [90] * 6, "rlnMicrographName": ["007.mrc"] * 6}
    file = open_particle_file(tiny.star)
    new = file.following(*moves(6)).table
    changed = {name for name in new.columns if new.columns[name] != file.table.columns.get(name)}
    assert changed == {
        "rlnAngleRot",
        "rlnAngleTilt",
        "rlnAnglePsi",
        "rlnOriginXAngst",
        "rlnOriginYAngst",
        "rlnAngleTiltPrior",
    }
    assert new.columns["rlnAngleTiltPrior"] == new.columns["rlnAngleTilt"]


def test_no_motion_leaves_the_poses(tiny, tmp_path):
    open_particle_file(tiny.star).following(np.tile(np.eye(3), (6, 1, 1)), np.zeros((6, 3))).write(
        tmp_path / "same.star"
    )
    before, after = read_particles(tiny.star), read_particles(tmp_path / "same.star")
    torch.testing.assert_close(before.pose.rotation, after.pose.rotation, atol=1e-6, rtol=0)
    torch.testing.assert_close(before.pose.shift, after.pose.shift, atol=1e-6, rtol=0)
