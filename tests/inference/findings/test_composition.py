"""A part that is absent from some particles is found, and nothing is found absent where all is
there.
"""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from atomdrgn.inference.findings.composition import covarying_sets, mixture
from atomdrgn.inference.fit import fit
from atomdrgn.inference.fit_assembly import assemble, first_state
from atomdrgn.inference.fit_options import FitOptions
from atomdrgn.inference.population.elastic_prior import elastic_population, starting_population
from atomdrgn.inference.population.population import Population
from atomdrgn.inference.problem.occupancy import prior_with_settled_occupancies, settle_brightness
from atomdrgn.likelihood.normal_equations import predict
from atomdrgn.particles.reading import read_particles
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.simulate import simulate_particles
from atomdrgn.structure.motion.segment_deformation import OCCUPANCY_UNIT

pytestmark = pytest.mark.slow

AWAY = torch.tensor([2.0e4, 1.0e4, 3.0e4])  # A: out of every image


@pytest.fixture(scope="module")
def missing(hinged, tmp_path_factory):
    """Particles of which 40 % lack the upper bundle, the others with its angle; and which have it."""
    structure, particles, angle = hinged
    folder = tmp_path_factory.mktemp("missing")
    generator = torch.Generator().manual_seed(5)
    atoms = torch.from_numpy(np.load(particles.source.parent / "truth.npz")["conformation"])
    present = torch.rand(len(atoms), generator=generator) > 0.4
    upper = torch.from_numpy(structure.chain == "B")
    atoms = torch.where((upper & ~present[:, None])[..., None], atoms + AWAY, atoms)
    star = simulate_particles(
        structure, atoms, folder, grid=ImageGrid(48, 3.5), snr=0.3, generator=generator
    )
    return structure, read_particles(star), present


def assembled(structure, particles):
    model = assemble(
        structure,
        particles,
        FitOptions(segments=2, parts=["A", "B"], composition=True, resolution=14.0),
    )
    model.images.load()
    return model


@pytest.fixture(scope="module")
def run(missing, tmp_path_factory):
    structure, particles, _ = missing
    return fit(
        structure,
        particles,
        tmp_path_factory.mktemp("fits") / "run",
        segments=4,
        resolution=14.0,
        composition=True,
    )


def test_what_is_absent_is_found(run, missing):
    _, _, present = missing
    found = run.summary["composition"]
    absent = run.table["absent_1"] > 0.5
    assert len(found["sets"]) == 1 and np.mean(absent != present.numpy()) > 0.97
    (members,) = (row["segments"] for row in found["sets"])
    chains = {row["segment"]: row["selection"][0] for row in found["segments"]}
    assert {chains[number] for number in members} == {"B"} and len(members) == list(
        chains.values()
    ).count("B")
    assert abs(found["sets"][0]["absent_fraction"] - float((~present).float().mean())) < 0.03
    assert 0.02 < found["sets"][0]["absent_fraction_error"] < 0.06


def test_occupancies_are_those_of_the_particles(run, missing):
    structure, _, present = missing
    for row in run.summary["composition"]["segments"]:
        occupancy = run.table[f"occupancy_{row['segment']}"]
        expected = (
            np.ones(len(present)) if row["selection"].startswith("A") else present.float().numpy()
        )
        # on so few coarse images what is there comes out a sixth to a fifth too bright
        assert abs(occupancy[expected == 1].mean() - 1) < 0.25
        assert np.sqrt(np.mean((occupancy - expected) ** 2)) < 0.25
    written = run.occupancy(range(len(present)))
    upper = torch.from_numpy(structure.chain == "B")
    assert (written[:, ~upper] > 0.99).float().mean() > 0.9
    assert ((written[:, upper].mean(1) > 0.5) == present).float().mean() > 0.97


def test_nothing_is_absent_where_all_is_there(hinged, tmp_path):
    structure, particles, angle = hinged
    run = fit(structure, particles, tmp_path / "run", segments=4, resolution=14.0, composition=True)
    assert not run.summary["composition"]["sets"]
    assert abs(np.corrcoef(run.latent[:, 0], angle.numpy())[0, 1]) > 0.96
    with open(run.folder / "particles.csv") as file:
        rows = list(csv.DictReader(file))
    for row in run.summary["composition"]["segments"]:
        assert abs(row["mean_occupancy"] - 1) < 0.1 and row["absent_fraction"] < 0.01
        occupancy = np.array([float(each[f"occupancy_{row['segment']}"]) for each in rows])
        sd = np.array([float(each[f"occupancy_sd_{row['segment']}"]) for each in rows])
        assert np.mean(np.abs(occupancy - 1) < 3 * sd + 0.05) > 0.95


def test_the_start_has_the_motions_that_it_has_without(hinged):
    model = assembled(*hinged[:2])
    deformation, beads = model.deformation, model.beads
    place = torch.arange(deformation.n_latent).view(-1, 7)
    motion, presence = place[:, :6].flatten(), place[:, 6]
    for make in (elastic_population, starting_population):
        wide, narrow = (
            make(deformation, beads).covariance,
            make(deformation.motions_alone, beads).covariance,
        )
        assert (
            torch.equal(wide[motion[:, None], motion], narrow)
            and not wide[motion[:, None], presence].any()
        )
        sd = OCCUPANCY_UNIT * wide[presence, presence].sqrt()
        assert (sd > 0.1).all() and (sd < 0.4).all()


def test_settled_brightness_changes_no_image(hinged):
    model = assembled(*hinged[:2])
    state = first_state(model)
    latent = torch.randn(state.latent.shape, generator=torch.Generator().manual_seed(0))
    twice = model.deformation.with_occupancy(
        latent[:1], torch.full((1, model.deformation.n_segments), 2.0)
    )[0]
    population = Population(twice, 1e-3 * state.population.root)
    state = replace(state, latent=latent, population=population)
    settled = settle_brightness(model, state)
    assert abs(settled.amplitude - 2) < 1e-3
    torch.testing.assert_close(
        model.deformation.occupancy(settled.population.mean), torch.ones(2), rtol=0, atol=1e-3
    )
    pose, disc = model.images.stack.pose[:4], model.images.disc
    one, other = (
        predict(model.deformation, model.image_model(each), each.latent[:4], pose=pose, disc=disc)
        for each in (state, settled)
    )
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(one.abs().max()))


def test_sets_are_what_varies_together(hinged):
    model = assembled(*hinged[:2])
    n, place = (
        model.deformation.n_latent,
        torch.arange(model.deformation.n_latent).view(-1, 7)[:, 6],
    )
    for correlation, expected in ((0.9, [[True, True]]), (0.1, [[True, False], [False, True]])):
        root = 0.01 * torch.eye(n)
        part = torch.linalg.cholesky(torch.tensor([[1.0, correlation], [correlation, 1.0]]))
        root[place[:, None], place] = 0.4 / OCCUPANCY_UNIT * part
        found = covarying_sets(model, Population(torch.zeros(n), root)).tolist()
        assert sorted(found) == sorted(expected)
    assert len(covarying_sets(model, Population(torch.zeros(n), 0.01 * torch.eye(n)))) == 0


def test_a_mixture_of_two_kinds():
    """Log-likelihood ratios of unit normals at -1 and 1: the fraction within its error, and none
    where there is none.
    """
    generator = torch.Generator().manual_seed(0)
    second = torch.rand(4000, generator=generator) < 0.3
    value = torch.where(second, 1.0, -1.0) + torch.randn(4000, generator=generator)
    probability, fraction, error = mixture(2 * value)
    assert abs(fraction - 0.3) < 3 * error and 0.005 < error < 0.02
    assert abs(float(probability.mean()) - fraction) < 1e-3
    assert mixture(torch.full((100,), -20.0))[1] < 0.01


def test_the_mean_of_what_does_not_vary_is_one(hinged):
    model = assembled(*hinged[:2])
    state, place = first_state(model), torch.arange(model.deformation.n_latent).view(-1, 7)
    root = state.population.root.clone()
    root[place[0, 6]] *= 0.01
    root[place[1, 6]] *= 3.0
    narrow = prior_with_settled_occupancies(
        model, replace(state, population=Population(state.population.mean, root))
    ).mean_covariance
    assert narrow[place[0, 6], place[0, 6]] < 1e-4 and not narrow[place[0, 6], place[1, 6]]
    rest = torch.cat([place[:, :6].flatten(), place[1, 6:]])
    assert torch.equal(
        narrow[rest[:, None], rest], model.prior.mean_covariance[rest[:, None], rest]
    )
