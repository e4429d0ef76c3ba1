"""A segment that bends as it moves is found to; one that does not stays rigid."""

import json

import numpy as np
import pytest
import torch

from atomdrgn.cli.summary import summary_lines
from atomdrgn.inference.base_model.segment_bending import _fields
from atomdrgn.inference.fit import fit
from atomdrgn.structure.motion.surface import Surface
from hinge import bow, make_hinged

pytestmark = pytest.mark.slow

BEND = 3.0


def errors_of_shape(run, structure, angle, bend):
    """R.m.s. distance from the truth of the second bundle's trace, superposed, of each particle, A."""
    trace = np.flatnonzero((structure.atom_name == "CA") & (structure.chain == "B"))
    truth = structure.position + bend * (angle / angle.abs().max())[:, None, None] * bow(
        structure.position
    )
    found = run.atoms(range(len(angle)))
    out = []
    for x, y in zip(found[:, trace], truth[:, trace], strict=True):
        x, y = x - x.mean(0), y - y.mean(0)
        left, _, right = torch.linalg.svd(x.T @ y)
        out.append(float((x @ left @ right - y).square().sum(1).mean().sqrt()))
    return np.array(out)


@pytest.fixture(scope="module")
def bending(tmp_path_factory):
    """Structure, angles and a fit of particles whose second bundle bends as it turns."""
    folder = tmp_path_factory.mktemp("bending")
    structure, stack, angle = make_hinged(folder, count=400, bend=BEND)
    return structure, angle, fit(structure, stack, folder / "run", segments=2, resolution=9.0)


def test_a_segment_bends_as_it_turns(bending):
    structure, angle, run = bending
    said = run.summary["flexing"]
    assert (
        said["supported"]
        and 1 in said["orders"]
        and said["held_out_gain"] > 0
        and said["rms"] > 0.2
    )
    rigid = run.structure.moved(run.structure.position)
    ends = (angle.abs() > 0.7 * angle.abs().max()).numpy()
    flexed = errors_of_shape(run, structure, angle, BEND)[ends].mean()
    stiff = np.sqrt(
        np.mean(
            [
                float((each * BEND * bow(rigid.position)).square().sum(1).mean())
                for each in (angle / angle.abs().max())[ends]
            ]
        )
    )
    assert stiff > 0.8 and flexed < 0.75 * stiff
    assert any("segments bend" in line for line in summary_lines(run))


def test_the_run_says_so_in_files_that_others_read(bending):
    *_, run = bending
    assert run.model["flexing"].shape == (
        len(run.model["surface_coefficient"]),
        len(run.model["bead"]),
        3,
    )
    assert (
        json.loads((run.folder / "summary.json").read_text())["flexing"] == run.summary["flexing"]
    )
    b_factor = run.b_factors([0, 1])
    assert b_factor.shape == (2, len(run.structure.position)) and (b_factor > 0).all()


def test_rigid_segments_stay_nearly_so(tmp_path):
    structure, stack, angle = make_hinged(tmp_path, count=400)
    run = fit(structure, stack, tmp_path / "run", segments=2, resolution=9.0)
    assert errors_of_shape(run, structure, angle, 0.0).mean() < 0.45


def test_a_base_model_that_is_kept_is_not_bent(tmp_path):
    structure, stack, _ = make_hinged(tmp_path, count=60, bend=BEND)
    run = fit(structure, stack, tmp_path / "run", segments=2, resolution=20.0, keep_base=True)
    assert "flexing" not in run.summary and "flexing" not in run.model


def test_fields_are_uncorrelated_and_each_of_one_order():
    generator = torch.Generator().manual_seed(0)
    place = torch.randn(500, 4, generator=generator) @ torch.randn(4, 4, generator=generator)
    surface = Surface(torch.tensor([2.0, 1.0, 0.5, 0.3]), torch.zeros(15, 12))
    field, order = _fields(surface, place)
    weight = surface.features(place) @ field
    torch.testing.assert_close(weight.T @ weight / 500, torch.eye(len(order)), atol=2e-2, rtol=0)
    assert order.tolist() == [0] + [1] * 3 + [2] * 6
    torch.testing.assert_close(weight[:, 0], torch.ones(500), atol=1e-4, rtol=0)
    assert not field[4].any()  # the fourth motion bends nothing
