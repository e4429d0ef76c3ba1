"""The particles of a tomogram are written where they stand in it, each with its own structure, and
a script opens them.
"""

import csv
import warnings

import gemmi
import mrcfile
import numpy as np
import pytest

from atomdrgn import place_in_tomogram, read_structure
from atomdrgn.errors import FileFormatError, InputError, MissingFileError, OutputExistsError
from atomdrgn.io.star import read_star
from atomdrgn.particles.tomogram_positions import read_places
from atomdrgn.runs.run import open_run, read_settings, write_json
from cli.conftest import atomdrgn  # noqa: F401 - a fixture
from molecules import helix, write_pdb
from runs import write_run
from tilt_set import TiltSet, tilted  # noqa: F401 - a fixture

MOTION1 = [-2.0, 0.0, 4.0]


@pytest.fixture
def run(tilted, tmp_path):  # noqa: F811
    """Three particles, particle i with its second helix i A away; the files of the set beside it."""
    structure = read_structure(
        write_pdb(tmp_path / "two.pdb", helix("A", 8), helix("B", 8, start=(12, 0, 0)))
    )
    return run_of(tilted, structure, 3)


def run_of(tilted: TiltSet, structure, count, **columns):  # noqa: F811
    made = write_run(
        tilted.folder / "particles.fit",
        structure,
        tilted.star,
        part=structure.chain == "B",
        rotation=np.tile([1.0, 0, 0, 0], (count, 1)),
        translation=np.arange(count)[:, None] * [1.0, 0, 0],
        columns={"motion1": MOTION1[:count]},
        **columns,
    )
    settings = read_settings(made.folder) | {"reading": {"tomograms": str(tilted.tomograms)}}
    write_json(made.folder / "run.json", settings)
    return open_run(made.folder)


def positions(path):
    return [
        np.array([site.atom.pos.tolist() for site in model.all()])
        for model in gemmi.read_structure(str(path))
    ]


def expected(run, tilted, numbers=(0, 1, 2)):  # noqa: F811
    places = read_places(read_star(tilted.star), tomograms=tilted.tomograms)
    return [
        run.atoms([i])[0].double().numpy() @ places.rotation[i].T + places.position[i]
        for i in numbers
    ]


def test_each_particle_is_a_model_where_it_stands(run, tilted, tmp_path):  # noqa: F811
    placed = place_in_tomogram(run, tmp_path / "out")
    assert sorted(path.name for path in placed.folder.iterdir()) == [
        "particles.cif",
        "places.csv",
        "show.cxc",
    ]
    assert (
        placed.particles.tolist() == [0, 1, 2]
        and placed.of == 3
        and placed.tomogram == "ts.tomostar"
    )
    for found, wanted in zip(
        positions(placed.folder / "particles.cif"), expected(run, tilted), strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-3)
    with open(placed.folder / "places.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["particle"], float(row["motion1"])) for row in rows] == [
        (str(i + 1), str(i), MOTION1[i]) for i in range(3)
    ]
    assert [float(row[axis]) for row in rows[:1] for axis in ("x", "y", "z", "z_of_file")] == [
        3000,
        3300,
        900,
        900,
    ]
    assert [float(rows[1][axis]) for axis in ("z", "z_of_file")] == [600, 1200]


def test_the_script_colours_by_the_motion(run, tmp_path):
    lines = place_in_tomogram(run, tmp_path / "out").script.read_text().splitlines()
    assert (
        lines.count('open "particles.cif" name "atomdrgn out particles"') == 1
        and "motion 1, dark blue at -1.92 or below" in lines[0]
    )
    assert "color #9001.1 #00224e" in lines and "color #9001.3 #fee838" in lines
    lines = place_in_tomogram(run, tmp_path / "one", particles=[1]).script.read_text().splitlines()
    # a third of the way
    assert [line for line in lines if line.startswith("color")] == [
        'color ##name="atomdrgn one particle 1" #575d6d'
    ]


def test_where_nothing_moves_all_are_grey(tilted, tmp_path):  # noqa: F811
    structure = read_structure(
        write_pdb(tmp_path / "a.pdb", helix("A", 8), helix("B", 8, start=(12, 0, 0)))
    )
    run = run_of(tilted, structure, 3)
    table = (run.folder / "particles.csv").read_text().replace("motion1", "other")
    (run.folder / "particles.csv").write_text(table)
    placed = place_in_tomogram(open_run(run.folder), tmp_path / "out")
    assert placed.ends is None and "color #9001.2 #7d7c78" in placed.script.read_text()
    assert "motion1" not in (placed.folder / "places.csv").read_text()


def test_a_file_a_particle(run, tilted, tmp_path):  # noqa: F811
    placed = place_in_tomogram(run, tmp_path / "out", particles=[2, 0], separate=True)
    assert placed.particles.tolist() == [0, 2] and not (placed.folder / "particles.cif").exists()
    for number, wanted in zip((0, 2), expected(run, tilted, (0, 2)), strict=True):
        np.testing.assert_allclose(
            read_structure(placed.folder / f"{number:06d}.cif").position, wanted, atol=1e-3
        )
    text = placed.script.read_text()
    opened = (
        'open "000000.cif" name "atomdrgn out particle 1"\n'
        'open "000002.cif" name "atomdrgn out particle 2"\n'
    )
    assert opened in text and 'color ##name="atomdrgn out particle 2" #' in text


def test_rows_without_a_visible_tilt_are_no_particles(tilted, tmp_path):  # noqa: F811
    """Particle 0 of the run is row 1 of the file then."""
    tilted.particles["rlnTomoVisibleFrames"] = ["[0,0,0,0]", "[1,1,1,1]", "[1,1,1,1]"]
    structure = read_structure(
        write_pdb(tmp_path / "a.pdb", helix("A", 8), helix("B", 8, start=(12, 0, 0)))
    )
    run = run_of(tilted, structure, 2, first_row=[1, 2])
    placed = place_in_tomogram(run, tmp_path / "out")
    places = read_places(read_star(tilted.star), tomograms=tilted.tomograms)
    found = positions(placed.folder / "particles.cif")
    assert placed.particles.tolist() == [0, 1] and len(found) == 2
    np.testing.assert_allclose(
        found[0], run.atoms([0])[0].numpy() @ places.rotation[1].T + places.position[1], atol=2e-3
    )


def write_map(path, shape, voxel=100.0, origin=(0.0, 0.0, 0.0)):
    with mrcfile.new(path) as file:
        file.set_data(np.zeros(shape, np.float32))
        file.voxel_size = voxel
        file.header.origin = origin
    return path


def test_the_tomogram_is_opened_turned_over_and_the_particles_stand_in_it(run, tilted, tmp_path):  # noqa: F811
    """What the file has in section k of n is in section n - 1 - k of the map that ChimeraX turns
    over.
    """
    path = write_map(tmp_path / "ts.mrc", (18, 66, 60), origin=(-50.0, 20.0, 7.0))
    placed = place_in_tomogram(run, tmp_path / "out", tomogram_map=path)
    lines = placed.script.read_text().splitlines()
    assert lines[lines.index(f'open "{path}" name "atomdrgn out tomogram"') + 1 :] == [
        'volume flip ##name="atomdrgn out tomogram" axis z',
        'hide ##name="atomdrgn out tomogram" models',
        'view ##name="atomdrgn out particle*"',
    ]
    section = np.array([900.0, 1200.0, 900.0]) / 100  # rlnCoordinateZ, in voxels of the map
    with open(placed.folder / "places.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    np.testing.assert_allclose([float(row["z"]) for row in rows], 7.0 + (17 - section) * 100)
    assert (float(rows[0]["x"]), float(rows[0]["y"])) == (3000 - 50, 3300 + 20)
    with pytest.warns(
        UserWarning, match="3000 x 6600 x 1800 A and tomogram ts.tomostar 6000 x 6600 x 1800 A"
    ):
        place_in_tomogram(
            run, tmp_path / "two", tomogram_map=write_map(tmp_path / "half.mrc", (18, 66, 30))
        )


def test_what_cannot_be_placed_is_refused(run, tilted, tmp_path):  # noqa: F811
    for settings, says in [
        ({"particles": [3]}, "no particle 3: the run has the particles 0 to 2"),
        ({"tomogram": "TS_02"}, "tomogram TS_02; there are those of ts.tomostar"),
    ]:
        with pytest.raises(InputError, match=says):
            place_in_tomogram(run, tmp_path / "out", **settings)
    with pytest.raises(
        InputError,
        match="none of the particles that were named is in tomogram ts.tomostar, which has 3",
    ):
        place_in_tomogram(run, tmp_path / "out", particles=[])
    tilted.tomograms.rename(tmp_path / "moved.star")
    with pytest.raises(MissingFileError, match="tomograms.star that was fitted.*--tomograms"):
        place_in_tomogram(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert place_in_tomogram(run, tmp_path / "out", tomograms=tmp_path / "moved.star").of == 3
    with pytest.raises(OutputExistsError, match="--overwrite"):
        place_in_tomogram(run, tmp_path / "out", tomograms=tmp_path / "moved.star")
    tilted.particles["rlnCoordinateX"][0] = 301
    with pytest.raises(InputError, match="not the file that was fitted"):
        place_in_tomogram(run, tmp_path / "new", particle_file=tilted.star)


def test_an_optimisation_set_leads_to_the_tomograms(run, tilted, tmp_path):  # noqa: F811
    both = tilted.folder / "optimisation_set.star"
    both.write_text(
        f"data_\n\n_rlnTomoParticlesFile {tilted.star.name}\n_rlnTomoTomogramsFile "
        f"{tilted.tomograms.name}\n"
    )
    write_json(
        run.folder / "run.json", read_settings(run.folder) | {"reading": {"particles": str(both)}}
    )
    assert place_in_tomogram(open_run(run.folder), tmp_path / "out").of == 3


def test_a_project_is_placed_from_another_folder(run, tilted, tmp_path, monkeypatch):  # noqa: F811
    """RELION's names count from the project, which the fit was told as its data folder; run and
    command are elsewhere.
    """
    project = tmp_path / "project"
    (project / "Tomograms").mkdir(parents=True)
    (project / "Extract").mkdir()
    tilted.tomograms.rename(project / "Tomograms" / "tomograms.star")
    tilted.star.rename(project / "Extract" / "particles.star")
    both = project / "Extract" / "optimisation_set.star"
    both.write_text(
        "data_\n\n_rlnTomoParticlesFile Extract/particles.star\n_rlnTomoTomogramsFile "
        "Tomograms/tomograms.star\n"
    )
    settings = read_settings(run.folder)
    settings["input"]["particles"] = "project/Extract/particles.star"
    reading = {"particles": "project/Extract/optimisation_set.star", "data_folder": "project"}
    write_json(run.folder / "run.json", settings | {"reading": reading})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert place_in_tomogram(open_run("../particles.fit"), "out").of == 3
    # a run from the project
    write_json(run.folder / "run.json", settings | {"reading": reading | {"data_folder": None}})
    with pytest.raises(MissingFileError, match="--data-folder"):
        place_in_tomogram(open_run("../particles.fit"), "again")
    assert (
        place_in_tomogram(open_run("../particles.fit"), "again", data_folder="../project").of == 3
    )
    both.unlink()
    with pytest.raises(MissingFileError, match="optimisation set that was fitted.*--tomograms"):
        place_in_tomogram(open_run("../particles.fit"), "third")
    write_json(run.folder / "run.json", settings | {"reading": {}})
    with pytest.raises(
        FileFormatError,
        match="does not say which tomograms.star was fitted; name it with --tomograms",
    ):
        place_in_tomogram(open_run("../particles.fit"), "third")


def test_the_command(atomdrgn, run, tmp_path):  # noqa: F811
    (tmp_path / "list.txt").write_text("2\n1\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ended = atomdrgn(
            "place",
            run.folder,
            "--tomogram",
            "ts.tomostar",
            "--particles",
            tmp_path / "list.txt",
            "--out",
            tmp_path / "out",
        )
    assert ended.code == 0, ended.err
    assert (
        "wrote 2 of the 3 particles of tomogram ts.tomostar" in ended.out
        and "show.cxc" in ended.out
    )
    ended = atomdrgn("place", run.folder, "--data-folder", tmp_path, "--out", tmp_path / "all")
    assert ended.code == 0, ended.err
    ended = atomdrgn("place", run.folder, "--tomogram", "TS_9", "--out", tmp_path / "new")
    assert ended.code == 2 and ended.err.count("\n") == 1 and "ts.tomostar" in ended.err
