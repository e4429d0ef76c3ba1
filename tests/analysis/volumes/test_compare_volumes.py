"""Maps compared: principal components, and what a history says of convergence."""

from pathlib import Path

import numpy as np
import pytest
import torch

from atomdrgn.analysis.volumes.compare_volumes import convergence, volume_axes
from atomdrgn.errors import InputError
from atomdrgn.runs.volume_run import VolumeRun


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_volumes_that_differ_in_one_way_have_one_component():
    way, mean = drawn(6, 6, 6), drawn(6, 6, 6, seed=1)
    amount = torch.linspace(-1, 1, 9)
    volume = mean + amount[:, None, None, None] * way
    axes = volume_axes(volume)
    assert axes.share[0] == pytest.approx(1, abs=1e-6)
    assert abs(axes.axis[0] @ (way / way.norm()).flatten().numpy()) == pytest.approx(1, abs=1e-5)
    mask = (drawn(6, 6, 6, seed=2) > 0).float()
    assert volume_axes(volume, mask).axis.shape[1] == int(mask.sum())


def history(folder, gain, change):
    lines = [f"{k + 1},{g},{c}" for k, (g, c) in enumerate(zip(gain, change, strict=True))]
    (folder / "history.csv").write_text(
        "\n".join(["epoch,error_gain,latent_change", *lines]) + "\n"
    )
    return VolumeRun(Path(folder), {}, {})


def test_what_has_settled_is_told_from_what_still_rises(tmp_path):
    rising = history(tmp_path, np.arange(1.0, 11), np.full(10, 0.5))
    found = convergence(rising)
    assert not found.settled and found.latent_change == 0.5
    assert found.gain_rise == pytest.approx((9.5 - 7.5) / 9.5)
    assert convergence(
        history(tmp_path, [1, 5, 9, 9.9, 10, 10, 10, 10, 10, 10], np.full(10, 0.01))
    ).settled
    with pytest.raises(InputError, match="4 epochs"):
        convergence(history(tmp_path, np.ones(4), np.ones(4)))
