"""Junk is told by the signal that is expected of each particle, has no weight, and keeps its row."""

import pytest
import torch

from atomdrgn import fit
from atomdrgn.inference.findings.junk import Signals, find_junk, judge, measure_signals, place_junk
from atomdrgn.inference.fit_assembly import assemble, first_state
from atomdrgn.inference.fit_options import FitOptions
from atomdrgn.inference.population.latent_density import Density
from atomdrgn.inference.posterior.importance_sampling import Belief, WideFit
from atomdrgn.inference.problem.calibration import calibrate
from atomdrgn.inference.problem.principal_motions import motions_of
from atomdrgn.structure.motion.surface import straight_surface
from hinge import with_pixels

EMPTY = torch.arange(3, 150, 9)  # particles of the hinged set whose images show nothing


def signals(*, count=4000, bright=1.1, level=8.0, empty=0.05, other=0.05, seed=0):
    """Signals of particles, of nothing and of something else, and which are none of particles."""
    generator = torch.Generator().manual_seed(seed)

    def normal():
        return torch.randn(count, generator=generator)

    kind = torch.multinomial(
        torch.tensor([1 - empty - other, empty, other]), count, True, generator=generator
    )
    expected = level * (1 + 0.15 * normal()).clamp(0.5, 1.5)
    value = torch.stack(
        [
            bright * (1 + 0.15 * normal()) * expected + normal(),
            2.0 + 0.9 * normal(),
            0.3 * expected + 1.1 * normal(),
        ]
    )[kind, torch.arange(count)]
    return Signals(value, expected), kind > 0


def every(found):
    return torch.ones(len(found.value), dtype=torch.bool)


def area(probability, junk):
    """Area under the curve: how often one that is junk is likelier to be than one that is not."""
    order = probability.argsort()
    rank = torch.empty(len(order)).scatter_(0, order, torch.arange(1.0, len(order) + 1))
    n = int(junk.sum())
    return (float(rank[junk].sum()) - n * (n + 1) / 2) / (n * (len(junk) - n))


@pytest.mark.parametrize(("level", "least"), [(12.0, 0.999), (8.0, 0.99), (5.5, 0.97)])
def test_junk_is_told_and_counted(level, least):
    found, junk = signals(level=level)
    judged = judge(found, every(found))
    assert judged.told and area(judged.probability, junk) > least
    share = float(junk.float().mean())
    assert abs(judged.share - share) < 0.01 and 0.003 < judged.error < 0.01
    assert float(judged.probability.mean()) == pytest.approx(judged.share, abs=1e-4)
    assert torch.equal(judged.signal, found.value)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("level", [12.0, 5.5])
def test_where_all_are_particles_none_is_junk(level, seed):
    found, _ = signals(level=level, empty=0.0, other=0.0, seed=seed)
    judged = judge(found, every(found))
    assert judged.told and judged.share < 0.01 and not judged.without_weight.any()


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_weak_signals_tell_nothing_and_say_so(share):
    found, _ = signals(level=1.5, empty=share, other=share)
    judged = judge(found, every(found))
    assert not judged.told and judged.share == 0 and not judged.probability.any()


def test_few_particles_and_those_without_images_are_no_evidence():
    found, _ = signals(count=30)
    assert not judge(found, every(found)).told
    found, junk = signals()
    seen = torch.arange(len(junk)) >= 200
    value = torch.where(seen, found.value, 0.0)
    judged = judge(Signals(value, found.expected), seen)
    assert judged.probability[~seen].tolist() == pytest.approx([judged.share] * 200, abs=1e-6)
    assert abs(judged.share - float(junk[seen].float().mean())) < 0.01


@pytest.fixture(scope="module")
def with_empty(hinged, tmp_path_factory):
    """Structure and particles, some of whose images are noise alone."""
    structure, particles, _ = hinged

    def change(pixels):
        generator = torch.Generator().manual_seed(7)
        noise = torch.randn(len(EMPTY), *pixels.shape[1:], generator=generator)
        pixels[EMPTY.numpy()] = noise.numpy() * float(pixels[:3].std())

    return structure, with_pixels(particles, tmp_path_factory.mktemp("junk") / "set", change)


@pytest.fixture(scope="module")
def begun(with_empty):
    """The fit of these particles and a state with scales and noise measured."""
    structure, particles = with_empty
    model = assemble(structure, particles, FitOptions(segments=2, resolution=12.0))
    model.images.load()
    state = first_state(model)
    for _ in range(2):
        state = calibrate(
            model, state, model.images.disc.coarser(15.0), torch.Generator().manual_seed(0)
        )
    return model, state


def test_signal_is_contrast_over_its_error(begun):
    model, state = begun
    found = measure_signals(model, state)
    full = torch.ones(model.n_particles, dtype=torch.bool)
    full[EMPTY] = False
    assert found.value[EMPTY].max() < 4 < 0.4 * found.value[full].mean()
    ratio = (found.value / found.expected)[full]
    assert 0.9 < float(ratio.mean()) < 1.3


def test_images_without_weight_are_judged_like_others(begun):
    model, state = begun
    found = find_junk(model, state)
    assert found.told and torch.nonzero(found.without_weight)[:, 0].tolist() == EMPTY.tolist()
    assert abs(found.share - len(EMPTY) / 150) < 0.01
    again = find_junk(model.leaving_out(found.without_weight), state)
    assert torch.equal(again.probability, found.probability)


def test_junk_is_placed_by_what_others_have_shown(begun):
    model, state = begun
    motions = motions_of(model, model.start).first(2)
    sd = motions.variance.sqrt()
    n = model.n_particles
    surface = straight_surface(motions.mean, motions.direction, sd)
    density = Density(torch.ones(1), torch.zeros(1, 1), sd[:1, None, None])
    belief = Belief(torch.full((n, 2), 7.0), torch.eye(2).expand(n, -1, -1))
    found = WideFit(surface, density, belief, torch.full((n, 20, 2), 7.0))
    assert place_junk(model, state, found) is found
    aside = torch.zeros(n, dtype=torch.bool)
    aside[EMPTY] = True
    placed = place_junk(model.leaving_out(aside), state, found)
    assert (placed.belief.mean[~aside] == 7).all() and (placed.draws[~aside] == 7).all()
    assert (placed.belief.mean[aside].abs() < 3 * sd).all()
    assert placed.belief.sd[aside, 1].tolist() == pytest.approx([float(sd[1])] * len(EMPTY))
    assert (placed.belief.sd[aside, 0] > 0).all() and (placed.draws[aside] != 7).all()


@pytest.mark.slow
def test_a_fit_learns_nothing_of_junk_and_keeps_its_rows(with_empty, tmp_path):
    structure, particles = with_empty
    run = fit(structure, particles, tmp_path / "run", segments=2, resolution=12.0)
    said = run.summary["junk"]
    assert said["told"] and said["without_weight"] == len(EMPTY)
    assert abs(said["share"] - len(EMPTY) / 150) < 0.01
    junk = torch.from_numpy(run.table["junk"]) > 0.5
    assert torch.nonzero(junk)[:, 0].tolist() == EMPTY.tolist()
    assert (run.table["signal"][EMPTY] < 4).all() and len(run.latent) == 150
    assert (run.latent_sd[EMPTY] > 0).all()
    (tmp_path / "run" / "summary.json").unlink()
    again = fit(structure, particles, tmp_path / "run", segments=2, resolution=12.0, resume=True)
    assert (again.latent == run.latent).all() and again.summary == run.summary
