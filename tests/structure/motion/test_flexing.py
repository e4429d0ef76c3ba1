"""What beads do within their segments goes with these, and atoms turn with their stretch of the
chain.
"""

import pytest
import torch

from atomdrgn import read_structure
from atomdrgn.physics.rotations import matrix_from_vector
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.motion.flexing import with_feature
from atomdrgn.structure.motion.motion import FlexedMotion
from atomdrgn.structure.motion.segment_deformation import SegmentDeformation
from atomdrgn.structure.segmentation import make_segments
from molecules import helix, write_pdb

FEATURE = torch.tensor([[1.0, 0.0], [1.0, 2.0], [1.0, -1.0]])


@pytest.fixture(scope="module")
def structure(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.pdb"
    return read_structure(write_pdb(path, helix("A", 12), helix("B", 12, start=(12.0, 0.0, 0.0))))


@pytest.fixture(scope="module")
def moving(structure):
    """Function of offsets: two segments whose residues move by them, one row a feature, as a run
    holds them.
    """
    beads = coarse_grain(structure)
    fitted = SegmentDeformation(beads, make_segments(beads, parts=["A", "B"]))
    held = {name: torch.from_numpy(array) for name, array in fitted.arrays().items()}
    held |= {"bead": beads.position, "bead_of_atom": torch.from_numpy(beads.bead_of_atom)}

    def made(offset=None):
        flexing = {} if offset is None else {"flexing": offset(beads)}
        return SegmentDeformation.from_arrays(held | flexing, lambda: beads)

    return made


def random_offsets(beads):
    return 0.2 * torch.randn(2, len(beads), 3, generator=torch.Generator().manual_seed(0))


def motion_of(mobile):
    latent = 5 * torch.randn(3, 6 * len(mobile.free), generator=torch.Generator().manual_seed(1))
    return mobile.motion(latent)


def test_a_motion_that_says_nothing_of_it_is_rigid(structure, moving):
    flexed, rigid, atom = moving(random_offsets), moving(), structure.position
    motion = motion_of(rigid)
    torch.testing.assert_close(flexed.atoms(motion, atom), rigid.atoms(motion, atom))
    torch.testing.assert_close(flexed.beads(motion), rigid.beads(motion))
    torch.testing.assert_close(
        flexed.atoms(with_feature(motion, 0 * FEATURE), atom),
        rigid.atoms(motion, atom),
        atol=1e-4,
        rtol=0,
    )


def test_beads_are_offset_in_the_frame_of_their_segment(moving):
    flexed, rigid = moving(random_offsets), moving()
    motion = motion_of(rigid)
    went = flexed.beads(with_feature(motion, FEATURE)) - rigid.beads(motion)
    offset = torch.einsum("pf,fbc->pbc", FEATURE, flexed.flexing.offset)
    # segments have turned them
    torch.testing.assert_close(went.norm(dim=-1), offset.norm(dim=-1), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        went[:, 1:5] @ went[:, 0, :, None],
        offset[:, 1:5] @ offset[:, 0, :, None],
        atol=1e-3,
        rtol=0,
    )


def test_residues_keep_their_shape_and_turn_with_the_chain(structure, moving):
    atom = structure.position
    turn = matrix_from_vector(torch.tensor([0.1, -0.05, 0.08]))
    flexed = moving(
        lambda beads: torch.stack(
            [torch.zeros_like(beads.position), 0.5 * (beads.position @ turn.T - beads.position)]
        )
    )
    motion = with_feature(motion_of(moving()), FEATURE)
    atoms, rigid = flexed.atoms(motion, atom)[1], moving().atoms(motion, atom)[1]
    first = flexed.bead_of_atom == 4
    assert first.sum() > 3
    torch.testing.assert_close(
        *(torch.cdist(each[first], each[first]) for each in (atoms, rigid)), atol=1e-3, rtol=0
    )
    # a chain that turns as a whole takes its atoms along, residues and all
    still = with_feature(
        moving().motion(torch.zeros(1, 6 * len(flexed.free))), torch.tensor([[1.0, 2.0]])
    )
    torch.testing.assert_close(flexed.atoms(still, atom)[0], atom @ turn.T, atol=0.15, rtol=0)


def test_a_record_of_motions_is_picked_from_with_its_features(moving):
    motion = with_feature(motion_of(moving()), FEATURE)
    picked = motion[torch.tensor([2, 0])]
    assert isinstance(picked, FlexedMotion)
    torch.testing.assert_close(picked.feature, FEATURE[[2, 0]])
