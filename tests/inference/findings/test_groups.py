"""Groups are of what moves alike, whatever is wrong in all particles; borders are judged by the
images of some.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from atomdrgn.inference.findings import groups
from atomdrgn.inference.findings.ensemble import make_ensemble
from atomdrgn.inference.fit_assembly import assemble, first_state
from atomdrgn.inference.fit_options import FitOptions
from atomdrgn.inference.posterior.importance_sampling import place_along
from atomdrgn.inference.problem.principal_motions import motions_of
from atomdrgn.physics.rotations import matrix_from_vector
from atomdrgn.structure.motion.motion import twist_of


def test_borders_are_judged_under_the_noise_of_the_images_that_judge(hinged, monkeypatch):
    """The first and the last image are of optics group 1: where they judge, what the noise of group
    0 is does not matter.
    """
    structure, particles, _ = hinged
    optics_group = ((torch.arange(150) < 10) | (torch.arange(150) >= 140)).long()
    particles = replace(
        particles, optics_group=optics_group, optics_group_grids=2 * particles.optics_group_grids
    )
    model = assemble(structure, particles, FitOptions(segments=2, resolution=20.0))
    state = first_state(model)
    motions = motions_of(model, state.population)
    state = replace(state, latent_sd=torch.ones(150, len(motions.variance)))
    placed = place_along(model, state, motions, wide=False)
    ensemble = make_ensemble(model, state, motions, placed, [], [])
    chain_b = torch.arange(len(model.beads.trace_index)) >= 120
    monkeypatch.setattr(groups, "MEASURED", 2)

    def judged(*noise):
        spectrum = torch.tensor(noise)[:, None].expand(2, int(model.images.disc.shell.max()) + 1)
        judge = groups._BorderJudge(
            model,
            replace(state, spectrum=spectrum),
            model.images.disc,
            ensemble.latent.__getitem__,
            chain_b.long(),
        )
        return float(judge(chain_b.long()).sum())

    assert judged(100.0, 4.0) == judged(4.0, 4.0)
    assert judged(4.0, 100.0) == judged(100.0, 100.0) != judged(4.0, 4.0)


@pytest.mark.parametrize(
    ("true", "expected"),
    [
        # the stretch between lies across the border
        ([0] * 70 + [2] * 50, [0] * 70 + [2] * 50),
        ([0] * 50 + [1] * 33 + [2] * 37, [0] * 50 + [1] * 33 + [2] * 37),  # or is a part of its own
    ],
)
def test_a_stretch_between_two_groups_is_parted_where_images_do_not_want_it(
    monkeypatch, begin, true, expected
):
    """By a judge for whom images are the likelier the fewer residues are in a wrong group."""
    model, state = begin(20.0)
    one_chain = replace(model, beads=replace(model.beads, chain=np.array(["A"] * 240)))
    wanted = torch.tensor(true + [3] * 120)
    monkeypatch.setattr(
        groups,
        "_BorderJudge",
        lambda *_: (
            lambda of_trace: (
                -float((of_trace != wanted).sum()) * torch.linspace(0.9, 1.1, 50).double()
            )
        ),
    )
    at_first = torch.tensor([0] * 50 + [1] * 30 + [2] * 40 + [3] * 120)
    found = groups._with_learned_borders(
        one_chain, state, model.images.disc, lambda some: state.latent[some], at_first
    )
    assert found.tolist() == expected + [3] * 120


def turned_parts(model, angles, offsets):
    """Latents of 50 particles, in each of which the segments of the second chain turn alike;
    offsets are the same in all.
    """
    latent = torch.zeros(len(angles), model.deformation.n_latent)
    middle = torch.tensor([0.0, -4.0, 15.0])
    for segment, first in enumerate(range(0, model.deformation.n_latent, 6)):
        upper = float(model.deformation.centroid[segment, 2]) > 0
        turn = (
            matrix_from_vector(angles[:, None] * torch.tensor([1.0, 0.0, 0.0]))
            if upper
            else torch.eye(3).expand(50, 3, 3)
        )
        shift = middle - turn @ middle + offsets[segment]
        latent[:, first : first + 6] = twist_of(
            turn, shift, model.deformation.centroid[segment], model.deformation.radius[segment]
        )
    return latent


@pytest.mark.parametrize("wrong", [0.0, 1.5])
def test_segments_that_the_base_model_has_in_the_wrong_place_move_with_the_others(hinged, wrong):
    """What is the same in all particles is no motion: neither within the part that stands still nor
    within the one that turns.
    """
    structure, particles, _ = hinged
    model = assemble(structure, particles, FitOptions(segments=6, resolution=20.0))
    offsets = wrong * torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    latent = turned_parts(model, torch.linspace(-0.2, 0.2, 50), offsets)
    label = groups.merge_segments(model, latent)
    upper = model.deformation.centroid[:, 2] > 0
    assert label.tolist() == [int(above) for above in upper.tolist()]
