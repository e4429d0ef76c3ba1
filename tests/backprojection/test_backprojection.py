import csv
import json
from dataclasses import replace

import mrcfile
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from atomdrgn.backprojection.backprojection import FILES, backproject, write_reconstruction
from atomdrgn.backprojection.filtering import shell_mean
from atomdrgn.errors import InputError, OutputExistsError
from atomdrgn.particles.reading import read_particles
from atomdrgn.physics.correlation import fourier_shell_correlation, resolution_at, shell_index
from atomdrgn.physics.maps.atom_density import density_of_atoms
from atomdrgn.structure.atoms import read_structure
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.density_map import DensityMap, read_density_map
from hinge import with_pixels


@pytest.fixture(scope="module")
def made(still):
    return backproject(still[1])


def test_the_map_is_the_molecule_at_its_scale(still, made):
    truth = still[2]
    correlation = fourier_shell_correlation(made.map.density, truth)
    assert correlation[1:9].min() > 0.9
    a, b = torch.fft.rfftn(made.map.density), torch.fft.rfftn(truth)
    low = torch.zeros(a.shape, dtype=torch.bool)
    low[:5, :5, :5] = True
    assert float((a * b.conj()).real[low].sum() / (b.abs() ** 2)[low].sum()) == pytest.approx(
        1, abs=0.06
    )


def test_half_maps_say_how_the_map_correlates_with_the_truth(still, made):
    """Without a mask: sqrt(2 FSC / (1 + FSC)) of independent halves is the correlation of their
    mean with the truth.
    """
    half = made.correlation.unmasked.clamp_min(0)
    expected, found = (
        (2 * half / (1 + half)).sqrt(),
        fourier_shell_correlation(made.map.density, still[2]),
    )
    assert_close(found[2:12], expected[2:12], atol=0.12, rtol=0)
    assert (found - expected)[2:12].mean().abs() < 0.04


def test_the_mask_holds_the_molecule_and_gains_resolution(still, made):
    structure = still[0]
    at = (structure.position / 4.0).round().long() + 16
    assert (made.mask.density[at[:, 2], at[:, 1], at[:, 0]] > 0.5).float().mean() > 0.95
    assert made.summary["mask_share"] < 0.4
    assert made.correlation.masked[9:16].mean() > made.correlation.unmasked[9:16].mean() + 0.05
    assert made.summary["half_set_particles"] == [300, 300]


def test_spoilt_images_are_left_out(still, tmp_path):
    """The map is that of the others."""
    _, particles, _ = still

    def spoil(pixels):
        pixels[7, 3, 3] = 1e4 * pixels.std()
        pixels[40, :8] += 30 * pixels.std()

    others = [i for i in range(600) if i not in (7, 40)]
    with pytest.warns(
        UserWarning, match="2 of 600 images .rows 8 and 41. are nothing like the others"
    ):
        found = backproject(with_pixels(particles, tmp_path / "spoilt", spoil))
    expected = backproject(particles, chosen=others)
    assert_close(found.map.density, expected.map.density, rtol=0, atol=0)
    assert found.summary["images"] == 598 and found.summary["particles"] == 598


def test_chosen_particles_are_weights_of_one_and_nothing(still):
    _, particles, _ = still
    chosen = torch.arange(0, 600, 4).tolist() + torch.arange(1, 600, 4).tolist()
    weight = torch.zeros(600)
    weight[chosen] = 1
    by_number, by_weight = (
        backproject(particles, chosen=chosen),
        backproject(particles, weights=weight),
    )
    assert_close(by_number.map.density, by_weight.map.density)
    twice = backproject(particles, weights=2 * weight)
    assert_close(
        twice.map.density,
        by_weight.map.density,
        atol=1e-4 * float(by_weight.map.density.max()),
        rtol=0,
    )
    assert by_number.summary["particles"] == 300


def test_more_particles_make_a_better_map(still, made):
    few = backproject(still[1], chosen=range(100))
    many, fewer = (
        fourier_shell_correlation(x.map.density, still[2])[2:14].mean() for x in (made, few)
    )
    assert 1 - many < 0.5 * (1 - fewer)


def test_the_same_input_gives_the_same_bits(still, made):
    again = backproject(still[1])
    assert torch.equal(again.map.density, made.map.density) and again.summary == made.summary


def test_a_weight_on_the_noise_is_a_loss(still, made):
    """Images that are nothing but noise, known to be so by their weight of nothing, do not count."""
    _, particles, truth = still
    lost = particles.pose.rotation.clone()
    lost[:200] = lost[:200].roll(7, 0)  # these have other particles' poses
    wrong = replace(particles, pose=replace(particles.pose, rotation=lost))
    weight = (torch.arange(600) >= 200).float()
    without, with_them = backproject(wrong, weights=weight), backproject(wrong)
    k = made.correlation.frequency
    a, b = (
        resolution_at(k, fourier_shell_correlation(x.map.density, truth), 0.5)
        for x in (without, with_them)
    )
    assert a <= b


def test_everything_is_written_and_read_again(still, made, tmp_path):
    out = write_reconstruction(made, tmp_path / "map", settings={"source": "particles.star"})
    assert {path.name for path in out.iterdir()} == set(FILES)
    assert_close(read_density_map(out / "map.mrc").density, made.map.density)
    assert read_density_map(out / "half1.mrc").centre == (0, 0, 0)
    assert mrcfile.validate(out / "map.mrc")
    rows = list(csv.DictReader(open(out / "fsc.csv")))
    assert [float(row["frequency"]) for row in rows] == pytest.approx(
        made.correlation.frequency.tolist(), abs=1e-6
    )
    assert [float(row["fsc"]) for row in rows] == pytest.approx(
        made.correlation.corrected.tolist(), abs=1e-6
    )
    summary = json.loads((out / "summary.json").read_text())
    assert summary["source"] == "particles.star" and summary["images"] == 600
    with pytest.raises(OutputExistsError, match="--overwrite"):
        write_reconstruction(made, out)
    write_reconstruction(made, out, overwrite=True)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="notes.txt"):
        write_reconstruction(made, out, overwrite=True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"chosen": []}, "no particle is chosen"),
        ({"chosen": [3, 600]}, "no particle 600.*0 to 599"),
        ({"chosen": [-1]}, "no particle -1"),
        ({"chosen": [0, 2, 4]}, "half-set 2 has no particle among the 3"),
        ({"weights": np.ones(5)}, "5 weights for 600 particles"),
        ({"weights": -np.ones(600)}, "weight of particle 0 is -1"),
        ({"weights": np.full(600, np.nan)}, "weight of particle 0 is nan"),
        ({"weights": np.zeros(600)}, "all weights are 0"),
        ({"mask": DensityMap(torch.ones(32, 32, 32), 5.0, name="m.mrc")}, "m.mrc.*resample"),
        (
            {"mask": DensityMap(5 * torch.ones(32, 32, 32), 4.0, name="m.mrc")},
            "m.mrc: values from 5 to 5.*looks like a density",
        ),
    ],
)
def test_what_cannot_be_reconstructed_is_refused(still, options, says):
    with pytest.raises(InputError, match=says):
        backproject(still[1], **options)


@pytest.mark.seconds
def test_real_tilt_series_show_the_hand(shared):
    """20 ribosomes of two tomograms: their map is like the 50S model's density, and less like its
    mirror images.

    All shells to 40 A count alike; each coefficient over the model's amplitude of its shell.
    """
    folder = shared / "data" / "particles" / "warptools_dev"
    stack = read_particles(folder / "particles_dev.star", tomograms=folder / "tomograms.star")
    beads = coarse_grain(read_structure(folder / "model_50S_placed.cif.gz"))
    model = density_of_atoms(
        beads.position, beads.amplitude, beads.sigma.clamp_min(4.0), box_size=32, voxel_size=12.0
    )
    made = backproject(stack)
    plain = 0.5 * (made.halves[0].density + made.halves[1].density)
    transform, shell = torch.fft.rfftn(model), shell_index(32, 3)
    flat = torch.where(
        (shell > 0) & (shell <= 9),
        1 / shell_mean(transform.abs() ** 2, 32)[shell.clamp_max(16)].sqrt(),
        0,
    )

    def alike(density):
        a, b = torch.fft.rfftn(density) * flat, transform * flat
        return float(
            (a * b.conj()).real.sum() / (a.abs() ** 2).sum().sqrt() / (b.abs() ** 2).sum().sqrt()
        )

    mirrors = [alike(plain.flip(axis).roll(1, axis)) for axis in range(3)]
    assert alike(plain) > 0.17 and alike(plain) > max(mirrors) + 0.06
