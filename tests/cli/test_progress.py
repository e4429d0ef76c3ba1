"""Progress is quiet where nobody watches."""

import sys

import pytest
from numba import njit

from atomdrgn.cli.progress import BarReporter, PlainReporter, duration, progress
from atomdrgn.reporting import Reporter


def test_quiet_says_nothing_and_others_speak_on_standard_error(capsys):
    for quiet, said in ((True, ""), (False, "a result\n")):
        with progress(quiet=quiet) as reporter:
            assert list(reporter.watch(range(3), "counting", 3)) == [0, 1, 2]
            reporter.say("a result")
        assert capsys.readouterr() == ("", said)


def test_a_long_task_says_now_and_then_how_far_it_is(capsys, monkeypatch):
    now = iter([0.0, 30.0, 61.0, 90.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    reporter = PlainReporter()
    reporter.start("fitting", 4000)
    for _ in range(3):
        reporter.advance(1000)
    assert capsys.readouterr().err == "fitting: 2,000 of 4,000, 61 s left\n"


def test_a_bar_is_used_on_a_terminal_and_taken_away(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with pytest.raises(KeyboardInterrupt), progress() as reporter:
        assert isinstance(reporter, BarReporter)
        reporter.start("fitting", 10)
        reporter.advance(3)
        raise KeyboardInterrupt
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
