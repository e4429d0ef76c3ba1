"""The amortised fit: what it starts from, what it learns, and that a run is whole, repeatable and
resumable.
"""

import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from atomdrgn.errors import FileFormatError, InputError
from atomdrgn.inference.amortised import vae
from atomdrgn.inference.amortised.gradient import whitened_images
from atomdrgn.inference.amortised.vae import fit_vae
from atomdrgn.inference.amortised.vae_data import read_data
from atomdrgn.inference.amortised.vae_options import VaeOptions
from atomdrgn.inference.amortised.vae_training import image_losses, run_epoch, start_training
from atomdrgn.inference.fit import fit
from atomdrgn.inference.images.fourier_images import FourierImages
from atomdrgn.networks.autoencoder import N_LATENT, MotionAutoencoder
from atomdrgn.physics.fourier import inverse_transform, transform
from atomdrgn.physics.projection.project import project_beads
from atomdrgn.runs.run import (
    BASE,
    CHECKPOINT,
    HISTORY,
    LATENTS,
    MODEL,
    MOTIONS,
    PARTICLES,
    RESIDUES,
    SETTINGS,
    SUMMARY,
)
from atomdrgn.runs.run_folder import read_history
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.segmentation import make_segments
from hinge import with_pixels

pytestmark = pytest.mark.seconds


@pytest.fixture(scope="module")
def begun(hinged):
    """A function: training and data of a fit before its first epoch."""
    structure, particles, _ = hinged
    beads = coarse_grain(structure)

    def call(loss="correlation"):
        model = MotionAutoencoder(
            beads,
            make_segments(beads, 3),
            named=0,
            n_pixels=48**2,
            generator=torch.Generator().manual_seed(0),
        )
        return start_training(model, 3e-6), read_data(
            FourierImages(particles, 9.0), beads, loss=loss
        )

    return call


WRITTEN = {
    SETTINGS,
    BASE,
    MODEL,
    LATENTS,
    MOTIONS,
    PARTICLES,
    RESIDUES,
    HISTORY,
    SUMMARY,
    CHECKPOINT,
}
TWO_SEGMENTS = {"segments": 2, "resolution": 9.0, "rate": 1e-3, "epochs": 3}


@pytest.fixture(scope="module")
def run(hinged, tmp_path_factory):
    structure, particles, _ = hinged
    return fit_vae(structure, particles, tmp_path_factory.mktemp("vae") / "run", **TWO_SEGMENTS)


def test_at_the_start_nothing_moves_and_images_show_the_base(begun):
    training, data = begun()
    index, noise = (
        torch.arange(4),
        torch.randn(4, N_LATENT, generator=torch.Generator().manual_seed(0)),
    )
    position = training.model.positions(noise, training.model.mean())
    torch.testing.assert_close(position, data.beads.position.expand(4, -1, -1))
    loss, _, strain = image_losses(training.model, data, index, noise, training.model.mean())
    assert ((loss < -0.2) & (loss > -1)).all() and not strain.any()


def test_the_loss_is_the_correlation_of_the_pixels(begun):
    """Two routes: coefficients of the half-plane, and pixels of filtered images."""
    _, data = begun()
    index, grid = torch.arange(4), data.disc.grid
    kx, ky = grid.frequencies()
    radius = torch.hypot(kx, ky)
    held = (radius > 0) & (radius <= 1 / data.disc.resolution + 1e-6)
    camera = data.stack.pose[index].apply(data.beads.position)
    projection = transform(project_beads(camera, data.beads.amplitude, data.beads.sigma, grid))
    seen, expected = (
        inverse_transform(coefficient * held, grid.box_size).flatten(1)
        for coefficient in (
            transform(data.stack.read(index)),
            projection * data.stack.ctf[index].evaluate(grid),
        )
    )
    correlation = torch.cosine_similarity(seen, expected)
    torch.testing.assert_close(
        -data.loss_of(index, data.beads.position.expand(4, -1, -1)),
        correlation,
        atol=1e-4,
        rtol=1e-3,
    )


@pytest.mark.parametrize("loss", ["correlation", "likelihood"])
def test_an_epoch_lowers_the_loss(begun, loss):
    """Of all images, at the same draws before and after."""
    training, data = begun(loss)
    everything, generator = torch.arange(len(data)), torch.Generator().manual_seed(1)
    noise, segment_noise = (
        torch.randn(len(data), N_LATENT, generator=generator),
        training.model.segments.draw(generator),
    )

    def total():
        with torch.no_grad():
            return float(
                image_losses(training.model, data, everything, noise, segment_noise)[0].sum()
            )

    before = total()
    row = run_epoch(training, data, batch=128, beta=0.0, seed=0)
    assert total() < before
    assert (
        row["epoch"] == 1
        and row["kl"] > 0
        and row[loss] == pytest.approx(-before / len(data), rel=0.2)
    )
    assert training.model.segments.place.abs().max() > 0


def test_noise_and_brightness_are_measured_at_the_base(begun):
    """Images hold 0.3 parts of signal and one of white noise; where it is coarse the base is as
    bright as they are.
    """
    _, data = begun()
    expected = data.stack.read().var((-2, -1)).mean() / 1.3
    ratio = data.noise.spectrum[0, 3:] / expected
    # between, what moved adds what the base does not explain
    assert ratio.min() > 0.9 and abs(ratio[-1] - 1) < 0.12
    disc = data.disc.coarser(30.0)
    images = whitened_images(data.stack, data.noise, disc, torch.arange(150))
    camera = images.pose.apply(data.beads.position)
    prediction = (
        disc.coefficients(project_beads(camera, data.beads.amplitude, data.beads.sigma, disc.grid))
        * images.transfer
    )
    gain = (prediction.conj() * images.data).real.sum() / prediction.abs().square().sum()
    assert abs(gain - 1) < 0.05


def test_the_folder_is_that_of_any_run(run, hinged):
    structure, _, _ = hinged
    assert {path.name for path in run.folder.iterdir()} == WRITTEN
    assert run.settings["fit"]["inference"] == "vae" and run.summary["passes"] == 3
    assert run.latent.shape == run.latent_sd.shape == (150, len(run.summary["motions"]))
    assert (
        run.motion.rotation.shape == (150, 2, 4)
        and np.isfinite(run.table["log_likelihood_gain"]).all()
    )
    np.testing.assert_allclose(run.model["weight"].sum(1), 1, atol=1e-5)
    beads = run.beads(range(150))[:, run.model["trace"]]
    moved = (beads - beads.mean(0)).square().sum(-1).mean(-1).numpy()
    listed, share = (
        np.square(run.latent).sum(1),
        sum(motion["share"] for motion in run.summary["motions"]),
    )
    assert (listed < 1.01 * moved + 0.01).all() and listed.mean() == pytest.approx(
        share * moved.mean(), rel=0.01
    )
    assert share > 0.95
    assert run.atoms([0, 149]).shape == (2, len(structure), 3)


def test_the_same_seed_gives_the_same_bits_on_any_threads(run, hinged, tmp_path):
    structure, particles, _ = hinged
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if before > 1 else 2)
        again = fit_vae(structure, particles, tmp_path / "run", **TWO_SEGMENTS)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(again.motion.rotation, run.motion.rotation)
    np.testing.assert_array_equal(again.latent_sd, run.latent_sd)
    assert again.summary == run.summary


def test_a_run_that_was_stopped_goes_on_and_ends_the_same(run, hinged, tmp_path, monkeypatch):
    structure, particles, _ = hinged
    saved = vae.save_training

    def save_and_stop(training, folder):
        saved(training, folder)
        if training.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(vae, "save_training", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            fit_vae(structure, particles, tmp_path / "run", **TWO_SEGMENTS)
    assert len(read_history(tmp_path / "run" / HISTORY, 9)) == 2
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    assert (
        fit_vae(
            structure, particles, tmp_path / "copy", **TWO_SEGMENTS, resume=True, minutes=0.0
        ).summary["passes"]
        == 2
    )
    resumed = fit_vae(structure, particles, tmp_path / "run", **TWO_SEGMENTS, resume=True)
    np.testing.assert_array_equal(resumed.latent, run.latent)
    np.testing.assert_array_equal(resumed.model["weight"], run.model["weight"])
    with pytest.raises(InputError, match="rate was 0.001 and is 0.01"):
        fit_vae(
            structure, particles, tmp_path / "run", **TWO_SEGMENTS | {"rate": 0.01}, resume=True
        )
    with pytest.raises(InputError, match="inference was 'vae' and is 'closed-form'"):
        fit(structure, particles, tmp_path / "run", segments=2, resolution=9.0, resume=True)


def test_time_ends_training_and_the_run_is_whole(hinged, tmp_path):
    structure, particles, _ = hinged
    settings = TWO_SEGMENTS | {"epochs": 1000}
    short = fit_vae(
        structure, particles.of_particles(range(20)), tmp_path / "run", **settings, minutes=1e-6
    )
    assert short.summary["passes"] == 1 and short.n_particles == 20


def test_a_damaged_checkpoint_is_refused(run, hinged, tmp_path):
    structure, particles, _ = hinged
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_bytes((run.folder / "run.json").read_bytes())
    (folder / CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(FileFormatError, match="--overwrite"):
        fit_vae(structure, particles, folder, **TWO_SEGMENTS, resume=True)


def test_particles_are_in_order_and_have_one_image_each(hinged, tmp_path):
    _, particles, _ = hinged
    data = read_data(
        FourierImages(particles[torch.tensor([8, 2, 5])], 20.0),
        coarse_grain(hinged[0]),
        loss="correlation",
    )
    assert data.stack.particle.tolist() == [2, 5, 8]
    torch.testing.assert_close(data.images.rotation, particles.pose.rotation[[2, 5, 8]])
    tilts = replace(particles, particle=particles.particle // 2)
    with pytest.raises(InputError, match="up to 2: fit tilt series with --inference closed-form"):
        fit_vae(hinged[0], tilts, tmp_path / "run", **TWO_SEGMENTS)


OFFSETS = {"deformation": "beads", "resolution": 9.0, "rate": 3e-4, "epochs": 6}


@pytest.fixture(scope="module")
def offsets(hinged, tmp_path_factory):
    structure, particles, _ = hinged
    return fit_vae(structure, particles, tmp_path_factory.mktemp("offsets") / "run", **OFFSETS)


def test_beads_that_move_by_themselves_explain_more_and_stay_a_chain(offsets):
    history = read_history(offsets.folder / HISTORY, 99)
    assert (
        history[-1]["correlation"] > history[0]["correlation"] + 0.01 and history[-1]["strain"] < 40
    )
    bead, base = offsets.beads(range(150)), torch.from_numpy(offsets.model["bead"])
    within = np.arange(239) % 40 != 39  # helices of 40 residues
    bond, whole = (
        torch.linalg.vector_norm(x.diff(dim=-2), dim=-1)[..., within] for x in (bead, base)
    )
    assert (bead - base).square().sum(-1).mean().sqrt() > 0.5 and (
        bond - whole
    ).square().mean().sqrt() < 0.4


def test_a_run_of_beads_is_one_like_any_other(offsets, hinged):
    """Beads and atoms by particle, by place, and in the tables."""
    structure, _, _ = hinged
    assert {path.name for path in offsets.folder.iterdir()} == WRITTEN
    assert offsets.summary["deformation"] == "beads" and "segments" not in offsets.summary
    bead = offsets.beads(range(150))
    moved = (bead - bead.mean(0)).square().sum(-1)
    # most is listed
    assert np.square(offsets.latent).sum(1).mean() == pytest.approx(float(moved.mean()), rel=0.1)
    offset = bead[[3, 5]] - torch.from_numpy(offsets.model["bead"])
    torch.testing.assert_close(offsets.motion.offset[[3, 5]], offset, atol=1e-4, rtol=0)
    with open(offsets.folder / "residues.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    np.testing.assert_allclose(
        [float(row["motion"]) for row in rows], moved.mean(0).sqrt(), atol=2e-3
    )
    assert len(rows) == 240 and min(float(row["posterior_error"]) for row in rows) > 0
    atoms = offsets.atoms([0, 149])
    near = offsets.atoms_of(offsets.motion_at(offsets.latent[[0, 149]]))
    assert atoms.shape == near.shape == (2, len(structure), 3)
    assert (near - atoms).square().sum(-1).mean().sqrt() < 0.5 * (
        atoms - structure.position
    ).square().sum(-1).mean().sqrt()


def test_beads_that_are_fixed_stay_and_what_goes_on_ends_the_same(hinged, tmp_path):
    structure, particles, _ = hinged
    particles, settings = (
        particles.of_particles(range(24)),
        OFFSETS | {"beads": 2, "fixed": "A", "epochs": 2},
    )
    whole = fit_vae(structure, particles, tmp_path / "whole", **settings)
    offset = whole.motion.offset
    fixed = torch.from_numpy(coarse_grain(structure, beads=2).chain == "A")
    assert not offset[:, fixed].any() and offset[:, ~fixed].abs().amax((0, 2)).min() > 0
    for name in ("first", "copy"):
        fit_vae(structure, particles, tmp_path / name, **settings, minutes=0.0)  # one epoch
    (tmp_path / "first" / SUMMARY).unlink()
    resumed = fit_vae(structure, particles, tmp_path / "first", **settings, resume=True)
    assert resumed.summary["passes"] == 2
    np.testing.assert_array_equal(resumed.latent, whole.latent)
    with pytest.raises(InputError, match="deformation was 'beads' and is 'segments'"):
        fit_vae(
            structure,
            particles,
            tmp_path / "copy",
            **settings | {"deformation": "segments"},
            resume=True,
        )


def test_segments_hold_no_conformations_between_particles(run):
    with pytest.raises(FileFormatError, match="without --inference vae"):
        run.motion_at(run.latent[:1])


@pytest.mark.parametrize(
    "wrong, says",
    [
        ({"deformation": "atoms"}, "segments or beads"),
        ({"deformation": "beads", "fixed": "A,B"}, "everything is fixed"),
        ({"deformation": "beads", "fixed": "Z"}, "'Z'"),
        ({"loss": "squares"}, "correlation or likelihood"),
        ({"epochs": 0}, "0 epochs"),
        ({"rate": 0.0}, "rate of 0.0"),
        ({"minutes": -1.0}, "-1.0 minutes"),
        ({"fixed": "A,B", "segments": 1}, "every segment is fixed"),
    ],
)
def test_settings_out_of_range_are_refused(hinged, tmp_path, wrong, says):
    structure, particles, _ = hinged
    with pytest.raises(InputError, match=says):
        fit_vae(structure, particles, tmp_path / "run", **TWO_SEGMENTS | wrong)
    assert not (tmp_path / "run").exists()


def test_spoilt_images_have_no_part_in_training(hinged, tmp_path):
    structure, particles, _ = hinged

    def spoil(pixels):
        pixels[7, 20, 30] = 1000 * pixels.std()

    spoilt = with_pixels(particles, tmp_path / "spoilt", spoil)
    with pytest.warns(UserWarning, match="1 of 150 images .row 8. is nothing like the others"):
        run = fit_vae(structure, spoilt, tmp_path / "run", **TWO_SEGMENTS | {"epochs": 1})
    with open(run.folder / PARTICLES, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["images_left_out"]) for row in rows] == [int(i == 7) for i in range(150)]
    assert float(rows[7]["outlier_score"]) > 100 and float(rows[7]["log_likelihood_gain"]) == 0
    assert np.isfinite(run.latent).all() and len(run.summary["warnings"]) == 1
    images, plain = (FourierImages(each, 9.0) for each in (spoilt, particles))
    images.load(memory=0.0)
    data, expected = (
        read_data(each, coarse_grain(structure), loss="likelihood") for each in (images, plain)
    )
    torch.testing.assert_close(data.noise.spectrum, expected.noise.spectrum, rtol=0.05, atol=0)
    torch.testing.assert_close(data.beads.amplitude, expected.beads.amplitude, rtol=0.02, atol=0)
    assert not data.pixels[7].any() and data.pixels[8].std() == pytest.approx(
        float(expected.pixels[8].std()), rel=0.01
    )


def test_options_say_what_decides_the_result():
    """Where beads move there are no segments; the rate is the one that counts."""
    segments, beads = (
        VaeOptions(deformation=kind, parts=["A"], seed=2).as_settings(6.12345)
        for kind in ("segments", "beads")
    )
    of_segments = {"segments": 20, "temperature": None, "parts": ["A"]}
    assert segments == beads | of_segments | {"deformation": "segments", "rate": 3e-5}
    assert beads["rate"] == 1e-4 and beads["seed"] == 2 and beads["resolution"] == 6.1235
    assert VaeOptions(rate=0.5).learning_rate == 0.5
