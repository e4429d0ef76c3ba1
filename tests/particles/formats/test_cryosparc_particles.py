from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from atomdrgn import open_run, read_structure
from atomdrgn.debiasing.run_particles import particles_of_run
from atomdrgn.errors import FileFormatError, InputError, UnmodelledWarning
from atomdrgn.io.cs import read_cs
from atomdrgn.particles.reading import read_particles
from atomdrgn.particles.subsets import open_particle_file
from atomdrgn.particles.tables.cryosparc import read_alignment, read_ctf
from atomdrgn.runs.run import write_json
from molecules import helix, write_pdb
from runs import write_run


@pytest.fixture
def fields(tiny):
    """The tiny set as cryoSPARC would hold it: rotation vectors of the inverse matrix, shifts in
    pixels of 4 A.
    """
    matrix = Rotation.from_euler("ZYZ", tiny.angles, degrees=True).inv()
    n = len(tiny.angles)
    return {
        "uid": np.arange(n, dtype=np.uint64),
        "blob/path": np.array([b">stack.mrcs"] * n),
        "blob/idx": np.arange(n, dtype=np.uint32),
        "blob/shape": np.full((n, 2), 32, np.uint32),
        "blob/psize_A": np.full(n, 2, np.float32),
        "blob/sign": np.ones(n, np.float32),
        "ctf/accel_kv": np.full(n, 300, np.float32),
        "ctf/cs_mm": np.full(n, 2.7, np.float32),
        "ctf/amp_contrast": np.full(n, 0.1, np.float32),
        "ctf/phase_shift_rad": np.zeros(n, np.float32),
        "ctf/df1_A": np.array(tiny.columns["rlnDefocusU"], np.float32),
        "ctf/df2_A": np.array(tiny.columns["rlnDefocusV"], np.float32),
        "ctf/df_angle_rad": np.full(n, np.radians(30), np.float32),
        "ctf/tilt_A": np.zeros((n, 2), np.float32),
        "alignments3D/pose": matrix.inv().as_rotvec().astype(np.float32),
        "alignments3D/shift": (tiny.origin / 4).astype(np.float32),
        "alignments3D/psize_A": np.full(n, 4, np.float32),
        "alignments3D/split": np.array([0, 1, 1, 0, 1, 0], np.uint32),
    }


def write_cs(path, fields):
    rows = np.zeros(
        len(fields["uid"]),
        dtype=[(name, values.dtype, values.shape[1:]) for name, values in fields.items()],
    )
    for name, values in fields.items():
        rows[name] = values
    with open(path, "wb") as file:
        np.save(file, rows)
    return path


def test_it_says_what_relion_says(tiny, fields):
    ours, theirs = read_particles(write_cs(tiny.folder / "x.cs", fields)), read_particles(tiny.star)
    torch.testing.assert_close(ours.pose.rotation, theirs.pose.rotation, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.pose.shift, theirs.pose.shift)
    torch.testing.assert_close(
        ours.ctf.evaluate(ours.grid), theirs.ctf.evaluate(theirs.grid), atol=1e-4, rtol=0
    )
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


@pytest.mark.parametrize(
    "lost, message",
    [
        ("blob/path", "no blob/path, without which .* passthrough"),
        ("ctf/df1_A", "no ctf/df1_A"),
        ("alignments3D/pose", "no alignments3D/pose.*passthrough"),
        ("alignments3D/shift", "no alignments3D/shift"),
    ],
)
def test_fields_of_a_passthrough_file_are_missed(tiny, fields, lost, message):
    fields.pop(lost)
    with pytest.raises(InputError, match=message):
        read_particles(write_cs(tiny.folder / "x.cs", fields))


def test_of_several_classes_the_likeliest_counts(tiny, fields):
    plain = read_particles(write_cs(tiny.folder / "x.cs", fields))
    # class 10 comes after class 9, not after class 1
    for k in range(11):
        for name in ("pose", "shift", "psize_A"):
            fields[f"alignments_class_{k}/{name}"] = fields[f"alignments3D/{name}"] + np.float32(
                k - 10
            )
        fields[f"alignments_class_{k}/class_posterior"] = np.full(6, 0.05 * k, np.float32)
    for name in ("pose", "shift", "psize_A", "split"):
        fields.pop(f"alignments3D/{name}")
    stack = read_particles(write_cs(tiny.folder / "x.cs", fields))
    torch.testing.assert_close(stack.pose.rotation, plain.pose.rotation)
    assert stack.half.tolist() == [1, 2, 1, 2, 1, 2]  # nothing says it, so alternately
    fields["alignments_class_3/class_posterior"][4] = np.nan
    with pytest.raises(
        FileFormatError,
        match="row 5 of alignments_class_3/class_posterior is nan, expected 0 to 1.01",
    ):
        read_particles(write_cs(tiny.folder / "x.cs", fields))


@pytest.mark.parametrize(
    "name, value, says",
    [
        (
            "ctf/accel_kv",
            3e5,
            "row 3 of ctf/accel_kv is 300000, expected 60 to 1000 kV; it may be in volts",
        ),
        ("ctf/cs_mm", 2.7e7, "it may be in angstrom"),
        ("ctf/amp_contrast", 10, "it may be in percent"),
        ("ctf/df1_A", np.nan, "row 3 of ctf/df1_A is nan"),
        ("ctf/df2_A", 1e9, "ctf/df2_A"),
        ("ctf/df_angle_rad", 45, "it may be in degrees, and would be 0.785398 rad"),
        ("ctf/phase_shift_rad", 90, "it may be in degrees"),
        ("blob/psize_A", 0, "row 3 of blob/psize_A is 0"),
        ("alignments3D/psize_A", np.nan, "alignments3D/psize_A is nan"),
        (
            "alignments3D/pose",
            120,
            "row 3 of alignments3D/pose is 120, .* rad; it may be in degrees",
        ),
        ("alignments3D/shift", np.inf, "alignments3D/shift is inf"),
        ("alignments3D/shift", 1e4, "alignments3D/shift of row 3 moves"),
    ],
)
def test_values_out_of_range_name_file_row_field_and_value(tiny, fields, name, value, says):
    fields[name][2] = value
    with pytest.raises(FileFormatError, match=f"x.cs: .*{says}"):
        read_particles(write_cs(tiny.folder / "x.cs", fields))


def test_a_defocus_in_micrometres_is_refused(tiny, fields):
    for name in ("ctf/df1_A", "ctf/df2_A"):
        fields[name] = fields[name] / np.float32(1e4)
    with pytest.raises(
        FileFormatError, match="row 1 of ctf/df1_A and ctf/df2_A is 1.5 and 1.4 .*micrometres"
    ):
        read_particles(write_cs(tiny.folder / "x.cs", fields))


@pytest.mark.parametrize("split", [0, 1])
def test_one_half_set_is_no_split(tiny, fields, split):
    fields["alignments3D/split"][:] = split
    with pytest.warns(
        UserWarning, match="x.cs: alignments3D/split has one value for all particles"
    ):
        stack = read_particles(write_cs(tiny.folder / "x.cs", fields))
    assert stack.half.tolist() == [1, 2] * 3
    assert open_particle_file(tiny.folder / "x.cs").stated_half is None


@pytest.mark.parametrize(
    "name, values",
    [
        ("alignments3D/pose", np.zeros(6, np.float32)),
        ("alignments3D/shift", np.zeros((6, 3), np.float32)),
        ("blob/path", np.zeros(6, np.float32)),
        ("blob/idx", np.array([b"0"] * 6)),
        ("blob/shape", np.full(6, 32, np.uint32)),
        ("ctf/df1_A", np.array([b"x"] * 6)),
        ("ctf/cs_mm", np.zeros((6, 2), np.float32)),
    ],
)
def test_fields_of_another_kind_are_named(tiny, fields, name, values):
    fields[name] = values
    with pytest.raises(FileFormatError, match=f"x.cs: {name} holds .*expected"):
        read_particles(write_cs(tiny.folder / "x.cs", fields))


def test_no_rows_are_said(tiny, fields):
    fields = {name: values[:0] for name, values in fields.items()}
    with pytest.raises(InputError, match="x.cs: no particles"):
        read_particles(write_cs(tiny.folder / "x.cs", fields))


@pytest.mark.parametrize("left", [("blob/", "ctf/"), ("alignments3D/",), ("ctf/",)])
def test_fields_of_the_passthrough_file_are_joined_by_uid(tiny, fields, left):
    whole = read_particles(write_cs(tiny.folder / "x.cs", fields))
    # rows of another order, with more that are not asked for
    order = [5, 3, 1, 0, 2, 4]
    through = {
        name: np.concatenate([values[order], values[:1]])
        for name, values in fields.items()
        if name == "uid" or name.startswith(left)
    }
    through["uid"][-1] = 99
    own = {name: values for name, values in fields.items() if not name.startswith(left)}
    own_path = write_cs(tiny.folder / "J7_particles.cs", own)
    path = write_cs(tiny.folder / "J7_passthrough_particles.cs", through)
    with pytest.raises(
        InputError, match="J7_passthrough_particles.cs lies beside it: name it with --passthrough"
    ):
        read_particles(own_path)
    joined = read_particles(own_path, passthrough=path)
    for ours, theirs in (
        (joined.pose.rotation, whole.pose.rotation),
        (joined.pose.shift, whole.pose.shift),
        (joined.ctf.defocus_u, whole.ctf.defocus_u),
        (joined.half, whole.half),
        (joined.read(), whole.read()),
    ):
        assert (ours == theirs).all()
    assert (
        open_particle_file(own_path, passthrough=path).stated_half.tolist() == whole.half.tolist()
    )


def test_copies_are_known_by_images_that_stand_in_the_passthrough_file(tiny, fields):
    through = {
        name: values for name, values in fields.items() if name == "uid" or name.startswith("blob/")
    }
    through["blob/idx"] = np.array([0, 0, 1, 1, 2, 2], np.uint32)
    own = {
        name: values
        for name, values in fields.items()
        if not name.startswith(("blob/", "alignments3D/split"))
    }
    file = open_particle_file(
        write_cs(tiny.folder / "x.cs", own),
        passthrough=write_cs(tiny.folder / "through.cs", through),
    )
    assert file.n_images == 3 and file.half.tolist() == [1, 1, 2, 2, 1, 1]


def test_a_run_reads_its_passthrough_file_again(tiny, fields):
    through = {
        name: values for name, values in fields.items() if name == "uid" or name.startswith("blob/")
    }
    own = {name: values for name, values in fields.items() if not name.startswith("blob/")}
    path, beside = (
        write_cs(tiny.folder / "x.cs", own),
        write_cs(tiny.folder / "through.cs", through),
    )
    structure = read_structure(write_pdb(tiny.folder / "base.pdb", helix("A", 24)))
    run = write_run(
        tiny.folder / "x.fit",
        structure,
        path,
        part=structure.residue > 12,
        rotation=np.tile([1.0, 0, 0, 0], (6, 1)),
        translation=np.zeros((6, 3)),
    )
    write_json(
        run.folder / "run.json",
        run.settings | {"reading": {"passthrough": str(beside), "box": None}},
    )
    assert len(particles_of_run(open_run(run.folder))) == 6
    moved = tiny.folder / "moved"
    moved.mkdir()
    for name in ("x.cs", "through.cs"):
        (tiny.folder / name).rename(moved / name)
    (tiny.folder / "stack.mrcs").rename(moved / "stack.mrcs")
    assert len(particles_of_run(open_run(run.folder), moved / "x.cs")) == 6


def test_the_particles_own_fields_go_before_those_of_the_passthrough_file(tiny, fields):
    other = {name: values.copy() for name, values in fields.items()}
    other["ctf/df1_A"] += 500
    stack = read_particles(
        write_cs(tiny.folder / "x.cs", fields),
        passthrough=write_cs(tiny.folder / "other.cs", other),
    )
    assert stack.ctf.defocus_u[0] == 15000


def test_a_passthrough_file_of_other_particles_is_refused(tiny, fields):
    path, other = (
        write_cs(tiny.folder / "x.cs", fields),
        {name: values.copy() for name, values in fields.items()},
    )
    other["uid"] += 3
    with pytest.raises(
        InputError, match="other.cs: 3 of the 6 particles of .*x.cs are not in it .uid 0."
    ):
        read_particles(path, passthrough=write_cs(tiny.folder / "other.cs", other))
    with pytest.raises(InputError, match="only .cs files have a passthrough file"):
        read_particles(tiny.star, passthrough=tiny.folder / "other.cs")
    fields.pop("uid")
    rows = np.zeros(
        6, dtype=[(name, values.dtype, values.shape[1:]) for name, values in fields.items()]
    )
    with open(path, "wb") as file:
        np.save(file, rows)
    with pytest.raises(FileFormatError, match="x.cs: no field uid"):
        read_particles(path, passthrough=tiny.folder / "other.cs")


def test_paths_that_are_no_utf8_are_found(tiny, fields):
    import os
    import shutil

    name = b"stra\xdfe.mrcs"
    shutil.copy(tiny.folder / "stack.mrcs", os.fsencode(tiny.folder) + b"/" + name)
    fields["blob/path"] = np.array([name] * 6)
    assert len(read_particles(write_cs(tiny.folder / "x.cs", fields)).read()) == 6
    os.rename(os.fsencode(tiny.folder) + b"/" + name, tiny.folder / name.decode("latin-1"))
    assert len(read_particles(tiny.folder / "x.cs").read()) == 6


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
    table, pose, ctf = (
        read_cs(zoo / path),
        np.load(zoo / "pose.cs.npz"),
        np.load(zoo / "ctf2.npz")["ctf"],
    )
    rotation, shift = read_alignment(table, path=path)
    np.testing.assert_allclose(rotation, pose["rotation"], atol=1e-6)
    # theirs are fractions of the box
    np.testing.assert_allclose(-shift / (180 * 2.95), pose["shift"], atol=1e-7)
    ours = read_ctf(table, path=path)
    defocus = np.stack([ours["defocus_u"], ours["defocus_v"], np.degrees(ours["defocus_angle"])], 1)
    np.testing.assert_allclose(defocus, ctf[:, 2:5], rtol=1e-5)
