"""What parts are said to do is what they were made to do: turn about a known hinge by known angles."""

import numpy as np
import pytest
import torch

from atomdrgn.analysis.examination.domains import Parts, fluctuations, parse_measure, turn_of
from atomdrgn.errors import InputError
from atomdrgn.structure.selection import select
from hinged import AXIS, DEGREES_PER_UNIT, hinge_of
from runs import write_bead_run

FIRST, SECOND = "A:1-20", "A:21-40"


def members(run, *selections):
    return np.stack([select(run.bead_model, selection) for selection in selections])


def test_a_turn_has_the_angles_axis_and_hinge_that_it_was_made_with(hinge_run):
    turn = turn_of(hinge_run, hinge_run.motion, SECOND, FIRST)
    angle = DEGREES_PER_UNIT * hinge_run.latent[:, 0]
    assert abs(turn.sd - angle.std(ddof=1)) < 0.01
    np.testing.assert_allclose(
        turn.range, np.quantile(angle, [0.05, 0.95]) - angle.mean(), atol=0.3
    )
    np.testing.assert_allclose(np.abs(turn.axis @ AXIS), 1, atol=1e-4)
    apart = turn.point - hinge_of(hinge_run.structure)
    # means over ends lie a little inside of their arc
    assert np.linalg.norm(apart - (apart @ AXIS) * AXIS) < 0.15
    assert abs(turn.slide) < 0.01 and turn.hinge == ["A:20"]
    degrees = turn.degrees(hinge_run.motion) * np.sign(turn.axis @ AXIS)
    np.testing.assert_allclose(degrees - degrees.mean(), angle - angle.mean(), atol=0.05)


def test_the_axis_is_seen_from_the_part_that_is_called_fixed(hinge_run):
    there, back = (
        turn_of(hinge_run, hinge_run.motion, *pair) for pair in ((SECOND, FIRST), (FIRST, SECOND))
    )
    assert abs(there.sd - back.sd) < 0.01
    np.testing.assert_allclose(np.abs(back.axis @ AXIS), 1, atol=1e-3)


def test_what_hardly_turns_has_no_place_for_its_axis(hinge_run):
    small = hinge_run.motion[torch.from_numpy(np.abs(hinge_run.latent[:, 0]) < 0.2)]
    assert turn_of(hinge_run, small, SECOND, FIRST).point is None


def test_centres_and_distances_are_those_of_the_placed_beads(hinge_run):
    both = members(hinge_run, FIRST, "A:25-30")
    electrons = hinge_run.model["amplitude"]
    position = hinge_run.beads(range(5)).numpy()
    centres = np.stack(
        [np.average(position[:, own], axis=1, weights=electrons[own]) for own in both], 1
    )
    np.testing.assert_allclose(
        Parts(hinge_run, torch.from_numpy(both)).centre(hinge_run.motion[:5]), centres, atol=1e-4
    )
    measure = parse_measure(hinge_run, "distance", f"{FIRST} and A:25-30")
    np.testing.assert_allclose(
        measure(hinge_run.motion[:5]),
        np.linalg.norm(centres[:, 0] - centres[:, 1], axis=-1),
        atol=1e-4,
    )


def test_an_angle_of_two_parts_is_the_turn_of_one_against_the_other(hinge_run):
    measure = parse_measure(hinge_run, "angle", f"{SECOND} and {FIRST}")
    np.testing.assert_allclose(
        measure(hinge_run.motion), DEGREES_PER_UNIT * np.abs(hinge_run.latent[:, 0]), atol=0.05
    )


def test_an_angle_of_three_parts_is_at_the_second(hinge_run):
    beads = hinge_run.beads([7])[0].numpy()
    first, second, third = (
        beads[select(hinge_run.bead_model, one)][0] for one in ("A:5", "A:20", "A:33")
    )
    one, other = first - second, third - second
    expected = np.degrees(np.arccos(one @ other / np.linalg.norm(one) / np.linalg.norm(other)))
    assert (
        abs(
            float(parse_measure(hinge_run, "angle", "A:5 and A:20 and A:33")(hinge_run.motion[7]))
            - expected
        )
        < 1e-2
    )


@pytest.mark.parametrize(
    "kind, text, says",
    [
        ("distance", "A:1-20", "1 selection; write two"),
        ("distance", "A and A and A", "3 selections"),
        ("angle", "A and ", "1 selection|2 selections"),
        ("distance", "A and Z", "there is no chain 'Z'; the chains are A:1-40"),
        ("distance", "A:1-20 and A:90-99", "holds no residue"),
        ("angle", "A:1-2 and A:21-40", "no orientation"),
    ],
)
def test_what_cannot_be_measured_is_said(hinge_run, kind, text, says):
    with pytest.raises(InputError, match=says):
        parse_measure(hinge_run, kind, text)


def test_fluctuations_are_of_what_moves_when_the_rest_is_held(hinge_run):
    still = select(hinge_run.bead_model, FIRST)
    found = fluctuations(hinge_run, hinge_run.motion, still)
    beads = hinge_run.beads(range(400)).numpy()
    # the first part has not moved at all
    direct = np.sqrt(((beads - beads.mean(0)) ** 2).sum(-1).mean(0))
    np.testing.assert_allclose(found.rmsf, direct, atol=0.02)
    assert found.rmsf[:20].max() < 0.02 < 1 < found.rmsf[-1]


def test_single_beads_fluctuate_as_far_as_they_were_moved(hinge_run, tmp_path):
    rng = np.random.default_rng(0)
    mode = np.zeros((2, 40, 3))
    mode[:, 20:] = rng.normal(size=(2, 20, 3))
    feature = rng.normal(size=(60, 2))
    (tmp_path / "p.star").write_text("data_\n")
    run = write_bead_run(
        tmp_path / "run", hinge_run.structure, tmp_path / "p.star", mode=mode, feature=feature
    )
    found = fluctuations(run, run.motion, select(run.bead_model, FIRST))
    direct = np.einsum("pk,kbx->pbx", feature - feature.mean(0), mode)
    np.testing.assert_allclose(found.rmsf, np.sqrt((direct**2).sum(-1).mean(0)), atol=1e-3)
    assert found.correlation.shape == (0, 0)


def test_correlations_are_those_of_superposed_centroids(hinge_run):
    table = fluctuations(
        hinge_run, hinge_run.motion, select(hinge_run.bead_model, FIRST)
    ).correlation
    np.testing.assert_allclose(np.diag(table), 1, atol=1e-5)
    np.testing.assert_allclose(table, table.T, atol=1e-5)
    # two halves of a molecule that is superposed as a whole go opposite ways
    assert table[0, 1] < -0.5


def test_what_does_not_move_does_not_fluctuate(still_run):
    found = fluctuations(still_run, still_run.motion, select(still_run.bead_model, "A"))
    assert found.rmsf.max() < 1e-3 and np.isfinite(found.correlation).all()
