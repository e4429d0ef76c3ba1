import torch

from atomdrgn.inference.population.population import Directions, Population, Posterior
from atomdrgn.inference.problem.principal_motions import principal_motions

ROOT = torch.tensor([[3.0, 0.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 0.2]])
METRIC = torch.tensor([[0.5, 0.1, 0.0], [0.1, 0.3, 0.0], [0.0, 0.0, 0.2]])


def motions(n=4000):
    generator = torch.Generator().manual_seed(0)
    mean = torch.tensor([1.0, 2.0, 3.0])
    latent = mean + torch.randn(n, 3, generator=generator) @ ROOT.T
    return latent, mean, principal_motions(Population(mean, ROOT), METRIC)


def test_one_unit_moves_the_trace_by_one_angstrom():
    _, _, found = motions()
    length = torch.einsum("ik,ij,jk->k", found.direction, METRIC, found.direction)
    torch.testing.assert_close(length, torch.ones_like(length))


def test_variances_are_those_of_the_particles_and_shares_of_the_whole():
    latent, _, found = motions()
    torch.testing.assert_close(found.place(latent).var(0), found.variance, rtol=0.1, atol=1e-3)
    whole = torch.trace(ROOT.T @ METRIC @ ROOT)
    torch.testing.assert_close(found.share, found.variance / whole)
    assert (found.variance.diff() <= 0).all()


def test_all_motions_together_give_the_latent_back():
    latent, mean, found = motions()
    if found.direction.shape[1] == 3:
        torch.testing.assert_close(
            mean + found.place(latent) @ found.direction.T, latent, rtol=1e-3, atol=1e-3
        )
    assert found.direction.shape[1] == (found.variance >= 0.01 * found.variance[0]).sum()


def test_the_sd_is_that_of_the_posterior():
    latent, _, found = motions()
    directions = Directions(ROOT[:, :2], ROOT[:, 2:], 0.0)
    tenth = Posterior(latent, 0.1 * torch.eye(2).expand(len(latent), 2, 2))
    unseen = (ROOT[:, 2:].T @ found.read).square().sum(0)
    # along what is seen the posterior's covariance is a tenth of the population's, along the rest
    # all of it
    expected = 0.1 * (found.variance - unseen) + unseen
    torch.testing.assert_close(
        found.sd(tenth, directions)[0].square(), expected, rtol=1e-3, atol=1e-4
    )
