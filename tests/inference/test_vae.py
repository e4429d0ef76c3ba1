"""The amortised fit: what it starts from, what it learns, and that a run is whole, repeatable and resumable."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from atomdrgn.errors import FileFormatError, InputError
from atomdrgn.inference import vae
from atomdrgn.inference.fit import fit
from atomdrgn.inference.folder import read_history
from atomdrgn.inference.gradient import whitened_images
from atomdrgn.inference.vae import fit_vae
from atomdrgn.inference.vae_data import read_data
from atomdrgn.inference.vae_training import image_losses, run_epoch, start_training
from atomdrgn.model.autoencoder import N_LATENT, MotionAutoencoder
from atomdrgn.physics.disc import make_disc
from atomdrgn.physics.fourier import inverse_transform, transform
from atomdrgn.physics.projection import project_beads
from atomdrgn.run import CHECKPOINT, FIELD, FILES, HALVES, HISTORY, MAP, MEAN, REPORT, RESIDUES
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.segmentation import make_segments


@pytest.fixture(scope="module")
def begun(hinged):
    """A function: training and data of a fit before its first epoch."""
    structure, particles, _ = hinged
    beads = coarse_grain(structure)
    disc = make_disc(particles.grid, 9.0)

    def call(loss="correlation"):
        model = MotionAutoencoder(beads, make_segments(beads, 3), named=0, n_pixels=48**2,
                                  generator=torch.Generator().manual_seed(0))
        return start_training(model, 3e-6), read_data(particles, beads, disc, loss=loss)

    return call


SETTINGS = {"segments": 2, "resolution": 9.0, "rate": 1e-3, "epochs": 3}


@pytest.fixture(scope="module")
def run(hinged, tmp_path_factory):
    structure, particles, _ = hinged
    return fit_vae(structure, particles, tmp_path_factory.mktemp("vae") / "run", **SETTINGS)


def test_at_the_start_nothing_moves_and_images_show_the_base(begun):
    training, data = begun()
    index, noise = torch.arange(4), torch.randn(4, N_LATENT, generator=torch.Generator().manual_seed(0))
    membership = training.model.segments.mean()
    position = training.model.positions(training.model.decoder(noise), membership)
    torch.testing.assert_close(position, data.beads.position.expand(4, -1, -1))
    loss, _ = image_losses(training.model, data, index, noise, torch.zeros_like(training.model.segments.place))
    assert ((loss < -0.2) & (loss > -1)).all()


def test_the_loss_is_the_correlation_of_the_pixels(begun):
    """Two routes: coefficients of the half-plane, and pixels of filtered images."""
    _, data = begun()
    index, grid = torch.arange(4), data.disc.grid
    kx, ky = grid.frequencies()
    radius = torch.hypot(kx, ky)
    held = (radius > 0) & (radius <= 1 / data.disc.resolution + 1e-6)
    camera = data.stack.pose[index].apply(data.beads.position)
    projection = transform(project_beads(camera, data.beads.amplitude, data.beads.sigma, grid))
    seen, expected = (inverse_transform(coefficient * held, grid.box_size).flatten(1) for coefficient in (
        transform(data.stack.read(index)), projection * data.stack.ctf[index].evaluate(grid)))
    correlation = torch.cosine_similarity(seen, expected)
    torch.testing.assert_close(-data.loss_of(index, data.beads.position.expand(4, -1, -1)), correlation, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("loss", ["correlation", "likelihood"])
def test_an_epoch_lowers_the_loss(begun, loss):
    """Of all images, at the same draws before and after."""
    training, data = begun(loss)
    everything, generator = torch.arange(len(data)), torch.Generator().manual_seed(1)
    noise, segment_noise = torch.randn(len(data), N_LATENT, generator=generator), training.model.segments.draw(generator)

    def total():
        with torch.no_grad():
            return float(image_losses(training.model, data, everything, noise, segment_noise)[0].sum())

    before = total()
    row = run_epoch(training, data, beta=0.0, seed=0)
    assert total() < before
    assert row["epoch"] == 1 and row["kl"] > 0 and row[loss] == pytest.approx(-before / len(data), rel=0.2)
    assert training.model.segments.place.abs().max() > 0


def test_noise_and_brightness_are_measured_at_the_base(begun):
    """Images hold 0.3 parts of signal and one of white noise; where it is coarse the base is as bright as they are."""
    _, data = begun()
    expected = data.stack.read().var((-2, -1)).mean() / 1.3
    ratio = data.noise.spectrum[0, 3:] / expected
    assert ratio.min() > 0.9 and abs(ratio[-1] - 1) < 0.12      # between, what moved adds what the base does not explain
    disc = data.disc.coarser(30.0)
    images = whitened_images(data.stack, data.noise, disc, torch.arange(150))
    camera = images.pose.apply(data.beads.position)
    prediction = disc.coefficients(project_beads(camera, data.beads.amplitude, data.beads.sigma, disc.grid)) * images.transfer
    gain = (prediction.conj() * images.data).real.sum() / prediction.abs().square().sum()
    assert abs(gain - 1) < 0.05


def test_the_folder_is_that_of_any_run(run, hinged):
    structure, _, _ = hinged
    of_others = {REPORT, FIELD, MEAN, MAP, RESIDUES, *HALVES}      # half-sets are the closed form's
    assert {path.name for path in run.folder.iterdir()} == set(FILES) - of_others
    assert run.settings["fit"]["inference"] == "vae" and run.summary["passes"] == 3
    assert run.latent.shape == run.latent_sd.shape == (150, len(run.summary["motions"]))
    assert run.motion.rotation.shape == (150, 2, 4) and np.isfinite(run.table["log_likelihood_gain"]).all()
    np.testing.assert_allclose(run.model["weight"].sum(1), 1, atol=1e-5)
    beads = run.beads(range(150))[:, run.model["trace"]]
    moved = (beads - beads.mean(0)).square().sum(-1).mean(-1).sqrt()
    length = np.linalg.norm(run.latent, axis=1)      # along a curved path it is not quite the distance
    assert np.median(np.abs(length / moved.numpy() - 1)) < 0.02 and np.abs(length - moved.numpy()).max() < 0.5
    assert run.atoms([0, 149]).shape == (2, len(structure), 3)


def test_the_same_seed_gives_the_same_bits_on_any_threads(run, hinged, tmp_path):
    structure, particles, _ = hinged
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if before > 1 else 2)
        again = fit_vae(structure, particles, tmp_path / "run", **SETTINGS)
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
            fit_vae(structure, particles, tmp_path / "run", **SETTINGS)
    assert len(read_history(tmp_path / "run" / HISTORY, 9)) == 2
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    assert fit_vae(structure, particles, tmp_path / "copy", **SETTINGS, resume=True, minutes=0.0).summary["passes"] == 2
    resumed = fit_vae(structure, particles, tmp_path / "run", **SETTINGS, resume=True)
    np.testing.assert_array_equal(resumed.latent, run.latent)
    np.testing.assert_array_equal(resumed.model["weight"], run.model["weight"])
    with pytest.raises(InputError, match="rate was 0.001 and is 0.01"):
        fit_vae(structure, particles, tmp_path / "run", **SETTINGS | {"rate": 0.01}, resume=True)
    with pytest.raises(InputError, match="inference was 'vae' and is 'closed-form'"):
        fit(structure, particles, tmp_path / "run", segments=2, resolution=9.0, resume=True)


def test_time_ends_training_and_the_run_is_whole(hinged, tmp_path):
    structure, particles, _ = hinged
    settings = SETTINGS | {"epochs": 1000}
    short = fit_vae(structure, particles.of_particles(range(20)), tmp_path / "run", **settings, minutes=1e-6)
    assert short.summary["passes"] == 1 and short.n_particles == 20


def test_a_damaged_checkpoint_is_refused(run, hinged, tmp_path):
    structure, particles, _ = hinged
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_bytes((run.folder / "run.json").read_bytes())
    (folder / CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(FileFormatError, match="--overwrite"):
        fit_vae(structure, particles, folder, **SETTINGS, resume=True)


def test_particles_are_in_order_and_have_one_image_each(hinged, tmp_path):
    _, particles, _ = hinged
    beads, disc = coarse_grain(hinged[0]), make_disc(particles.grid, 20.0)
    data = read_data(particles[torch.tensor([8, 2, 5])], beads, disc, loss="correlation")
    assert data.stack.particle.tolist() == [2, 5, 8]
    torch.testing.assert_close(data.images.rotation, particles.pose.rotation[[2, 5, 8]])
    tilts = replace(particles, particle=particles.particle // 2)
    with pytest.raises(InputError, match="up to 2: fit tilt series with --inference closed-form"):
        fit_vae(hinged[0], tilts, tmp_path / "run", **SETTINGS)


@pytest.mark.parametrize("wrong, says", [
    ({"loss": "squares"}, "correlation or likelihood"), ({"epochs": 0}, "0 epochs"), ({"rate": 0.0}, "rate of 0.0"),
    ({"minutes": -1.0}, "-1.0 minutes"), ({"fixed": "A,B", "segments": 1}, "every segment is fixed")])
def test_settings_out_of_range_are_refused(hinged, tmp_path, wrong, says):
    structure, particles, _ = hinged
    with pytest.raises(InputError, match=says):
        fit_vae(structure, particles, tmp_path / "run", **SETTINGS | wrong)
    assert not (tmp_path / "run").exists()
