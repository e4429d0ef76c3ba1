"""The sums over the few segments of each pair against the whole Jacobian of the restraints."""

from dataclasses import replace

import pytest
import torch

from atomdrgn.likelihood.restraints.restraint_equations import restraint_equations
from atomdrgn.likelihood.restraints.segment_restraints import make_restraints
from atomdrgn.structure.atoms import read_structure
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.motion.segment_deformation import SegmentDeformation
from atomdrgn.structure.segmentation import make_segments
from molecules import helix, write_pdb


@pytest.fixture
def beads(tmp_path):
    groups = helix("A", 30), helix("B", 20, start=(8, 0, 0)), helix("C", 20, start=(0, 8, 10))
    return coarse_grain(read_structure(write_pdb(tmp_path / "three.pdb", *groups)), beads=2).to(
        torch.float64
    )


def parts_of(beads, count, *, composition=False, **settings):
    segmentation = make_segments(beads, count, **settings)
    segmentation = replace(segmentation, weight=segmentation.weight.to(beads.position))
    deformation = SegmentDeformation(beads, segmentation, composition=composition)
    latent = 3 * torch.randn(
        4, deformation.n_latent, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    latent[3] = 0
    return make_restraints(beads, segmentation), deformation, latent


def residuals(position, strained, k):
    """Of the strained pairs of one conformation, over their standard deviations."""
    found = []
    for term in strained:
        which = term.conformation == k
        pair = torch.from_numpy(term.bead[which])
        distance = (position[pair[:, 0]] - position[pair[:, 1]]).norm(dim=1)
        rest = distance.detach() - torch.from_numpy(term.residual[which])
        found.append((distance - rest) * torch.from_numpy(term.weight[which]).sqrt())
    return torch.cat(found)


@pytest.mark.seconds
@pytest.mark.parametrize(
    "settings",
    [{}, {"fixed": "B"}, {"temperature": 2.0}, {"fixed": "B", "composition": True}],
    ids=str,
)
def test_they_are_the_products_of_the_jacobian(beads, settings):
    restraints, deformation, latent = parts_of(beads, 5, **settings)
    equations = restraint_equations(restraints, deformation, latent)
    strained = restraints.strained(deformation.conformation(latent).position)
    assert sum(len(term.residual) for term in strained) > 50
    for k, place in enumerate(latent):

        def of_latent(value, k=k):
            return residuals(deformation.conformation(value).position, strained, k)

        rows, residual = torch.autograd.functional.jacobian(of_latent, place), of_latent(place)
        torch.testing.assert_close(equations.matrix[k], rows.T @ rows, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(equations.gradient[k], -rows.T @ residual, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(equations.chi2[k], residual @ residual, rtol=1e-6, atol=1e-8)


def test_their_value_and_gradient_are_those_of_the_restraints(beads):
    restraints, deformation, latent = parts_of(beads, 5)
    equations = restraint_equations(restraints, deformation, latent)
    place = latent.clone().requires_grad_()
    strain = restraints(deformation.conformation(place).position)
    torch.testing.assert_close(0.5 * equations.chi2, strain.detach())
    (gradient,) = torch.autograd.grad(strain.sum(), place)
    torch.testing.assert_close(-equations.gradient, gradient, rtol=1e-6, atol=1e-6)


def test_single_precision_is_near(beads):
    restraints, deformation, latent = parts_of(beads, 5)
    exact = restraint_equations(restraints, deformation, latent)
    restraints, deformation, _ = parts_of(beads.to(torch.float32), 5)
    equations = restraint_equations(restraints, deformation, latent.float())
    assert equations.matrix.dtype == torch.float32
    torch.testing.assert_close(
        equations.matrix.double(), exact.matrix, rtol=1e-3, atol=1e-3 * float(exact.matrix.max())
    )


def test_springs_at_rest_hold_and_contacts_at_rest_do_not(beads):
    """At the base model every bond is a measurement of 0, and what may only not come nearer is
    none.
    """
    restraints, deformation, latent = parts_of(beads.to(torch.float32), 5)
    strained = restraints.strained(deformation.conformation(latent[3:].float()).position)
    bond, tether, elastic, clash = restraints.terms
    assert len(clash.neighbours(beads.position[None], clash.distance)[0]) and len(tether.pairs)
    assert [len(each.residual) for each in strained] == [len(bond.pairs), 0, len(elastic.pairs), 0]
    assert restraint_equations(restraints, deformation, latent[3:].float()).matrix.any()


def test_one_segment_says_nothing(beads):
    restraints, deformation, latent = parts_of(beads, 1)
    equations = restraint_equations(restraints, deformation, latent)
    assert not equations.matrix.any() and not equations.gradient.any() and not equations.chi2.any()
