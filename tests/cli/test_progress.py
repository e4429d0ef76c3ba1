"""Progress is quiet where nobody watches."""

import re
import sys
import time

import pytest
from numba import njit

from atomdrgn.cli.progress import (
    BarReporter,
    PlainReporter,
    Whole,
    duration,
    progress,
    told_if_slow,
)
from atomdrgn.reporting import Reporter


def test_quiet_says_nothing_and_others_speak_on_standard_error(capsys):
    for quiet, said in ((True, ""), (False, "a result\n")):
        with progress(quiet=quiet) as reporter:
            assert list(reporter.watch(range(3), "counting", 3)) == [0, 1, 2]
            reporter.say("a result")
        assert capsys.readouterr() == ("", said)


def test_every_half_minute_a_line_says_where_the_whole_is(capsys):
    reporter = PlainReporter(seconds=0.05)
    try:
        reporter.stage("stage 4 of 16, half-set 1", 0.2, 0.6)
        reporter.part("pass", 2, 4)
        reporter.start("12 A", 800)
        reporter.advance(400)
        time.sleep(0.2)
    finally:
        reporter.close()
    lines = capsys.readouterr().err.splitlines()
    said = "stage 4 of 16, half-set 1, pass 2 of 4, 12 A: 400 of 800, "
    assert lines and all(re.fullmatch(f"{said}\\d+ s left for everything", each) for each in lines)
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_time_left_is_that_of_everything(monkeypatch):
    """From where this process began, which is not the beginning of a fit that is gone on with."""
    now = iter([0.0, 10.0, 40.0, 60.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    whole = Whole()
    whole.stage("half-set 2", 0.5, 0.75)
    whole.start("10 A", 100)
    assert whole.left() is None  # nothing is done by this process
    whole.advance(50)
    assert whole.fraction() == 0.575 and whole.left() == pytest.approx(60.0 * 0.425 / 0.075)


def test_what_is_slow_to_begin_says_so(capsys, monkeypatch):
    monkeypatch.setattr("atomdrgn.cli.progress.PATIENCE", 0.05)
    for quiet, said in ((False, "reading particles.star ...\n"), (True, "")):
        with told_if_slow("reading particles.star", quiet=quiet):
            time.sleep(0.2)
        assert capsys.readouterr().err == said
    with told_if_slow("reading particles.star", quiet=False):
        pass
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_the_whole_never_goes_back():
    whole, seen = Whole(), []
    for stage in range(3):
        whole.stage(f"stage {stage}", stage / 3, (stage + 1) / 3)
        for _ in range(4):
            seen += [whole.fraction() for _ in whole.watch(range(5), "looking", 5)]
    assert seen == sorted(seen) and 0.9 < seen[-1] < 1


def test_work_without_stages_tells_of_its_task(monkeypatch):
    now = iter([0.0, 0.0, 30.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    whole = Whole()
    whole.start("writing structures", 4000)
    whole.advance(1000)
    assert whole.status() == "writing structures: 1,000 of 4,000, 90 s left"[:-9] + "2 min left"


def test_a_bar_is_used_on_a_terminal_and_taken_away(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with pytest.raises(KeyboardInterrupt), progress() as reporter:
        assert isinstance(reporter, BarReporter)
        reporter.start("fitting", 10)
        reporter.advance(3)
        raise KeyboardInterrupt
    assert reporter.bar is None


def test_the_bar_stays_from_stage_to_stage(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress() as reporter:
        reporter.stage("stage 1 of 2, poses", 0.0, 0.5)
        assert list(reporter.watch(range(3), "poses", 3)) == [0, 1, 2]
        assert reporter.bar.tasks[0].completed == 0.3 and len(reporter.bar.tasks) == 1
        reporter.stage("stage 2 of 2, half-sets", 0.5, 1.0)
        reporter.start("10 A", 4)
        reporter.advance(2)
        assert reporter.bar.tasks[0].completed == 0.65
    assert reporter.bar is None


def test_compiling_is_said_once_and_only_where_it_is_done(capsys):
    @njit
    def twice(x):
        return x + x

    with progress(compiles=True):
        assert (twice(1), twice(1.5)) == (2, 3.0)  # two signatures
    assert capsys.readouterr().err.count("compiling loops") == 1
    with progress(compiles=True):
        twice(2)
    with progress():
        twice(2j)
    assert "compiling" not in capsys.readouterr().err


def test_reporters_are_reporters():
    assert issubclass(BarReporter, Reporter) and issubclass(PlainReporter, Reporter)


@pytest.mark.parametrize(
    "seconds, words", [(3.2, "3 s"), (89.0, "89 s"), (600.0, "10 min"), (7200.0, "2.0 h")]
)
def test_durations_are_short(seconds, words):
    assert duration(seconds) == words
