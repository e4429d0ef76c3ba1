import torch

from atomdrgn.structure.surface import Surface, fit_surface, straight_surface


def test_a_bent_surface_is_found():
    generator = torch.Generator().manual_seed(0)
    place = 3 * torch.randn(2000, 2, generator=generator)
    truth = Surface(torch.tensor([3.0, 3.0]), torch.randn(6, 4, generator=generator))
    found = fit_surface(place, truth(place) + 0.1 * torch.randn(2000, 4, generator=generator), truth.scale)
    torch.testing.assert_close(found.coefficient, truth.coefficient, rtol=0.05, atol=0.05)


def test_a_few_particles_make_it_flat():
    generator = torch.Generator().manual_seed(0)
    place = torch.randn(8, 1, generator=generator)
    latent = place @ torch.ones(1, 3) + 0.3 * torch.randn(8, 3, generator=generator)
    coefficient = fit_surface(place, latent, torch.ones(1)).coefficient
    assert coefficient[2].abs().max() < 0.2 < 0.6 < coefficient[1].min()


def test_a_straight_one_is_the_plane_of_a_gaussian():
    mean, direction = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[1.0, 0.0], [0.5, 0.2], [0.0, -1.0]])
    surface = straight_surface(mean, direction, torch.tensor([2.0, 0.3]))
    place = torch.tensor([[0.0, 0.0], [4.0, -1.0]])
    torch.testing.assert_close(surface(place), mean + place @ direction.T)
    torch.testing.assert_close(surface.at(place)[torch.tensor([1])], surface(place[1:]))
