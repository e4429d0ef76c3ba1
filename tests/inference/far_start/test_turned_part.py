from dataclasses import replace

import torch

from atomdrgn.inference.far_start.far_start import _latent_of
from atomdrgn.inference.far_start.rigid_parts import rigid_parts
from atomdrgn.inference.far_start.turned_part import likelihood_of_turns
from atomdrgn.inference.findings.groups import _rigid_segmentation
from atomdrgn.inference.problem.calibration import calibrate
from atomdrgn.inference.problem.misfit import misfits
from atomdrgn.physics.rotations import uniform_rotations
from atomdrgn.structure.motion.segment_deformation import SegmentDeformation
from atomdrgn.structure.segmentation import without_traces


def test_turns_are_as_likely_as_the_conformations_that_they_make(begin):
    """Against predictions of all beads, with segments whose borders are sharp and contrasts that
    are known.
    """
    model, state = begin(15.0)
    disc = model.images.disc.coarser(25.0)
    beads, deformation = model.beads, model.deformation
    own = deformation.weight.argmax(1)
    segmentation = _rigid_segmentation(without_traces(torch.eye(deformation.n_segments)[own]))
    model = replace(model, deformation=SegmentDeformation(beads, segmentation))
    state = replace(
        calibrate(model, state, disc, torch.Generator().manual_seed(0)), contrast_sd=1e-4
    )
    part = next(part for part in rigid_parts(model.deformation, beads) if part.segments == (1,))
    rotations = uniform_rotations(12).float()
    found = likelihood_of_turns(model, state, disc, part, rotations)
    latents = [
        _latent_of(model, state.latent, part, turn.expand(len(state.latent), 3, 3))
        for turn in rotations
    ]
    expected = -0.5 * misfits(model, state, disc, latents)[0]
    difference = (found - found.mean(0)) - (expected - expected.mean(0))
    assert (
        difference.square().mean().sqrt()
        < 0.03 * (expected - expected.mean(0)).square().mean().sqrt()
    )
