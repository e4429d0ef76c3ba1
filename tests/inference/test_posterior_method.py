"""A stranger's posterior method: one class and one line of a table, and a whole fit goes by it."""

from dataclasses import dataclass
from typing import final

import numpy as np
import pytest

from atomdrgn.errors import InputError
from atomdrgn.inference import choice_of_method
from atomdrgn.inference.choice_of_method import METHODS, choose_method
from atomdrgn.inference.findings.base_comparison import population_over_base
from atomdrgn.inference.findings.held_out_support import held_out_support
from atomdrgn.inference.fit import fit
from atomdrgn.inference.posterior.gauss_newton_pass import run_pass
from atomdrgn.inference.posterior.importance_sampling import place_along
from atomdrgn.inference.posterior_method import Begun, Borders, PosteriorMethod
from atomdrgn.inference.problem.half_sets import join
from atomdrgn.inference.problem.principal_motions import motions_of
from atomdrgn.runs.run_folder import read_history


@final
@dataclass(frozen=True)
class OnePass(PosteriorMethod):
    """A single pass over the images."""

    most: int  # particles
    corrects_base = False
    judges_mean = True

    @classmethod
    def suited(cls, model):
        few = cls(most=100)
        return Begun(few, model) if model.n_particles <= few.most else None

    def begin(self, model, start):
        return start

    def steps(self, model, *, apart):
        def step(state):
            state, row = run_pass(model, state, model.images.disc, last=True)
            return state, row | {"moved_by_search": 0}

        return [step]

    def integrates_poses(self, *, refined):
        return False

    def borders(self, model):
        return None

    def support(self, half, own, other):
        return held_out_support(half, own, other, half.model.images.disc)

    def over_base(self, half, own, other, *, start, begun, motions):
        return population_over_base(half, own, other, start=start, begun=begun, motions=motions)

    def together(self, model, halves, states, supports):
        return join(model, halves, states, step=0)

    def motions(self, model, state):
        return motions_of(model, state.population)

    def place(self, model, state, motions, *, supported):
        return place_along(model, state, motions, wide=False)


@final
class OnePassAndBorders(PosteriorMethod):
    """The same one pass; borders are learned right after it, and the base model is corrected."""

    corrects_base = True
    judges_mean = True
    begin, steps, support = OnePass.begin, OnePass.steps, OnePass.support
    over_base = OnePass.over_base
    together, motions, place = OnePass.together, OnePass.motions, OnePass.place

    @classmethod
    def suited(cls, model):
        return Begun(cls(), model)

    def integrates_poses(self, *, refined):
        return True

    def borders(self, model):
        return Borders(after=1, resolution=model.images.disc.resolution)


@pytest.fixture
def table(monkeypatch):
    """The table of methods, for a test to change."""
    methods = list(METHODS)
    monkeypatch.setattr(choice_of_method, "METHODS", methods)
    return methods


def test_a_fit_goes_by_a_method_that_was_added_to_the_table(hinged, table, tmp_path):
    structure, particles, angle = hinged
    table.insert(0, OnePass)
    some = particles.of_particles(range(100))
    options = {"segments": 2, "resolution": 30.0}
    run = fit(structure, some, tmp_path / "run", **options)
    history = read_history(run.folder / "history.csv", None)
    assert [row["half"] for row in history] == [1, 2, 0] and run.summary["passes"] == 1
    assert [row["resolution"] for row in history] == [30.0] * 3
    assert run.summary["motions_supported"] == run.latent.shape[1] > 0
    assert abs(np.corrcoef(run.latent[:, 0], angle[:100].numpy())[0, 1]) > 0.85
    assert "base_correction" not in run.summary
    (run.folder / "summary.json").unlink()
    again = fit(structure, some, run.folder, resume=True, **options)
    np.testing.assert_array_equal(again.latent, run.latent)
    np.testing.assert_array_equal(again.draws, run.draws)


def test_what_a_method_knows_of_single_particles_decides_what_else_is_learned(
    hinged, table, tmp_path
):
    structure, particles, _ = hinged
    table[:] = [OnePassAndBorders]
    some = particles.of_particles(range(40))
    run = fit(structure, some, tmp_path / "run", segments=4, resolution=15.0)
    assert (run.folder / "borders.npz").exists() and "base_correction" in run.summary
    kept = fit(
        structure, some, tmp_path / "kept", segments=4, parts=["A"], keep_base=True, resolution=15.0
    )
    assert not (kept.folder / "borders.npz").exists() and "base_correction" not in kept.summary


def test_the_first_that_is_for_the_particles_counts(begin, table):
    model, _ = begin(20.0)
    others = choose_method(model).method
    table.insert(0, OnePass)
    assert choose_method(model).method == others  # 150 particles are too many for it
    table[:] = [OnePass]
    with pytest.raises(InputError, match="no posterior method is for these particles: OnePass"):
        choose_method(model)


def test_methods_are_final_and_whole():
    for method in METHODS:
        assert issubclass(method, PosteriorMethod) and method.__final__
        assert not method.__abstractmethods__ and method.__mro__[1] is PosteriorMethod

    class Part(PosteriorMethod):
        def begin(self, model, start):
            return start

    with pytest.raises(TypeError, match="abstract"):
        Part()
