"""Options are one record: what the command line and Python build, and what run.json holds."""

import json
from dataclasses import FrozenInstanceError, replace

import pytest

import atomdrgn
from atomdrgn.errors import InputError
from atomdrgn.inference.fit import fit
from atomdrgn.inference.fit_options import FitOptions

CHOSEN = FitOptions(
    segments=7,
    beads=2,
    temperature=12.5,
    parts=["A:1-20", "B"],
    composition=True,
    resolution=6.25,
    seed=3,
)


def test_options_come_back_from_what_run_json_holds():
    said = json.loads(json.dumps({"fit": CHOSEN.as_settings(6.25)}))
    assert FitOptions.from_settings(said) == CHOSEN
    assert said["fit"]["parts"] == ["A:1-20", "B"] and said["fit"]["inference"] == "closed-form"


def test_the_resolution_is_the_one_that_the_fit_used():
    said = FitOptions().as_settings(7.123456)
    assert said["resolution"] == 7.1235
    assert FitOptions.from_settings({"fit": said}) == FitOptions(resolution=7.1235)


def test_switches_that_are_off_are_said_as_runs_of_earlier_versions_say_them():
    """These compare as equal, so that they are gone on with."""
    off = FitOptions().as_settings(5.0)
    assert [off[name] for name in ("composition", "refine_poses", "keep_base")] == [None] * 3
    assert replace(CHOSEN, keep_base=True).as_settings(5.0)["keep_base"] is True
    earlier = {"segments": 4, "beads": 1, "seed": 0, "resolution": 9.0, "images": 12}
    assert FitOptions.from_settings({"fit": earlier}) == FitOptions(segments=4, resolution=9.0)


def test_what_moves_is_said_where_it_is_not_segments():
    assert "deformation" not in FitOptions().as_settings(5.0)
    hinge = FitOptions(deformation="hinge", resolution=5.0)
    said = hinge.as_settings(5.0)
    assert said["deformation"] == "hinge" and FitOptions.from_settings({"fit": said}) == hinge


def test_other_runs_have_no_such_options():
    with pytest.raises(InputError, match="of the inference 'vae'"):
        FitOptions.from_settings({"fit": {"inference": "vae", "segments": 3}})


@pytest.mark.parametrize(
    ("options", "borders", "base"),
    [
        ({}, True, True),
        ({"parts": ["A"]}, False, True),
        ({"parts": []}, True, True),
        ({"fixed": "A"}, False, False),
        ({"composition": True}, False, False),
        ({"keep_base": True}, True, False),
        ({"deformation": "hinge"}, False, False),
    ],
)
def test_what_images_may_change_follows_from_the_options(options, borders, base):
    made = FitOptions(**options)
    assert (made.learns_borders, made.corrects_base) == (borders, base)


def test_options_do_not_change():
    with pytest.raises(FrozenInstanceError):
        CHOSEN.segments = 3


def test_a_temperature_that_leaves_no_borders_is_refused():
    with pytest.raises(InputError, match="a temperature of 1e-09: expected 1e-06 to 1e"):
        FitOptions(temperature=1e-9)


def test_one_text_is_no_list_of_parts():
    with pytest.raises(InputError, match="parts 'A:1-20': expected a list of selections"):
        FitOptions(parts="A:1-20")


def test_an_option_that_there_is_not_is_an_error(hinged, tmp_path):
    structure, particles, _ = hinged
    with pytest.raises(TypeError, match="segmnts"):
        fit(structure, particles, tmp_path / "run", segmnts=3)
    assert not (tmp_path / "run").exists()


def test_one_record_and_its_options_by_name_are_the_same_fit(hinged, tmp_path):
    """What is named counts, and the options that run.json gives back go on with the run."""
    structure, particles, _ = hinged
    some = particles.of_particles(range(10))
    fit(
        structure,
        some,
        tmp_path / "run",
        FitOptions(segments=5, seed=4),
        segments=2,
        resolution=20.0,
    )
    run = atomdrgn.open_run(tmp_path / "run")
    again = atomdrgn.FitOptions.from_settings(run.settings)
    assert again == FitOptions(segments=2, seed=4, resolution=20.0)
    fit(structure, some, tmp_path / "run", again, resume=True)
    with pytest.raises(InputError, match="seed was 4 and is 0"):
        fit(structure, some, tmp_path / "run", segments=2, resolution=20.0, resume=True)


def test_a_part_is_a_number_of_particles():
    """Runs of earlier versions, which had none, are gone on with."""
    said = FitOptions(learn_on=200).as_settings(5.0)
    assert json.loads(json.dumps(said))["learn_on"] == 200
    assert FitOptions.from_settings({"fit": said}).learn_on == 200
    assert FitOptions().as_settings(5.0)["learn_on"] is None
    assert FitOptions.from_settings({"fit": {"resolution": 5.0}}).learn_on == "auto"
    for wrong in ("many", 0, 99, -3):
        with pytest.raises(InputError, match="learn_on"):
            FitOptions(learn_on=wrong)
    with pytest.raises(InputError, match="composition"):
        FitOptions(learn_on=200, composition=True)
    assert FitOptions(learn_on="all", composition=True).learn_on == "all"
