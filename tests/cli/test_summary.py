"""What a fit prints when it ends, of what summary.json says."""

from types import SimpleNamespace

import pytest

from atomdrgn.cli.summary import summary_lines

MOTION = {"number": 1, "variance": 9.0, "share": 0.57, "median_sd": 0.4, "half_set_agreement": 0.99}
FOUND = {
    "particles": 1000,
    "images": 1000,
    "segments": 2,
    "residues": 100,
    "resolution": 8.0,
    "mean_log_likelihood_gain": 20.0,
    "motions_supported": 1,
    "half_set_error": 0.1,
    "motions": [MOTION],
    "unmodelled": [],
}


def lines_of(told=None, **more):
    settings = {"fit": {"poses": told}}
    run = SimpleNamespace(summary=FOUND | more, folder="particles.fit", settings=settings)
    return summary_lines(run)


@pytest.mark.parametrize("tested", [True, False])
def test_numbers_stand_below_the_ends_of_their_names(tested):
    motion = {
        name: value for name, value in MOTION.items() if tested or name != "half_set_agreement"
    }
    lines = lines_of(motions=[motion])
    head = next(number for number, line in enumerate(lines) if line.startswith("motion "))
    names = [
        "motion",
        "r.m.s. (A)",
        "share of all variance",
        "median error (A)",
        *(["half-sets agree"] if tested else []),
    ]
    values = ["1", "3.00", "57.0%", "0.40", *(["0.99"] if tested else [])]
    assert lines[head].split("   ") == names and lines[head + 1].split() == values
    assert len(lines[head]) == len(lines[head + 1])
    for name, value in zip(names, values, strict=True):
        end = lines[head].index(name) + len(name)
        assert lines[head + 1][:end].endswith(value), name


@pytest.mark.parametrize(
    "orders, moves", [([], False), ([0], False), ([1], True), ([0, 1], True), ([0, 2], True)]
)
def test_residues_move_within_segments_where_that_changes_along_the_motions(orders, moves):
    """What is of order 0 is the same in all particles, and no movement."""
    flexing = {"supported": bool(orders), "orders": orders, "rms": 0.4, "held_out_gain": 1.0}
    said = "segments bend: within them residues move by another 0.40 A r.m.s., supported by both half-sets"
    assert (said in lines_of(flexing=flexing)) is moves
    assert any("segments bend" in line for line in lines_of(flexing=flexing)) is moves


@pytest.mark.parametrize("supported", [True, False])
def test_the_base_model_is_off_within_its_segments(supported):
    correction = {"supported": supported, "rms": 0.5, "largest": 2.0, "held_out_gain": 1.0}
    said = (
        "the base model has an error common to all particles, 0.50 A r.m.s. a residue within "
        "segments; it was corrected: residues.csv"
    )
    assert (said in lines_of(base_correction=correction)) is supported


def test_the_kind_of_the_poses_is_printed():
    poses = {"asked": "auto", "kind": "refined", "integrated": False}
    shared, line = [each for each in lines_of(poses=poses) if "poses" in each]
    assert "poses were refined on all images together" in shared
    assert line.endswith("this fit takes them as exact all the same, and its errors are too small")


def test_poses_are_off_where_they_are_and_not_corrected():
    said = (
        "estimated pose error: 1.20 degrees and 0.90 A r.m.s. an axis, of the poses themselves or "
        "of the model; errors of particles allow for it (--refine-poses corrects poses)"
    )
    assert said in lines_of(pose_errors={"shift": 0.9, "turn": 1.2})
    assert not any("poses" in line for line in lines_of(pose_errors={"shift": 0.1, "turn": 0.4}))
    corrected = lines_of(
        pose_errors={"shift": 0.2, "turn": 0.1}, pose_correction={"shift": 0.9, "turn": 1.2}
    )
    assert [line for line in corrected if "poses" in line] == [
        "poses corrected by 1.20 degrees and 0.90 A r.m.s. an axis: poses.csv"
    ]


def test_half_sets_that_move_in_opposite_directions_are_warned_of():
    motions = [MOTION, MOTION | {"number": 2, "half_set_agreement": -0.4}]
    said = "warning: along motion 2 the half-sets move residues in opposite directions: do not interpret its shape"
    assert said in lines_of(motions=motions, motions_supported=2)
    assert not any("opposite" in line for line in lines_of(motions=motions, motions_supported=1))
    assert not any("opposite" in line for line in lines_of(motions=motions, motions_supported=None))


TESTED = {
    "number": 2,
    "verdict": "unconfirmed",
    "why": "the half-sets have not found the same motion",
    "held_out_gain": [0.61, 0.724],
    "held_out_gain_error": [0.1, 0.1],
    "half_sets_alike": 0.03,
}


def test_an_unconfirmed_motion_is_named_with_its_gain_and_agreement():
    (line,) = [line for line in lines_of(motions_tested=[TESTED]) if "unconfirmed" in line]
    assert line == (
        "motion 2 is unconfirmed, and in no structure: images gain 0.61 and 0.72 a particle by it, "
        "but the half-sets have not found the same motion (they agree to 0.03)"
    )
    other = TESTED | {"verdict": "not supported"}
    assert lines_of(motions_tested=[other]) == lines_of()


def test_half_sets_that_are_too_small_are_spoken_of_once():
    why = "half-sets have fewer than 100 particles"
    few = [TESTED | {"number": number, "verdict": "not testable", "why": why} for number in (1, 2)]
    (line,) = set(lines_of(motions_tested=few)) - set(lines_of())
    assert line == f"whether the half-sets agree on the motions is not testable: {why}"


@pytest.mark.parametrize(
    ("told", "found", "shared"),
    [
        (None, "refined", True),
        ("refined", None, True),
        ("exact", "refined", False),
        (None, "independent", False),
        (None, None, False),
    ],
)
def test_half_sets_share_poses_that_were_refined_on_all_images(told, found, shared):
    said = {"asked": told or "auto", "kind": found, "integrated": True}
    lines = lines_of(told, **({} if found is None else {"poses": said}))
    assert any("poses were refined on all images together" in line for line in lines) is shared


def test_a_base_model_that_was_kept_is_spoken_of_with_the_losses():
    against = {"held_out_gain": -4.4, "held_out_gain_error": 0.2, "fitted_gain": -3.0}
    assert lines_of(against_base=against | {"kept_base": False}) == lines_of()
    (line,) = set(lines_of(against_base=against | {"kept_base": True})) - set(lines_of())
    assert line == (
        "the base model is kept: what was fitted explains images worse, by 4.40 +- 0.20 a particle "
        "of the other half-set and 3.00 of its own"
    )


@pytest.mark.parametrize(
    ("told", "count", "says"), [(True, 12, "9.8% +- 0.6%"), (True, 0, None), (False, 0, "told")]
)
def test_junk_is_named_where_there_is_any_or_none_can_be_told(told, count, says):
    junk = {"told": told, "share": 0.098, "error": 0.006, "without_weight": count}
    said = [line for line in lines_of(junk=junk) if "junk" in line]
    assert len(said) == (says is not None) and all(says in line for line in said)
