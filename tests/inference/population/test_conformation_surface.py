"""A mapping's grid, its shares of particles, and what is left of it with fewer motions."""

import pytest
import torch

from atomdrgn.inference.population.conformation_surface import NODES, REACH, Mapping
from atomdrgn.inference.population.latent_density import Density
from atomdrgn.structure.motion.surface import Surface


def mapping(k):
    """With a bent surface, and a density of two components whose motions are correlated."""
    generator = torch.Generator().manual_seed(k)
    scale = torch.tensor([3.0, 0.7][:k])
    root = torch.linalg.cholesky(
        torch.tensor([[[1.0, 0.3], [0.3, 0.5]], [[0.4, -0.1], [-0.1, 0.2]]])[:, :k, :k]
    )
    density = Density(
        torch.tensor([0.3, 0.7]), torch.tensor([[2.0, 0.4], [-2.0, -0.2]])[:, :k], root
    )
    return Mapping(
        Surface(scale, torch.randn(1 + k + k * (k + 1) // 2, 12, generator=generator)), density
    )


@pytest.mark.parametrize("k", sorted(NODES))
def test_nodes_are_a_grid_about_zero(k):
    """As far as the particles are, symmetric, each once, with the middle one exactly at zero."""
    here = mapping(k)
    nodes = here.nodes()
    assert nodes.shape == (NODES[k] ** k, k) and len(nodes.unique(dim=0)) == len(nodes)
    assert (nodes[len(nodes) // 2] == 0).all()
    torch.testing.assert_close(nodes.flip(0), -nodes)
    torch.testing.assert_close(nodes.amax(0), REACH * here.surface.scale)


@pytest.mark.parametrize("k", sorted(NODES))
def test_shares_of_the_nodes_are_those_of_the_density(k):
    here = mapping(k)
    share, density = here.log_weight().exp(), here.density.log(here.nodes()).exp()
    assert abs(float(share.sum()) - 1) < 1e-5
    torch.testing.assert_close(share / share.max(), density / density.max())


def test_fewer_motions_are_the_same_conformations_where_the_others_are_zero():
    both = mapping(2)
    one = both.first(1)
    place = torch.linspace(-5, 5, 11)[:, None]
    torch.testing.assert_close(
        one.surface(place), both.surface(torch.cat([place, torch.zeros(11, 1)], 1))
    )
    assert one.k == 1 and len(one.nodes()) == NODES[1]


def test_fewer_motions_have_the_density_of_all_places_of_the_others():
    """The marginal, by a sum over the second axis."""
    both = mapping(2)
    first = torch.linspace(-6, 6, 25)
    second = torch.linspace(-6, 6, 601)
    places = torch.cartesian_prod(first, second)
    summed = both.density.log(places).exp().view(25, 601).sum(1) * (second[1] - second[0])
    torch.testing.assert_close(
        both.first(1).density.log(first[:, None]).exp(), summed, rtol=1e-3, atol=1e-5
    )


def test_all_motions_are_the_same_mapping():
    both = mapping(2)
    same = both.first(2)
    torch.testing.assert_close(same.surface.coefficient, both.surface.coefficient)
    torch.testing.assert_close(same.density.root, both.density.root)
