from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from atomdrgn.errors import InputError, UnmodelledWarning
from atomdrgn.io.cryosparc import read_cs
from atomdrgn.particles.cryosparc import read_alignment, read_ctf
from atomdrgn.particles.reading import read_particles


@pytest.fixture
def fields(tiny):
    """The tiny set as cryoSPARC would hold it: rotation vectors of the inverse matrix, shifts in pixels of 4 A."""
    matrix = Rotation.from_euler("ZYZ", tiny.angles, degrees=True).inv()
    n = len(tiny.angles)
    return {
        "uid": np.arange(n, dtype=np.uint64),
        "blob/path": np.array([b">stack.mrcs"] * n), "blob/idx": np.arange(n, dtype=np.uint32),
        "blob/shape": np.full((n, 2), 32, np.uint32), "blob/psize_A": np.full(n, 2, np.float32),
        "blob/sign": np.ones(n, np.float32),
        "ctf/accel_kv": np.full(n, 300, np.float32), "ctf/cs_mm": np.full(n, 2.7, np.float32),
        "ctf/amp_contrast": np.full(n, 0.1, np.float32), "ctf/phase_shift_rad": np.zeros(n, np.float32),
        "ctf/df1_A": np.array(tiny.columns["rlnDefocusU"], np.float32),
        "ctf/df2_A": np.array(tiny.columns["rlnDefocusV"], np.float32),
        "ctf/df_angle_rad": np.full(n, np.radians(30), np.float32), "ctf/tilt_A": np.zeros((n, 2), np.float32),
        "alignments3D/pose": matrix.inv().as_rotvec().astype(np.float32),
        "alignments3D/shift": (tiny.origin / 4).astype(np.float32), "alignments3D/psize_A": np.full(n, 4, np.float32),
        "alignments3D/split": np.array([0, 1, 1, 0, 1, 0], np.uint32)}


def write_cs(path, fields):
    rows = np.zeros(len(fields["uid"]), dtype=[(name, values.dtype, values.shape[1:]) for name, values in fields.items()])
    for name, values in fields.items():
        rows[name] = values
    with open(path, "wb") as file:
        np.save(file, rows)
    return path


def test_it_says_what_relion_says(tiny, fields):
    ours, theirs = read_particles(write_cs(tiny.folder / "x.cs", fields)), read_particles(tiny.star)
    torch.testing.assert_close(ours.pose.rotation, theirs.pose.rotation, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.pose.shift, theirs.pose.shift)
    torch.testing.assert_close(ours.ctf.evaluate(ours.grid), theirs.ctf.evaluate(theirs.grid), atol=1e-4, rtol=0)
    assert ours.grid == theirs.grid and (ours.read() == theirs.read()).all()
    assert ours.half.tolist() == [1, 2, 2, 1, 2, 1] and ours.format == "cryoSPARC"


def test_no_rotation_is_the_identity(tiny, fields):
    fields["alignments3D/pose"][2] = 0
    stack = read_particles(write_cs(tiny.folder / "x.cs", fields))
    assert (stack.pose.rotation[2] == torch.eye(3)).all()


def test_dark_on_light_is_turned_round(tiny, fields):
    white = read_particles(write_cs(tiny.folder / "x.cs", fields)).read()
    fields["blob/sign"][:] = -1
    path = write_cs(tiny.folder / "x.cs", fields)
    assert (read_particles(path).read() == -white).all()
    with pytest.warns(UserWarning, match="blob/sign says that the images are dark on light"):
        assert (read_particles(path, invert_contrast=False).read() == white).all()
    assert (read_particles(path, invert_contrast=True).read() == -white).all()


@pytest.mark.parametrize("lost, message", [
    ("blob/path", "no blob/path, without which .* passthrough"), ("ctf/df1_A", "no ctf/df1_A"),
    ("alignments3D/pose", "no alignments3D/pose.*passthrough"), ("alignments3D/shift", "no alignments3D/shift")])
def test_fields_of_a_passthrough_file_are_missed(tiny, fields, lost, message):
    fields.pop(lost)
    with pytest.raises(InputError, match=message):
        read_particles(write_cs(tiny.folder / "x.cs", fields))


def test_of_several_classes_the_likeliest_counts(tiny, fields):
    plain = read_particles(write_cs(tiny.folder / "x.cs", fields))
    for k in range(11):                                    # class 10 comes after class 9, not after class 1
        for name in ("pose", "shift", "psize_A"):
            fields[f"alignments_class_{k}/{name}"] = fields[f"alignments3D/{name}"] + np.float32(k - 10)
        fields[f"alignments_class_{k}/class_posterior"] = np.full(6, 0.05 * k, np.float32)
    for name in ("pose", "shift", "psize_A", "split"):
        fields.pop(f"alignments3D/{name}")
    stack = read_particles(write_cs(tiny.folder / "x.cs", fields))
    torch.testing.assert_close(stack.pose.rotation, plain.pose.rotation)
    assert stack.half.tolist() == [1, 2, 1, 2, 1, 2]       # nothing says it, so alternately


def test_beam_tilt_is_named_and_a_defocus_of_zero_refused(tiny, fields):
    fields["ctf/tilt_A"][1] = 0.3
    with pytest.warns(UnmodelledWarning, match="ctf/tilt_A"):
        read_particles(write_cs(tiny.folder / "x.cs", fields))
    fields["ctf/df1_A"][3] = fields["ctf/df2_A"][3] = 0
    with pytest.raises(InputError, match="defocus of row 4 is 0"):
        read_particles(write_cs(tiny.folder / "x.cs", fields))


def test_a_real_file_reads_as_another_program_reads_it(shared):
    zoo = shared / "data" / "star_zoo"
    path = Path("cryosparc_P12_J24_001_particles.cs")
    table, pose, ctf = read_cs(zoo / path), np.load(zoo / "pose.cs.npz"), np.load(zoo / "ctf2.npz")["ctf"]
    rotation, shift = read_alignment(table, path=path)
    np.testing.assert_allclose(rotation, pose["rotation"], atol=1e-6)
    np.testing.assert_allclose(-shift / (180 * 2.95), pose["shift"], atol=1e-7)        # theirs are fractions of the box
    ours = read_ctf(table, path=path)
    defocus = np.stack([ours["defocus_u"], ours["defocus_v"], np.degrees(ours["defocus_angle"])], 1)
    np.testing.assert_allclose(defocus, ctf[:, 2:5], rtol=1e-5)
