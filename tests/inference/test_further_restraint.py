"""A restraint that is defined here alone, with one more line in the table, holds a whole fit."""

from dataclasses import dataclass
from typing import final

import numpy as np
import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor

from atomdrgn import ImageGrid, fit, read_particles, simulate_particles
from atomdrgn.likelihood.restraints import segment_restraints as restraints
from atomdrgn.likelihood.restraints.restraint import Residuals, Restraint
from atomdrgn.physics.rotations import matrix_from_vector
from hinged import AXIS, hinge_of, two_helices

pytestmark = pytest.mark.slow
FREE_ENDS = 1, 40  # residues at the foot of the first helix and at the head of the second


@final
@dataclass(frozen=True, eq=False)
class KnownDistance(Restraint):
    """Two residues are as far apart as a measurement says."""

    name: str
    beads: Int[Tensor, "1 2"]
    distance: float
    sigma: float

    def residuals(self, position: Float[Tensor, "bead 3"]) -> Residuals:
        """One."""
        i, j = self.beads[0]
        arm = (position[i] - position[j]).double()
        length = arm.norm()
        direction = torch.stack([arm, -arm]) / length
        weight = torch.full((1,), self.sigma**-2, dtype=torch.float64)
        return Residuals(self.beads, length[None] - self.distance, direction[None], weight)

    def on_surface(self, looser):
        """As it is: it was measured."""
        return self


def ends_of(beads):
    return torch.tensor([[int(np.flatnonzero(beads.residue == end)[0]) for end in FREE_ENDS]])


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Structure, particles and the angle of each (rad)."""
    folder = tmp_path_factory.mktemp("helices")
    structure = two_helices(folder)
    generator = torch.Generator().manual_seed(0)
    angle = 0.5 * (2 * torch.rand(60, generator=generator) - 1)
    hinge = torch.from_numpy(hinge_of(structure)).float()
    turn = matrix_from_vector(angle[:, None] * torch.from_numpy(AXIS).float())
    turned = torch.einsum("pij,aj->pai", turn, structure.position - hinge) + hinge
    second = torch.from_numpy(structure.residue > 20)
    star = simulate_particles(
        structure,
        torch.where(second[:, None], turned, structure.position),
        folder,
        grid=ImageGrid(32, 3.0),
        snr=1.0,
        generator=generator,
    )
    return structure, read_particles(star), angle


def distances(run):
    i, j = ends_of(run.bead_model)[0]
    position = run.beads(range(run.n_particles))
    return (position[:, i] - position[:, j]).norm(dim=1)


def test_what_was_measured_holds_in_every_particle(images, tmp_path, monkeypatch):
    structure, particles, angle = images
    settings = {"segments": 2, "resolution": 9.0, "keep_base": True}
    free = fit(structure, particles, tmp_path / "free", **settings)
    seen = distances(free)
    assert abs(np.corrcoef(seen, angle)[0, 1]) > 0.9 and float(seen.std()) > 3
    measured = float(seen.mean()) + 2

    def known_distance(beads, segmentation):
        return KnownDistance("known distance", ends_of(beads), measured, 0.2)

    monkeypatch.setattr(restraints, "OF_SEGMENTS", [*restraints.OF_SEGMENTS, known_distance])
    held = distances(fit(structure, particles, tmp_path / "held", **settings))
    assert float(held.std()) < 0.2 * float(seen.std())
    assert abs(float(held.mean()) - measured) < 1
