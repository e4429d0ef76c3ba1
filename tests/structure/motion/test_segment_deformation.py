import pytest
import torch

from atomdrgn.physics.rotations import matrix_from_vector
from atomdrgn.structure.atoms import read_structure
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.motion.lifting import lift
from atomdrgn.structure.motion.segment_deformation import SegmentDeformation
from atomdrgn.structure.segmentation import make_segments
from molecules import helix, write_pdb


@pytest.fixture
def structure(tmp_path):
    return read_structure(
        write_pdb(
            tmp_path / "two.pdb", helix("A", 30), helix("B", 20, start=(12.0, 0.0, 0.0), serial=500)
        )
    )


def deformed(structure, count=4, **settings):
    beads = coarse_grain(structure)
    return beads, SegmentDeformation(beads, make_segments(beads, count, **settings))


def latents(deformation, size=3.0, batch=5):
    return size * torch.randn(
        batch, deformation.n_latent, generator=torch.Generator().manual_seed(0)
    )


def test_zero_is_the_base_model(structure):
    beads, deformation = deformed(structure)
    base = deformation.conformation(torch.zeros(2, deformation.n_latent))
    torch.testing.assert_close(base.position, beads.position.expand(2, -1, -1), rtol=0, atol=1e-4)
    assert (base.occupancy == 1).all()


def test_one_unit_moves_a_segment_by_about_one_angstrom(structure):
    beads, deformation = deformed(structure)
    for latent in torch.eye(deformation.n_latent):
        moved = deformation.conformation(0.1 * latent).position - beads.position
        mine = deformation.weight[:, int(latent.argmax()) // 6] > 0.5
        assert 0.02 < moved[mine].square().sum(-1).mean().sqrt() < 0.15


def test_a_turn_about_a_hinge_is_a_straight_line_of_latents(structure):
    """Whatever the angle, and however far the segments are from the axis."""
    beads, deformation = deformed(structure, 3)
    axis, hinge = torch.tensor([0.0, 0.6, 0.8]), torch.tensor([20.0, -15.0, 30.0])
    speed = torch.linalg.cross(axis.expand_as(deformation.centroid), deformation.centroid - hinge)
    twist = torch.cat([speed, axis * deformation.radius[:, None]], -1).flatten()
    for angle in (-1.5, 0.3, 2.5):
        turned = (beads.position - hinge) @ matrix_from_vector(angle * axis).T + hinge
        torch.testing.assert_close(
            deformation.conformation(angle * twist).position, turned, rtol=0, atol=1e-4
        )


def test_what_is_fixed_does_not_move(structure):
    beads, deformation = deformed(structure, 3, fixed="B")
    assert deformation.n_latent == 12
    moved = deformation.conformation(latents(deformation)).position - beads.position
    on_b = torch.from_numpy(beads.chain == "B")
    assert moved[:, on_b].abs().max() < 1e-4 < moved[:, ~on_b].abs().max()


def test_pair_rows_are_gradients_of_distances(structure):
    """Against finite differences, far from the base model and across soft borders."""
    beads, deformation = deformed(structure)
    latent = latents(deformation, batch=2)
    i, j = torch.tensor([0, 7, 14, 20]), torch.tensor([10, 8, 16, 45])

    def distance(value):
        position = deformation.conformation(value).position
        return (position[:, i] - position[:, j]).norm(dim=-1)

    position = deformation.conformation(latent).position
    apart = position[:, i] - position[:, j]
    rows = deformation.pair_rows(latent, i, j, direction=apart / apart.norm(dim=-1, keepdim=True))
    expected = (
        torch.stack(
            [
                distance(latent + 0.05 * step) - distance(latent - 0.05 * step)
                for step in torch.eye(deformation.n_latent)
            ],
            -1,
        )
        / 0.1
    )
    torch.testing.assert_close(rows, expected, rtol=0.02, atol=2e-3)


def test_trace_metric_predicts_how_far_a_step_moves_the_trace(structure):
    beads, deformation = deformed(structure)
    trace = beads.trace_index
    at = latents(deformation, batch=1)[0]
    step = 0.01 * torch.randn(deformation.n_latent, generator=torch.Generator().manual_seed(5))
    metric = deformation.trace_metric(trace, at)
    moved = (
        deformation.conformation(at + step).position[trace]
        - deformation.conformation(at).position[trace]
    )
    assert abs((step @ metric @ step).sqrt() / moved.square().sum(-1).mean().sqrt() - 1) < 0.02


def test_every_residue_keeps_its_shape_when_atoms_are_lifted(structure):
    beads, deformation = deformed(structure)
    motion = deformation.motion(latents(deformation))
    atoms = lift(
        motion,
        structure.position,
        bead=beads.position,
        bead_of_atom=torch.from_numpy(beads.bead_of_atom),
        centroid=deformation.centroid,
        weight=deformation.weight,
    )
    assert atoms.shape == (5, len(structure), 3)
    for residue in (0, 7, 14, 15, 40):  # 7, 14 and 15 stand at borders
        mine = torch.from_numpy(structure.residue_index == residue)
        torch.testing.assert_close(
            torch.cdist(atoms[2, mine], atoms[2, mine]),
            torch.cdist(structure.position[mine], structure.position[mine]),
            rtol=1e-3,
            atol=1e-3,
        )


def test_without_motion_atoms_stay(structure):
    beads, deformation = deformed(structure)
    atoms = lift(
        deformation.motion(torch.zeros(deformation.n_latent)),
        structure.position,
        bead=beads.position,
        bead_of_atom=torch.from_numpy(beads.bead_of_atom),
        centroid=deformation.centroid,
        weight=deformation.weight,
    )
    torch.testing.assert_close(atoms, structure.position, rtol=0, atol=1e-4)


def test_a_seventh_number_is_an_occupancy_and_moves_nothing(structure):
    beads = coarse_grain(structure)
    segmentation = make_segments(beads, 4, fixed="B")
    moving, composed = (
        SegmentDeformation(beads, segmentation, composition=c) for c in (False, True)
    )
    latent = latents(moving)
    wide = torch.cat(
        [moving.by_segment(latent), torch.full((5, len(moving.free), 1), -4.0)], -1
    ).flatten(1)
    found, expected = composed.conformation(wide), moving.conformation(latent)
    torch.testing.assert_close(found.position, expected.position)
    on_b = torch.from_numpy(beads.chain == "B")
    torch.testing.assert_close(found.occupancy, torch.where(on_b, 1.0, 0.6).expand(5, -1))
    back = composed.with_occupancy(wide, torch.ones(5, composed.n_segments))
    assert (composed.conformation(back).occupancy == 1).all() and torch.equal(
        composed.motions_alone.occupancy(latent), moving.occupancy(latent)
    )


def test_metrics_do_not_see_occupancies_and_weigh_what_is_there(structure):
    beads = coarse_grain(structure)
    segmentation = make_segments(beads, 2)
    moving, composed = (
        SegmentDeformation(beads, segmentation, composition=c) for c in (False, True)
    )
    here = composed.with_occupancy(torch.zeros(14), torch.ones(2))
    place = torch.arange(14).view(2, 7)
    motion, presence = place[:, :6].flatten(), place[:, 6]
    for name in ("trace_metric", "shape_metric"):
        metric = getattr(composed, name)(beads.trace_index, here)
        expected = getattr(moving, name)(beads.trace_index, torch.zeros(12))
        torch.testing.assert_close(metric[motion[:, None], motion], expected, rtol=1e-4, atol=1e-5)
        assert not metric[presence].any() and not metric[:, presence].any()
    gone = composed.trace_metric(
        beads.trace_index, composed.with_occupancy(torch.zeros(14), torch.tensor([1.0, 0.0]))
    )
    assert gone[7:13, 7:13].trace() < 0.05 * gone[:6, :6].trace()


def superposed_distance(moved, fixed):
    """R.m.s. distance of two sets of points at its smallest, by Kabsch."""
    moved, fixed = moved.double(), fixed.double()
    moved, fixed = moved - moved.mean(0), fixed - fixed.mean(0)
    left, _, right = torch.linalg.svd(fixed.T @ moved)
    sign = torch.tensor([1, 1, torch.linalg.det(left @ right).sign()], dtype=torch.float64)
    return (moved @ ((left * sign) @ right).T - fixed).square().sum(-1).mean().sqrt()


@pytest.mark.parametrize("size", [0.0, 3.0])
def test_whole_motions_are_three_shifts_and_three_turns_of_all_beads(structure, size):
    """From the base model and far from it, by finite differences."""
    beads, deformation = deformed(structure)
    at = latents(deformation, size=size, batch=1)[0]
    position = deformation.conformation(at).position
    turned = [torch.linalg.cross(axis.expand_as(position), position) for axis in torch.eye(3)]
    for step, expected in zip(
        deformation.whole_motion(at).T, [*torch.eye(3)[:, None], *turned], strict=True
    ):
        change = 0.2 / float(step.norm())
        ends = [deformation.conformation(at + sign * change * step).position for sign in (1, -1)]
        torch.testing.assert_close(
            (ends[0] - ends[1]) / (2 * change), expected.expand_as(position), rtol=5e-3, atol=0.05
        )


@pytest.mark.parametrize("size", [0.0, 3.0])
def test_moving_as_a_whole_has_no_length_and_nothing_else_has_none(structure, size):
    beads, deformation = deformed(structure)
    at = latents(deformation, size=size, batch=1)[0]
    metric, whole = deformation.shape_metric(beads.trace_index, at), deformation.whole_motion(at)
    before = torch.einsum(
        "lw,lm,mw->w", whole, deformation.trace_metric(beads.trace_index, at), whole
    )
    after = torch.einsum("lw,lm,mw->w", whole, metric, whole)
    assert (after.abs() < 1e-4 * before).all()
    assert (
        torch.linalg.matrix_rank(metric.double(), atol=1e-4, hermitian=True)
        == deformation.n_latent - 6
    )


def test_where_a_part_is_fixed_nothing_moves_as_a_whole(structure):
    beads, deformation = deformed(structure, 3, fixed="B")
    at = latents(deformation, batch=1)[0]
    assert deformation.whole_motion(at).shape == (12, 0)
    torch.testing.assert_close(
        deformation.shape_metric(beads.trace_index, at),
        deformation.trace_metric(beads.trace_index, at),
    )


@pytest.mark.parametrize("size", [0.0, 3.0])
def test_shape_metric_is_what_is_left_of_a_step_after_superposition(structure, size):
    beads, deformation = deformed(structure)
    trace, at = beads.trace_index, latents(deformation, size=size, batch=1)[0]
    metric, here = deformation.shape_metric(trace, at), deformation.conformation(at).position[trace]
    for step in 0.1 * torch.randn(
        5, deformation.n_latent, generator=torch.Generator().manual_seed(3)
    ):
        left = superposed_distance(deformation.conformation(at + step).position[trace], here)
        assert abs((step @ metric @ step).sqrt() / left - 1) < 0.02
