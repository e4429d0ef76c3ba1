"""A format that the package does not know: defined here, put into the table, and used as any other.

Its files are CSV, one row an image, with the stack beside them that has their name.
"""

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import pytest
import torch

from atomdrgn import open_run, read_particles
from atomdrgn.errors import InputError
from atomdrgn.io.whole_file import whole_file
from atomdrgn.particles.formats.format_table import FORMATS, format_of, is_named_as_particles
from atomdrgn.particles.formats.particle_format import (
    ParticleFile,
    ParticleFormat,
    ParticleSource,
    ReadingOptions,
)
from atomdrgn.particles.stack.image_files import find_stacks
from atomdrgn.particles.subsets import open_particle_file
from atomdrgn.particles.tables.assembly import ImageRows, OpticsGroup, stated_halves
from atomdrgn.physics.rotations import matrix_from_vector, vector_from_matrix
from cli.conftest import atomdrgn, folder, made_set  # noqa: F401 - fixtures

TURN, SHIFT = ("turn_x", "turn_y", "turn_z"), ("x", "y")
MICROSCOPE = {
    "voltage_kv": 300.0,
    "spherical_aberration_mm": 2.7,
    "amplitude_contrast": 0.1,
    "phase_shift": 0.0,
    "scale": 1.0,
    "b_factor": 0.0,
    "dose": 0.0,
}


def read_csv(path):
    with open(path, newline="") as file:
        return tuple(csv.DictReader(file))


def numbers(rows, *names):
    return np.array([[float(row[name]) for name in names] for row in rows])


@final
class PosesFormat(ParticleFormat):
    name = "CSV of poses"
    ending = ".csv"

    def matches(self, source):
        return source.path.suffix == ".csv"

    def read(self, source):
        rows = read_csv(source.path)
        count, stack = len(rows), source.path.with_suffix(".mrcs").name
        file, headers = find_stacks(
            [stack] * count, beside=source.path, data_folder=source.reading.data_folder
        )
        defocus = numbers(rows, "defocus_u", "defocus_v", "defocus_angle").T
        ctf = dict(zip(("defocus_u", "defocus_v", "defocus_angle"), defocus, strict=True))
        return ImageRows(
            source=source.path,
            format=self.name,
            headers=headers,
            file=file,
            section=numbers(rows, "image")[:, 0].astype(np.int64),
            row=np.arange(count),
            particle=np.arange(count),
            rotation=matrix_from_vector(torch.from_numpy(numbers(rows, *TURN))).numpy(),
            shift=numbers(rows, *SHIFT),
            ctf=ctf | {name: np.full(count, value) for name, value in MICROSCOPE.items()},
            groups=(OpticsGroup("all", float(rows[0]["pixel_size"])),),
            optics_group=np.zeros(count, np.int64),
            sign=np.full(count, -1.0 if source.reading.invert_contrast else 1.0),
            half=numbers(rows, "half")[:, 0].astype(np.int64),
            half_column="half",
        )

    def open(self, source, *, first_row=None):
        rows = read_csv(source.path)
        image = numbers(rows, "image")[:, 0].astype(np.int64)
        return PosesFile(self, source.path, np.arange(len(rows)), image, rows)


@final
@dataclass(frozen=True)
class PosesFile(ParticleFile):
    rows: tuple[dict[str, str], ...]

    half_column = "half"

    @property
    def stated_half(self):
        return stated_halves(numbers(self.rows, "half")[:, 0].astype(np.int64))

    def of_rows(self, rows):
        return replace(self, rows=tuple(self.rows[row] for row in rows), **self.numbers_of(rows))

    def with_class(self, column, number):
        return self._with(column, self.at_rows(number))

    def with_images(self, stack, section):
        raise InputError(f"{self.path}: the images of a {self.format.name} lie beside it")

    def following(self, rotation, shift):
        old = matrix_from_vector(torch.from_numpy(numbers(self.rows, *TURN))).numpy()
        turned = vector_from_matrix(torch.from_numpy(old @ self.at_rows(rotation))).numpy()
        moved = np.einsum("nij,nj->ni", old, self.at_rows(shift))[:, :2]
        file = self
        for name, values in zip(TURN, turned.T, strict=True):
            file = file._with(name, values)
        for name, values in zip(SHIFT, (numbers(self.rows, *SHIFT) + moved).T, strict=True):
            file = file._with(name, values)
        return file

    def write(self, path):
        with whole_file(path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)

    def _with(self, name, values):
        rows = zip(self.rows, values.tolist(), strict=True)
        return replace(self, rows=tuple(row | {name: str(value)} for row, value in rows))


@pytest.fixture
def table(monkeypatch):
    """The table of formats with a line more."""
    formats = list(FORMATS)
    monkeypatch.setattr(
        "atomdrgn.particles.formats.format_table.FORMATS", [PosesFormat(), *formats]
    )


@pytest.fixture
def poses(folder, table) -> Path:  # noqa: F811
    """The tiny set of the commands as a CSV file; the note of a row has to survive."""
    stack, path = read_particles("particles.star"), folder / "poses.csv"
    turn = vector_from_matrix(stack.pose.rotation.double())
    values = {
        "image": stack.images.section,
        "pixel_size": torch.full((len(stack),), stack.grid.pixel_size, dtype=torch.float64),
        **dict(zip(TURN, turn.T, strict=True)),
        **dict(zip(SHIFT, stack.pose.shift.T, strict=True)),
        "defocus_u": stack.ctf.defocus_u,
        "defocus_v": stack.ctf.defocus_v,
        "defocus_angle": stack.ctf.defocus_angle,
        "half": stack.half,
    }
    columns = {name: column.tolist() for name, column in values.items()}
    columns["note"] = [f"row {row:03d}" for row in range(len(stack))]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    (folder / "particles.mrcs").rename(folder / "poses.mrcs")
    (folder / "particles.star").unlink()
    return path


def test_a_whole_fit_and_a_selection_of_its_particles(atomdrgn, poses):  # noqa: F811
    ended = atomdrgn("inspect", poses, "--against", "base.pdb")
    assert ended.code == 0 and PosesFormat.name in ended.out
    assert atomdrgn("fit", "base.pdb", poses, "--segments", 2, "--out", "run").code == 0
    assert len(open_run("run").latent) == 12
    ended = atomdrgn(
        *("select", "run", "--where", "particle in (2, 3, 7)", "--out", "subset.csv"),
        *("--class-column", "kind", "--classes", "first_row"),
    )
    assert (ended.code, ended.out) == (0, "wrote 3 of 12 particles to subset.csv\n")
    whole, kept = read_csv(poses), read_csv("subset.csv")
    assert kept == tuple(whole[row] | {"kind": str(row)} for row in (2, 3, 7))


def test_a_selection_of_a_file_and_poses_of_a_part(atomdrgn, poses):  # noqa: F811
    Path("lasso.txt").write_text("11\n0\n")
    assert atomdrgn("select", poses, "--particles", "lasso.txt", "--out", "two.csv").code == 0
    assert [row["note"] for row in read_csv("two.csv")] == ["row 000", "row 011"]
    wrong = atomdrgn("select", poses, "--particles", "lasso.txt", "--out", "two.star")
    assert wrong.code == 2 and "written to a .csv file" in wrong.err
    turn = matrix_from_vector(torch.tensor([[0.3, -0.8, 0.1]], dtype=torch.float64))
    file = open_particle_file(poses)
    file.following(turn.expand(12, 3, 3).numpy(), np.zeros((12, 3))).write("turned.csv")
    Path("turned.mrcs").symlink_to("poses.mrcs")
    before, after = read_particles(poses), read_particles("turned.csv")
    torch.testing.assert_close(after.pose.rotation, before.pose.rotation @ turn[0].float())
    assert (after.read() == before.read()).all()


@pytest.mark.parametrize("option", ["passthrough", "tomograms"])
def test_settings_of_other_formats_are_refused(poses, option):
    for read in (read_particles, open_particle_file):
        with pytest.raises(InputError, match="poses.csv.*leave .*out"):
            read(poses, **{option: "other.star"})


def test_without_its_line_it_is_no_particle_file(poses, monkeypatch):
    assert is_named_as_particles(poses)
    monkeypatch.undo()
    assert not is_named_as_particles(poses)
    assert not any(isinstance(form, PosesFormat) for form in FORMATS)


def test_the_last_format_takes_what_no_other_does(tiny):
    source = ParticleSource(tiny.star, ReadingOptions())
    assert format_of(source) is FORMATS[-1]
    assert [form.matches(source) for form in FORMATS] == [False] * (len(FORMATS) - 1) + [True]


def test_a_format_without_its_methods_is_none():
    class Unfinished(ParticleFormat):
        name, ending = "unfinished", ".none"

    with pytest.raises(TypeError, match="abstract"):
        Unfinished()
