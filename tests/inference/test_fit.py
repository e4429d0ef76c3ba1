import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from atomdrgn.errors import FileFormatError, InputError, OutputExistsError
from atomdrgn.inference import fit as fitting
from atomdrgn.inference.findings.ensemble import Ensemble
from atomdrgn.inference.fit import STATES, fit
from atomdrgn.inference.fit_assembly import assemble, segments_that_fit
from atomdrgn.inference.fit_options import FitOptions
from atomdrgn.inference.fit_stages import FitProgress
from atomdrgn.inference.placing.part_choice import PartSize
from atomdrgn.inference.problem.fit_state import load_state
from atomdrgn.parallel import Processes
from atomdrgn.particles.reading import read_particles
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.reporting import Reporter
from atomdrgn.runs.run import (
    BLOBS,
    CHECKPOINT,
    CORRELATION,
    FIELD,
    FILES,
    HALF_MAPS,
    HALVES,
    MAP,
    MASK,
    MEAN,
    PART,
    POPULATION,
    REPORT,
    RESIDUAL_MAPS,
    SUMMARY,
    open_run,
)
from atomdrgn.simulate import simulate_particles
from atomdrgn.structure.beads import coarse_grain
from hinge import with_pixels

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(hinged, tmp_path_factory):
    structure, particles, _ = hinged
    return fit(
        structure, particles, tmp_path_factory.mktemp("fits") / "run", segments=4, resolution=9.0
    )


def test_the_hinge_is_found(run, hinged):
    _, _, angle = hinged
    correlation = np.corrcoef(run.latent[:, 0], angle.numpy())[0, 1]
    assert abs(correlation) > 0.97
    assert run.summary["motions"][0]["share"] > 0.6


def test_atoms_are_nearer_to_the_truth_than_the_base(run, hinged):
    structure, particles, _ = hinged
    truth = torch.from_numpy(np.load(particles.source.parent / "truth.npz")["conformation"])

    def rmsd(position):
        return (position - truth).square().sum(-1).mean(-1).sqrt().mean()

    assert rmsd(run.atoms(range(150))) < 0.4 * rmsd(structure.position.expand(150, -1, -1))


def test_the_error_bars_are_honest(run, hinged):
    """The standardised error of the leading motion, scaled to the truth, has about unit spread."""
    _, _, angle = hinged
    slope, offset = np.polyfit(run.latent[:, 0], angle.numpy(), 1)
    standardised = (angle.numpy() - slope * run.latent[:, 0] - offset) / (
        abs(slope) * run.latent_sd[:, 0]
    )
    assert 0.6 < np.std(standardised) < 1.7


def test_the_noise_is_measured(run, hinged):
    """In every ring, from images that hold 0.3 parts of signal and one of white noise."""
    _, particles, _ = hinged
    spectrum = load_state(run.folder / CHECKPOINT).spectrum
    expected = particles.read().var((-2, -1)).mean() / 1.3
    assert spectrum.shape[0] == 1
    assert (spectrum[0, 3:] / expected - 1).abs().max() < 0.15
    assert (spectrum[0, 3:].mean() / expected - 1).abs() < 0.04


def test_the_folder_is_whole_and_plain(run):
    of_others = {REPORT, FIELD, MEAN, MAP, *HALF_MAPS, MASK, CORRELATION, POPULATION, PART}
    of_others |= {*RESIDUAL_MAPS, BLOBS}  # nothing is there besides the base model
    assert {path.name for path in run.folder.iterdir()} == set(FILES) - of_others
    assert len({path.stat().st_mode for path in run.folder.iterdir()}) == 1
    with open(run.folder / "particles.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["particle"] for row in rows] == [str(i) for i in range(150)]
    assert {row["rows"] for row in rows} == {"1"} and [
        int(row["first_row"]) for row in rows
    ] == list(range(150))
    assert np.mean([float(row["log_likelihood_gain"]) for row in rows]) > 10
    settings = json.loads((run.folder / "run.json").read_text())
    assert (
        settings["fit"]["segments"] == 4
        and settings["fit"]["seed"] == 0
        and len(settings["input"]["particles_sha256"]) == 64
    )
    assert np.abs(np.linalg.norm(run.motion.rotation.numpy(), axis=-1) - 1).max() < 1e-5
    assert run.latent.shape == run.latent_sd.shape and (run.latent_sd > 0).all()


def rows_of(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def test_each_half_set_supports_what_the_other_has_found(run):
    assert run.summary["motions_supported"] >= 1
    first = run.summary["motions"][0]
    assert all(
        gain > 3 * error
        for gain, error in zip(first["held_out_gain"], first["held_out_gain_error"], strict=True)
    )
    assert first["half_set_agreement"] > 0.9 and run.latent.shape[1] == len(run.summary["motions"])


def test_the_groups_are_the_bundles(run):
    """The lower one, which hardly moves, and the upper one, which turns: the border is that between
    the chains.
    """
    lower, upper = run.summary["groups"]
    assert (lower["selection"], upper["selection"]) == ("A:1-120", "B:1-120")
    assert upper["motion"] > 5 * lower["motion"]
    assert run.summary["states"] == []  # angles are spread evenly


def test_the_tables_say_what_is_known_of_residues_and_particles(run):
    residues, particles = (
        rows_of(run.folder / "residues.csv"),
        rows_of(run.folder / "particles.csv"),
    )
    assert [(row["chain"], row["residue"]) for row in residues] == [
        (chain, str(i + 1)) for chain in "AB" for i in range(120)
    ]
    assert all((row["group"] == "1") == (row["chain"] == "A") for row in residues)
    mean = {
        chain: np.mean([float(row["motion"]) for row in residues if row["chain"] == chain])
        for chain in "AB"
    }
    assert mean["B"] > 5 * mean["A"] and all(float(row["half_set_error"]) > 0 for row in residues)
    assert all(float(row["posterior_error"]) < float(row["motion"]) for row in residues)
    np.testing.assert_allclose(
        [float(row["motion1"]) for row in particles], run.latent[:, 0], atol=1e-3
    )
    np.testing.assert_allclose(
        [float(row["sd1"]) for row in particles], run.latent_sd[:, 0], atol=1e-3
    )
    assert {row["state"] for row in particles} == {"1"}


def test_draws_enclose_the_truth_as_often_as_they_should(run, hinged):
    """Intervals of 90 %, scaled to the angle by a line."""
    angle = hinged[2].numpy()
    assert run.draws.shape == (150, 20, run.latent.shape[1])
    slope, offset = np.polyfit(run.latent[:, 0], angle, 1)
    low, high = np.sort(
        slope * np.quantile(run.draws[..., 0], [0.05, 0.95], axis=1) + offset, axis=0
    )
    assert 0.75 <= ((low < angle) & (angle < high)).mean() <= 0.99
    np.testing.assert_allclose(run.draws.mean(1), run.latent, atol=0.5 * run.latent_sd.max())


def test_draws_decode_to_conformations_as_far_from_the_mean_as_they_say(run):
    """In A r.m.s. of the trace, superposed; and the place of a particle is its motion."""
    np.testing.assert_allclose(
        run.atoms_of(run.motion_at(run.latent[:5])), run.atoms(range(5)), atol=2e-3
    )
    on_trace = torch.from_numpy(run.structure.atom_name == "CA")
    mean = run.atoms(range(5))[:, on_trace].numpy()
    for particle in range(5):
        places = run.draws[particle]
        for draw, atoms in zip(
            places, run.atoms_of(run.motion_at(places))[:, on_trace].numpy(), strict=True
        ):
            _, left = Rotation.align_vectors(
                atoms - atoms.mean(0), mean[particle] - mean[particle].mean(0)
            )
            said = np.linalg.norm(draw - run.latent[particle])
            assert abs(left / np.sqrt(len(atoms)) - said) < 0.15 * said + 0.005


def test_errors_of_atoms_are_larger_where_the_molecule_moves(run, hinged):
    found = run.b_factors(range(150))
    upper = torch.from_numpy(run.structure.chain == "B")
    assert found.shape == (150, len(run.structure)) and found.isfinite().all() and (found > 0).all()
    assert found[:, upper].mean() > 1.3 * found[:, ~upper].mean()


@pytest.mark.parametrize(
    ("asked", "named", "expected"),
    [(20, 0, 20), (40, 0, 40), (41, 0, 40), (240, 0, 40), (60, 50, 51), (241, 0, 241)],
)
def test_segments_are_not_shorter_than_their_borders(hinged, asked, named, expected):
    """240 residues make 40 of six at most, besides those that are named; more than residues are
    refused later on.
    """
    assert segments_that_fit(coarse_grain(hinged[0]), asked, named=named) == expected


def test_nothing_moves_where_nothing_moved(hinged, tmp_path):
    """Noisy images of the base alone: no motion, one conformation, one group, no states."""
    structure = hinged[0]
    star = simulate_particles(
        structure,
        structure.position.expand(60, -1, -1).clone(),
        tmp_path / "images",
        grid=ImageGrid(32, 5.25),
        snr=0.3,
        generator=torch.Generator().manual_seed(1),
    )
    still = fit(structure, read_particles(star), tmp_path / "run", segments=3, resolution=14.0)
    assert (
        still.summary["motions_supported"] == 0
        and still.summary["motions"] == [] == still.summary["states"]
    )
    # the base model is exact, and stays
    torch.testing.assert_close(still.atoms([7])[0], structure.position, atol=1e-3, rtol=0)
    assert still.latent.shape == (60, 0) and still.n_particles == 60
    atoms = still.atoms(range(60))
    assert torch.equal(atoms, atoms[:1].expand(60, -1, -1))
    assert (
        len(still.summary["groups"]) == 1
        and "motion1" not in still.table
        and len(still.table["state"]) == 60
    )
    assert still.b_factors([0, 59]).isfinite().all()


def test_a_spoilt_image_does_not_change_what_is_found_in_the_others(run, hinged, tmp_path):
    """One pixel of one image, a stripe of another; both stay in the files, as unknown as the
    population is wide.
    """
    structure, particles, _ = hinged

    def spoil(pixels):
        pixels[7, 20, 30] = 1000 * pixels.std()
        pixels[40, :8] += 30 * pixels.std()

    with pytest.warns(
        UserWarning, match="2 of 150 images \\(rows 8 and 41\\) are nothing like the others"
    ):
        spoilt = fit(
            structure,
            with_pixels(particles, tmp_path / "spoilt", spoil),
            tmp_path / "run",
            segments=4,
            resolution=9.0,
        )
    others = np.delete(np.arange(150), [7, 40])
    for name in ("motions_supported", "states"):
        assert spoilt.summary[name] == run.summary[name]
    assert [group["selection"] for group in spoilt.summary["groups"]] == [
        group["selection"] for group in run.summary["groups"]
    ]
    assert spoilt.summary["mean_log_likelihood_gain"] == pytest.approx(
        run.summary["mean_log_likelihood_gain"], rel=0.02
    )
    assert np.corrcoef(spoilt.latent[others, 0], run.latent[others, 0])[0, 1] > 0.999
    assert spoilt.latent[others, 0].std() == pytest.approx(run.latent[others, 0].std(), rel=0.02)
    rows = rows_of(spoilt.folder / "particles.csv")
    assert [int(row["images_left_out"]) for row in rows] == [int(i in (7, 40)) for i in range(150)]
    assert "images_left_out" not in rows_of(run.folder / "particles.csv")[0]
    assert all(
        float(rows[i]["outlier_score"]) > 100 and float(rows[i]["log_likelihood_gain"]) == 0
        for i in (7, 40)
    )
    assert (spoilt.latent_sd[[7, 40], 0] > 0.7 * spoilt.latent[others, 0].std()).all()
    assert len(spoilt.summary["warnings"]) == 1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_in_noise_alone_nothing_moves(hinged, tmp_path, seed):
    structure, particles, _ = hinged

    def drown(pixels):
        pixels[:] = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(seed)).numpy()

    found = fit(
        structure,
        with_pixels(particles, tmp_path / "noise", drown),
        tmp_path / "run",
        segments=3,
        resolution=14.0,
    )
    assert found.summary["motions_supported"] == 0 and found.summary["warnings"] == []


def test_a_model_that_is_a_point_is_refused(hinged, tmp_path):
    structure, particles, _ = hinged
    with pytest.raises(
        InputError, match="base.pdb: its 240 residues lie within .* are its coordinates in A"
    ):
        fit(structure.moved(1e-3 * structure.position), particles, tmp_path / "run", segments=3)


def test_images_that_are_refused_leave_no_folder(hinged, tmp_path):
    structure, particles, _ = hinged

    def invert(pixels):
        pixels *= -1

    with pytest.raises(InputError, match="the contrast is inverted"):
        fit(
            structure,
            with_pixels(particles, tmp_path / "inverted", invert),
            tmp_path / "run",
            segments=3,
            resolution=14.0,
        )
    assert not (tmp_path / "run").exists()


class StopAfter(Reporter):
    """Ctrl-C in the middle of the pass of this number."""

    def __init__(self, passes):
        self.left = passes

    def start(self, title, total):
        if title.endswith(" A"):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt


@pytest.mark.parametrize(("passes", "last"), [(3, HALVES[0]), (12, HALVES[1]), (21, CHECKPOINT)])
def test_a_run_that_was_stopped_goes_on_and_ends_the_same(run, hinged, tmp_path, passes, last):
    """In the first half-set, in the second, or in the fit of both together."""
    structure, particles, _ = hinged
    with pytest.raises(KeyboardInterrupt):
        fit(
            structure,
            particles,
            tmp_path / "stopped",
            segments=4,
            resolution=9.0,
            reporter=StopAfter(passes),
        )
    files = (*HALVES, CHECKPOINT)
    there = [name for name in files if (tmp_path / "stopped" / name).exists()]
    assert (
        there == list(files[: files.index(last) + 1])
        and not (tmp_path / "stopped" / SUMMARY).exists()
    )
    resumed = fit(
        structure, particles, tmp_path / "stopped", segments=4, resolution=9.0, resume=True
    )
    np.testing.assert_array_equal(resumed.latent, run.latent)
    np.testing.assert_array_equal(resumed.motion.rotation, run.motion.rotation)
    columns = ["half", "step", "resolution", "evidence"]
    assert [
        list(open(r.folder / "history.csv"))[-1].split(",")[: len(columns)] for r in (run, resumed)
    ][0] == list(open(resumed.folder / "history.csv"))[-1].split(",")[: len(columns)]
    again = fit(structure, particles, tmp_path / "stopped", segments=4, resolution=9.0, resume=True)
    np.testing.assert_array_equal(again.latent, run.latent)


def test_threads_change_nothing(run, hinged, tmp_path):
    structure, particles, _ = hinged
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if before > 1 else 2)
        other = fit(structure, particles, tmp_path / "run", segments=4, resolution=9.0)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(other.latent, run.latent)


def test_a_run_is_not_overwritten_nor_resumed_with_other_settings(run, hinged):
    structure, particles, _ = hinged
    with pytest.raises(OutputExistsError, match="--resume"):
        fit(structure, particles, run.folder, segments=4)
    with pytest.raises(InputError, match="segments was 4 and is 5"):
        fit(structure, particles, run.folder, segments=5, resolution=9.0, resume=True)
    np.testing.assert_array_equal(open_run(run.folder).latent, run.latent)


def test_a_folder_that_is_no_run_is_left_alone(hinged, tmp_path):
    structure, particles, _ = hinged
    (tmp_path / "precious.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError, match="is no run"):
            fit(structure, particles, tmp_path, overwrite=overwrite)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_overwrite_removes_the_files_of_the_run_only(run, hinged, tmp_path):
    structure, particles, _ = hinged
    for path in run.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "notes.txt").write_text("mine")
    new = fit(
        structure,
        particles.of_particles(range(12)),
        tmp_path,
        segments=2,
        resolution=20.0,
        overwrite=True,
    )
    assert new.n_particles == 12 and (tmp_path / "notes.txt").read_text() == "mine"


def test_a_damaged_checkpoint_is_refused(hinged, tmp_path):
    structure, particles, _ = hinged
    with pytest.raises(KeyboardInterrupt):
        fit(
            structure,
            particles,
            tmp_path / "run",
            segments=4,
            resolution=9.0,
            reporter=StopAfter(1),
        )
    (tmp_path / "run" / CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(FileFormatError, match="--overwrite"):
        fit(structure, particles, tmp_path / "run", segments=4, resolution=9.0, resume=True)


@pytest.mark.parametrize("count", [1, 2])
def test_a_particle_or_two_are_enough_to_run(hinged, tmp_path, count):
    structure, particles, _ = hinged
    few = fit(
        structure,
        particles.of_particles(range(count)),
        tmp_path / "run",
        segments=3,
        resolution=15.0,
    )
    assert np.isfinite(few.latent).all() and few.n_particles == count


def test_what_is_fixed_stays_and_one_segment_is_a_rigid_body(hinged, tmp_path):
    structure, particles, _ = hinged
    some = particles.of_particles(range(30))
    held = fit(structure, some, tmp_path / "held", segments=2, fixed="A", resolution=12.0)
    lower = torch.from_numpy(structure.chain == "A")
    assert (held.atoms([3])[0, lower] - held.structure.position[lower]).abs().max() < 2e-3
    assert fit(
        structure, some, tmp_path / "one", segments=1, resolution=12.0
    ).motion.rotation.shape == (30, 1, 4)
    with pytest.raises(InputError, match="fixed"):
        fit(structure, some, tmp_path / "none", segments=1, fixed="A,B")


def test_two_beads_a_residue(hinged, tmp_path):
    structure, particles, angle = hinged
    run = fit(structure, particles, tmp_path / "run", segments=2, beads=2, resolution=12.0)
    assert abs(np.corrcoef(run.latent[:, 0], angle.numpy())[0, 1]) > 0.95


def test_it_begins_again_with_a_larger_part_while_half_sets_disagree(
    hinged, begin, tmp_path, monkeypatch
):
    """Nothing is left of what was found on fewer; a fit that is gone on with knows how many."""
    structure, particles, _ = hinged
    model, state = begin(20.0)
    counts, wanted = [], [PartSize(60, True), PartSize(120, True), None]

    def found(stages, progress, *, last):
        assert last == len(stages) - 1
        counts.append(progress.model.n_particles)
        assert progress.history == () and progress.states == (None, None, None)
        for name in STATES:
            assert not (progress.folder / name).exists()
            (progress.folder / name).write_bytes(b"steps")
        return replace(progress, ensemble=object.__new__(Ensemble))

    monkeypatch.setattr(fitting, "go_through", found)
    monkeypatch.setattr(PartSize, "larger", lambda self, ensemble, particles: wanted.pop(0))
    options = FitOptions(segments=2, resolution=20.0, keep_base=True)
    first = replace(model, processes=Processes())
    begun = FitProgress(tmp_path, structure, options, first, particles=particles)
    learned = fitting._learn(begun, PartSize(30, True), assemble)
    assert counts == [150, 60, 120] and learned.model.n_particles == 120
    assert json.loads((tmp_path / PART).read_text()) == {"particles": 120}
    again = fitting._part_size(particles, options, tmp_path, resume=True)
    assert again == PartSize(150, False)  # all of them, where few would be left
    monkeypatch.setattr(type(particles), "n_particles", 1000)
    assert fitting._part_size(particles, options, tmp_path, resume=True) == PartSize(120, True)
    wanted_first = fitting._part_size(particles, options, tmp_path, resume=False)
    assert wanted_first == PartSize(1000, False)
