import numpy as np
import pytest
import torch
from torch.testing import assert_close

from atomdrgn.debiasing.following import HalfMaps
from atomdrgn.debiasing.residue_support import (
    ResidueSupport,
    joined,
    residue_support,
    unsupported_stretches,
)
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.maps.atom_density import density_of_atoms
from atomdrgn.structure.atoms import read_structure
from atomdrgn.structure.beads import coarse_grain
from molecules import helix, write_pdb

GRID = ImageGrid(48, 2.5)


@pytest.fixture(scope="module")
def beads(tmp_path_factory):
    lines = [helix("A", 30, start=(-15, -5, -20)), helix("B", 30, start=(12, 8, -22), serial=400)]
    return coarse_grain(read_structure(write_pdb(tmp_path_factory.mktemp("m") / "a.pdb", *lines)))


def density(beads, present):
    return density_of_atoms(
        beads.position, beads.amplitude * present, beads.sigma, box_size=48, voxel_size=2.5
    )


def noisy(signal, level, seed=0):
    generator = torch.Generator().manual_seed(seed)
    halves = [
        signal + level * float(signal.std()) * torch.randn(signal.shape, generator=generator)
        for _ in range(2)
    ]
    return HalfMaps(*halves, 0.5 * (halves[0] + halves[1]))


def test_what_is_there_has_all_of_its_density(beads):
    model = density(beads, torch.ones(60))
    found = residue_support(noisy(3.0 * model, 0.05), model, beads.position, grid=GRID)
    assert_close(found.support, torch.ones(60), atol=0.06, rtol=0)
    assert found.correlation.min() > 0.95


def test_what_is_missing_ranks_last_and_is_named(beads):
    present = torch.ones(60)
    present[20:30] = 0  # the end of chain A
    model = density(beads, torch.ones(60))
    found = residue_support(noisy(density(beads, present), 0.5), model, beads.position, grid=GRID)
    assert found.support[20:30].max() < found.support[present > 0].min()
    (stretch,) = unsupported_stretches(beads, found)
    assert (
        stretch["selection"].startswith("A:2")
        and stretch["selection"].endswith("-30")
        and stretch["support"] < 0.5
    )
    assert 7 <= stretch["residues"] <= 10


def test_a_whole_model_has_no_unsupported_stretch(beads):
    model = density(beads, torch.ones(60))
    assert (
        unsupported_stretches(
            beads, residue_support(noisy(model, 0.5), model, beads.position, grid=GRID)
        )
        == []
    )


def test_errors_are_what_noise_does(beads):
    model = density(beads, torch.ones(60))
    found = [
        residue_support(noisy(model, 1.5, seed), model, beads.position, grid=GRID)
        for seed in range(8)
    ]
    scatter = torch.stack([each.support for each in found]).std(0).mean()
    said = torch.stack([each.error for each in found]).mean()
    assert 0.5 < said / scatter < 2.0


def test_several_maps_count_by_their_particles():
    one, other = (
        ResidueSupport(torch.full((3,), value), torch.full((3,), 0.1), torch.full((3,), 0.5))
        for value in (1.0, 0.4)
    )
    both = joined([(one, 300.0), (other, 100.0)])
    assert_close(both.support, torch.full((3,), 0.85))
    assert_close(both.error, torch.full((3,), 0.1))


def test_a_residue_without_density_has_no_support_to_tell(beads):
    present = torch.ones(60)
    present[:] = 1
    position = beads.position.clone()
    position[5] = torch.tensor([55.0, 55.0, 55.0])  # in the corner, where the model has nothing
    model = density(beads, present)
    found = residue_support(noisy(model, 0.1), model, position, grid=GRID)
    assert torch.isnan(found.support[5]) and np.isfinite(found.support[6])
