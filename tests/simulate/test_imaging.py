"""Images are taken as a file says that they are: tilts tilt, and like means alike in all but the
pixels.
"""

import math

import numpy as np
import pytest
import torch

from atomdrgn import (
    ImageGrid,
    normalized_cross_correlation,
    read_particles,
    read_structure,
    simulate_particles,
)
from atomdrgn.errors import InputError
from atomdrgn.io.star import read_star
from atomdrgn.simulate.imaging import Microscope, image_like, image_once, image_tilts
from atomdrgn.simulate.noisy_images import atoms_of, clean_images, premultiply
from molecules import helix, write_pdb

GRID = ImageGrid(32, 3.0)


@pytest.fixture
def structure(tmp_path):
    return read_structure(
        write_pdb(
            tmp_path / "two.pdb", helix("A", 10, start=(0, 0, -7)), helix("B", 8, start=(12, 4, -5))
        )
    )


def made(structure, count, folder, imaging, snr=1.0):
    """The particle file of images of `count` particles that are all alike."""
    return simulate_particles(
        structure, structure.position.expand(count, -1, -1), folder, snr=snr, imaging=imaging
    )


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def test_the_microscope_is_the_one_that_was_asked_for(structure, tmp_path):
    microscope = Microscope(200.0, 1.4, 0.07, (15000.0, 16000.0))
    imaging = image_once(50, GRID, seeded(), microscope=microscope)
    stack = read_particles(made(structure, 50, tmp_path / "s", imaging))
    assert stack.ctf.voltage_kv[0] == 200 and float(
        stack.ctf.spherical_aberration_mm[0]
    ) == pytest.approx(1.4)
    mean = (stack.ctf.defocus_u + stack.ctf.defocus_v) / 2
    assert 15000 <= mean.min() and mean.max() <= 16000
    for settings, says in (
        ({"defocus": (0.0, 1.0)}, "smaller one first"),
        ({"defocus": (2e4, 1e4)}, "smaller one first"),
        ({"amplitude_contrast": 1.5}, "1.5"),
    ):
        with pytest.raises(InputError, match=says):
            Microscope(**settings)


def test_a_tilt_series_is_read_as_one(structure, tmp_path):
    """Found without being told; tilts turn about the camera's y, alternating and growing; the dose
    grows evenly.
    """
    imaging = image_tilts(4, GRID, seeded(), tilts=5, reach=50.0, dose=100.0)
    star = made(structure, 4, tmp_path / "tilts", imaging)
    stack = read_particles(star)
    assert (
        stack.n_particles == 4
        and stack.n_tilts == 5
        and stack.half.view(4, 5).unique(dim=1).shape == (4, 1)
    )
    rotation = stack.pose.rotation.view(4, 5, 3, 3).double()
    turned = rotation @ rotation[:, :1].mT
    angle = torch.rad2deg(torch.atan2(turned[..., 0, 2], turned[..., 0, 0]))
    torch.testing.assert_close(
        angle, torch.tensor([0.0, 25, -25, 50, -50]).double().expand(4, 5), atol=1e-2, rtol=0
    )
    torch.testing.assert_close(turned[..., 1, 1], torch.ones(4, 5).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        stack.ctf.scale.view(4, 5), angle.deg2rad().cos().float(), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(stack.ctf.dose.view(4, 5), torch.arange(5).expand(4, 5) * 20.0)
    with pytest.raises(InputError, match="expected at least 2, less than 90"):
        image_tilts(4, GRID, seeded(), tilts=1)
    with pytest.raises(InputError, match="0 particles"):
        image_once(0, GRID, seeded())


@pytest.mark.parametrize("tilts", [0, 3])
def test_like_makes_the_same_images_again(structure, tmp_path, tilts):
    first = image_tilts(5, GRID, seeded(), tilts=tilts) if tilts else image_once(5, GRID, seeded())
    moved = structure.position + torch.linspace(0, 5, 5)[:, None, None]
    star = simulate_particles(structure, moved, tmp_path / "first", snr=math.inf, imaging=first)
    again = simulate_particles(
        structure, moved, tmp_path / "again", snr=math.inf, imaging=image_like(star)
    )
    one, other = read_particles(star), read_particles(again)
    assert normalized_cross_correlation(one.read(), other.read()).min() > 0.99999
    assert [table.columns for table in read_star(star)] == [
        table.columns for table in read_star(again)
    ]


def test_like_keeps_foreign_columns_leaves_out_excluded_tilts_and_splits_pixels(
    structure, tmp_path
):
    first = image_tilts(3, GRID, seeded(), tilts=3)
    star = made(structure, 3, tmp_path / "first", first)
    optics, table = read_star(star)
    scale = table.columns["rlnCtfScalefactor"].copy()
    scale[4] = "0"
    from atomdrgn.io.star import write_star

    write_star(
        star,
        [
            optics,
            table.with_column("rlnCtfScalefactor", scale).with_column(
                "rlnNote", [f"0{i}" for i in range(9)]
            ),
        ],
    )
    with pytest.warns(UserWarning, match="excluded"):
        again = made(structure, 3, tmp_path / "again", image_like(star))
    written = read_star(again)[1]
    assert (
        written.columns["rlnNote"] == [f"0{i}" for i in range(9) if i != 4]
        and len(read_particles(again)) == 8
    )


def test_like_real_tilt_stacks(shared, structure, tmp_path):
    """WarpTools' premultiplied stacks, tilts of which are hidden: poses and CTF are read again as
    they were.
    """
    folder = shared / "data" / "particles" / "warptools_dev"
    reading = {"tomograms": folder / "tomograms.star", "data_folder": folder}
    imaging = image_like(folder / "particles_dev.star", **reading)
    star = simulate_particles(
        structure,
        structure.position[None],
        tmp_path / "like",
        snr=math.inf,
        imaging=imaging,
        which=torch.zeros(20, dtype=torch.long),
    )
    like = read_particles(folder / "particles_dev.star", **reading)
    again = read_particles(star, tomograms=folder / "tomograms.star")
    assert len(again) == len(like) == len(imaging) and again.premultiplied.all()
    for name in ("rotation", "shift"):
        assert (getattr(again.pose, name) == getattr(like.pose, name)).all()
    assert (again.ctf.defocus_u == like.ctf.defocus_u).all() and (
        again.images.section == like.images.section
    ).all()
    # multiplied by its CTF once more: the signal's transform times the squared CTF
    few = like[:8]
    plain = clean_images(
        atoms_of(structure),
        structure.position.expand(8, -1, -1),
        pose=few.pose,
        ctf=few.ctf,
        grid=like.grid,
    )
    torch.testing.assert_close(again.read()[:8], premultiply(plain, few.ctf, like.grid))


def test_like_cryosparc_keeps_its_fields_and_its_contrast(structure, tmp_path):
    first = simulate_particles(
        structure, structure.position.expand(4, -1, -1), tmp_path / "first", grid=GRID, snr=math.inf
    )
    stack = read_particles(first)
    from scipy.spatial.transform import Rotation

    rows = np.zeros(
        4,
        dtype=[
            ("uid", "<u8"),
            ("blob/path", "S14"),
            ("blob/idx", "<u4"),
            ("blob/shape", "<u4", (2,)),
            ("blob/psize_A", "<f4"),
            ("blob/sign", "<f4"),
            ("alignments3D/pose", "<f4", (3,)),
            ("alignments3D/shift", "<f4", (2,)),
            ("alignments3D/psize_A", "<f4"),
            ("other/field", "<f8"),
            *(
                (f"ctf/{name}", "<f4")
                for name in ("df1_A", "df2_A", "df_angle_rad", "accel_kv", "cs_mm", "amp_contrast")
            ),
        ],
    )
    rows["uid"], rows["blob/path"], rows["blob/idx"] = [4, 3, 2, 1], b"particles.mrcs", [3, 2, 1, 0]
    rows["blob/shape"], rows["blob/psize_A"], rows["alignments3D/psize_A"], rows["blob/sign"] = (
        32,
        3.0,
        3.0,
        -1,
    )
    rows["other/field"] = 0.25
    order = [3, 2, 1, 0]
    rows["alignments3D/pose"] = (
        Rotation.from_matrix(stack.pose.rotation[order].numpy()).inv().as_rotvec()
    )
    rows["alignments3D/shift"] = -stack.pose.shift[order].numpy() / 3.0
    for name, field in (
        ("df1_A", "defocus_u"),
        ("df2_A", "defocus_v"),
        ("df_angle_rad", "defocus_angle"),
    ):
        rows[f"ctf/{name}"] = getattr(stack.ctf, field)[order].numpy()
    rows["ctf/accel_kv"], rows["ctf/cs_mm"], rows["ctf/amp_contrast"] = 300, 2.7, 0.1
    with open(tmp_path / "first" / "p.cs", "wb") as file:
        np.save(file, rows)
    again = made(
        structure, 4, tmp_path / "again", image_like(tmp_path / "first" / "p.cs"), snr=math.inf
    )
    assert again.name == "particles.cs"
    assert (
        normalized_cross_correlation(read_particles(again).read(), stack.read()[order]).min()
        > 0.9999
    )
    new = np.load(again)
    assert all(
        (new[name] == rows[name]).all()
        for name in rows.dtype.names
        if name not in ("blob/path", "blob/idx")
    )
