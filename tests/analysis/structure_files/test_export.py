"""Exported files hold every atom of the particles that were asked for, in order, and replace
nothing unasked.
"""

import csv
import json
import re
import resource
import sys

import numpy as np
import pytest
import torch
from biotite.structure.io.dcd import DCDFile
from biotite.structure.io.xtc import XTCFile

from atomdrgn import Reporter, export, read_structure
from atomdrgn.errors import InputError, MissingPackageError, OutputExistsError
from atomdrgn.io.folder_lock import LOCK
from atomdrgn.runs.run import Run
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.density_map import DensityMap, read_density_map
from hinged import hinged_run, two_helices
from molecules import atom_line, helix, peptide, write_pdb
from runs import write_bead_run


def run_of(structure, n):
    """A run whose particle i is the structure moved by i A along x, and turned upside down where i
    is odd.
    """

    class Moved(Run):
        n_particles = n
        model = {}
        residual = None

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


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_holds_exports_of_one_kind(run, tmp_path, overwrite):
    export(run, tmp_path / "out", format="pdb", particles=[0])
    for format, samples in (("mmcif", None), ("dcd", None)):
        with pytest.raises(OutputExistsError, match="000000.pdb, of an export of another kind"):
            export(
                run,
                tmp_path / "out",
                format=format,
                particles=[1],
                samples=samples,
                overwrite=overwrite,
            )
    export(run, tmp_path / "out", format="pdb", particles=[1])
    export(run, tmp_path / "frames", format="dcd", particles=[1])
    with pytest.raises(
        OutputExistsError, match="reference.pdb|ensemble.dcd, of an export of another kind"
    ):
        export(run, tmp_path / "frames", format="xtc", particles=[1], overwrite=overwrite)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "000000.pdb",
        "000001.pdb",
    ]


@pytest.fixture
def run(tmp_path):
    ligand = [atom_line(80, "ZN", "ZN", "B", 99, (1, 2, 3), element="ZN", record="HETATM")]
    return run_of(
        read_structure(
            write_pdb(tmp_path / "base.pdb", helix("A", 6), helix("B", 5, start=(9, 0, 0)), ligand)
        ),
        11,
    )


@pytest.mark.parametrize(
    "format, reader, tolerance", [("dcd", DCDFile, 1e-6), ("xtc", XTCFile, 6e-3)]
)
def test_a_trajectory_has_a_frame_a_particle(run, tmp_path, format, reader, tolerance):
    written = export(run, tmp_path / "out", format=format)
    frames = reader.read(written.path).get_coord()
    assert written.count == 11 and sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        f"ensemble.{format}",
        "reference.pdb",
    ]
    np.testing.assert_allclose(frames, run.atoms(range(11)).numpy(), atol=tolerance)
    reference = read_structure(written.reference)
    assert (
        len(reference) == len(run.structure)
        and reference.atom_name.tolist() == run.structure.atom_name.tolist()
    )


@pytest.mark.parametrize("format, ending", [("pdb", "pdb"), ("mmcif", "cif"), ("bcif", "bcif")])
def test_a_file_a_particle_is_named_by_its_number(run, tmp_path, format, ending):
    written = export(run, tmp_path / "out", format=format, particles=[10, 3, 4])
    assert written.count == 3 and sorted(p.name for p in written.path.iterdir()) == [
        f"{i:06d}.{ending}" for i in (3, 4, 10)
    ]
    for number in (3, 4, 10):
        structure = read_structure(written.path / f"{number:06d}.{ending}")
        torch.testing.assert_close(structure.position, run.atoms([number])[0], atol=5.1e-4, rtol=0)
        assert structure.chain.tolist() == run.structure.chain.tolist()


def test_frames_stand_in_the_order_of_particles_whatever_the_batches(run, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "atomdrgn.analysis.structure_files.export.COORDINATES_AT_A_TIME", 3 * len(run.structure) * 2
    )
    written = export(run, tmp_path / "out", particles=[7, 0, 5, 5])
    np.testing.assert_allclose(
        DCDFile.read(written.path).get_coord(), run.atoms([0, 5, 7]).numpy(), atol=1e-6
    )


def test_quick_pdb_text_is_the_careful_one(run, tmp_path, monkeypatch):
    export(run, tmp_path / "quick", format="pdb")
    monkeypatch.setattr("atomdrgn.analysis.structure_files.export._fits", lambda position: False)
    export(run, tmp_path / "careful", format="pdb")
    for number in range(11):
        quick, careful = (
            (tmp_path / name / f"{number:06d}.pdb").read_text() for name in ("quick", "careful")
        )
        assert re.sub(r"-0\.000", " 0.000", careful) == quick


def test_a_structure_that_pdb_cannot_hold_has_an_mmcif_reference(tmp_path):
    structure = read_structure(write_pdb(tmp_path / "a.pdb", helix("A", 6)))
    structure.source[0][0].name = "chain"  # five characters
    said = []

    class Listening(Reporter):
        def say(self, text):
            said.append(text)

    written = export(run_of(structure, 2), tmp_path / "out", reporter=Listening())
    assert written.reference.name == "reference.cif" and "chain names of one character" in said[0]
    assert set(read_structure(written.reference).chain) == {"chain"}
    with pytest.raises(InputError, match="chain names of one character.*--format mmcif"):
        export(run_of(structure, 2), tmp_path / "single", format="pdb")


def test_a_reference_of_another_format_does_not_stay_behind(run, tmp_path):
    export(run, tmp_path / "out", particles=[0])
    run.structure.source[0][0].name = "AA"
    export(run, tmp_path / "out", particles=[0], overwrite=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "ensemble.dcd",
        "reference.cif",
    ]


def test_links_of_files_have_the_distance_of_each_particle(tmp_path):
    path = write_pdb(tmp_path / "a.pdb", helix("A", 6), helix("B", 5, start=(9, 0, 0), serial=90))
    path.write_text(
        "LINK         CB  ALA A   2                 CB  ALA B   2     1555   1555  1.50  \n"
        + path.read_text()
    )
    run = run_of(read_structure(path), 3)
    run.atoms = lambda particles: torch.stack(
        [run.structure.position * (1 + number) for number in particles]
    )
    export(run, tmp_path / "out", format="pdb")
    apart = float((run.structure.position[9] - run.structure.position[39]).norm())
    links = [
        (tmp_path / "out" / f"{number:06d}.pdb").read_text().splitlines() for number in range(3)
    ]
    distances = [float(line[73:78]) for lines in links for line in lines if line.startswith("LINK")]
    assert distances == pytest.approx([apart, 2 * apart, 3 * apart], abs=0.006)


@pytest.mark.parametrize("format", ["dcd", "pdb"])
def test_nothing_is_replaced_unasked(run, tmp_path, format):
    written = export(run, tmp_path / "out", format=format, particles=range(3))
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(OutputExistsError, match="--overwrite"):
        export(run, tmp_path / "out", format=format)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert (
        export(run, tmp_path / "out", format=format, overwrite=True).count == 11
        and written.count == 3
    )


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
    monkeypatch.setattr("atomdrgn.analysis.structure_files.export.COORDINATES_AT_A_TIME", 1)
    for format in ("dcd", "pdb"):
        with pytest.raises(OSError, match="No space left"):
            export(run, tmp_path / format, format=format)
    assert sorted(path.name for path in (tmp_path / "dcd").iterdir()) == ["reference.pdb", LOCK]
    assert sorted(path.name for path in (tmp_path / "pdb").iterdir()) == [
        *(f"{i:06d}.pdb" for i in range(4)),
        LOCK,
    ]
    monkeypatch.undo()
    for format in ("dcd", "pdb"):  # the mark stays until an export ends well
        with pytest.raises(OutputExistsError, match="--overwrite"):
            export(run, tmp_path / format, format=format)
        assert (tmp_path / format / LOCK).exists()
        export(run, tmp_path / format, format=format, overwrite=True)
        assert not (tmp_path / format / LOCK).exists()


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"format": "gro"}, "format 'gro': choose one of"),
        ({"particles": [3, 11]}, "no particle 11: the run has the particles 0 to 10"),
        ({"particles": [-1]}, "no particle -1"),
        ({"particles": []}, "no particle is chosen"),
    ],
)
def test_what_makes_no_sense_is_refused(run, tmp_path, settings, says):
    with pytest.raises(InputError, match=says):
        export(run, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_the_residual_density_goes_with_another_frame(run, tmp_path):
    """Voxel n // 2 stands where the poses' origin does."""
    values = torch.zeros(6, 8, 8)
    values[3, 4, 6] = 1.0
    run.residual = DensityMap(values, 2.5)
    export(run, tmp_path / "poses", particles=[0])
    assert not (tmp_path / "poses" / "residual.mrc").exists()
    export(run, tmp_path / "base", particles=[0], origin=(50.0, -20.0, 7.0))
    written = read_density_map(tmp_path / "base" / "residual.mrc")
    assert written.centre == pytest.approx((50.0, -20.0, 7.0)) and written.voxel_size == 2.5
    assert float(written.at(torch.tensor([[55.0, -20.0, 7.0]]))) == pytest.approx(1.0)
    # it is replaced, or taken away, when asked
    with pytest.raises(OutputExistsError):
        export(run, tmp_path / "base", particles=[0], origin=(0.0, 0.0, 0.0))
    export(run, tmp_path / "base", particles=[0], overwrite=True)
    assert not (tmp_path / "base" / "residual.mrc").exists()


def test_a_file_in_place_of_the_folder(run, tmp_path):
    with pytest.raises(OutputExistsError, match="is a file"):
        export(run, tmp_path / "base.pdb")


@pytest.mark.parametrize("format", ["pdb", "mmcif"])
def test_what_is_absent_has_no_occupancy(run, tmp_path, format):
    """Of odd particles chain A is absent; coordinates are as ever."""
    on_a = torch.from_numpy(run.structure.chain == "A")
    run.occupancy = lambda particles: torch.where(
        on_a & (torch.tensor(particles)[:, None] % 2 == 1), 0.0, 1.0
    )
    export(run, tmp_path / "out", format=format)
    for number, path in enumerate(sorted((tmp_path / "out").iterdir())):
        written = read_structure(path)
        np.testing.assert_allclose(written.occupancy, run.occupancy([number])[0])
        np.testing.assert_allclose(written.position, run.atoms([number])[0], atol=2e-3)


@pytest.fixture
def sampled(run):
    """The same run with five draws a particle: the place k of particle i is i + k/10, and its atoms
    stand so far along y.
    """
    number = torch.arange(11)[:, None, None]
    type(run).draws = (number + torch.arange(5)[None, :, None] / 10).float().numpy()
    run.motion_at = lambda place: torch.as_tensor(place)
    run.atoms_of = lambda place: (
        run.structure.position + place[:, :1, None] * torch.tensor([0.0, 1.0, 0.0])
    )
    return run


def sample_frames(run, particles, numbers):
    return np.stack(
        [run.structure.position.numpy() + [0, i + k / 10, 0] for i in particles for k in numbers]
    )


@pytest.mark.parametrize(
    "format, reader, tolerance", [("dcd", DCDFile, 1e-5), ("xtc", XTCFile, 6e-3)]
)
@pytest.mark.parametrize(
    "samples, numbers", [(5, range(5)), (3, (0, 2, 4)), (2, (0, 4)), (1, (0,))]
)
def test_samples_of_a_particle_stand_together_particle_after_particle(
    sampled, tmp_path, format, reader, tolerance, samples, numbers
):
    written = export(sampled, tmp_path / "out", format=format, particles=[9, 2, 4], samples=samples)
    assert written.count == 3 * samples
    np.testing.assert_allclose(
        reader.read(written.path).get_coord(),
        sample_frames(sampled, (2, 4, 9), numbers),
        atol=tolerance,
    )


def test_samples_are_the_same_whatever_the_batches(sampled, tmp_path, monkeypatch):
    monkeypatch.setattr("atomdrgn.analysis.structure_files.export.COORDINATES_AT_A_TIME", 1)
    written = export(sampled, tmp_path / "out", samples=4, origin=(1, 2, 3))
    expected = sample_frames(sampled, range(11), (0, 1, 3, 4)) + [1, 2, 3]
    np.testing.assert_allclose(DCDFile.read(written.path).get_coord(), expected, atol=1e-5)


@pytest.mark.parametrize("format, ending", [("pdb", "pdb"), ("mmcif", "cif")])
def test_a_file_a_sample_is_named_by_particle_and_sample(sampled, tmp_path, format, ending):
    written = export(sampled, tmp_path / "out", format=format, particles=[7, 3], samples=2)
    names = sorted(path.name for path in written.path.iterdir())
    assert written.count == 4 and names == [
        f"{i:06d}_{k:02d}.{ending}" for i in (3, 7) for k in (0, 1)
    ]
    expected = sample_frames(sampled, (3, 7), (0, 4))
    for name, frame in zip(names, expected, strict=True):
        np.testing.assert_allclose(read_structure(written.path / name).position, frame, atol=2e-3)


@pytest.mark.parametrize("samples", [6, 1000, 0, -1])
def test_more_samples_than_the_run_holds_are_refused(sampled, tmp_path, samples):
    with pytest.raises(InputError, match=f"{samples} samples: the run holds 5 draws"):
        export(sampled, tmp_path / "out", samples=samples)
    assert not (tmp_path / "out").exists()


class Lines(Reporter):
    """Keeps what is said."""

    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


@pytest.mark.parametrize("held", [1, 20])
def test_where_nothing_moves_every_draw_is_the_one_structure(
    hinge_structure, tmp_path, monkeypatch, held
):
    """As many as are asked for, whatever number of draws without a place the run holds; several
    batches.
    """
    still = hinged_run(tmp_path, hinge_structure, np.zeros(5), supported=0, draws=held)
    monkeypatch.setattr(
        "atomdrgn.analysis.structure_files.export.COORDINATES_AT_A_TIME",
        2 * 3 * 30 * len(hinge_structure),
    )
    lines = Lines()
    written = export(still, tmp_path / "out", particles=[1, 3, 4], samples=30, reporter=lines)
    assert written.count == 90 and lines.said == [
        "no motion is supported: all draws of all particles are the same structure"
    ]
    frames = DCDFile.read(written.path).get_coord()
    np.testing.assert_allclose(frames, still.atoms([1]).expand(90, -1, -1).numpy(), atol=1e-4)
    export(still, tmp_path / "single", format="pdb", particles=[3], samples=2)
    assert sorted(path.name for path in (tmp_path / "single").iterdir()) == [
        "000003_00.pdb",
        "000003_01.pdb",
    ]
    for none in (0, -1):
        with pytest.raises(InputError, match=f"{none} samples: ask for 1 or more"):
            export(still, tmp_path / "none", samples=none)


def test_draws_of_a_run_that_moves_are_not_said_to_be_alike(hinge_run, tmp_path):
    lines = Lines()
    assert (
        export(hinge_run, tmp_path / "out", particles=[3], samples=20, reporter=lines).count == 20
        and not lines.said
    )
    with pytest.raises(InputError, match="21 samples: the run holds 20 draws"):
        export(hinge_run, tmp_path / "more", samples=21)


def test_b_factors_are_the_places_error_and_the_half_sets_in_quadrature(hinge_run, still_run):
    """Half-sets differ by 0.1 A everywhere; the first helix of two stands still, and the second
    turns by the place's error.
    """
    still = 8 * np.pi**2 / 3 * 0.1**2
    np.testing.assert_allclose(still_run.b_factors([0, 99]), still, rtol=1e-4)
    found = hinge_run.b_factors([5])[0].numpy()
    first = hinge_run.structure.residue <= 20
    np.testing.assert_allclose(found[first], still, rtol=1e-3)
    ends = hinge_run.motion_at(
        hinge_run.latent[[5, 5]] + np.array([[1], [-1]]) * hinge_run.latent_sd[5]
    )
    low, high = hinge_run.deformation.beads(ends)
    error2 = (0.5 * (high - low)).square().sum(-1)[hinge_run.model["bead_of_atom"]].numpy()
    np.testing.assert_allclose(found, still + 8 * np.pi**2 / 3 * error2, rtol=1e-3)
    assert found[~first].mean() > 2 * still


def test_b_factors_are_those_of_the_particle_and_trajectories_have_none(run, tmp_path):
    """Those that a PDB file has no room for are the largest it holds."""
    per_atom = torch.linspace(0, 1200, len(run.structure))
    run.model = {"half_error": None}
    run.b_factors = lambda particles: (
        per_atom * torch.tensor([1.0 / (1 + i) for i in particles])[:, None]
    )
    export(run, tmp_path / "out", format="pdb")
    for number in range(11):
        lines = (tmp_path / "out" / f"{number:06d}.pdb").read_text().splitlines()
        found = [float(line[60:66]) for line in lines if line.startswith(("ATOM", "HETATM"))]
        np.testing.assert_allclose(found, (per_atom / (1 + number)).clamp_max(999.99), atol=5.1e-3)


@pytest.mark.parametrize("format", ["dcd", "pdb"])
def test_the_geometry_has_a_row_for_the_base_and_one_a_structure(tmp_path, format):
    run = run_of(read_structure(write_pdb(tmp_path / "base.pdb", peptide("A", 6))), 5)
    written = export(run, tmp_path / "out", format=format, particles=[0, 3, 4], geometry=True)
    with open(tmp_path / "out" / "geometry.csv", newline="") as file:
        base, *rows = csv.DictReader(file)
    assert base["structure"] == "base" and [row["structure"] for row in rows] == [
        "000000",
        "000003",
        "000004",
    ]
    # odd particles are mirror images
    assert [int(row["inverted"]) > 0 for row in rows] == [False, True, False]
    said = json.loads((tmp_path / "out" / "geometry.json").read_text())
    assert said["structures"] == written.count == 3 and said["largest"]["inverted"] == int(
        rows[1]["inverted"]
    )
    np.testing.assert_allclose([float(row["bond_rms"]) for row in rows], 0, atol=1e-4)
    names = (
        ["ensemble.dcd", "reference.pdb"]
        if format == "dcd"
        else ["000000.pdb", "000003.pdb", "000004.pdb"]
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        [*names, "geometry.csv", "geometry.json"]
    )


def test_a_geometry_is_neither_replaced_nor_left_behind_unasked(run, tmp_path):
    export(run, tmp_path / "out", format="pdb", particles=[0], geometry=True)
    with pytest.raises(OutputExistsError, match="geometry.csv"):
        export(run, tmp_path / "out", format="pdb", particles=[2], geometry=True)
    export(run, tmp_path / "out", format="pdb", particles=[4])
    assert (tmp_path / "out" / "geometry.csv").exists()
    export(run, tmp_path / "out", format="pdb", particles=[0], overwrite=True)
    assert not (tmp_path / "out" / "geometry.csv").exists()


@pytest.fixture
def torn(tmp_path):
    """A run of particles torn apart behind residue 3 of chain A, by as many tenths of an A along
    the bond as their number.
    """
    run = run_of(
        read_structure(
            write_pdb(tmp_path / "base.pdb", peptide("A", 6), peptide("B", 5, start=(11, 0, 0)))
        ),
        11,
    )
    behind = torch.from_numpy((run.structure.chain == "A") & (run.structure.residue > 3)).float()[
        :, None
    ]
    c, n = bond_behind_residue_3(run.structure)
    along = run.structure.position[n] - run.structure.position[c]
    run.atoms = lambda particles: torch.stack(
        [
            run.structure.position + 0.1 * number * behind * along / along.norm()
            for number in particles
        ]
    )
    return run


def bond_behind_residue_3(structure):
    return [
        int(
            np.flatnonzero(
                (structure.chain == "A")
                & (structure.residue == number)
                & (structure.atom_name == name)
            )[0]
        )
        for number, name in ((3, "C"), (4, "N"))
    ]


@pytest.mark.parametrize(
    "format, names",
    [
        ("dcd", ["ensemble.dcd", "reference.pdb"]),
        ("xtc", ["ensemble.xtc", "reference.pdb"]),
        ("pdb", ["000000.pdb", "000009.pdb"]),
        ("bcif", ["000000.bcif", "000009.bcif"]),
    ],
)
def test_relaxed_structures_are_whole_again_in_every_format(torn, tmp_path, format, names):
    pytest.importorskip("openmm")
    before = export(torn, tmp_path / "fitted", particles=[0, 9], geometry=True).geometry
    written = export(torn, tmp_path / "out", format=format, particles=[0, 9], relax=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        [*names, "geometry.csv", "geometry.json"]
    )
    assert before.rows[1]["bond_max"] == pytest.approx(0.9, abs=0.01)
    assert written.geometry.rows[1]["bond_max"] < 0.05
    assert written.geometry.rows[0]["moved"] < written.geometry.rows[1]["moved"] < 0.5
    last = DCDFile if format == "dcd" else XTCFile if format == "xtc" else None
    frame = (
        last.read(written.path).get_coord()[1]
        if last
        else read_structure(written.path / names[1]).position.numpy()
    )
    end = bond_behind_residue_3(torn.structure)
    length = float((torn.structure.position[end[0]] - torn.structure.position[end[1]]).norm())
    assert np.linalg.norm(frame[end[0]] - frame[end[1]]) == pytest.approx(length, abs=0.05)


def test_a_run_of_beads_is_relaxed_like_any_other(torn, tmp_path):
    """The same tear by offsets of single beads: residues before it stay, residues behind it go."""
    pytest.importorskip("openmm")
    structure = torn.structure
    c, n = bond_behind_residue_3(structure)
    along = (structure.position[n] - structure.position[c]).numpy()
    beads = coarse_grain(structure)
    behind = ((beads.chain == "A") & (beads.residue > 3))[:, None]
    (tmp_path / "p.star").write_text("data_\n")
    run = write_bead_run(
        tmp_path / "run",
        structure,
        tmp_path / "p.star",
        mode=[behind * along / np.linalg.norm(along)],
        feature=[[0.0], [0.9]],
    )
    fitted = export(run, tmp_path / "fitted", geometry=True).geometry
    relaxed = export(run, tmp_path / "relaxed", relax=True).geometry
    assert fitted.rows[1]["bond_max"] > 0.3 and relaxed.rows[1]["bond_max"] < 0.05


def test_relaxed_structures_are_the_same_on_any_number_of_threads(torn, tmp_path):
    pytest.importorskip("openmm")
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            export(torn, tmp_path / str(count), relax=True)
    finally:
        torch.set_num_threads(threads)
    one, three = (DCDFile.read(tmp_path / count / "ensemble.dcd").get_coord() for count in "13")
    np.testing.assert_array_equal(one, three)
    assert (tmp_path / "1" / "geometry.csv").read_bytes() == (
        tmp_path / "3" / "geometry.csv"
    ).read_bytes()


def test_without_openmm_nothing_is_written(torn, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openmm", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'atomdrgn\[relax\]'"):
        export(torn, tmp_path / "out", relax=True)
    assert not (tmp_path / "out").exists()


def test_an_export_that_is_under_way_says_so_and_admits_no_other(tmp_path, monkeypatch):
    run = hinged_run(tmp_path, two_helices(tmp_path), np.linspace(-3, 3, 4))
    seen = []

    class Second(Reporter):
        def advance(self, steps=1):
            seen.append(sorted(path.name for path in (tmp_path / "out").iterdir()))
            with pytest.raises(OutputExistsError, match="another command is writing there"):
                export(run, tmp_path / "out", format="pdb", overwrite=True)

    export(run, tmp_path / "out", format="pdb", reporter=Second())
    assert len(seen) >= 3 and all("unfinished.lock" in names for names in seen)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"00000{number}.pdb" for number in range(4)
    ]
