import re

import numpy as np
import pytest

from atomdrgn import open_run
from atomdrgn.analysis.examination.examination import examine
from atomdrgn.analysis.examination.verdict import cautions, kind_of_poses, verdict
from atomdrgn.runs.run import write_json
from hinged import DEGREES_PER_UNIT, hinged_run


def examined(run):
    return examine(run, clusters=3, frames=5)


def test_a_motion_is_told_in_degrees_and_residues(hinge_run):
    text = verdict(examined(hinge_run))
    told = re.match(
        r"1 motion is supported by 400 particles. Residues A:21-40 turn by (\d+) degrees against "
        r"the rest about an "
        r"axis near A:20 \(90 % of the particles; s.d. (\S+) degrees\)",
        text,
    )
    angle = DEGREES_PER_UNIT * hinge_run.latent[:, 0]
    assert (
        abs(float(told[1]) - np.ptp(np.quantile(angle, [0.05, 0.95]))) < 2
        and abs(float(told[2]) - angle.std()) < 0.5
    )
    assert (
        "half-sets agree to 0.10 A" in text
        and "known to 0.20 A, where particles are spread by" in text
    )


def test_a_run_in_which_nothing_moves_says_so(still_run):
    assert verdict(examined(still_run)).startswith(
        "Nothing moves: no motion improves the likelihood"
    )


TESTED = {
    "number": 1,
    "verdict": "unconfirmed",
    "why": "the half-sets have not found the same motion",
    "held_out_gain": [0.6, 0.7],
    "held_out_gain_error": [0.1, 0.1],
    "half_sets_alike": 0.03,
}


def test_unconfirmed_motions_are_named(tmp_path, hinge_structure):
    second = TESTED | {"number": 2}
    text = verdict(examined(changed(tmp_path, hinge_structure, motions_tested=[second])))
    assert "Motion 2 is unconfirmed: images gain by it, but the half-sets" in text
    still = hinged_run(tmp_path, hinge_structure, np.zeros(100), supported=0, name="still.fit")
    write_json(still.folder / "summary.json", still.summary | {"motions_tested": [TESTED]})
    text = verdict(examined(open_run(still.folder)))
    kept = {
        "kept_base": True,
        "held_out_gain": -1.0,
        "held_out_gain_error": 0.1,
        "fitted_gain": -4.0,
    }
    write_json(still.folder / "summary.json", still.summary | {"against_base": kept})
    told = verdict(examined(open_run(still.folder)))
    assert told.startswith("The base model is kept: what was fitted explains images worse than it")
    assert text.startswith("No motion is confirmed. All ") and "Motion 1 is unconfirmed" in text


def changed(folder, structure, *, particles=1200, **summary):
    run = hinged_run(folder, structure, np.random.default_rng(0).normal(0, 4, particles))
    write_json(run.folder / "summary.json", {**run.summary, **summary})
    return open_run(run.folder)


@pytest.mark.parametrize(
    "summary, says",
    [
        ({"warnings": ["odd box"]}, "The fit warned: odd box."),
        ({"unmodelled": ["3 waters"]}, "Not modelled: 3 waters."),
        ({"motions_supported": None}, "was not tested with half-sets"),
        (
            {"poses": {"asked": "auto", "kind": "refined", "integrated": True}},
            "Poses were refined on all images together",
        ),
        ({"particles": 120}, "120 particles are few"),
        (
            {"motions_tested": [TESTED | {"verdict": "not testable", "why": "they are small"}]},
            "Whether half-sets agree on the motions is not testable: they are small.",
        ),
        (
            {
                "motions": [
                    {
                        "number": 1,
                        "variance": 0.25,
                        "share": 1.0,
                        "median_sd": 2.0,
                        "half_set_agreement": 0.5,
                        "held_out_gain": [1, 1],
                        "held_out_gain_error": [0.1, 0.1],
                    }
                ]
            },
            "agree on motion 1 to 0.50 only",
        ),
        (
            {
                "motions": [
                    {
                        "number": 1,
                        "variance": 0.25,
                        "share": 1.0,
                        "median_sd": 2.0,
                        "half_set_agreement": -0.5,
                        "held_out_gain": [1, 1],
                        "held_out_gain_error": [0.1, 0.1],
                    }
                ]
            },
            "the half-sets move residues in opposite directions (they agree to -0.50)",
        ),
        (
            {
                "base_correction": {
                    "supported": True,
                    "rms": 0.5,
                    "largest": 2.0,
                    "held_out_gain": 1.0,
                }
            },
            "The base model has an error common to all particles, 0.50 A r.m.s. a residue",
        ),
        (
            {"pose_errors": {"shift": 0.9, "turn": 1.2}},
            "Estimated pose error: 1.2 degrees and 0.9 A r.m.s. an axis",
        ),
        (
            {"motions": [{"number": 1, "variance": 0.25, "share": 1.0, "median_sd": 2.0}]},
            "trust the population",
        ),
    ],
)
def test_what_a_reader_has_to_bear_in_mind_is_said(tmp_path, hinge_structure, summary, says):
    assert says in " ".join(cautions(examined(changed(tmp_path, hinge_structure, **summary))))


def test_poses_that_are_right_are_not_spoken_of(tmp_path, hinge_structure):
    right = changed(tmp_path, hinge_structure, pose_errors={"shift": 0.1, "turn": 0.4})
    assert not any("poses" in said for said in cautions(examined(right)))


def test_there_is_nothing_to_bear_in_mind_where_all_is_well(tmp_path, hinge_structure):
    assert cautions(examined(changed(tmp_path, hinge_structure))) == []
    right = {"supported": False, "rms": 0.0, "largest": 0.0, "held_out_gain": 0.0}
    (tmp_path / "right").mkdir()
    assert (
        cautions(examined(changed(tmp_path / "right", hinge_structure, base_correction=right)))
        == []
    )


def test_states_and_what_is_absent_are_told(tmp_path, hinge_structure):
    states = [
        {"number": 1, "population": 0.6, "error": 0.01, "place": [1.0]},
        {"number": 2, "population": 0.4, "error": 0.01, "place": [-1.0]},
    ]
    composition = {
        "segments": [
            {"segment": number, "selection": name}
            for number, name in ((1, "A:1-20"), (2, "A:21-40"))
        ],
        "sets": [
            {"set": 1, "segments": [2], "absent_fraction": 0.25, "absent_fraction_error": 0.02}
        ],
    }
    text = verdict(
        examined(changed(tmp_path, hinge_structure, states=states, composition=composition))
    )
    assert "2 separate states: 60 +- 1.0 % and 40 +- 1.0 %" in text
    assert "A:21-40 is absent from 25.0 +- 2.0 % of the particles." in text


SLOPES = {
    "turns": {"ratio": 0.52, "ratio_error": 0.02},
    "shifts": {"ratio": 1.6, "ratio_error": 0.07},
}


@pytest.mark.parametrize(
    ("poses", "says"),
    [
        ({"kind": "exact"}, "were not refined on these images, and no errors of them are seen"),
        ({"kind": "independent"}, "off by errors that do not know the images"),
        ({"kind": "refined"}, "refined on these images: this fit takes them as exact all the same"),
        ({"kind": "refined", "integrated": True}, "nothing is taken as known of them"),
        ({"kind": "undecided"}, "cannot be told, and they are taken as exact"),
        ({"kind": "undecided", "integrated": True}, "cannot be told, and nothing is taken as"),
        ({"kind": "refined"} | SLOPES, "0.52 +- 0.02 for turns and 1.60 +- 0.07 for shifts"),
        (
            {"asked": "exact", "kind": "exact"},
            "as was said (--poses exact), poses are taken as exact",
        ),
        ({"asked": "refined", "kind": "refined"}, "taken as refined on these images: this fit"),
    ],
)
def test_which_kind_of_poses_it_is_is_said(poses, says):
    assert says in kind_of_poses({"poses": {"asked": "auto", "integrated": False} | poses})


def test_a_fit_that_was_not_asked_says_nothing_of_its_poses():
    assert kind_of_poses({}) == ""
    assert kind_of_poses({"poses": {"asked": "auto", "kind": "new", "integrated": False}}) == ""
