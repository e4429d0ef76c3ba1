"""Stages are gone on with from what they left on disk: resume is one loop."""

from dataclasses import replace

import numpy as np
import pytest

from atomdrgn.inference import fit as fitting
from atomdrgn.inference.fit import STAGES, fit
from atomdrgn.inference.fit_options import FitOptions
from atomdrgn.inference.fit_stages import (
    ALL_PARTICLES,
    FitProgress,
    Stage,
    go_on,
    go_through,
    write_history,
)
from atomdrgn.parallel import Processes
from atomdrgn.runs.run_folder import read_history


@pytest.fixture(scope="module")
def begun(hinged, begin):
    """A function: a fit that has begun in a folder, as one of so many processes, and its state."""
    model, state = begin(20.0)

    def call(folder, *, processes=None):
        here = replace(model, processes=processes or Processes())
        return FitProgress(folder, hinged[0], FitOptions(), here), state

    return call


class Counting:
    """A stage of so many parts, each of which adds a warning; what was done is in a file."""

    def __init__(self, path, parts, stop=None):
        self.path, self.parts, self.stop, self.computed = path, parts, stop, []

    def stage(self, **more):
        return Stage(self.path.name, self.compute, self.load, self.save, **more)

    def compute(self, progress):
        for part in range(len(progress.warned), self.parts):
            if part == self.stop:
                raise KeyboardInterrupt
            self.computed.append(part)
            progress = replace(progress, warned=(*progress.warned, str(part)))
            yield progress

    def load(self, progress):
        if not self.path.exists():
            return progress
        return replace(progress, warned=tuple(self.path.read_text().split()))

    def save(self, progress):
        self.path.write_text(" ".join(progress.warned))


@pytest.mark.parametrize("stop", [0, 1, 2, 3])
def test_each_part_is_done_once(begun, tmp_path, stop):
    start, _ = begun(tmp_path)
    stopped, resumed = (Counting(tmp_path / "parts", 4, stop=where) for where in (stop, None))
    with pytest.raises(KeyboardInterrupt):
        go_through([stopped.stage()], start)
    ended = go_through([resumed.stage()], start)
    assert ended.warned == ("0", "1", "2", "3")
    assert stopped.computed + resumed.computed == [0, 1, 2, 3]
    again = Counting(tmp_path / "parts", 4)
    assert go_through([again.stage()], start).warned == ended.warned
    assert again.computed == []


def test_one_process_writes(begun, tmp_path):
    counting = Counting(tmp_path / "parts", 2)
    start, _ = begun(tmp_path, processes=Processes(1, 2))
    assert go_through([counting.stage()], start).warned == ("0", "1")
    assert not counting.path.exists()


def test_a_stage_that_a_fit_does_not_have_is_passed_over(begun, tmp_path):
    (tmp_path / "parts").write_text("0 1 2")
    skipped = Counting(tmp_path / "parts", 4).stage(when=lambda progress: False)
    assert go_through([skipped], begun(tmp_path)[0]).warned == ()


def counted(state):
    return replace(state, step=state.step + 1), {"step": state.step + 1}


def never():
    raise AssertionError("it has begun already")


def test_steps_that_are_done_again_are_forgotten_in_the_history(begun, tmp_path):
    """The history is written before the checkpoint; lines of the others stay."""
    start, state = begun(tmp_path)
    stopped = replace(
        start.with_state(1, replace(state, step=1)),
        history=({"half": 1, "step": 1}, {"half": 1, "step": 2}, {"half": 2, "step": 2}),
    )
    *_, ended = go_on(stopped, 1, [counted] * 3, never)
    rows = [(row["half"], row["step"]) for row in ended.history]
    assert rows == [(1, 1), (2, 2), (1, 2), (1, 3)] and ended.states[1].step == 3
    assert list(go_on(ended, 1, [counted] * 3, never)) == []
    assert stopped.states[1].step == 1 and len(stopped.history) == 3


def test_a_state_that_begins_at_the_end_is_kept_too(begun, tmp_path):
    start, state = begun(tmp_path)
    (only,) = go_on(start, ALL_PARTICLES, [counted] * 2, lambda: replace(state, step=2))
    assert only.state.step == 2 and only.history == ()


def test_the_history_comes_back_from_its_file(begun, tmp_path):
    start, _ = begun(tmp_path)
    write_history(start)
    assert not list(tmp_path.iterdir())
    rows = ({"half": 1, "step": 1, "evidence": 0.5}, {"half": 0, "step": 2, "evidence": 1.5})
    write_history(replace(start, history=rows))
    assert tuple(read_history(tmp_path / "history.csv", None)) == rows


def test_stages_have_names_of_their_own_and_save_what_they_load():
    assert len({stage.name for stage in STAGES}) == len(STAGES)
    default = Stage("", lambda progress: [])
    for stage in STAGES:
        assert (stage.load is default.load) == (stage.save is default.save)


def evidence_of(run):
    """Of each step, with the half-set that made it."""
    rows = read_history(run.folder / "history.csv", None)
    return [(row["half"], row["step"], row["evidence"]) for row in rows]


@pytest.mark.slow
def test_a_fit_that_was_stopped_before_any_stage_ends_the_same(hinged, tmp_path, monkeypatch):
    structure, particles, _ = hinged
    some, options = particles.of_particles(range(24)), {"segments": 6, "resolution": 24.0}
    whole = fit(structure, some, tmp_path / "whole", **options)
    evidence = evidence_of(whole)
    assert (whole.folder / "borders.npz").exists()

    def interrupt(progress):
        raise KeyboardInterrupt

    for number, stage in enumerate(STAGES):
        stopping = replace(stage, load=interrupt, when=lambda progress: True)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(fitting, "STAGES", (*STAGES[:number], stopping))
            fit(structure, some, tmp_path / str(number), **options)
        run = fit(structure, some, tmp_path / str(number), resume=True, **options)
        np.testing.assert_array_equal(run.latent, whole.latent, err_msg=stage.name)
        np.testing.assert_array_equal(run.motion.rotation, whole.motion.rotation)
        assert run.summary == whole.summary
        assert evidence_of(run) == evidence
