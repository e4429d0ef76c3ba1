import numpy as np
import pytest

from hinged import hinged_run, two_helices
from volume_runs import write_volume_run


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return hinged_run(tmp_path, two_helices(tmp_path), np.random.default_rng(0).normal(0, 4, 50))


def test_a_run_is_analysed_in_its_folder(atomdrgn, run):
    ended = atomdrgn(
        "analyze",
        "particles.fit",
        "--frames",
        3,
        "--distance",
        "A:1-20 and A:21-40",
        "--format",
        "pdb",
        "--format",
        "bcif",
    )
    assert ended.code == 0, ended.err
    assert ended.out.startswith("1 motion is supported by 50 particles.")
    assert "the report is particles.fit/report.html" in ended.out
    names = {path.name for path in (run.folder / "analysis").iterdir()}
    assert {
        "motion1.pdb",
        "motion1.bcif",
        "centres.pdb",
        "show.cxc",
        "measures.csv",
    } <= names and "motion1.cif" not in names
    again = atomdrgn("analyze", "particles.fit")
    assert again.code == 2 and "--overwrite" in again.err
    assert atomdrgn("analyze", "particles.fit", "--overwrite", "--frames", 3, "-q").out == ""


@pytest.mark.parametrize(
    "words, says",
    [
        (["nowhere"], "no such folder"),
        (["."], "is no run"),
        (["particles.fit", "--distance", "A and Q"], "there is no chain 'Q'"),
        (["particles.fit", "--angle", "A"], "1 selection"),
        (["particles.fit", "--clusters", "0"], "at least 1 cluster"),
    ],
)
def test_what_cannot_be_analysed_is_one_line(atomdrgn, run, words, says):
    ended = atomdrgn("analyze", *words)
    assert ended.code == 2 and says in ended.err and ended.err.count("\n") == 1


def test_a_run_of_a_later_version_is_refused(atomdrgn, run):
    settings = run.folder / "run.json"
    settings.write_text(settings.read_text().replace('"format": 1', '"format": 7'))
    ended = atomdrgn("analyze", "particles.fit")
    assert ended.code == 2 and "format 7 is not 1" in ended.err


def test_a_fit_that_replaces_a_run_takes_its_report_away(run):
    from atomdrgn.runs.run import create_run_folder

    (run.folder / "report.html").write_text("of the earlier run")
    create_run_folder(run.folder, overwrite=True)
    assert not (run.folder / "report.html").exists()


def test_a_run_of_volumes_is_analysed(atomdrgn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    latent = np.random.default_rng(0).normal(0, 1, (30, 3))
    write_volume_run(tmp_path / "field", latent, gain=[1, 2, 3, 4, 5, 6], change=[0.5] * 6)
    few = ["--frames", 3, "--sketch", 4]
    ended = atomdrgn("analyze", "field", *few, "--clusters", 3, "--out", "look")
    assert ended.code == 0 and "not settled" in ended.out and "are in look/analysis" in ended.out, (
        ended
    )
    assert (tmp_path / "look" / "analysis" / "volume_axes" / "axis3.mrc").exists()
    assert len(list((tmp_path / "look" / "analysis" / "axis1").glob("*.mrc"))) == 3
    again = atomdrgn("analyze", "field", *few, "--out", "look")
    assert again.code == 2 and "--overwrite" in again.err
    assert atomdrgn("analyze", "field", *few, "--out", "look", "--overwrite", "-q").out == ""


def test_options_of_the_other_kind_of_run_are_refused(atomdrgn, run, tmp_path):
    write_volume_run(tmp_path / "field", np.zeros((3, 2)))
    for words, says in (
        (
            ["field", "--distance", "A and B", "--format", "pdb"],
            "leave out --distance and --format",
        ),
        (["field", "--frame", "base"], "leave out --frame"),
        (["particles.fit", "--sketch", 0], "leave out --sketch"),
        (["particles.fit", "--mask", "m.mrc"], "leave out --mask"),
    ):
        ended = atomdrgn("analyze", *words)
        assert ended.code == 2 and says in ended.err and ended.err.count("\n") == 1, ended
    assert not (tmp_path / "field" / "analysis").exists()
