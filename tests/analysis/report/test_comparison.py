"""Structures beside each other in the report, the residue under the pointer, and films."""

import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_report import browser, page_of  # noqa: F401 - a fixture

from hinged import hinged_run

pytestmark = pytest.mark.seconds


@pytest.fixture(scope="module")
def two_states(hinge_structure, tmp_path_factory):
    """A run with two states, told apart, and signal and junk of every particle."""
    place = np.r_[np.linspace(-7, -5, 60), np.linspace(5, 7, 40)]
    columns = {
        "state": [1] * 60 + [2] * 40,
        "signal": np.linspace(3, 12, 100).round(1).tolist(),
        "junk": np.linspace(0, 1, 100).round(2).tolist(),
    }
    return hinged_run(tmp_path_factory.mktemp("two"), hinge_structure, place, columns=columns)


@pytest.fixture
def shown(browser, two_states, tmp_path):  # noqa: F811
    browser.resize(1280, 900)
    browser.open(page_of(two_states, tmp_path / "report.html"))
    browser.wait("return window.atomdrgn && atomdrgn.player.time > 0.02")
    browser.run("document.getElementById('play').click()")
    browser.log("browser")
    return browser


def choose(browser, what, value):  # noqa: F811
    browser.run(
        "const s = document.getElementById(arguments[0]); s.value = arguments[1]; "
        "s.dispatchEvent(new Event('change'))",
        what,
        value,
    )


def test_a_click_on_a_particle_tells_its_state_signal_and_junk(shown):
    shown.run("atomdrgn.map.pick(99)")
    says = shown.run("return document.getElementById('now').textContent")
    assert all(text in says for text in ("particle 99", "state 2", "signal 12.0", "junk 100 %"))


def test_two_particles_are_laid_over_each_other_with_their_difference(shown, two_states):
    """As superposition on the still part by another route has it."""
    shown.run("atomdrgn.map.pick(0)")
    choose(shown, "beside", "now")
    shown.run("atomdrgn.map.pick(99)")
    says = shown.run("return document.getElementById('apart').textContent")
    rms, most, residue = re.fullmatch(
        r"(\S+) Å r\.m\.s\. from particle 0, at most (\S+) Å \((\S+)\)", says
    ).groups()
    first, last = (each.numpy() for each in two_states.atoms([0, 99]))
    names, structure = two_states.structure.atom_name, two_states.structure
    trace = names == "CA"
    fixed = two_states.residues["group"].to_numpy() == 1 + shown.run("return atomdrgn.data.still")
    first, last = first[trace], last[trace]
    turn, _ = Rotation.align_vectors(
        last[fixed] - last[fixed].mean(0), first[fixed] - first[fixed].mean(0)
    )
    laid = turn.apply(first - first[fixed].mean(0)) + last[fixed].mean(0)
    apart = np.linalg.norm(laid - last, axis=1)
    assert abs(float(rms) - np.sqrt((apart**2).mean())) < 0.06
    assert abs(float(most) - apart.max()) < 0.06
    assert residue == f"A:{structure.residue[trace][apart.argmax()]}"
    assert shown.run("return document.getElementById('colour').value") == "apart"
    assert "apart" in shown.run("return document.getElementById('legend').textContent")
    assert shown.run("return atomdrgn.stage.other.selectedAtoms({}).length") == trace.sum() * 2
    choose(shown, "beside", "")
    assert shown.run("return document.getElementById('apart').hidden && !atomdrgn.stage.other")
    assert shown.log("browser") == []


def test_the_ends_of_a_motion_can_be_laid_beside(shown):
    titles = shown.run("return [...document.getElementById('beside').options].map(o => o.text)")
    assert titles[:2] == ["nothing", "what is shown now"]
    assert "the low end of motion 1" in titles and "the high end of motion 1" in titles


def test_the_residue_under_the_pointer_is_named(shown):
    x, y = shown.run(
        "const a = atomdrgn.stage.onScreen(atomdrgn.stage.atomsAt([atomdrgn.comparison.trace[4]]))[0];"
        "return [a.x, a.y]"
    )
    shown.command("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    said = shown.wait(
        "const t = document.querySelector('.tip'); return !t.hidden && t.textContent", seconds=20
    )
    assert re.match(r"A:[456] \w+ · part \d · moves \d+\.\d Å r\.m\.s\.", said)
    box = shown.run(
        "const b = document.getElementById('viewer').getBoundingClientRect(); return [b.x, b.y]"
    )
    shown.command("Input.dispatchMouseEvent", type="mouseMoved", x=box[0] + 3, y=box[1] + 3)
    shown.wait("return document.querySelector('.tip').hidden", seconds=20)


def test_a_film_of_the_motion_is_made_in_the_browser(shown):
    shown.run("document.getElementById('film').click()")
    size, kind = shown.wait(
        "return atomdrgn.player.filmed && [atomdrgn.player.filmed.size, atomdrgn.player.filmed.type]"
    )
    assert kind in ("video/webm", "video/mp4") and size > 1000
    assert not shown.run("return document.querySelector('.filmed')")
    assert shown.log("browser") == []
