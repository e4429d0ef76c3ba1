import numpy as np
import pytest
import torch
from torch.testing import assert_close

from atomdrgn.debiasing.around import (
    choose_centres,
    effective_number,
    kernel_weights,
    kernel_width,
    parse_places,
    places_of,
)
from atomdrgn.errors import InputError
from atomdrgn.structure.motion.surface import Surface


def test_centres_are_particles_in_the_middle_of_clusters():
    generator = torch.Generator().manual_seed(1)
    true = torch.tensor([[-10.0, 0], [0, 5], [10, 0]])
    place = torch.cat([middle + torch.randn(40, 2, generator=generator) for middle in true])
    centre = choose_centres(place, 3)
    assert_close(centre, true, atol=1.0, rtol=0)
    assert all((place == each).all(1).any() for each in centre)
    assert torch.equal(choose_centres(place, 3), centre)
    with pytest.raises(InputError, match="0 centres for 120 particles"):
        choose_centres(place, 0)


def test_more_centres_than_places_are_no_harm():
    assert choose_centres(torch.zeros(5, 1), 3).shape == (3, 1)
    assert kernel_width(torch.zeros(5, 1), torch.zeros(3, 1)).min() > 0


def test_a_particle_counts_as_far_as_it_can_be_at_the_centre():
    """Averaged over the places that a particle may have, the kernel is a wider and lower Gaussian."""
    place, sd = torch.tensor([[0.0], [3.0], [0.0]]), torch.tensor([[0.0], [0.0], [1.5]])
    weight = kernel_weights(place, sd, torch.zeros(1), 2.0)
    draws = 1.5 * torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    assert weight[0] == 1 and weight[1] == pytest.approx(np.exp(-9 / 8))
    assert weight[2] == pytest.approx(float(torch.exp(-(draws**2) / 8).mean()), abs=0.005)


def test_without_motions_all_particles_count():
    assert kernel_weights(torch.zeros(4, 0), torch.zeros(4, 0), torch.zeros(0), 1.0).tolist() == [
        1,
        1,
        1,
        1,
    ]


def test_equal_weights_are_as_many_as_there_are():
    assert effective_number(torch.full((7,), 0.3)) == pytest.approx(7)
    assert effective_number(torch.tensor([1.0, 0, 0])) == pytest.approx(1)


def test_a_latent_finds_its_place_on_a_bent_surface():
    generator = torch.Generator().manual_seed(4)
    coefficient = torch.randn(6, 12, generator=generator)
    coefficient[3:] *= 0.05  # slightly bent
    surface = Surface(torch.tensor([3.0, 1.5]), coefficient)
    place = torch.randn(20, 2, generator=generator) * torch.tensor([3.0, 1.5])
    assert_close(places_of(surface, surface(place)), place, atol=1e-2, rtol=1e-2)
    assert places_of(Surface(torch.zeros(0), torch.zeros(1, 12)), torch.zeros(5, 12)).shape == (
        5,
        0,
    )


def test_places_are_read():
    assert parse_places("-5,0; 5,1.5", 2).tolist() == [[-5, 0], [5, 1.5]]
    with pytest.raises(InputError, match="1 numbers for a place and the run has 2"):
        parse_places("3", 2)
    with pytest.raises(InputError, match="expected numbers"):
        parse_places("a,b", 2)
