"""Which kind of poses it is follows from the slopes, and then from what the fit finds."""

import json
import math

import pytest
import torch

from atomdrgn.errors import FileFormatError
from atomdrgn.inference.fit import STAGES
from atomdrgn.inference.fit_assembly import assemble
from atomdrgn.inference.fit_options import FitOptions
from atomdrgn.inference.fit_stages import FitProgress, go_through
from atomdrgn.inference.posterior.pose_errors import Play
from atomdrgn.inference.posterior.pose_slopes import BandRatios, PoseSlopes, Slope
from atomdrgn.inference.posterior.pose_verdict import (
    FEWEST,
    PoseVerdict,
    judge_poses,
    kind_after_fit,
    kind_before_fit,
)
from atomdrgn.inference.problem.half_sets import part_of

EXACT = Slope(1.0, 0.04, 0.0, 0.04)
OFF = Slope(2.0, 0.1, 0.9, 0.1)
FITTED = Slope(0.4, 0.02, -0.6, 0.04)
FEW = Slope(1.0, 0.3, -0.2, 0.3)


def slopes(turns, shifts, *, share=0.9):
    bands = (BandRatios(60.0, 40.0, 1.0, 1.1), BandRatios(40.0, 28.0, 0.9, 1.0))
    return PoseSlopes(500, share, turns, shifts, turns, None, bands)


def play(shift, turn):
    return Play(shift, math.radians(turn), torch.zeros(1, 6), torch.zeros(1, 1, 1))


@pytest.mark.parametrize(
    ("turns", "shifts", "kind"),
    [
        (EXACT, EXACT, None),
        (OFF, OFF, None),
        (FITTED, FITTED, "refined"),
        (FITTED, OFF, "refined"),  # a stack that was cut out anew
        (FEW, FITTED, "refined"),
        (FEW, FEW, "undecided"),
        (EXACT, FEW, None),
    ],
)
def test_turns_say_it_and_shifts_where_they_alone_do(turns, shifts, kind):
    assert kind_before_fit(slopes(turns, shifts)) == kind


def test_maps_that_have_little_in_common_say_nothing():
    assert kind_before_fit(slopes(EXACT, EXACT, share=0.1)) == "undecided"


@pytest.mark.parametrize(
    ("shift", "turn", "kind"),
    [
        (0.0, 0.0, "exact"),
        (0.3, 1.3, "exact"),
        (1.0, 0.0, "independent"),
        (0.0, 3.0, "independent"),
    ],
)
def test_of_poses_that_were_not_refined_the_fit_finds_errors(shift, turn, kind):
    found = PoseVerdict(None, slopes(EXACT, OFF))
    assert kind_after_fit(found, play(shift, turn)) == kind
    assert kind_after_fit(PoseVerdict(None, slopes(EXACT, EXACT)), play(shift, turn)) == "exact"
    assert kind_after_fit(found, None) == "exact"


def test_what_the_fit_finds_of_refined_poses_is_no_kind():
    for kind in ("refined", "undecided"):
        found = PoseVerdict(kind, slopes(FITTED, FITTED))
        assert found.unknown
        assert kind_after_fit(found, play(2.0, 5.0)) == kind


@pytest.mark.parametrize("held", [None, slopes(EXACT, OFF)])
def test_a_verdict_comes_back_from_its_file(held):
    found = PoseVerdict("undecided", held)
    assert PoseVerdict.from_json(json.loads(json.dumps(found.as_json()))) == found


def test_images_are_asked_before_the_fit_and_the_answer_is_kept(
    still, still_refined, tmp_path, monkeypatch
):
    structure, _ = still
    options = FitOptions(segments=2)
    model = assemble(structure, still_refined, options)
    model.images.load()
    begun = FitProgress(tmp_path, structure, options, model)
    found = go_through(STAGES[:1], begun)
    assert found.poses.kind == "refined"
    assert found.model.unknown_poses
    monkeypatch.setattr("atomdrgn.inference.fit.judge_poses", None)
    again = go_through(STAGES[:1], begun)
    assert again.poses == found.poses
    assert again.model.unknown_poses
    (file,) = tmp_path.iterdir()
    file.write_text(json.dumps({"kind": 3, "slopes": None}))
    with pytest.raises(FileFormatError, match=r"kind is 3"):
        go_through(STAGES[:1], begun)


def test_nobody_is_asked_where_the_kind_is_said_or_poses_are_corrected():
    assert FitOptions().asks_poses
    assert not FitOptions(poses="exact").asks_poses
    assert not FitOptions(refine_poses=True).asks_poses


def test_a_few_particles_are_not_asked(hinged):
    structure, particles, _ = hinged
    model = assemble(structure, particles, FitOptions(segments=2))
    model.images.load()
    few = part_of(model, torch.arange(FEWEST - 1)).model
    assert judge_poses(few) == PoseVerdict("undecided")


def test_images_that_are_left_out_are_not_asked(hinged):
    structure, particles, _ = hinged
    model = assemble(structure, particles, FitOptions(segments=2))
    model.images.load()
    model.images.left_out[:30] = True
    assert judge_poses(model).slopes.particles == len(particles) - 30
