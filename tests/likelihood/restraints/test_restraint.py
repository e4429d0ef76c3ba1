"""A term that is defined here alone, of three beads and with nothing but its residuals, has value,
gradient, normal equations and curvature.
"""

from dataclasses import dataclass, replace
from typing import final

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from atomdrgn.likelihood.restraints.pair_restraints import Springs
from atomdrgn.likelihood.restraints.restraint import Residuals, Restraint
from atomdrgn.likelihood.restraints.restraint_equations import restraint_equations
from atomdrgn.likelihood.restraints.segment_restraints import Restraints, make_restraints
from atomdrgn.structure.atoms import read_structure
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.motion.segment_deformation import SegmentDeformation
from atomdrgn.structure.segmentation import make_segments
from molecules import helix, write_pdb


@final
@dataclass(frozen=True, eq=False)
class Middle(Restraint):
    """The first bead is halfway between two others along x, where it is not further to the left."""

    name: str
    beads: tuple[int, int, int]
    sigma: float

    def residuals(self, position: Float[Tensor, "bead 3"]) -> Residuals:
        """One, or none."""
        bead = torch.tensor([self.beads])
        first, second, third = position[bead[0], 0].double()
        value = (first - 0.5 * (second + third))[None]
        direction = torch.zeros(1, 3, 3, dtype=torch.float64)
        direction[0, :, 0] = torch.tensor([1.0, -0.5, -0.5], dtype=torch.float64)
        acting = value > 0
        weight = torch.full_like(value, self.sigma**-2)
        return Residuals(bead[acting], value[acting], direction[acting], weight[acting])

    def on_surface(self, looser: float) -> "Middle":
        """As it is."""
        return self


@pytest.fixture
def beads(tmp_path):
    groups = helix("A", 20), helix("B", 20, start=(8, 0, 0)), helix("C", 20, start=(0, 8, 10))
    return coarse_grain(read_structure(write_pdb(tmp_path / "three.pdb", *groups))).to(
        torch.float64
    )


TERM = Middle("middle", (50, 5, 30), 0.5)


def moved(beads, seed, *, count=6):
    generator = torch.Generator().manual_seed(seed)
    return beads.position + 6 * torch.randn(
        count, *beads.position.shape, dtype=torch.float64, generator=generator
    )


def middle(position):
    first, second, third = (position[..., bead, 0] for bead in TERM.beads)
    return first - 0.5 * (second + third)


def test_its_strain_is_half_its_squares_where_it_acts(beads):
    position = moved(beads, 0).requires_grad_()
    expected = 0.5 * (middle(position).clamp_min(0) / 0.5).square()
    assert (expected > 0).any() and (expected == 0).any()
    torch.testing.assert_close(TERM.strain(position), expected)
    (gradient,) = torch.autograd.grad(TERM.strain(position).sum(), position)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), position)[0])
    torch.testing.assert_close(TERM.strain(position[2]), expected[2])


def test_among_others_it_is_one_more(beads):
    others, position = make_restraints(beads), moved(beads, 0)
    together = Restraints((*others.terms, TERM))
    torch.testing.assert_close(together(position), others(position) + TERM.strain(position))
    torch.testing.assert_close(
        together.strain(position), others.strain(position) + TERM.strain(position)
    )
    assert list(together.each(position)) == ["bond", "tether", "elastic", "clash", "middle"]
    assert together.on_surface(3.0).terms[-1] is TERM


def test_its_equations_are_the_products_of_the_jacobian(beads):
    segmentation = make_segments(beads, 4)
    segmentation = replace(segmentation, weight=segmentation.weight.double())
    deformation = SegmentDeformation(beads, segmentation)
    latent = 3 * torch.randn(
        5, deformation.n_latent, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    equations = restraint_equations(Restraints((TERM,)), deformation, latent)

    def of_latent(value):
        return middle(deformation.conformation(value).position).clamp_min(0)[None] / 0.5

    acting = 0
    for k, place in enumerate(latent):
        rows, residual = torch.autograd.functional.jacobian(of_latent, place), of_latent(place)
        acting += bool(residual > 0)
        torch.testing.assert_close(equations.matrix[k], rows.T @ rows, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(equations.gradient[k], -rows.T @ residual, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(equations.chi2[k], residual @ residual)
    assert 0 < acting < 5


def test_its_curvature_stands_beside_that_of_pairs(beads):
    """Of residuals of three beads and of two."""
    spring = Springs(
        "spring",
        torch.tensor([[1, 40]]),
        torch.tensor([3.0], dtype=torch.float64),
        0.5,
    )
    position = next(each for each in moved(beads, 0) if middle(each) > 0)
    both = Restraints((spring, TERM)).curvature(position)
    apart = [Restraints((term,)).curvature(position) for term in (spring, TERM)]
    torch.testing.assert_close(both, sum(apart))

    def strain(flat):
        return 0.5 * (middle(flat.view(-1, 3)) / 0.5).square()

    torch.testing.assert_close(
        apart[1], torch.autograd.functional.hessian(strain, position.flatten())
    )
