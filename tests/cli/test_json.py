"""--json: what a command has found or written, as one JSON object that a script can read."""

import json
from pathlib import Path

import pytest
import typer

from atomdrgn.cli import app
from atomdrgn.cli.terminal import tell

MODELS = Path(__file__).parents[2] / "models"


def test_every_command_has_it():
    for name, command in typer.main.get_command(app).commands.items():
        assert "--json" in {option for each in command.params for option in each.opts}, name


def test_paths_are_texts_and_what_is_no_number_is_refused(capsys):
    tell(["a", "b"], {"path": Path("x/y")}, as_json=True, quiet=True)
    tell(["a", "b"], {}, as_json=False, quiet=True)
    tell(iter(["a", "b"]), {}, as_json=False, quiet=False)
    assert capsys.readouterr().out == '{"path": "x/y"}\na\nb\n'
    with pytest.raises(ValueError):
        tell([], {"loss": float("nan")}, as_json=True, quiet=False)


@pytest.fixture
def found(atomdrgn):
    """The object that a command prints, which is all that it prints."""

    def call(*words):
        ended = atomdrgn(*words, "--json")
        assert ended.code == 0, ended.err
        return json.loads(ended.out)

    return call


def test_of_particles_and_maps(found, folder):
    made = found("example", "shown")
    assert Path(made["closed"]).exists() and Path(made["open"]).exists()
    Path("chosen.txt").write_text("1\n4\n")
    chosen = found("select", "particles.star", "--particles", "chosen.txt", "--out", "two.star")
    assert (chosen["path"], chosen["particles"], chosen["of"]) == ("two.star", 2, 12)
    images = found(
        "simulate", "base.pdb", "--particles", 4, "--box", 24, "--pixel-size", 4, "--out", "s"
    )
    assert (images["images"], images["particle_file"]) == (4, "s/particles.star")


@pytest.mark.seconds
def test_of_a_map_and_a_model_in_it(found, folder):
    made = found("backproject", "particles.star", "--out", "map")
    assert made["map"] == "map/map.mrc" and made["images"] == 12
    placed = found("dock", "base.pdb", "map/map.mrc", "--local", "--out", "placed.pdb")
    assert placed["placed"] == "placed.pdb" and Path(placed["placed"]).exists()


@pytest.mark.seconds
def test_of_a_run(found, tmp_path):
    written = found("export", MODELS / "adk", "--particles", "0:2", "--out", tmp_path / "two")
    assert written["structures"] == 2 and Path(written["path"]).name == "ensemble.dcd"
    seen = found("analyze", MODELS / "adk", "--out", tmp_path / "look", "--frames", 3)
    assert Path(seen["report"]).exists() and seen["motions_supported"] == 1
    assert seen["verdict"].startswith("1 motion is supported")
