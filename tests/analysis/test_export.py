"""Exported files hold every atom of the particles that were asked for, in order, and replace nothing unasked."""

import re
import resource

import numpy as np
import pytest
import torch
from biotite.structure.io.dcd import DCDFile
from biotite.structure.io.xtc import XTCFile

from atomdrgn import Reporter, export, read_structure
from atomdrgn.errors import InputError, OutputExistsError
from atomdrgn.run import Run
from molecules import atom_line, helix, write_pdb


def run_of(structure, n):
    """A run whose particle i is the structure moved by i A along x, and turned upside down where i is odd."""
    class Moved(Run):
        n_particles = n
        model = {}

        def __init__(self):
            pass

        def occupancy(self, particles):
            return None

        def atoms(self, particles):
            number = torch.as_tensor(list(particles)).float()[:, None, None]
            sign = torch.where(number % 2 == 1, -1.0, 1.0)
            return (sign * structure.position + number * torch.tensor([1.0, 0.0, 0.0])).float()

    Moved.structure = structure
    return Moved()


@pytest.fixture
def run(tmp_path):
    ligand = [atom_line(80, "ZN", "ZN", "B", 99, (1, 2, 3), element="ZN", record="HETATM")]
    return run_of(read_structure(write_pdb(tmp_path / "base.pdb", helix("A", 6), helix("B", 5, start=(9, 0, 0)), ligand)), 11)


@pytest.mark.parametrize("format, reader, tolerance", [("dcd", DCDFile, 1e-6), ("xtc", XTCFile, 6e-3)])
def test_a_trajectory_has_a_frame_a_particle(run, tmp_path, format, reader, tolerance):
    written = export(run, tmp_path / "out", format=format)
    frames = reader.read(written.path).get_coord()
    assert written.count == 11 and sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"ensemble.{format}", "reference.pdb"]
    np.testing.assert_allclose(frames, run.atoms(range(11)).numpy(), atol=tolerance)
    reference = read_structure(written.reference)
    assert len(reference) == len(run.structure) and reference.atom_name.tolist() == run.structure.atom_name.tolist()


@pytest.mark.parametrize("format, ending", [("pdb", "pdb"), ("mmcif", "cif"), ("bcif", "bcif")])
def test_a_file_a_particle_is_named_by_its_number(run, tmp_path, format, ending):
    written = export(run, tmp_path / "out", format=format, particles=[10, 3, 4])
    assert written.count == 3 and sorted(p.name for p in written.path.iterdir()) == [f"{i:06d}.{ending}" for i in (3, 4, 10)]
    for number in (3, 4, 10):
        structure = read_structure(written.path / f"{number:06d}.{ending}")
        torch.testing.assert_close(structure.position, run.atoms([number])[0], atol=5.1e-4, rtol=0)
        assert structure.chain.tolist() == run.structure.chain.tolist()


def test_frames_stand_in_the_order_of_particles_whatever_the_batches(run, tmp_path, monkeypatch):
    monkeypatch.setattr("atomdrgn.analysis.export.COORDINATES_AT_A_TIME", 3 * len(run.structure) * 2)
    written = export(run, tmp_path / "out", particles=[7, 0, 5, 5])
    np.testing.assert_allclose(DCDFile.read(written.path).get_coord(), run.atoms([0, 5, 7]).numpy(), atol=1e-6)


def test_quick_pdb_text_is_the_careful_one(run, tmp_path, monkeypatch):
    export(run, tmp_path / "quick", format="pdb")
    monkeypatch.setattr("atomdrgn.analysis.export._fits", lambda position: False)
    export(run, tmp_path / "careful", format="pdb")
    for number in range(11):
        quick, careful = ((tmp_path / name / f"{number:06d}.pdb").read_text() for name in ("quick", "careful"))
        assert re.sub(r"-0\.000", " 0.000", careful) == quick


def test_a_structure_that_pdb_cannot_hold_has_an_mmcif_reference(tmp_path):
    structure = read_structure(write_pdb(tmp_path / "a.pdb", helix("A", 6)))
    structure.source[0][0].name = "chain"      # five characters
    said = []

    class Listening(Reporter):
        def say(self, text):
            said.append(text)

    written = export(run_of(structure, 2), tmp_path / "out", reporter=Listening())
    assert written.reference.name == "reference.cif" and "at most 2 characters" in said[0]
    assert set(read_structure(written.reference).chain) == {"chain"}
    with pytest.raises(InputError, match="at most 2 characters"):
        export(run_of(structure, 2), tmp_path / "single", format="pdb")


@pytest.mark.parametrize("format", ["dcd", "pdb"])
def test_nothing_is_replaced_unasked(run, tmp_path, format):
    written = export(run, tmp_path / "out", format=format, particles=range(3))
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(OutputExistsError, match="--overwrite"):
        export(run, tmp_path / "out", format=format)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert export(run, tmp_path / "out", format=format, overwrite=True).count == 11 and written.count == 3


@pytest.mark.parametrize("format", ["dcd", "xtc", "pdb"])
@pytest.mark.parametrize("missing", [10, 2000])
def test_what_does_not_fit_on_the_disk_is_not_there(run, tmp_path, format, missing):
    """A limit on the size of files stands for the disk."""
    whole = export(run, tmp_path / "whole", format=format).path
    size = (whole / "000000.pdb" if format == "pdb" else whole).stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - missing, before[1]))
    try:
        with pytest.raises(OSError, match="disk full|too large"):
            export(run, tmp_path / "out", format=format)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "out" / whole.name).exists() and not list((tmp_path / "out").glob(".*"))


def test_a_fault_on_the_way_leaves_nothing_half_done(run, tmp_path, monkeypatch):
    def full(self, particles):
        if 4 in particles:
            raise OSError(28, "No space left on device")
        return run_atoms(self, particles)

    run_atoms = type(run).atoms
    monkeypatch.setattr(type(run), "atoms", full)
    monkeypatch.setattr("atomdrgn.analysis.export.COORDINATES_AT_A_TIME", 1)
    for format in ("dcd", "pdb"):
        with pytest.raises(OSError, match="No space left"):
            export(run, tmp_path / format, format=format)
    assert [path.name for path in (tmp_path / "dcd").iterdir()] == ["reference.pdb"]
    assert sorted(path.name for path in (tmp_path / "pdb").iterdir()) == [f"{i:06d}.pdb" for i in range(4)]


@pytest.mark.parametrize("settings, says", [
    ({"format": "gro"}, "format 'gro': choose one of"),
    ({"particles": [3, 11]}, "no particle 11: the run has the particles 0 to 10"),
    ({"particles": [-1]}, "no particle -1"),
    ({"particles": []}, "no particle is chosen"),
])
def test_what_makes_no_sense_is_refused(run, tmp_path, settings, says):
    with pytest.raises(InputError, match=says):
        export(run, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_a_file_in_place_of_the_folder(run, tmp_path):
    with pytest.raises(OutputExistsError, match="is a file"):
        export(run, tmp_path / "base.pdb")


@pytest.mark.parametrize("format", ["pdb", "mmcif"])
def test_what_is_absent_has_no_occupancy(run, tmp_path, format):
    """Of odd particles chain A is absent; coordinates are as ever."""
    on_a = torch.from_numpy(run.structure.chain == "A")
    run.occupancy = lambda particles: torch.where(on_a & (torch.tensor(particles)[:, None] % 2 == 1), 0.0, 1.0)
    export(run, tmp_path / "out", format=format)
    for number, path in enumerate(sorted((tmp_path / "out").iterdir())):
        written = read_structure(path)
        np.testing.assert_allclose(written.occupancy, run.occupancy([number])[0])
        np.testing.assert_allclose(written.position, run.atoms([number])[0], atol=2e-3)


@pytest.fixture
def sampled(run):
    """The same run with five draws a particle: the place k of particle i is i + k/10, and its atoms stand so far along y."""
    number = torch.arange(11)[:, None, None]
    type(run).draws = (number + torch.arange(5)[None, :, None] / 10).float().numpy()
    run.motion_at = lambda place: torch.as_tensor(place)
    run.atoms_of = lambda place: run.structure.position + place[:, :1, None] * torch.tensor([0.0, 1.0, 0.0])
    return run


def sample_frames(run, particles, numbers):
    return np.stack([run.structure.position.numpy() + [0, i + k / 10, 0] for i in particles for k in numbers])


@pytest.mark.parametrize("format, reader, tolerance", [("dcd", DCDFile, 1e-5), ("xtc", XTCFile, 6e-3)])
@pytest.mark.parametrize("samples, numbers", [(5, range(5)), (3, (0, 2, 4)), (2, (0, 4)), (1, (0,))])
def test_samples_of_a_particle_stand_together_particle_after_particle(sampled, tmp_path, format, reader, tolerance, samples,
                                                                      numbers):
    written = export(sampled, tmp_path / "out", format=format, particles=[9, 2, 4], samples=samples)
    assert written.count == 3 * samples
    np.testing.assert_allclose(reader.read(written.path).get_coord(), sample_frames(sampled, (2, 4, 9), numbers), atol=tolerance)


def test_samples_are_the_same_whatever_the_batches(sampled, tmp_path, monkeypatch):
    monkeypatch.setattr("atomdrgn.analysis.export.COORDINATES_AT_A_TIME", 1)
    written = export(sampled, tmp_path / "out", samples=4, origin=(1, 2, 3))
    expected = sample_frames(sampled, range(11), (0, 1, 3, 4)) + [1, 2, 3]
    np.testing.assert_allclose(DCDFile.read(written.path).get_coord(), expected, atol=1e-5)


@pytest.mark.parametrize("format, ending", [("pdb", "pdb"), ("mmcif", "cif")])
def test_a_file_a_sample_is_named_by_particle_and_sample(sampled, tmp_path, format, ending):
    written = export(sampled, tmp_path / "out", format=format, particles=[7, 3], samples=2)
    names = sorted(path.name for path in written.path.iterdir())
    assert written.count == 4 and names == [f"{i:06d}_{k:02d}.{ending}" for i in (3, 7) for k in (0, 1)]
    expected = sample_frames(sampled, (3, 7), (0, 4))
    for name, frame in zip(names, expected, strict=True):
        np.testing.assert_allclose(read_structure(written.path / name).position, frame, atol=2e-3)


@pytest.mark.parametrize("samples", [6, 1000, -1])
def test_more_samples_than_the_run_holds_are_refused(sampled, tmp_path, samples):
    with pytest.raises(InputError, match=f"{samples} samples: the run holds 5 draws"):
        export(sampled, tmp_path / "out", samples=samples)
    assert not (tmp_path / "out").exists()


def test_b_factors_are_those_of_the_particle_and_trajectories_have_none(run, tmp_path):
    """Those that a PDB file has no room for are the largest it holds."""
    per_atom = torch.linspace(0, 1200, len(run.structure))
    run.model = {"half_error": None}
    run.b_factors = lambda particles: per_atom * torch.tensor([1.0 / (1 + i) for i in particles])[:, None]
    export(run, tmp_path / "out", format="pdb")
    for number in range(11):
        lines = (tmp_path / "out" / f"{number:06d}.pdb").read_text().splitlines()
        found = [float(line[60:66]) for line in lines if line.startswith(("ATOM", "HETATM"))]
        np.testing.assert_allclose(found, (per_atom / (1 + number)).clamp_max(999.99), atol=5.1e-3)
