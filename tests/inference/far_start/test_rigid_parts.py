import torch

from atomdrgn.inference.far_start.rigid_parts import rigid_parts
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.motion.segment_deformation import SegmentDeformation
from atomdrgn.structure.segmentation import make_segments


def parts_of(structure, **cut):
    beads = coarse_grain(structure)
    return beads, rigid_parts(SegmentDeformation(beads, make_segments(beads, **cut)), beads)


def test_both_bundles_and_runs_of_their_helices_are_parts(hinged):
    structure, _, _ = hinged
    beads, parts = parts_of(structure, count=6)
    chains = [{str(name) for name in beads.chain[part.bead.numpy()]} for part in parts]
    whole = [
        part
        for part, names in zip(parts, chains, strict=True)
        if len(names) == 1 and part.bead.sum() == 120
    ]
    assert sorted(
        "".join(sorted(names)) for part, names in zip(parts, chains, strict=True) if part in whole
    ) == ["A", "B"]
    assert len({part.segments for part in parts}) == len(parts) > 8
    share = (
        torch.stack([beads.amplitude[part.bead].sum() for part in parts]) / beads.amplitude.sum()
    )
    assert share.max() <= 0.6


def test_a_bundle_turns_about_where_it_touches_the_other(hinged):
    structure, _, _ = hinged
    beads, parts = parts_of(structure, count=6)
    upper = torch.from_numpy(beads.chain == "B")
    part = next(part for part in parts if torch.equal(part.bead, upper))
    assert -3 < part.pivot[2] - beads.position[upper][:, 2].min() < 3


def test_what_is_fixed_is_no_part(hinged):
    structure, _, _ = hinged
    beads, parts = parts_of(structure, count=6, fixed="A")
    assert parts and not any(beads.chain[part.bead.numpy()].tolist().count("A") for part in parts)
