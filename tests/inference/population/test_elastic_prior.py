import torch

from atomdrgn.inference.population.elastic_prior import (
    SMALLEST_START,
    elastic_population,
    starting_population,
)
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.motion.segment_deformation import SegmentDeformation
from atomdrgn.structure.segmentation import make_segments


def scene(structure, count):
    beads = coarse_grain(structure)
    return beads, SegmentDeformation(beads, make_segments(beads, count))


def spread(population, deformation, beads):
    """R.m.s. displacement of each trace bead over samples of a population, A."""
    white = torch.randn(400, population.root.shape[1], generator=torch.Generator().manual_seed(0))
    latent = population.mean + white @ population.root.T
    moved = deformation.conformation(latent).position[:, torch.from_numpy(beads.trace)]
    return (moved - beads.position[torch.from_numpy(beads.trace)]).square().sum(-1).mean(0).sqrt()


def test_the_hinge_is_soft_and_its_chains_stay_whole(hinged):
    structure, _, _ = hinged
    beads, deformation = scene(structure, 4)
    population = elastic_population(deformation, beads)
    assert spread(population, deformation, beads).max() < 15
    latent = (
        torch.randn(200, population.root.shape[1], generator=torch.Generator().manual_seed(1))
        @ population.root.T
    )
    position = deformation.conformation(latent).position
    border = int((deformation.weight[:, 0] > 0.5).sum())
    rest = (beads.position[border] - beads.position[border - 1]).norm()
    stretch = (position[:, border] - position[:, border - 1]).norm(dim=-1) - rest
    assert stretch.square().mean().sqrt() < 1.5


def test_a_start_is_wide_enough_to_catch_on(hinged):
    structure, _, _ = hinged
    for count in (1, 2, 4, 10):
        beads, deformation = scene(structure, count)
        metric = deformation.trace_metric(beads.trace_index, torch.zeros(deformation.n_latent))
        root = starting_population(deformation, beads).root
        widest = torch.linalg.eigvalsh(root.T @ metric @ root).max().sqrt()
        assert count == 1 or widest > 0.9 * SMALLEST_START
        assert torch.isfinite(root).all()
