"""Borders between groups are judged by the images of some particles, under the noise that is theirs."""

from dataclasses import replace

import torch

from atomdrgn.inference import groups
from atomdrgn.inference.ensemble import make_ensemble
from atomdrgn.inference.fit import _assemble, _start
from atomdrgn.inference.motions import motions_of
from atomdrgn.parallel import Processes
from atomdrgn.reporting import Reporter


def test_borders_are_judged_under_the_noise_of_the_images_that_judge(hinged, monkeypatch):
    """The first and the last image are of optics group 1: where they judge, what the noise of group 0 is does not matter."""
    structure, particles, _ = hinged
    optics_group = ((torch.arange(150) < 10) | (torch.arange(150) >= 140)).long()
    particles = replace(particles, optics_group=optics_group, optics_group_grids=2 * particles.optics_group_grids)
    model = _assemble(structure, particles, segments=2, beads=1, temperature=None, parts=None, fixed=None, resolution=20.0,
                      memory=None, processes=Processes())
    state = _start(model)
    state = replace(state, latent_sd=torch.ones(150, len(motions_of(model, state.population).variance)))
    ensemble = make_ensemble(model, state, [], [], seed=0, reporter=Reporter())
    chain_b = torch.arange(len(model.beads.trace_index)) >= 120
    monkeypatch.setattr(groups, "MEASURED", 2)

    def judged(*noise):
        spectrum = torch.tensor(noise)[:, None].expand(2, int(model.images.disc.shell.max()) + 1)
        judge = groups._BorderJudge(model, replace(state, spectrum=spectrum), model.images.disc, ensemble.latent.__getitem__,
                                    chain_b.long())
        return float(judge(chain_b.long()).sum())

    assert judged(100.0, 4.0) == judged(4.0, 4.0)
    assert judged(4.0, 100.0) == judged(100.0, 100.0) != judged(4.0, 4.0)
