"""The examples run as they stand, and their data are what the script beside them makes."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from atomdrgn import read_structure, write_structure
from atomdrgn.simulate.example_data import example_file

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_demo_finds_the_motion(tmp_path, capfd):
    load(EXAMPLES / "demo.py").main(tmp_path / "demo", particles=200)
    said = capfd.readouterr().out
    before, after = re.search(r"trace RMSD: (\S+) A .*, (\S+) A", said).groups()
    assert all(float(value) > 0.9 for value in re.findall(r"correlation (\S+)", said)), said
    assert float(after) < 0.6 * float(before), said
    *_, last = said.splitlines()
    assert last.endswith(str(tmp_path / "demo/particles.fit/report.html"))
    assert (tmp_path / "demo/particles.fit/report.html").exists()


def test_more_images_tell_more(tmp_path, capfd):
    """The power analysis at two sizes: the larger one finds the motion and puts most particles
    where they belong.
    """
    few, many = load(EXAMPLES / "how_many_images.py").main(tmp_path / "power", 25, 100)
    assert many["supported"] >= 1 and many["right"] > 0.7 and many["correlation"] > 0.5
    assert few["images"] == 25 and few["correlation"] < many["correlation"]
    assert "in the right state" in capfd.readouterr().out


def test_the_demos_path_joins_the_crystal_structures_without_stretching():
    demo = load(EXAMPLES / "demo.py")
    closed, path = demo.adenylate_kinase()
    opened = read_structure(example_file("4ake.pdb"))
    trace = closed.atom_name == "CA"
    np.testing.assert_allclose(path(1), closed.position, atol=1e-4)
    same = opened.position.double().numpy()[demo.same_atoms(closed, opened)]
    turn, centre, shift = demo.superposition(same, path(0))
    np.testing.assert_allclose(turn.apply(same - centre) + centre + shift, path(0), atol=1e-3)
    for closing in np.linspace(0, 1, 9):
        bond = np.linalg.norm(np.diff(path(closing)[trace], axis=0), axis=1)
        assert 2.9 < bond.min() and bond.max() < 4.0


@pytest.mark.parametrize(
    "name, source", [("1ake", "1ake_chainA.pdb"), ("4ake", "4ake_chainA_H.pdb")]
)
def test_example_coordinates_are_made_by_the_script_beside_them(shared, tmp_path, name, source):
    make_data = load(EXAMPLES / "make_data.py")
    write_structure(
        make_data.heavy_polymer_atoms(shared / "data" / "structures" / source, name),
        tmp_path / "made.pdb",
    )
    assert (tmp_path / "made.pdb").read_bytes() == example_file(f"{name}.pdb").read_bytes()


def test_the_starts_of_zhong_2021_are_as_wrong_as_they_say():
    script = load(EXAMPLES / "reproduce" / "zhong2021.py")
    closed, path = script.adenylate_kinase()
    trace, truth = closed.atom_name == "CA", closed.position.numpy()
    off = {
        name: script.rmse(x[trace], truth[trace]) for name, x in script.starts(closed, path).items()
    }
    assert (
        off["exact"] == 0
        and abs(off["approximate"] - 5.15) < 0.1
        and 5.5 < off["noise"] < 6.5
        and 7.5 < off["open"] < 8.5
    )
    assert {start for _, start, _, _ in script.ROWS} == set(off)


def test_a_reproduction_leaves_folders_of_others_alone(tmp_path):
    script = load(EXAMPLES / "reproduce" / "reproduction.py")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(SystemExit, match="name another folder"):
        script.begin(tmp_path / "mine", "x.py")
    assert script.begin(tmp_path / "new", "x.py") == script.begin(tmp_path / "new", "x.py")


def test_the_turning_lid_turns_and_nothing_else_does():
    """The lid turns rigidly by the angle about the axis; the rest stands still."""
    script = load(EXAMPLES / "reproduce" / "cryosphere.py")
    closed, axis, turned = script.turning_lid()
    lid = script.within(closed, script.LID)
    for angle in (0.0, 0.7, 2.1):
        position = turned(angle)
        np.testing.assert_array_equal(position[~lid], closed.position.double().numpy()[~lid])
        np.testing.assert_allclose(script.turn_of_lid(closed, position), angle * axis, atol=1e-6)


def test_cryosphere_s_dynamics_are_followed(tmp_path, capfd):
    (found,) = (
        load(EXAMPLES / "reproduce" / "cryosphere.py").main(tmp_path / "out", quick=True).values()
    )
    assert found["correlation"] > 0.5 and found["rmsd"][0] < found["rmsd"][1]
    assert "| paper |" in capfd.readouterr().out


def test_cryodrgn_s_set_is_made_trained_and_compared(tmp_path, capfd):
    """Three epochs find nothing in the latents; the volumes are those of the molecule all the same."""
    (found,) = (
        load(EXAMPLES / "reproduce" / "cryodrgn.py").main(tmp_path / "out", quick=True).values()
    )
    assert found["own"] > 0.5 and found["mean"] > 0.5  # of a density at random: 0
    assert "| Linear1D | Spearman" in capfd.readouterr().out


def test_two_states_of_tilt_series_are_told_apart(tmp_path, capfd):
    found = load(EXAMPLES / "reproduce" / "tomodrgn.py").main(tmp_path / "out", quick=True)
    assert found["agreement"] > 0.5  # by chance 0
    assert "| paper's ARI |" in capfd.readouterr().out
