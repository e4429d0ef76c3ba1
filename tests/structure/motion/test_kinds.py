"""What a file holds of a deformation is opened as the same deformation, by its kind."""

import numpy as np
import pytest
import torch

from atomdrgn import read_structure
from atomdrgn.errors import FileFormatError
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.motion.bead_deformation import BeadDeformation
from atomdrgn.structure.motion.deformation import Deformation
from atomdrgn.structure.motion.kinds import KINDS, from_arrays, kind_of, to_arrays
from atomdrgn.structure.motion.segment_deformation import SegmentDeformation
from atomdrgn.structure.segmentation import make_segments
from molecules import helix, write_pdb


@pytest.fixture(scope="module")
def structure(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.pdb"
    return read_structure(write_pdb(path, helix("A", 12), helix("B", 9, start=(12.0, 0.0, 0.0))))


def generator():
    return torch.Generator().manual_seed(0)


def made(kind, beads):
    if kind == "segments":
        return SegmentDeformation(beads, make_segments(beads, 3, fixed="B:5-9"))
    mode = torch.randn(4, len(beads), 3, generator=generator())
    return BeadDeformation(beads, mode, torch.ones(len(beads), 3))


@pytest.mark.parametrize("kind", ["segments", "beads"])
def test_a_deformation_is_opened_as_it_was(structure, kind):
    beads = coarse_grain(structure, beads=2)
    before = made(kind, beads)
    held = to_arrays(before) | {
        "bead": beads.position.numpy(),
        "bead_of_atom": beads.bead_of_atom,
    }
    # what is older than the name is told by what it holds
    assert isinstance(before, Deformation) and kind_of(held) == before.kind == kind
    assert "kind" not in held and set(held) >= set(before.ARRAYS) - before.OPTIONAL
    for arrays in (held, held | {"kind": np.array(kind)}):
        after = from_arrays(arrays, lambda: beads)
        latent = torch.randn(3, before.n_latent, generator=generator())
        assert type(after) is type(before) and after.n_latent == before.n_latent
        one, other = (each.motion(latent) for each in (before, after))
        assert torch.equal(before.beads(one), after.beads(other))
        assert torch.equal(before.beads(one), before.conformation(latent).position)
        atom = structure.position
        assert torch.equal(before.atoms(one, atom), after.atoms(other, atom))


@pytest.mark.parametrize("kind", ["segments", "beads"])
def test_jacobian_and_metric_are_those_of_any_deformation(structure, kind):
    """By formula, and by automatic differentiation."""
    beads = coarse_grain(structure)
    moving = made(kind, beads)
    latent, some = torch.randn(moving.n_latent, generator=generator()), beads.trace_index[3:]
    torch.testing.assert_close(
        moving.bead_jacobian(latent, some),
        Deformation.bead_jacobian(moving, latent, some),
        atol=1e-5,
        rtol=1e-4,
    )
    torch.testing.assert_close(
        moving.trace_metric(some, latent),
        Deformation.trace_metric(moving, some, latent),
        atol=1e-5,
        rtol=1e-4,
    )


def test_what_tells_of_no_kind_or_of_two_is_refused():
    with pytest.raises(FileFormatError, match="neither segments"):
        kind_of({"bead": np.zeros((2, 3))})
    with pytest.raises(FileFormatError, match="both segments"):
        kind_of({"weight": np.zeros((2, 1)), "mode": np.zeros((1, 2, 3))})
    assert kind_of({"weight": np.zeros((2, 1)), "kind": np.array("hinge")}) == "hinge"


def test_every_kind_is_named_in_the_table():
    assert all(name == kind.kind for name, kind in KINDS.items())
    assert {"segments", "beads"} <= set(KINDS)
