"""What is found in a run of volumes whose latents are known: three groups on a line, and a field
with weights at random.
"""

import csv
import json

import numpy as np
import pytest
import torch

from atomdrgn.analysis.volumes import analyze_volumes as module
from atomdrgn.analysis.volumes.analyze_volumes import analyze_volumes
from atomdrgn.analysis.volumes.field_volumes import volumes_at
from atomdrgn.errors import InputError, OutputExistsError
from atomdrgn.structure.density_map import DensityMap, read_density_map
from volume_runs import write_volume_run

pytestmark = pytest.mark.seconds

PLACE = np.array([-3.0, 0.0, 3.0])  # of the groups, along (0.6, 0.8)
SIZE = [20, 30, 10]
TURNED = np.array([[0.0, 1.0], [-1.0, 0.0]])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    rng = np.random.default_rng(0)
    along = np.repeat(PLACE, SIZE) + rng.normal(0, 0.3, 60)
    latent = along[:, None] * [0.6, 0.8] + rng.normal(0, 0.05, 60)[:, None] * [0.8, -0.6]
    return write_volume_run(
        tmp_path_factory.mktemp("volumes") / "run",
        latent,
        gain=[1, 5, 9, 10, 10, 10],
        change=[1, 0.5, 0.2, 0.1, 0.05, 0.01],
    )


@pytest.fixture(scope="module")
def found(run, tmp_path_factory):
    # UMAP itself, which is compiled for ten seconds, has a test of its own
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "umap_embedding", lambda latent, seed: latent @ TURNED)
        return analyze_volumes(
            run, tmp_path_factory.mktemp("analysis"), clusters=3, frames=5, sketch=6, umap=True
        )


def table(path):
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    return {
        name: np.array(column, dtype=float)
        for name, column in zip(header, zip(*rows, strict=True), strict=True)
        if not column[0].endswith(".mrc")
    }


def test_every_particle_has_its_group_and_its_places(run, found):
    columns = table(found.folder / "particles.csv")
    group = np.repeat([0, 1, 2], SIZE)
    assert (columns["cluster"] == np.array([1, 0, 2])[group]).all()  # the largest is 0
    direction, share = np.array([0.6, 0.8]), table(found.folder / "principal_axes.csv")
    assert abs(share["z1"][0] * 0.6 + share["z2"][0] * 0.8) == pytest.approx(1, abs=1e-3)
    assert share["share"].sum() == pytest.approx(1, abs=1e-4)
    along = (run.latent - run.latent.mean(0)) @ direction
    np.testing.assert_allclose(columns["pc1"], along, atol=0.02)
    assert columns["pc1"].var(ddof=1) == pytest.approx(share["variance"][0], rel=1e-3)
    at = np.stack([columns["umap1"], columns["umap2"]], 1)
    np.testing.assert_allclose(at, run.latent @ TURNED, atol=1e-3)


def test_volumes_of_centres_and_along_ways_are_those_of_the_field(run, found):
    names = {path.name for path in found.folder.iterdir() if path.is_dir()}
    assert {"centres", "axis1", "axis2", "volume_axes"} <= names
    for name in names - {"volume_axes"}:
        said = table(found.folder / name / "volumes.csv")
        latent = np.stack([said["z1"], said["z2"]], 1)
        for number, expected in enumerate(volumes_at(run, latent)):
            written = read_density_map(found.folder / name / f"{number:04d}.mrc")
            torch.testing.assert_close(written.density, expected, atol=1e-3, rtol=1e-3)
            assert written.in_pose_frame().centre == written.centre
    assert len(table(found.folder / "axis1" / "volumes.csv")["particle"]) == 5
    np.testing.assert_array_equal(
        table(found.folder / "centres" / "volumes.csv")["particles"], [30, 20, 10]
    )


def test_maps_of_the_volume_axes_make_up_the_volumes_of_the_sketch(run, found):
    """Six volumes have five axes: the mean and their sum, each times its place, is the volume."""
    sketch, maps = table(found.folder / "sketch.csv"), found.folder / "volume_axes"
    mean = read_density_map(maps / "mean.mrc").density
    axis = [read_density_map(maps / f"axis{k}.mrc").density for k in range(1, 6)]
    chosen = run.latent[sketch["particle"].astype(int)]
    for number, volume in enumerate(volumes_at(run, chosen)):
        made = mean + sum(
            sketch[f"volume{k + 1}"][number] * density for k, density in enumerate(axis)
        )
        inside = mean != 0
        torch.testing.assert_close(made[inside], volume[inside], atol=1e-3, rtol=1e-3)
    # a sphere in its cube: pi / 6
    assert 0.5 < inside.float().mean() < 0.6 and sketch["particles"].sum() == 60
    shares = table(found.folder / "volume_axes.csv")["share"]
    assert shares.sum() == pytest.approx(1, abs=1e-3) and (np.diff(shares) <= 0).all()
    place = table(found.folder / "particles.csv")["volume1"]
    np.testing.assert_allclose(place[sketch["particle"].astype(int)], sketch["volume1"])


def test_only_what_is_in_the_mask_is_compared(run, tmp_path):
    mask = torch.zeros(12, 12, 12)
    mask[4:8, 3:9, 2:10] = 1
    masked = analyze_volumes(
        run, tmp_path, clusters=2, frames=2, sketch=4, mask=DensityMap(mask, 4.0)
    )
    assert masked.sketch.axes.axis.shape == (3, 4 * 6 * 8)
    for name in ("mean", "axis1"):
        assert (
            read_density_map(masked.folder / "volume_axes" / f"{name}.mrc").density[mask == 0] == 0
        ).all()
    assert not (masked.folder / "volume_axes" / "axis4.mrc").exists()
    with pytest.raises(InputError, match="resample"):
        analyze_volumes(run, tmp_path / "other", mask=DensityMap(mask, 3.0))


def test_convergence_is_said_where_it_can_be(run, found, tmp_path):
    said = json.loads((found.folder / "analysis.json").read_text())["convergence"]
    assert said == {"latent_change": 0.01, "gain_rise": 0.0, "settled": True}
    short = write_volume_run(tmp_path / "short", run.latent, gain=[1, 2], change=[1, 1])
    assert analyze_volumes(short, clusters=2, frames=2, sketch=0).convergence is None
    assert (
        json.loads((tmp_path / "short" / "analysis" / "analysis.json").read_text())["convergence"]
        is None
    )
    assert not (tmp_path / "short" / "analysis" / "volume_axes").exists()


def test_what_cannot_be_analysed_writes_nothing(run, found, tmp_path):
    for options in ({"clusters": 0}, {"frames": 1}, {"sketch": 1}, {"sketch": -1}):
        with pytest.raises(InputError, match="are needed"):
            analyze_volumes(run, tmp_path / "new", **options)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        analyze_volumes(run, found.folder.parent)
    one = write_volume_run(tmp_path / "one", np.zeros((5, 0)))
    with pytest.raises(InputError, match="one volume for all"):
        analyze_volumes(one, tmp_path / "new")
    assert not (tmp_path / "new").exists()
