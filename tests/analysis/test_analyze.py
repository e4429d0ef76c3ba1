"""What an analysis writes: tables of what is known of the particles, structures that can be opened,
nothing replaced unasked.
"""

import csv
import shutil

import numpy as np
import pytest
from biotite.structure.io.dcd import DCDFile

from atomdrgn import analyze, open_run, read_structure
from atomdrgn.errors import InputError, OutputExistsError
from atomdrgn.io.structure_files.structures import read_gemmi
from hinged import DEGREES_PER_UNIT, hinged_run


def table(path):
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    return dict(zip(header, zip(*rows, strict=True), strict=True))


def numbers(column):
    return np.array(column, dtype=float)


@pytest.fixture(scope="module")
def written(hinge_run, tmp_path_factory):
    return analyze(
        hinge_run,
        tmp_path_factory.mktemp("out"),
        frames=5,
        clusters=3,
        distances=["A:1-20 and A:21-40"],
        angles=["A:21-40 and A:1-20"],
        formats=["mmcif", "pdb", "dcd"],
    )


def test_particles_have_their_turns_distances_and_angles(written, hinge_run):
    found = table(written.folder / "particles.csv")
    assert numbers(found["particle"]).tolist() == list(range(400))
    angle = DEGREES_PER_UNIT * hinge_run.latent[:, 0]
    np.testing.assert_allclose(numbers(found["angle1"]), np.abs(angle), atol=0.1)
    assert abs(np.corrcoef(numbers(found["turn1"]), angle)[0, 1]) > 0.9999
    # a particle's place is known to 0.2, which is 0.8 degrees
    assert abs(np.median(numbers(found["angle1_sd"])) - 0.2 * DEGREES_PER_UNIT) < 0.1
    assert set(found["cluster"]) == {"1", "2", "3"} and set(found["basin"]) <= {"0", "1"}
    assert numbers(found["distance1"]).std() > 10 * numbers(found["distance1_sd"]).std()


def test_tables_of_the_population_agree_with_each_other(written):
    clusters, measures, turns = (
        table(written.folder / f"{name}.csv") for name in ("clusters", "measures", "turns")
    )
    assert (
        numbers(clusters["particles"]).sum() == 400
        and (np.diff(numbers(clusters["particles"])) <= 0).all()
    )
    assert measures["of"] == ("A:1-20 and A:21-40", "A:21-40 and A:1-20") and measures["unit"] == (
        "A",
        "degrees",
    )
    assert turns["moving"] == ("A:21-40",) and turns["hinge"] == ("A:20",)
    landscape = table(written.folder / "landscape_motion1.csv")
    assert (
        numbers(landscape["free_energy_kT"]).min() == 0
        and abs(numbers(landscape["population"]).sum() - 1) < 1e-3
    )
    residues = table(written.folder / "residues.csv")
    assert numbers(residues["rmsf"])[:20].max() < 0.1 < numbers(residues["rmsf"])[-1]
    segments = table(written.folder / "segments.csv")
    assert segments["selection"] == ("A:1-20", "A:21-40") and segments["group"] == ("1", "2")


def test_structures_follow_the_motion_in_every_format(written, hinge_run):
    ways = table(written.folder / "traversals.csv")
    place = numbers(ways["motion1"])[[name == "motion1" for name in ways["traversal"]]]
    models = read_gemmi(written.folder / "motion1.cif")
    assert len(models) == len(read_gemmi(written.folder / "motion1.pdb")) == len(place) == 5
    frames = DCDFile.read(written.folder / "motion1.dcd").get_coord()
    assert frames.shape == (5, len(hinge_run.structure), 3)
    for model, frame in zip(models, frames, strict=True):
        np.testing.assert_allclose([cra.atom.pos.tolist() for cra in model.all()], frame, atol=6e-4)
    assert len(read_structure(written.folder / "reference.pdb")) == frames.shape[1]


def test_clusters_are_shown_by_particles_with_their_errors(written, hinge_run):
    nearest = (
        numbers(table(written.folder / "clusters.csv")["nearest_particle"]).astype(int).tolist()
    )
    models = read_gemmi(written.folder / "centres.pdb")
    for model, atoms, errors in zip(
        models, hinge_run.atoms(nearest), hinge_run.b_factors(nearest), strict=True
    ):
        np.testing.assert_allclose([cra.atom.pos.tolist() for cra in model.all()], atoms, atol=6e-4)
        np.testing.assert_allclose([cra.atom.b_iso for cra in model.all()], errors, atol=6e-3)


def test_two_motions_have_axes_a_common_landscape_and_a_way_from_cluster_to_cluster(
    tmp_path, hinge_structure
):
    run = hinged_run(tmp_path, hinge_structure, np.random.default_rng(0).normal(0, 4, 300))
    # a second motion that moves nothing: its places are there all the same
    second = np.random.default_rng(1).normal(0, 1, (300, 1)).astype(np.float32)
    from atomdrgn.runs.run import write_arrays

    kept = dict(run.model) | {
        "surface_scale": np.ones(2, np.float32),
        "surface_coefficient": np.insert(
            np.insert(run.model["surface_coefficient"], 2, 0, axis=0), [3, 3], 0, axis=0
        ),
    }
    write_arrays(run.folder / "model.npz", **kept)
    write_arrays(
        run.folder / "latents.npz",
        latent=np.hstack([run.latent, second]),
        latent_sd=np.full((300, 2), 0.2, np.float32),
        draws=np.concatenate([run.draws, np.repeat(second[:, None], 20, 1)], 2),
    )
    written = analyze(open_run(run.folder), frames=7, clusters=4)
    names = {path.name for path in written.folder.iterdir()}
    assert {
        "principal_axes.csv",
        "landscape_motion1_motion2.csv",
        "motion2.cif",
        "path.cif",
    } <= names
    axes = table(written.folder / "principal_axes.csv")
    np.testing.assert_allclose(
        numbers(axes["variance"]), [run.latent.var(ddof=1), second.var(ddof=1)], rtol=0.05
    )


def test_a_run_in_which_nothing_moves_has_its_structure_and_a_report(still_run, tmp_path):
    written = analyze(still_run, tmp_path)
    names = {path.name for path in written.folder.iterdir()}
    assert {"centres.cif", "residues.csv", "show.cxc", "particles.csv"} <= names
    assert not names & {"clusters.csv", "basins.csv", "motion1.cif", "turns.csv"}
    centre = np.array(
        [cra.atom.pos.tolist() for cra in read_gemmi(written.folder / "centres.cif")[0].all()]
    )
    np.testing.assert_allclose(centre, still_run.structure.position, atol=6e-4)
    assert "Nothing moves" in written.report.read_text()


def test_absent_parts_have_no_occupancy_in_the_structures_of_clusters(tmp_path, hinge_structure):
    place = np.random.default_rng(0).normal(0, 4, 60)
    present = np.stack([np.ones(60), np.arange(60) % 2], 1)
    run = hinged_run(tmp_path, hinge_structure, place, present=present)
    written = analyze(run, clusters=4)
    nearest = numbers(table(written.folder / "clusters.csv")["nearest_particle"]).astype(int)
    for model, particle in zip(read_gemmi(written.folder / "centres.cif"), nearest, strict=True):
        occupancy = np.array([cra.atom.occ for cra in model.all()])
        assert occupancy[-1] == particle % 2 and occupancy[0] == 1


def test_a_run_that_was_moved_is_analysed_where_it_is(tmp_path, hinge_run):
    moved = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(hinge_run.folder, moved)
    written = analyze(open_run(moved), frames=3)
    assert written.report == moved / "report.html" and written.folder == moved / "analysis"


def test_frame_of_the_base_model(tmp_path, hinge_run):
    origin = [100.0, 50.0, 25.0]
    there, here = (
        analyze(hinge_run, tmp_path / name, frames=2, origin=at)
        for name, at in (("base", origin), ("poses", None))
    )
    first, second = (
        np.array(
            [cra.atom.pos.tolist() for cra in read_gemmi(each.folder / "motion1.cif")[0].all()]
        )
        for each in (there, here)
    )
    np.testing.assert_allclose(first - second, np.tile(origin, (len(first), 1)), atol=2e-3)


def test_nothing_is_replaced_unasked_and_nothing_of_others_at_all(tmp_path, still_run):
    written = analyze(still_run, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(OutputExistsError, match="--overwrite"):
        analyze(still_run, tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    analyze(still_run, tmp_path, overwrite=True)
    (tmp_path / "foreign" / "analysis").mkdir(parents=True)
    (tmp_path / "foreign" / "analysis" / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="is no analysis"):
        analyze(still_run, tmp_path / "foreign", overwrite=True)
    with pytest.raises(OutputExistsError, match="is a file"):
        analyze(still_run, written.report)


def test_the_same_seed_gives_the_same_files(tmp_path, hinge_run):
    first, second = (analyze(hinge_run, tmp_path / name, frames=3, seed=4) for name in ("a", "b"))
    names = sorted(path.name for path in first.folder.iterdir())
    assert names == sorted(path.name for path in second.folder.iterdir())
    assert all(
        (first.folder / name).read_bytes() == (second.folder / name).read_bytes() for name in names
    )
    assert first.report.read_bytes() == second.report.read_bytes()


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"formats": ["gro"]}, "'gro'"),
        ({"formats": []}, "choose from"),
        ({"clusters": 0}, "at least 1 cluster"),
        ({"frames": 1}, "2 frames"),
        ({"distances": ["A and Q"]}, "no chain 'Q'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    hinge_run, tmp_path, settings, says
):
    with pytest.raises(InputError, match=says):
        analyze(hinge_run, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_umap_of_nothing_is_refused(still_run, tmp_path):
    with pytest.raises(InputError, match="nothing to embed"):
        analyze(still_run, tmp_path / "out", umap=True)


def test_more_clusters_than_particles_are_as_many_as_there_are(tmp_path, hinge_structure):
    run = hinged_run(tmp_path, hinge_structure, np.array([1.0, -1.0, 2.0]))
    assert len(table(analyze(run, clusters=8).folder / "clusters.csv")["cluster"]) == 3
