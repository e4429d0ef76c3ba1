import pytest
import torch

from atomdrgn.structure.motion.surface import Surface, fit_surface, straight_surface


def test_a_bent_surface_is_found():
    generator = torch.Generator().manual_seed(0)
    place = 3 * torch.randn(2000, 2, generator=generator)
    truth = Surface(torch.tensor([3.0, 3.0]), torch.randn(6, 4, generator=generator))
    found = fit_surface(
        place, truth(place) + 0.1 * torch.randn(2000, 4, generator=generator), truth.scale
    )
    torch.testing.assert_close(found.coefficient, truth.coefficient, rtol=0.05, atol=0.05)


def test_a_few_particles_make_it_flat():
    generator = torch.Generator().manual_seed(0)
    place = torch.randn(8, 1, generator=generator)
    latent = place @ torch.ones(1, 3) + 0.3 * torch.randn(8, 3, generator=generator)
    coefficient = fit_surface(place, latent, torch.ones(1)).coefficient
    assert coefficient[2].abs().max() < 0.2 < 0.6 < coefficient[1].min()


def test_a_straight_one_is_the_plane_of_a_gaussian():
    mean, direction = (
        torch.tensor([1.0, 2.0, 3.0]),
        torch.tensor([[1.0, 0.0], [0.5, 0.2], [0.0, -1.0]]),
    )
    surface = straight_surface(mean, direction, torch.tensor([2.0, 0.3]))
    place = torch.tensor([[0.0, 0.0], [4.0, -1.0]])
    torch.testing.assert_close(surface(place), mean + place @ direction.T)
    torch.testing.assert_close(surface.at(place)[torch.tensor([1])], surface(place[1:]))


def bent(k=2, n_latent=5):
    generator = torch.Generator().manual_seed(1)
    n_features = 1 + k + k * (k + 1) // 2
    return Surface(
        torch.tensor([3.0, 0.7, 1.5][:k]), torch.randn(n_features, n_latent, generator=generator)
    )


@pytest.mark.parametrize(("k", "more"), [(1, 1), (1, 3), (2, 1), (3, 2)])
def test_further_motions_change_nothing_at_their_zero_and_are_straight(k, more):
    """Whatever the others' places: the direction given, and no product of it with them nor with
    itself.
    """
    generator = torch.Generator().manual_seed(2)
    surface, direction = bent(k), torch.randn(5, more, generator=generator)
    wider = surface.with_straight(direction, torch.linspace(0.3, 4, more))
    place, further = (
        torch.randn(20, k, generator=generator),
        3 * torch.randn(20, more, generator=generator),
    )
    torch.testing.assert_close(wider(torch.cat([place, torch.zeros(20, more)], 1)), surface(place))
    expected = surface(place) + further @ direction.T
    torch.testing.assert_close(
        wider(torch.cat([place, further], 1)), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_slope_is_what_a_step_adds(k):
    surface, place = bent(k), torch.randn(20, k, generator=torch.Generator().manual_seed(3))
    slope = surface.slope(place)
    assert slope.shape == (20, k, 5)
    for motion, step in enumerate(0.01 * torch.eye(k)):
        torch.testing.assert_close(
            slope[:, motion],
            (surface(place + step) - surface(place - step)) / 0.02,
            rtol=1e-2,
            atol=1e-3,
        )


def test_no_further_motions_are_the_same_surface():
    surface = bent(2)
    same = surface.with_straight(torch.zeros(5, 0), torch.zeros(0))
    assert torch.equal(same.scale, surface.scale) and torch.equal(
        same.coefficient, surface.coefficient
    )


@pytest.mark.parametrize("k", [1, 2, 3])
def test_other_coordinates_are_the_same_conformations(k):
    generator = torch.Generator().manual_seed(3)
    surface, offset, axes = (
        bent(k),
        torch.randn(k, generator=generator),
        torch.randn(k, k, generator=generator),
    )
    place = torch.randn(20, k, generator=generator)
    other = surface.reparametrised(offset, axes)
    torch.testing.assert_close(other(place), surface(offset + place @ axes.T), rtol=1e-3, atol=1e-3)
    fewer = axes[:, :1]
    torch.testing.assert_close(
        surface.reparametrised(offset, fewer)(place[:, :1]),
        surface(offset + place[:, :1] @ fewer.T),
        rtol=1e-3,
        atol=1e-3,
    )
    scale = torch.tensor([2.0, 0.4, 5.0][:k])
    torch.testing.assert_close(surface.rescaled(scale)(place), surface(place), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(surface.rescaled(scale).scale, scale)
