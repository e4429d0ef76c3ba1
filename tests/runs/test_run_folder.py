"""A run is begun, gone on with, or refused; stopped between any two of its files it can be gone on
with.
"""

from contextlib import contextmanager

import numpy as np
import pytest

from atomdrgn.errors import FileFormatError, InputError, OutputExistsError
from atomdrgn.io.folder_lock import LOCK
from atomdrgn.reporting import Reporter
from atomdrgn.runs.run import BASE, SETTINGS, SUMMARY, read_settings, write_json, write_table
from atomdrgn.runs.run_folder import (
    begin_run,
    only_writer,
    read_history,
    require_same_settings,
    run_settings,
)
from hinged import hinged_run, two_helices


class Told(Reporter):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.fixture
def settings(hinged):
    structure, particles, _ = hinged
    return run_settings(
        structure,
        particles,
        choices={"segments": 2},
        more={"reading": {"invert_contrast": None, "box": None}},
    )


def begin(folder, settings, structure, *, resume=False, overwrite=False):
    told = Told()
    return begin_run(
        folder, settings, structure, resume=resume, overwrite=overwrite, reporter=told
    ), told.lines


# ---- other settings, other files ----------------------------------------------------------------


@contextmanager
def refused(says):
    with pytest.raises(
        InputError, match=f"begun with other settings or files: {says}.*--overwrite"
    ):
        yield


def test_other_choices_files_and_ways_to_read_are_refused(settings, tmp_path):
    require_same_settings(settings, settings, tmp_path)
    for part, name, value, says in [
        ("fit", "segments", 3, "segments was 2 and is 3"),
        ("fit", "beads", 2, "beads was None and is 2"),
        ("input", "images_sha256", "x", "the images in the stacks are others"),
        ("input", "particles_sha256", "x", "the particle file has another content"),
        ("input", "structure_sha256", "x", "the base structure has other atoms"),
        ("reading", "invert_contrast", True, "invert_contrast was None and is True"),
    ]:
        with refused(says):
            require_same_settings(
                settings, settings | {part: settings[part] | {name: value}}, tmp_path
            )


def test_the_same_file_may_lie_elsewhere(settings, tmp_path):
    moved = settings | {
        "input": settings["input"] | {"particles": "elsewhere.star"},
        "reading": settings["reading"]
        | {"particles": "elsewhere.star", "data_folder": "/there", "map": "m.mrc"},
    }
    require_same_settings(settings, moved, tmp_path)


def test_what_an_earlier_version_did_not_say_is_not_compared(settings, tmp_path):
    earlier = {
        "fit": settings["fit"],
        "input": {name: settings["input"][name] for name in ("structure", "particles_sha256")},
    }
    require_same_settings(earlier, settings, tmp_path)


@pytest.mark.parametrize(
    "name, says", [("tomograms", "the file of tomograms"), ("passthrough", "the passthrough file")]
)
def test_files_beside_the_particle_file_are_known_by_their_content(hinged, tmp_path, name, says):
    structure, particles, _ = hinged
    made = []
    for file, text in (("a", "one"), ("b", "another"), ("moved", "one")):
        (tmp_path / file).write_text(text)
        made.append(
            run_settings(
                structure, particles, choices={}, more={"reading": {name: str(tmp_path / file)}}
            )
        )
    without = run_settings(structure, particles, choices={}, more={"reading": {name: None}})
    require_same_settings(made[0], made[2], tmp_path)
    for now in (made[1], without):
        with refused(f"{says} has another content"):
            require_same_settings(made[0], now, tmp_path)
    with refused(f"{says} has another content"):
        require_same_settings(without, made[0], tmp_path)


def test_tomograms_that_an_optimisation_set_names_are_known_too(hinged, tmp_path):
    structure, particles, _ = hinged
    (tmp_path / "particles.star").write_text("data_\n\n_rlnImageName a\n")
    (tmp_path / "set.star").write_text(
        "data_\n\n_rlnTomoParticlesFile particles.star\n_rlnTomoTomogramsFile tomograms.star\n"
    )
    made = []
    for text, reading in (
        ("one", {"particles": "set.star"}),
        ("one", {"tomograms": "tomograms.star"}),
        ("another", {"particles": "set.star"}),
    ):
        (tmp_path / "tomograms.star").write_text(text)
        made.append(
            run_settings(
                structure,
                particles,
                choices={},
                more={"reading": {of: str(tmp_path / file) for of, file in reading.items()}},
            )
        )
    require_same_settings(made[0], made[1], tmp_path)
    with refused("the file of tomograms has another content"):
        require_same_settings(made[0], made[2], tmp_path)


def test_a_run_goes_on_in_another_folder(settings, tmp_path):
    require_same_settings(settings | {"folder": "/there"}, settings | {"folder": "/here"}, tmp_path)


# ---- stopped anywhere ---------------------------------------------------------------------------


def test_a_run_that_was_stopped_before_its_base_was_written_gets_it(hinged, settings, tmp_path):
    begin(tmp_path / "run", settings, hinged[0])
    content = (tmp_path / "run" / BASE).read_bytes()
    (tmp_path / "run" / BASE).unlink()
    assert begin(tmp_path / "run", settings, hinged[0], resume=True) == (True, [])
    assert (tmp_path / "run" / BASE).read_bytes() == content


@pytest.mark.parametrize(
    "left", [[], [LOCK], [".run.json.123456.part"], [LOCK, ".base.cif.0000abcd-12.part"]], ids=str
)
@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}], ids=str)
def test_a_run_that_was_stopped_before_run_json_is_begun_anew(
    hinged, settings, tmp_path, left, how
):
    (tmp_path / "run").mkdir()
    for name in left:
        (tmp_path / "run" / name).write_text("{")
    said = (
        [f"{tmp_path / 'run'} holds no run to go on with: a new one is begun"]
        if "resume" in how
        else []
    )
    assert begin(tmp_path / "run", settings, hinged[0], **how) == (True, said)
    assert read_settings(tmp_path / "run") == settings and (tmp_path / "run" / BASE).exists()


def test_a_folder_of_something_else_is_never_begun_in(hinged, settings, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    for how in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(OutputExistsError, match="is no run"):
            begin(tmp_path, settings, hinged[0], **how)


def test_a_run_that_lost_its_results_makes_them_again(settings, hinged, tmp_path):
    run = hinged_run(tmp_path, two_helices(tmp_path), np.linspace(-3, 3, 6))
    write_json(run.folder / SETTINGS, settings)
    going_on, lines = begin(run.folder, settings, hinged[0], resume=True)
    assert not going_on and "nothing to resume" in lines[0]
    (run.folder / "latents.npz").write_bytes(b"")
    going_on, lines = begin(run.folder, settings, hinged[0], resume=True)
    assert going_on and "latents.npz: damaged" in lines[0] and "made again" in lines[0]
    (run.folder / SUMMARY).write_text("")
    assert begin(run.folder, settings, hinged[0], resume=True)[0]


# ---- one writer ---------------------------------------------------------------------------------


def test_a_second_fit_is_refused_while_the_first_writes(tmp_path):
    with only_writer(tmp_path / "run", Reporter()):
        with (
            pytest.raises(OutputExistsError, match="is writing there"),
            only_writer(tmp_path / "run", Reporter()),
        ):
            pass
        assert (tmp_path / "run" / LOCK).exists()


def test_histories_are_read_to_the_row_that_counts(tmp_path):
    path = tmp_path / "history.csv"
    assert read_history(path, None) == []
    write_table(path, {"step": [1, 2, 3], "loss": [0.5, 0.25, 0.125]})
    assert (
        read_history(path, None)[2] == {"step": 3.0, "loss": 0.125}
        and len(read_history(path, 2)) == 2
    )
    path.write_bytes(b"\0" * 60)
    with pytest.raises(FileFormatError, match="history.csv: damaged"):
        read_history(path, None)
