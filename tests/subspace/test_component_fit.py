"""Powers of components by what two half-sets have in common."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from atomdrgn import ImageGrid
from atomdrgn.physics.disc import make_disc
from atomdrgn.physics.maps.masks import spherical_mask
from atomdrgn.subspace.component_fit import agreed_power, begin
from atomdrgn.subspace.component_grid import ComponentGrid, resized


def half(grid, mean, mask, seed):
    made = begin(grid, mean, mask, 2, torch.Generator().manual_seed(seed))
    return replace(made, known=20 / np.maximum(made.power[0], 1e-30))


def test_powers_are_those_of_what_half_sets_share():
    """One component is the same in both, with noise, and comes second in one of them."""
    generator = torch.Generator().manual_seed(0)
    grid = ComponentGrid(make_disc(ImageGrid(32, 2.0), 6.0))
    box = grid.grid.box_size
    mask = spherical_mask(box, voxel_size=1.0, radius=0.3 * box, edge=0.1 * box)
    mean = resized(torch.randn(1, 8, 8, 8, generator=generator), box)[0] * mask
    first, second = (half(grid, 100 * mean, mask, seed) for seed in (1, 2))
    shared, *noise = grid.with_power(
        torch.randn(5, box, box, box, generator=generator), first.power[0]
    )
    first.volumes[1], first.volumes[2] = shared + 0.5 * noise[0], 0.1 * noise[1]
    second.volumes[1], second.volumes[2] = 0.1 * noise[2], -shared - 0.5 * noise[3]
    power = agreed_power(first, second)
    assert np.array_equal(power[0], first.power[0])
    # as much signal as four times the noise, which is one over what images say
    inner = slice(3, grid.shells - 3)
    ratio = power[:, inner] / (4 / first.known[inner])
    assert ratio[1].mean() == pytest.approx(1, abs=0.4)
    assert ratio[2].mean() < 0.2
