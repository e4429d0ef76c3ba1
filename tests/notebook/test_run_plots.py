"""Each plot shows what the files of a run hold, on the axes that it is given."""

import numpy as np
import pytest

from atomdrgn.errors import InputError, MissingPackageError
from atomdrgn.runs.run import HISTORY

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture
def ax():
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    yield axes
    pyplot.close(figure)


def test_the_landscape_is_lowest_where_particles_are(run, ax):
    assert run.plot.landscape(ax=ax) is ax and ax.get_xlabel() == "motion 1 (A)"
    x, energy = ax.lines[0].get_data()
    assert np.nanmin(energy) == 0 and abs(x[np.nanargmin(energy)]) < 4


def test_one_motion_is_a_histogram_and_columns_are_points(run, ax):
    run.plot.latents(ax=ax)
    assert sum(bar.get_height() for bar in ax.patches) == 100
    ax.clear()
    run.plot.latents("motion1", "sd1", colour="log_likelihood_gain", ax=ax)
    np.testing.assert_allclose(ax.collections[0].get_offsets()[:, 0], run.table["motion1"])
    assert len(ax.figure.axes) == 2  # and the scale of the colours


def test_residues_are_those_of_the_table(run, ax):
    run.plot.residues(["motion"], ax=ax)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), run.residues["motion"])
    named = [each.get_text() for each in ax.get_xticklabels()]
    numbers = [int(each.removeprefix("A:")) for each in named]
    assert len(numbers) > 1 and numbers == sorted(numbers)
    assert numbers[0] == run.residues["residue"].iloc[0], "where the chain begins"


def test_history_is_a_line_for_each_half(run, ax, tmp_path):
    (run.folder / HISTORY).write_text("half,step,evidence\n1,1,3\n1,2,5\n2,1,4\n2,2,6\n0,2,7\n")
    run.plot.history(ax=ax)
    lines = {line.get_label(): line.get_ydata().tolist() for line in ax.lines}
    assert lines == {"all particles": [7], "half-set 1": [3, 5], "half-set 2": [4, 6]}


def test_what_is_not_there_is_named(run, still):
    for ask, says in (
        (lambda: run.plot.landscape(2), "motion 2 .* of its 1 motions"),
        (lambda: still.plot.landscape(), "motion 1 .* of its 0 motions"),
        (lambda: run.plot.latents("nothing"), "no column nothing .it has particle"),
        (lambda: run.plot.residues(["nothing"]), "none of nothing"),
    ):
        with pytest.raises(InputError, match=says):
            ask()


def test_a_missing_package_is_named(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingPackageError, match=r"matplotlib is needed.*atomdrgn\[notebook\]"):
        run.plot.latents()
