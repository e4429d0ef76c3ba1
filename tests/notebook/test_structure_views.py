"""Structures that a notebook shows are those of the run."""

import numpy as np
import pytest

from atomdrgn.errors import InputError
from atomdrgn.notebook import structure_views


class View:
    """Keeps what a py3Dmol view is told."""

    def __init__(self, **size):
        self.size, self.told = size, []

    def __getattr__(self, name):
        return lambda *arguments: self.told.append((name, *arguments))

    def models(self):
        """(model, atom, 3): positions of the texts that were added."""
        text = "".join(told[1] for told in self.told if told[0].startswith("addModel"))
        return [
            np.array([[float(line[at : at + 8]) for at in (30, 38, 46)] for line in lines])
            for lines in (
                [line for line in part.splitlines() if line.startswith("ATOM")]
                for part in text.split("ENDMDL")[:-1]
            )
        ]


@pytest.fixture
def drawn(monkeypatch):
    views = []

    class Package:
        @staticmethod
        def view(**size):
            views.append(View(**size))
            return views[-1]

    monkeypatch.setattr(structure_views, "needed", lambda name: Package)
    return views


def test_a_motion_is_played_from_end_to_end(run, drawn):
    view = run.view(motion=1)
    first, *_, last = view.models()
    ends = np.quantile(run.latent[:, 0], [0.01, 0.99])[:, None].astype(np.float32)
    expected = run.atoms_of(run.motion_at(ends)).numpy()
    np.testing.assert_allclose([first, last], expected, atol=2e-3)
    assert [told[0] for told in view.told][-2:] == ["animate", "zoomTo"]


def test_particles_are_laid_over_each_other(run, drawn):
    view = run.view(particles=[3, 7])
    np.testing.assert_allclose(view.models(), run.atoms([3, 7]), atol=2e-3)
    colours = [told[2]["cartoon"]["color"] for told in view.told if told[0] == "setStyle"]
    assert len(set(colours)) == 2


def test_where_nothing_moves_the_base_is_shown(still, drawn):
    view = still.view()
    np.testing.assert_allclose(view.models(), [still.base_atoms.numpy()], atol=2e-3)
    assert "animate" not in [told[0] for told in view.told]


@pytest.mark.parametrize(
    "asked, says",
    [
        ({"motion": 2}, "motion 2 .* it has 1 motions"),
        ({"particles": [100]}, "no particle 100"),
        ({"particles": range(50)}, "50 particles: choose 1 to 20"),
        ({"states": True}, "no separate states"),
        ({"motion": 1, "states": True}, "ask for one of them"),
    ],
)
def test_what_is_not_there_is_named(run, drawn, asked, says):
    with pytest.raises(InputError, match=says):
        run.view(**asked)


def test_the_package_makes_a_page_of_it(run):
    pytest.importorskip("py3Dmol")
    assert "addModelsAsFrames" in run.view(motion=1)._make_html()
