"""The learned segmentation: rows, gradients, divergence, what is not learned, and a border that
finds its place.
"""

import math

import pytest
import torch

from atomdrgn.networks.segment_posterior import (
    START_SD,
    SegmentPosterior,
    conformation,
    gaussian_kl,
)
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.projection.project import project_beads
from atomdrgn.physics.rotations import matrix_from_quaternion
from atomdrgn.structure.atoms import read_structure
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.motion.segment_deformation import SegmentDeformation
from atomdrgn.structure.segmentation import make_segments
from molecules import helix, write_pdb


@pytest.fixture(scope="module")
def beads(tmp_path_factory):
    path = tmp_path_factory.mktemp("segments") / "base.pdb"
    return coarse_grain(
        read_structure(
            write_pdb(path, helix("A", 60, start=(0, 0, -45)), helix("B", 30, start=(12, 0, -45)))
        )
    )


def normal(seed=0):
    return torch.Generator().manual_seed(seed)


def test_it_starts_at_the_given_segmentation_and_its_rows_sum_to_one(beads):
    segmentation = make_segments(beads, 5)
    posterior = SegmentPosterior(segmentation)
    torch.testing.assert_close(posterior.mean(), segmentation.weight)
    with torch.no_grad():
        posterior.log_sd.fill_(-1.0)
    drawn = posterior.sample(normal())
    torch.testing.assert_close(drawn.sum(1), torch.ones(len(beads)))
    assert (drawn - segmentation.weight).abs().max() > 0.1 and (drawn >= 0).all()
    assert torch.equal(drawn, posterior.sample(normal())) and not torch.equal(
        drawn, posterior.sample(normal(1))
    )


def test_the_divergence_is_zero_at_the_prior_and_nowhere_else(beads):
    posterior = SegmentPosterior(make_segments(beads, 5))
    numbers = 3 * len(posterior.start.mean)
    assert posterior.kl().item() == pytest.approx(
        numbers * (0.5 * (START_SD**2 - 1) - math.log(START_SD)), rel=1e-5
    )
    with torch.no_grad():
        posterior.log_sd.zero_()
    assert posterior.kl() == 0
    with torch.no_grad():
        posterior.place[0, 1] = 2.0
    assert posterior.kl().item() == pytest.approx(2.0)


def test_the_divergence_is_that_of_gaussians():
    mean, log_sd = torch.randn(2, 7, generator=normal())
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, log_sd.exp()), torch.distributions.Normal(0, 1)
    )
    torch.testing.assert_close(gaussian_kl(mean, log_sd), expected)


def test_the_gradient_of_memberships_is_that_of_differences(beads):
    posterior = SegmentPosterior(make_segments(beads, 5))
    with torch.no_grad():
        posterior.place += 0.02 * torch.randn(posterior.place.shape, generator=normal())
    by = torch.randn(len(beads), 5, generator=normal(1))
    (gradient,) = torch.autograd.grad((posterior.mean() * by).sum(), posterior.place)
    step = 2e-3
    for number in range(3):
        for component in range(5):
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    posterior.place[number, component] += sign * step
                    values.append((posterior.mean() * by).sum().double())
                    posterior.place[number, component] -= sign * step
            assert (
                abs((values[0] - values[1]) / (2 * step) - gradient[number, component])
                < 0.03 * gradient.abs().max()
            )


def test_what_is_named_or_fixed_is_not_learned(beads):
    segmentation = make_segments(beads, 5, parts=["A:11-25"], fixed="B")
    posterior = SegmentPosterior(segmentation, named=1)
    torch.testing.assert_close(posterior.mean(), segmentation.weight, atol=2e-3, rtol=0)
    assert posterior.place.shape[1] == len(segmentation.mean) - 2
    with torch.no_grad():
        posterior.place += 0.3 * torch.randn(posterior.place.shape, generator=normal())
    moved = posterior.mean()
    torch.testing.assert_close(moved[:, [0, 4]], segmentation.weight[:, [0, 4]], atol=2e-3, rtol=0)
    assert (moved - segmentation.weight).abs().max() > 0.5
    torch.testing.assert_close(moved.sum(1), torch.ones(len(beads)))


def test_nothing_is_learned_where_all_is_named(beads):
    segmentation = make_segments(beads, parts=["A"], fixed="B")
    posterior = SegmentPosterior(segmentation, named=1)
    torch.testing.assert_close(posterior.sample(normal()), segmentation.weight)
    assert posterior.kl() == 0 and posterior.place.numel() == 0


def test_a_conformation_under_given_memberships(beads):
    """Under the deformation's own it is the deformation's, and its gradient in a membership is the
    moved copy.
    """
    segmentation = make_segments(beads, 4)
    deformation = SegmentDeformation(beads, segmentation)
    latent = torch.randn(3, deformation.n_latent, generator=normal())
    membership = segmentation.weight.clone().requires_grad_()
    position = conformation(deformation, latent, membership).position
    torch.testing.assert_close(
        position, deformation.conformation(latent).position, atol=1e-3, rtol=0
    )
    motion, bead, segment = deformation.motion(latent), 17, 2
    centroid = deformation.centroid[segment]
    turned = matrix_from_quaternion(motion.rotation[1, segment]) @ (beads.position[bead] - centroid)
    copy = turned + centroid + motion.translation[1, segment]
    (gradient,) = torch.autograd.grad(position[1, bead].sum(), membership)
    torch.testing.assert_close(gradient[bead, segment], copy.sum(), atol=1e-3, rtol=1e-4)
    assert not gradient[:bead].any()


@pytest.mark.seconds
def test_a_border_finds_its_place(beads):
    """Two parts slide on each other; noise-free images of them move the border from residue 30 to
    residue 38.
    """
    start = make_segments(beads, 3, parts=["B"])
    truth = make_segments(beads, parts=["B", "A:1-38", "A:39-60"])
    deformation = SegmentDeformation(beads, start)
    latent = 3 * torch.randn(32, deformation.n_latent, generator=normal())
    grid = ImageGrid(32, 4.0)

    def images(membership):
        return project_beads(
            conformation(deformation, latent, membership).position,
            beads.amplitude,
            beads.sigma + 2.0,
            grid,
        )

    seen = images(truth.weight).flatten(1)
    posterior = SegmentPosterior(start, named=1)
    optimizer = torch.optim.Adam(posterior.parameters(), lr=0.02)
    generator = normal()
    for _ in range(80):
        loss = -torch.cosine_similarity(images(posterior.sample(generator)).flatten(1), seen).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def border(weight):
        return float(weight[:60, 1].sum())

    assert abs(border(start.weight) - 30) < 0.1 and abs(border(truth.weight) - 38) < 0.1
    learned = posterior.segmentation()
    assert abs(border(learned.weight) - 38) < 1.0
    torch.testing.assert_close(SegmentDeformation(beads, learned).weight, posterior.mean().detach())
