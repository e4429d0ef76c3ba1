"""Segments may be cut elsewhere while a fit goes on: what they did they still do, and images say
where.
"""

import torch

from atomdrgn.inference.findings.groups import cut_at_groups
from atomdrgn.inference.posterior.gauss_newton_pass import run_pass
from atomdrgn.inference.problem.resegmentation import carried_over, with_borders
from atomdrgn.structure.segmentation import make_segments

# residues of the upper bundle that the lower bundle's segment has at first
STRAYED = slice(120, 140)


def cut_wrongly(model):
    label = model.segment_of_trace.clone()
    label[STRAYED] = 0
    return with_borders(model, label)


def test_segments_move_as_they_did(begin):
    model, state = begin(20.0)
    wrong = cut_wrongly(model)
    latent = 3 * torch.randn(
        150, model.deformation.n_latent, generator=torch.Generator().manual_seed(0)
    )
    carried = carried_over(type(state)(**{**vars(state), "latent": latent}), model, wrong)
    before, after = (
        each.deformation.conformation(at).position[:, far_from_borders]
        for far_from_borders in [
            (model.segment_of_trace == wrong.segment_of_trace) & ~near(STRAYED)
        ]
        for each, at in ((model, latent), (wrong, carried.latent))
    )
    torch.testing.assert_close(before, after, atol=2e-3, rtol=0)
    assert not torch.allclose(latent, carried.latent, atol=0.1)


def near(residues):
    """Residues at which memberships of neighbouring segments mix."""
    found = torch.zeros(240, dtype=torch.bool)
    found[max(0, residues.start - 10) : residues.stop + 10] = True
    return found


def test_the_population_is_carried_over_with_the_particles(begin):
    model, state = begin(20.0)
    wrong = cut_wrongly(model)
    population = carried_over(state, model, wrong).population
    back = model.deformation.latents_of(wrong.deformation)
    torch.testing.assert_close(
        back @ population.covariance @ back.T, state.population.covariance, rtol=1e-3, atol=1e-3
    )


def test_images_move_a_border_to_where_the_molecule_bends(begin):
    model, state = begin(15.0)
    wrong = cut_wrongly(model)
    assert (wrong.segment_of_trace[STRAYED] == 0).all()
    for resolution in (40.0, 30.0, 20.0, 15.0):
        disc = model.images.disc.coarser(resolution)
        state, _ = run_pass(wrong, state, disc, last=False)
    label = cut_at_groups(wrong, state, disc)
    assert (label[STRAYED] == 1).sum() >= 15
    assert (label[:120] == 0).all() and (label[140:] == 1).all()


def test_borders_stay_where_nothing_moves(begin):
    model, state = begin(20.0)
    disc = model.images.disc
    state, _ = run_pass(model, state, disc.coarser(40.0), last=False)
    still = type(state)(**{**vars(state), "latent": torch.zeros_like(state.latent)})
    wrong = cut_wrongly(model)
    assert torch.equal(cut_at_groups(wrong, still, disc.coarser(40.0)), wrong.segment_of_trace)


def test_the_mixture_is_cut_as_softly_as_before(hinged, begin):
    model, _ = begin(20.0)
    again = with_borders(model, model.segment_of_trace).segmentation
    torch.testing.assert_close(again.weight, make_segments(model.beads, 2).weight)
