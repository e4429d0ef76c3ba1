from dataclasses import replace

import pytest
import torch

from atomdrgn.inference.fit_assembly import assemble, first_state
from atomdrgn.inference.fit_options import FitOptions
from atomdrgn.inference.images.memory_budget import Memory
from atomdrgn.inference.population import bounded_directions
from atomdrgn.inference.population.bounded_directions import is_bounded
from atomdrgn.inference.posterior import gauss_newton_pass
from atomdrgn.inference.posterior.gauss_newton_pass import measure_directions, run_pass
from atomdrgn.inference.problem import calibration, linearisation
from atomdrgn.inference.problem.half_sets import part_of
from atomdrgn.inference.problem.principal_motions import motions_of
from atomdrgn.parallel import Processes


@pytest.fixture(scope="module")
def begun(begin):
    return begin(15.0)


def passed(model, state, resolution=20.0):
    return run_pass(model, state, model.images.disc.coarser(resolution), last=False)[0]


def test_equations_that_do_not_fit_into_memory_change_little(begun):
    """The population is fitted to some of the particles; the others are placed just as well."""
    model, state = begun
    whole = passed(model, state)
    bytes_each = 4 * (12 * 13 + 3 * 12**2)
    cramped = passed(replace(model, memory=Memory(1e9, 75.0 * bytes_each)), state)
    spread = whole.latent.std(0).max()
    assert (cramped.latent - whole.latent).square().mean().sqrt() < 0.3 * spread
    for axis in whole.latent.std(0).argsort(descending=True)[:1]:
        assert (
            torch.corrcoef(torch.stack([cramped.latent[:, axis], whole.latent[:, axis]]))[0, 1]
            > 0.98
        )
    assert not torch.equal(cramped.population.root, whole.population.root)


def test_shares_of_two_processes_add_up_to_the_whole(begun):
    model, _ = begun
    of_two = [Processes(rank, 2) for rank in (0, 1)]
    shares = [
        replace(model, processes=each, my_particles=torch.arange(*each.share(model.rows)))
        for each in of_two
    ]
    assert torch.equal(torch.cat([share.my_particles for share in shares]), model.my_particles)
    assert torch.equal(
        torch.cat([share.my_images for share in shares]).sort().values, model.my_images
    )
    assert min(len(share.my_particles) for share in shares) > 0.4 * model.n_particles
    index = torch.tensor([0, 5, 80, 149])
    assert torch.equal(torch.cat([share.mine(index) for share in shares]), index)


def test_a_particle_without_images_is_where_the_population_is_and_changes_nothing(begun):
    """The population is that of the other particles: alone they have the same."""
    model, state = begun
    images = model.images.part(torch.arange(len(model.images)))
    images.left_out[[3, 70]] = True
    found = passed(replace(model, images=images), state)
    assert torch.equal(found.latent[3], found.population.mean) and torch.equal(
        found.latent[70], found.population.mean
    )
    assert (
        torch.equal(found.latent_sd[3], found.latent_sd[70])
        and (found.latent_sd[3] > found.latent_sd[4]).all()
    )
    others = torch.tensor([i for i in range(model.n_particles) if i not in (3, 70)])
    alone = part_of(model, others)
    expected = passed(alone.model, alone.state(state))
    torch.testing.assert_close(
        found.population.covariance, expected.population.covariance, rtol=0.05, atol=0.02
    )
    torch.testing.assert_close(found.latent[others], expected.latent, rtol=0.05, atol=0.05)
    assert abs(float(found.contrast[others].mean()) - 1) < 1e-5 and found.contrast[3] == 1


def test_blocks_hold_each_particle_with_all_its_images(begun):
    model, _ = begun
    tilts = replace(model, particle=torch.tensor([0, 1, 1, 0, 2, 3, 3, 3, 1]))
    blocks = list(tilts.blocks(torch.tensor([0, 1, 3]), model.images.disc))
    pairs = {
        pair
        for block in blocks
        for pair in zip(block.image.tolist(), block.particle[block.row].tolist(), strict=True)
    }
    assert pairs == {(0, 0), (3, 0), (1, 1), (2, 1), (8, 1), (5, 3), (6, 3), (7, 3)}


def test_few_directions_are_seen_by_coarse_images(begun):
    model, state = begun
    state = passed(model, state, 15.0)
    coarse, fine = (
        measure_directions(model, state, model.images.disc.coarser(resolution))
        for resolution in (50.0, 15.0)
    )
    assert coarse.seen.shape[1] <= fine.seen.shape[1] <= model.deformation.n_latent
    assert coarse.seen.shape[1] + coarse.unseen.shape[1] == model.deformation.n_latent


@pytest.mark.seconds
def test_many_segments_are_fitted_along_few_directions(hinged, monkeypatch):
    """They find the hinge as they do where all numbers of their latents are free."""
    structure, particles, angle = hinged
    model = assemble(structure, particles, FitOptions(segments=30, resolution=15.0))
    model.images.load()
    start, told = first_state(model), []
    assert is_bounded(model.deformation.n_latent)
    for bounded in (True, False):
        if not bounded:
            for module in (gauss_newton_pass, bounded_directions, linearisation, calibration):
                monkeypatch.setattr(module, "is_bounded", lambda numbers: False)
        state = start
        for resolution in (56.0, 40.0, 30.0, 22.0, 15.0):
            state = passed(model, state, resolution)
        assert state.uncertainty.shape == (model.deformation.n_latent,) * 2
        told.append(
            share_of_variance(motions_of(model, state.population).place(state.latent), angle)
        )
    few, every = told
    assert few > 0.8 and few > every - 0.05


def share_of_variance(place, angle):
    """Part of the variance of the angle that places along the motions explain together."""
    rows = torch.cat([place, torch.ones(len(place), 1)], 1)
    left = angle - (rows @ torch.linalg.lstsq(rows, angle[:, None]).solution)[:, 0]
    return float(1 - left.var() / angle.var())
