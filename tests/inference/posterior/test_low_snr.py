"""Images of which one tells next to nothing: the motion is found by all together, and nothing where
nothing moves.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from atomdrgn.inference.fit import fit
from atomdrgn.inference.fit_assembly import assemble, first_state
from atomdrgn.inference.fit_options import FitOptions
from atomdrgn.inference.population.conformation_surface import Mapping
from atomdrgn.inference.population.latent_density import Density
from atomdrgn.inference.posterior.low_snr import (
    WEAK,
    _standardised,
    finest_if_weak,
    first_mapping,
    information_of_a_particle,
    map_round,
    mapped_support,
    place_on_mapping,
    resolutions_of_rounds,
    surfaces_are_for,
    with_mapping,
    with_second_motion,
)
from atomdrgn.inference.problem.calibration import calibrate
from atomdrgn.inference.problem.fit_state import load_state, save_state
from atomdrgn.inference.problem.misfit import misfits
from atomdrgn.physics.rotations import matrix_from_vector
from atomdrgn.structure.motion.motion import twist_of
from atomdrgn.structure.motion.surface import straight_surface
from hinge import make_hinged

pytestmark = pytest.mark.slow

COUNT, SNR, RESOLUTION = 800, 0.012, 24.0


def begin_weak(folder, **settings):
    structure, particles, angle = make_hinged(folder, count=COUNT, snr=SNR, **settings)
    model = assemble(structure, particles, FitOptions(segments=2, resolution=RESOLUTION))
    model.images.load()
    return model, angle


@pytest.fixture(scope="module")
def weak(tmp_path_factory):
    return begin_weak(tmp_path_factory.mktemp("weak"))


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    return begin_weak(tmp_path_factory.mktemp("still"), largest=0.0)[0]


def settled(model, *, rounds=4, drawn=False):
    """After so many rounds; particles are left at places drawn from their posteriors, or where they
    are on average.
    """
    state = first_mapping(model, first_state(model), 45.0)
    for number in range(rounds):
        disc = model.images.disc.coarser(45.0 if number < 2 else RESOLUTION)
        state, row = map_round(model, state, disc, last=number + 1 == rounds and not drawn)
    return state, row


@pytest.fixture(scope="module")
def mapped(weak):
    return settled(weak[0])


def correlation(place, angle):
    return abs(np.corrcoef(place[:, 0], angle)[0, 1])


def test_images_are_weak_by_their_own_information(weak, begin):
    """A tenth of the noise's power is ten times the information; restraints, which are no images,
    are not counted.
    """
    model, _ = weak
    disc, generator = model.images.disc.coarser(40.0), torch.Generator().manual_seed(0)
    state = calibrate(model, calibrate(model, first_state(model), disc, generator), disc, generator)
    one, ten = (
        information_of_a_particle(model, replace(state, spectrum=state.spectrum / part), disc)
        for part in (1, 10)
    )
    assert 9 < ten / one < 12  # contrasts take a little
    finest = finest_if_weak(model, first_state(model))
    assert RESOLUTION <= finest <= 40.0
    strong, begun = begin(RESOLUTION)
    assert finest_if_weak(strong, begun) is None and WEAK > 0
    assert surfaces_are_for(model) and not surfaces_are_for(replace(model, refine_poses=True))
    assert not surfaces_are_for(strong)  # 150 particles: too few to tell anything together


@pytest.mark.parametrize("finest", [8.0, 13.0, 33.0, 70.0])
def test_rounds_go_from_coarse_to_fine(finest):
    rounds = resolutions_of_rounds(finest)
    assert (
        rounds == sorted(rounds, reverse=True)
        and rounds[-1] == finest
        and rounds[0] == max(45.0, finest)
    )


def test_all_images_together_show_what_one_does_not(weak, mapped):
    """As well as an observer can who knows the motion: the best that the likelihood of the true
    conformations allows.
    """
    model, angle = weak
    state, row = mapped
    placed = place_on_mapping(model, state)
    assert correlation(placed.belief.mean, angle) > 0.9 * limit(model, state, angle) > 0.4
    assert row["directions"] == 1 and row["variance1"] > 0 and state.step == 4
    # whoever is told little of is believed near the mean, and is said to be anywhere
    error = placed.belief.root.square().sum(-1).sqrt()
    assert 0.4 < float(error.mean()) / float(state.mapping.density.variance().sqrt()) < 1.2


def limit(model, state, angle):
    """Correlation of the posterior mean of who knows how the molecule moves and how often."""
    order = angle.argsort()
    some = order[torch.linspace(0, len(order) - 1, 15).long()]
    place = latents_of_hinges(model, angle[some])
    left, _ = misfits(
        model, state, model.images.disc, [latent.expand(model.n_particles, -1) for latent in place]
    )
    weight = (-0.5 * left).softmax(0)
    return correlation((weight.T @ angle[some])[:, None], angle)


def latents_of_hinges(model, angles):
    """Latents of hinges at some angles: segments fitted to the turned bundle."""
    upper = torch.from_numpy(model.beads.chain == "B")
    foot, deformation = torch.tensor([0.0, -4.0, 15.0]), model.deformation
    turn = matrix_from_vector(angles[:, None] * torch.tensor([1.0, 0.0, 0.0]))
    parts = []
    for segment in range(deformation.n_segments):
        moves = bool(upper[deformation.weight[:, segment] > 0.5].float().mean() > 0.5)
        own = turn if moves else torch.eye(3).expand_as(turn)
        parts.append(
            twist_of(
                own, foot - own @ foot, deformation.centroid[segment], deformation.radius[segment]
            )
        )
    return torch.cat(parts, 1)


def test_a_motion_is_worth_something_to_images_that_had_no_part(weak, mapped, still):
    """Of the other half; and where nothing moves, no motion is."""
    model, _ = weak
    state, _ = mapped
    gain = mapped_support(model, state, state.mapping)
    assert gain.gain[0] > 3 * gain.error[0]
    calm, _ = settled(still)
    worth = mapped_support(still, calm, state.mapping)  # what moves elsewhere
    assert worth.gain[0] < 0


def test_a_second_motion_is_not_made_up(weak):
    model, _ = weak
    state, _ = settled(model, drawn=True)
    after = with_second_motion(model, state, model.images.disc)
    assert after.mapping.k == 1


def test_a_second_motion_is_found_beside_another(weak, mapped):
    """The hinge, beside a small motion that the set does not have; it becomes the first, and
    particles are placed along it.
    """
    model, angle = weak
    state, _ = mapped
    hinge = state.mapping.surface.coefficient[1]
    other = torch.randn(len(hinge), generator=torch.Generator().manual_seed(0))
    other = 0.5 * (other - hinge * (hinge @ other) / (hinge @ hinge)) / other.norm()
    sd = torch.full((1,), 0.5)
    small = Mapping(
        straight_surface(state.population.mean, other[:, None] / sd, sd),
        Density(torch.ones(1), torch.zeros(1, 1), sd[None, None]),
    )
    still = replace(
        with_mapping(model, state, small),
        latent=state.population.mean.expand(model.n_particles, -1).contiguous(),
    )
    both = with_second_motion(model, still, model.images.disc)
    assert both.mapping.k == 2 and both.mapping.surface.scale[0] > 3 * both.mapping.surface.scale[1]
    placed = place_on_mapping(model, both)
    assert correlation(placed.belief.mean, angle) > 0.8 * limit(model, state, angle)


def test_a_motion_that_dies_out_leaves_the_surface_as_it_is(weak, mapped):
    model, _ = weak
    mapping = mapped[0].mapping
    dead = replace(
        mapping, density=Density(torch.ones(1), torch.zeros(1, 1), torch.full((1, 1, 1), 1e-6))
    )
    assert _standardised(model, dead) is dead
    again = _standardised(model, mapping)
    torch.testing.assert_close(again.surface.scale, mapping.surface.scale, rtol=1e-3, atol=0)
    torch.testing.assert_close(
        again.surface(again.nodes()), mapping.surface(mapping.nodes()), rtol=1e-2, atol=1e-2
    )


def test_a_round_goes_on_from_its_file_with_the_same_bits(weak, tmp_path):
    model, _ = weak
    state, _ = settled(model, rounds=1)
    save_state(state, tmp_path / "state")
    disc = model.images.disc.coarser(45.0)
    one, other = (
        map_round(model, each, disc, last=False)[0]
        for each in (state, load_state(tmp_path / "state"))
    )
    assert torch.equal(one.latent, other.latent)
    assert torch.equal(one.mapping.surface.coefficient, other.mapping.surface.coefficient)
    assert torch.equal(one.mapping.density.root, other.mapping.density.root)


def test_a_fit_of_weak_images_says_what_moves(tmp_path):
    structure, particles, angle = make_hinged(tmp_path, count=COUNT, snr=SNR)
    run = fit(structure, particles, tmp_path / "run", segments=2, resolution=RESOLUTION)
    assert run.summary["motions_supported"] == 1
    assert (
        correlation(run.latent, angle) > 0.5
        and run.summary["motions"][0]["half_set_agreement"] > 0.8
    )
    low, high = np.quantile(run.draws[..., 0], [0.05, 0.95], axis=1)
    slope = np.polyfit(angle.numpy(), run.latent[:, 0], 1)[0]
    assert slope < 1 and (high > low).all()


def test_a_fit_of_weak_images_in_which_nothing_moves_says_so(tmp_path):
    structure, particles, _ = make_hinged(tmp_path, count=COUNT, snr=SNR, largest=0.0)
    run = fit(structure, particles, tmp_path / "run", segments=2, resolution=RESOLUTION)
    assert run.summary["motions_supported"] == 0 and run.latent.shape[1] == 0
