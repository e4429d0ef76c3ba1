"""The benchmark of a fit's step runs, on molecules that look like proteins."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    return lambda name: import_module(f"benchmarks.{name}")


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_hilberts_curve_visits_every_place_in_steps_of_one(benchmark, order):
    curve = benchmark("molecules").hilbert_curve(order)
    assert (
        len(np.unique(curve, axis=0)) == len(curve) == 8**order
        and curve.min() == 0
        and curve.max() == 2**order - 1
    )
    assert (np.abs(np.diff(curve, axis=0)).sum(1) == 1).all()


def test_a_made_up_protein_is_dense_and_whole(benchmark):
    beads = benchmark("molecules").globular_protein(
        600, chains=3, generator=torch.Generator().manual_seed(0)
    )
    step = (beads.position[1:] - beads.position[:-1]).norm(dim=1)
    assert (step < 8).float().mean() > 0.9 and len(set(beads.chain)) == 3
    radius = beads.position.norm(dim=1).quantile(0.99)
    assert 0.8 < 600 * 135 / (4 / 3 * np.pi * radius**3) < 1.3


def test_a_step_is_measured(benchmark):
    fit_step = benchmark("fit_step")
    row = fit_step.measure((120, 2, 32), batch=3, repeats=1, device="cpu")
    assert set(fit_step.PARTS) < set(row) and row["images a second"] > 0
    assert (
        fit_step.measure_ratio((120, 2, 32), batch=2, repeats=1, device="cpu")["times as long"] > 0
    )


def test_parts_and_whole_take_the_same_step(benchmark):
    fit_step = benchmark("fit_step")
    one, other = (fit_step.make_fit(120, 2, 32, batch=3, device="cpu") for _ in range(2))
    fit_step.step(one)
    fit_step.step_by_parts(other, lambda: None)
    torch.testing.assert_close(
        one.latent.grad,
        other.latent.grad,
        rtol=1e-3,
        atol=1e-3 * float(one.latent.grad.abs().max()),
    )
    torch.testing.assert_close(one.width2, other.width2)
