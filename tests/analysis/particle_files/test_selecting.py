"""Chosen particles of a run come out as rows of the file that was fitted, wherever run and file are
now.
"""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from atomdrgn import open_run, read_structure
from atomdrgn.analysis.particle_files.selecting import read_particle_list, select_particles
from atomdrgn.errors import FileFormatError, InputError, MissingFileError, OutputExistsError
from atomdrgn.io.star import read_star
from atomdrgn.particles.subsets import open_particle_file
from atomdrgn.runs.run import write_json, write_table
from molecules import helix, write_pdb
from runs import write_run

COUNT = 6


@pytest.fixture
def run(tmp_path):
    """Six particles of 3.1's layout with a name each; motion1 is 0 to 5, sd1 1 or 5, state 1 or 2."""
    (tmp_path / "particles.star").write_text(
        "# version 30001\n\ndata_particles\n\nloop_\n_rlnImageName\n_rlnNote\n"
        + "".join(f"{i + 1}@stack.mrcs 0.10{i}0\n" for i in range(COUNT))
        + "\n"
    )
    structure = read_structure(write_pdb(tmp_path / "base.pdb", helix("A", 24)))
    return write_run(
        tmp_path / "particles.fit",
        structure,
        tmp_path / "particles.star",
        part=structure.residue > 12,
        rotation=np.tile([1.0, 0, 0, 0], (COUNT, 1)),
        translation=np.zeros((COUNT, 3)),
        columns={"motion1": range(COUNT), "sd1": [1, 5] * 3, "state": [1, 1, 2, 2, 1, 2]},
    )


def notes(path):
    return [token[-2] for token in read_star(path)[0].columns["rlnNote"]]


def test_conditions_and_lists(run, tmp_path):
    out = tmp_path / "out.star"
    written = select_particles(run, out, where="motion1 > 1 and sd1 < 4")
    assert notes(out) == ["2", "4"] and (written.particles, written.rows, written.of) == (2, 2, 6)
    select_particles(run, out, particles=[5, 0, 5], overwrite=True)
    assert notes(out) == ["0", "5"]
    select_particles(run, out, particles=[5, 0], where="state == 2", overwrite=True)
    assert notes(out) == ["5"]
    assert read_star(out)[0].columns["rlnNote"] == ["0.1050"] and read_star(out)[0].comments == (
        "# version 30001",
    )


def test_a_mask_chooses_as_a_list_does(run, tmp_path):
    frame = run.particles
    assert frame["motion1"].tolist() == run.table["motion1"].tolist()
    for number, mask in enumerate((frame["motion1"] >= 2, (frame["motion1"] >= 2).to_numpy())):
        select_particles(run, tmp_path / f"{number}.star", particles=mask)
        select_particles(run, tmp_path / f"{number}w.star", where="motion1 >= 2")
        assert notes(tmp_path / f"{number}.star") == notes(tmp_path / f"{number}w.star")
    with pytest.raises(InputError, match="a mask of 3 particles, and there are 6"):
        select_particles(run, tmp_path / "no.star", particles=[True, False, True])


def test_classes_are_of_the_chosen_particles(run, tmp_path):
    select_particles(
        run, tmp_path / "out.star", where="motion1 >= 2", class_column="rlnClassNumber"
    )
    assert read_star(tmp_path / "out.star")[0].columns["rlnClassNumber"] == ["2", "2", "1", "2"]
    select_particles(run, tmp_path / "all.star", class_column="rlnClassNumber", classes="sd1")
    assert read_star(tmp_path / "all.star")[0].columns["rlnClassNumber"] == ["1", "5"] * 3


def test_more_tables_are_joined_by_particle(run, tmp_path):
    write_table(
        tmp_path / "clusters.csv",
        {"particle": [4, 2, 0], "cluster": [7, 8, 9], "name": ["x", "y", "z"]},
    )
    select_particles(
        run,
        tmp_path / "out.star",
        where="cluster in (7, 9)",
        tables=[tmp_path / "clusters.csv"],
        class_column="rlnClassNumber",
        classes="state",
    )
    assert notes(tmp_path / "out.star") == ["0", "4"]
    with pytest.raises(InputError, match="cluster holds other than whole numbers"):
        select_particles(
            run,
            tmp_path / "no.star",
            tables=[tmp_path / "clusters.csv"],
            class_column="c",
            classes="cluster",
        )
    write_table(tmp_path / "wrong.csv", {"particle": [6], "other": [7]})
    with pytest.raises(InputError, match="one that the run has not"):
        select_particles(
            run, tmp_path / "no.star", where="other > 1", tables=[tmp_path / "wrong.csv"]
        )
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(FileFormatError, match="column particle"):
        select_particles(
            run, tmp_path / "no.star", where="other > 1", tables=[tmp_path / "empty.csv"]
        )


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfparticle,cluster\r\n4,7\r\n\r\n2,8\r\n0,9\r\n",
        "particle,cluster\n4,7\n2,8\n0,9".encode("utf-16"),
        b"# from a spreadsheet\n# of ours\nparticle, cluster\n 4, 7\n2,8\n0.0,9\n",
        b'"particle","cluster"\r"4","7"\r"2","8"\r"0","9"\r',
        b"name,particle,cluster\n#1,4,7\n#2,2,8\n#3,0,9\n",
    ],
)
def test_tables_of_other_systems_read_the_same(run, tmp_path, content):
    (tmp_path / "clusters.csv").write_bytes(content)
    select_particles(
        run, tmp_path / "out.star", where="cluster in (7, 9)", tables=[tmp_path / "clusters.csv"]
    )
    assert notes(tmp_path / "out.star") == ["0", "4"]


@pytest.mark.parametrize(
    "content, says",
    [
        ("\N{BYTE ORDER MARK}particle;cluster\n4;7\n", "parted by semicolons: save it with commas"),
        ("particle\tcluster\n4\t7\n", "parted by tabs"),
        ("number,cluster\n4,7\n", "first line is 'number,cluster'"),
        (
            "particle,cluster\n4,7\n2,8,5\n",
            "row 2 has 3 cells, but there are 2 columns; a number with a decimal comma",
        ),
        ("particle,cluster\n4,7\nfour,8\n", "row 2 of particle is 'four'; expected a whole number"),
        ("particle,cluster\n4,7\n,8\n", "row 2 of particle is ''"),
        ("particle,cluster\n4,7\n1e30,8\n", "row 2 of particle is '1e30'"),
        ("particle,cluster\n-1,7\n", "row 1 of particle is '-1'"),
        ("PK\x03\x04\0", "zip archive"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(run, tmp_path, content, says):
    (tmp_path / "clusters.csv").write_text(content, encoding="utf-8")
    with pytest.raises(FileFormatError, match=f"clusters.csv: .*{says}"):
        select_particles(
            run, tmp_path / "no.star", where="cluster > 1", tables=[tmp_path / "clusters.csv"]
        )


def test_half_sets_are_those_of_the_fit(run, tmp_path):
    """Not by turns among the chosen ones: a particle stays in the half-set that it was fitted in."""
    select_particles(run, tmp_path / "out.star", particles=[0, 2, 3], half_sets=True)
    assert read_star(tmp_path / "out.star")[0].columns["rlnRandomSubset"] == ["1", "1", "2"]


def test_a_table_without_a_run(run, tmp_path):
    star = tmp_path / "particles.star"
    assert select_particles(star, tmp_path / "out.star", particles=[1]).particles == 1 and notes(
        tmp_path / "out.star"
    ) == ["1"]
    with pytest.raises(InputError, match="--where needs a run"):
        select_particles(star, tmp_path / "no.star", where="motion1 > 1")
    with pytest.raises(InputError, match="there is no particle 6: the particles are 0 to 5"):
        select_particles(star, tmp_path / "no.star", particles=[6])


@pytest.mark.parametrize(
    "options, says",
    [
        ({}, "nothing to do"),
        ({"where": "motion1 > 9"}, "no particle is chosen by 'motion1 > 9'"),
        ({"particles": []}, "by the list"),
        ({"where": "motion9 > 1"}, "there are particle, first_row, rows, motion1, sd1, state"),
        ({"particles": [9]}, "no particle 9"),
        ({"particles": [-1]}, "no particle -1"),
        ({"class_column": "c", "classes": "klass"}, "no column klass"),
        ({"particles": [1], "follow": "B"}, "no chain 'B'"),
        ({"particles": [1], "passthrough": "x.cs"}, "only .cs files"),
    ],
)
def test_what_cannot_be_chosen_writes_nothing(run, tmp_path, options, says):
    with pytest.raises(InputError, match=says):
        select_particles(run, tmp_path / "out.star", **options)
    assert not (tmp_path / "out.star").exists()


def test_nothing_is_replaced_unasked_and_the_source_never(run, tmp_path):
    select_particles(run, tmp_path / "out.star", particles=[1])
    with pytest.raises(OutputExistsError, match="--overwrite"):
        select_particles(run, tmp_path / "out.star", particles=[2])
    with pytest.raises(OutputExistsError, match="chosen from"):
        select_particles(run, tmp_path / "particles.star", particles=[2], overwrite=True)
    with pytest.raises(InputError, match="a name that ends in .star"):
        select_particles(run, tmp_path / "out.cs", particles=[2])
    with pytest.raises(MissingFileError, match="make it first"):
        select_particles(run, tmp_path / "nowhere" / "out.star", particles=[2])


def test_a_run_that_was_moved_finds_its_file_or_says_where_it_looked(run, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(tmp_path / "particles.fit", elsewhere)
    moved = open_run(elsewhere / "particles.fit")
    # the file is where it was
    assert select_particles(moved, tmp_path / "a.star", particles=[1]).rows == 1
    shutil.move(tmp_path / "particles.star", elsewhere)
    # beside the run
    assert select_particles(moved, tmp_path / "b.star", particles=[1]).rows == 1
    (elsewhere / "particles.star").rename(tmp_path / "renamed.star")
    with pytest.raises(
        MissingFileError,
        match=f"is not there \\(tried .*{elsewhere}/particles.star.*--particles-file",
    ):
        select_particles(moved, tmp_path / "c.star", particles=[1])
    assert (
        select_particles(
            moved, tmp_path / "c.star", particles=[1], particle_file=tmp_path / "renamed.star"
        ).rows
        == 1
    )


def test_another_file_is_not_taken_for_the_one_that_was_fitted(run, tmp_path):
    star = tmp_path / "particles.star"
    star.write_text(star.read_text().replace("0.1010", "0.1011"))
    with pytest.raises(InputError, match="is not the file that was fitted"):
        select_particles(run, tmp_path / "out.star", particles=[1])


def test_a_run_of_an_older_version(run, tmp_path):
    settings = {"format": 1, "version": "0.0.1", "input": {}}
    write_json(run.folder / "run.json", settings)
    with pytest.raises(FileFormatError, match="does not say which particle file"):
        select_particles(open_run(run.folder), tmp_path / "out.star", particles=[1])
    write_table(run.folder / "particles.csv", {"particle": range(COUNT)})
    with pytest.raises(FileFormatError, match="no column first_row: it is of another version"):
        select_particles(
            open_run(run.folder),
            tmp_path / "out.star",
            particles=[1],
            particle_file=tmp_path / "particles.star",
        )
    (run.folder / "particles.csv").unlink()
    with pytest.raises(MissingFileError, match="particles.csv is missing"):
        select_particles(
            open_run(run.folder),
            tmp_path / "out.star",
            particles=[1],
            particle_file=tmp_path / "particles.star",
        )
    write_json(run.folder / "run.json", {**settings, "format": 0})
    with pytest.raises(
        FileFormatError, match="format 0 is not 1: it was written by atomdrgn '0.0.1'"
    ):
        open_run(run.folder)


@pytest.mark.parametrize("name", ["subset.star", "my subset.star"])
def test_an_optimisation_set_is_written_for_a_subset_of_its_particles(tmp_path, name):
    particles = "data_particles\n\nloop_\n_rlnImageName #1\n_rlnTomoName #2\n" + "".join(
        f"00{i}@a.mrcs T1\n" for i in "1234"
    )
    (tmp_path / "all.star").write_text(particles)
    (tmp_path / "set.star").write_text(
        "# version 50001\n\ndata_\n\n_rlnTomoParticlesFile   all.star\n"
        '_rlnTomoTomogramsFile   tomograms.star\n_rlnTomoFscFile ""\n'
    )
    (tmp_path / "tomograms.star").write_text("data_global\n\nloop_\n_rlnTomoName #1\nT1\n")
    written = select_particles(tmp_path / "set.star", tmp_path / name, particles=[1, 3])
    assert written.beside == tmp_path / f"{Path(name).stem}_optimisation_set.star"
    again = open_particle_file(written.beside)
    assert again.path == written.path and again.table.texts("rlnImageName") == [
        "002@a.mrcs",
        "004@a.mrcs",
    ]
    (entry,) = again.optimisation_set
    assert entry.comments == ("# version 50001",) and entry.columns["rlnTomoTomogramsFile"] == [
        "tomograms.star"
    ]
    assert entry.columns["rlnTomoFscFile"] == ['""']
    with pytest.raises(OutputExistsError, match="is there"):
        select_particles(tmp_path / "set.star", tmp_path / name, particles=[1])
    assert (
        select_particles(tmp_path / "all.star", tmp_path / "alone.star", particles=[1]).beside
        is None
    )


def test_a_run_of_an_optimisation_set_has_one_for_its_subsets(run, tmp_path):
    (tmp_path / "set.star").write_text("data_\n\n_rlnTomoParticlesFile particles.star\n")
    write_json(
        run.folder / "run.json",
        run.settings | {"reading": {"particles": str(tmp_path / "set.star")}},
    )
    written = select_particles(open_run(run.folder), tmp_path / "subset.star", where="state == 2")
    assert open_particle_file(written.beside).n_particles == 3
    (tmp_path / "set.star").unlink()
    with pytest.warns(
        UserWarning,
        match="the optimisation set that was fitted, .*set.star, is not there .*none is written",
    ):
        assert (
            select_particles(
                open_run(run.folder), tmp_path / "again.star", where="state == 2"
            ).beside
            is None
        )


def test_a_run_knows_its_files_from_any_folder(run, tmp_path, monkeypatch):
    """By the folder that its command was given in, where run.json says it; else by what lies beside
    the run.
    """
    project = tmp_path / "project"
    (project / "Extract").mkdir(parents=True)
    (tmp_path / "particles.star").rename(project / "Extract" / "particles.star")
    (project / "set.star").write_text("data_\n\n_rlnTomoParticlesFile Extract/particles.star\n")
    settings = run.settings | {
        "reading": {"particles": "project/set.star", "data_folder": "project"}
    }
    settings["input"] = settings["input"] | {"particles": "project/Extract/particles.star"}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    write_json(run.folder / "run.json", settings)
    assert select_particles(
        open_run("../particles.fit"), "beside.star", particles=[1]
    ).beside.exists()
    shutil.move(tmp_path / "particles.fit", elsewhere / "particles.fit")
    with pytest.raises(MissingFileError, match="--particles-file"):
        select_particles(open_run("particles.fit"), "lost.star", particles=[1])
    write_json(elsewhere / "particles.fit" / "run.json", settings | {"folder": str(tmp_path)})
    assert select_particles(open_run("particles.fit"), "told.star", particles=[1]).beside.exists()


def test_a_set_of_another_folder_is_followed_with_its_data_folder(run, tmp_path):
    (tmp_path / "project" / "Extract" / "job010").mkdir(parents=True)
    (tmp_path / "particles.star").rename(
        tmp_path / "project" / "Extract" / "job010" / "particles.star"
    )
    both = tmp_path / "project" / "Extract" / "job010" / "optimisation_set.star"
    both.write_text("data_\n\n_rlnTomoParticlesFile Extract/job010/particles.star\n")
    with pytest.raises(MissingFileError, match="--data-folder"):
        select_particles(both, tmp_path / "c.star", particles=[1])
    written = select_particles(
        both, tmp_path / "c.star", particles=[1, 4], data_folder=tmp_path / "project"
    )
    assert notes(written.path) == ["1", "4"] and open_particle_file(written.beside).n_particles == 2
    found = select_particles(
        run,
        tmp_path / "d.star",
        particles=[1],
        particle_file=both,
        data_folder=tmp_path / "project",
    )
    assert found.beside is not None


MOTION = "data_general\n\n_rlnParticleNumber 6\n\n" + "".join(
    f"data_T/{i}\n\nloop_\n_rlnOriginXAngst\n{i}.50\n\n" for i in range(COUNT)
)


@pytest.fixture
def moving(run, tmp_path):
    """The same particles with names, an optimisation set and their motion; the run is of that set."""
    text = "data_particles\n\nloop_\n_rlnImageName\n_rlnTomoParticleName\n" + "".join(
        f"{i + 1}@stack.mrcs T/{i}\n" for i in range(COUNT)
    )
    (tmp_path / "named.star").write_text(text)
    (tmp_path / "motion.star").write_text(MOTION)
    (tmp_path / "set.star").write_text(
        "data_\n\n_rlnTomoParticlesFile named.star\n_rlnTomoTrajectoriesFile motion.star\n"
        "_rlnTomoManifoldsFile manifolds.star\n"
    )
    said = {
        "particles": str(tmp_path / "named.star"),
        "particles_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    write_json(
        run.folder / "run.json",
        run.settings | {"reading": {"particles": str(tmp_path / "set.star")}, "input": said},
    )
    return tmp_path


def test_motion_is_cut_down_with_the_particles(moving):
    for source, out in (
        (moving / "set.star", "a.star"),
        (open_run(moving / "particles.fit"), "b.star"),
    ):
        written = select_particles(source, moving / out, particles=[1, 4])
        assert written.motion == moving / f"{Path(out).stem}_motion.star"
        general, *blocks = read_star(written.motion)
        assert general.columns["rlnParticleNumber"] == ["2"] and [
            table.block for table in blocks
        ] == ["T/1", "T/4"]
        assert [table.columns["rlnOriginXAngst"] for table in blocks] == [["1.50"], ["4.50"]]
        (entry,) = read_star(written.beside)
        assert entry.texts("rlnTomoTrajectoriesFile") == [str(written.motion)]
        assert entry.texts("rlnTomoManifoldsFile") == ["manifolds.star"]
        # the subset's own set
        again = select_particles(written.beside, moving / f"again_{out}", particles=[1])
        assert [table.block for table in read_star(again.motion)[1:]] == ["T/4"]


@pytest.mark.parametrize(
    "spoil, says",
    [
        (lambda path: path.unlink(), "is not there"),
        (lambda path: path.write_text(MOTION.replace("T/4", "T/9")), "T/4"),
        (lambda path: path.write_text("nothing"), "data_ block"),
    ],
)
def test_motion_that_cannot_be_cut_down_is_named_no_more(moving, spoil, says):
    spoil(moving / "motion.star")
    with pytest.warns(UserWarning, match=f"out_optimisation_set.star names no motion file.*{says}"):
        written = select_particles(moving / "set.star", moving / "out.star", particles=[1, 4])
    assert (
        written.motion is None
        and not (moving / "out_motion.star").exists()
        and written.path.exists()
    )
    (entry,) = read_star(written.beside)
    assert list(entry.columns) == ["rlnTomoParticlesFile", "rlnTomoManifoldsFile"]


def test_motion_is_not_replaced_unasked_and_never_that_which_is_cut_down(moving):
    (moving / "out_motion.star").write_text("mine")
    with pytest.raises(OutputExistsError, match="out_motion.star is there"):
        select_particles(moving / "set.star", moving / "out.star", particles=[1])
    (moving / "motion.star").rename(moving / "x_motion.star")
    text = (moving / "set.star").read_text()
    (moving / "set.star").write_text(text.replace(" motion.star", " x_motion.star"))
    with pytest.raises(
        OutputExistsError, match="x_motion.star is the file that particles are chosen from"
    ):
        select_particles(moving / "set.star", moving / "x.star", particles=[1], overwrite=True)
    assert not (moving / "x.star").exists()


def test_lists_of_particles(tmp_path):
    (tmp_path / "list.txt").write_text("# saved by the report\n3\n\n 12 # twelve\n0\n")
    assert read_particle_list(tmp_path / "list.txt") == [3, 12, 0]
    for text, says in (
        ("1\nx\n", "line 2 is 'x'"),
        ("1.5", "line 1"),
        ("-1", "line 1"),
        ("²", "line 1"),
        ("1_000", "line 1"),
    ):
        (tmp_path / "list.txt").write_text(text)
        with pytest.raises(FileFormatError, match=says):
            read_particle_list(tmp_path / "list.txt")
    with pytest.raises(MissingFileError, match="a number on each line"):
        read_particle_list(tmp_path / "nowhere.txt")


def test_the_passthrough_file_of_the_fit_is_that_of_the_subset(run, tmp_path):
    rows = np.zeros(COUNT, dtype=[("uid", "<u8"), ("alignments3D/split", "<u4")])
    through = np.zeros(COUNT, dtype=[("uid", "<u8"), ("x", "<f4")])
    rows["uid"], through["uid"], through["x"] = range(COUNT), range(COUNT)[::-1], range(COUNT)
    for name, array in (("p.cs", rows), ("through.cs", through)):
        with open(tmp_path / name, "wb") as file:
            np.save(file, array)
    write_json(
        run.folder / "run.json",
        run.settings
        | {
            "input": {"particles": str(tmp_path / "p.cs")},
            "reading": {"passthrough": str(tmp_path / "through.cs")},
        },
    )
    of_cs = open_run(run.folder)
    written = select_particles(of_cs, tmp_path / "s.cs", where="motion1 > 3")
    assert written.beside == tmp_path / "s_passthrough.cs" and np.load(written.beside)[
        "x"
    ].tolist() == [1, 0]
    (tmp_path / "through.cs").rename(tmp_path / "s_passthrough.cs")
    with pytest.raises(
        MissingFileError,
        match="the passthrough file that was fitted, .*say where it is with --passthrough",
    ):
        select_particles(of_cs, tmp_path / "s.cs", where="motion1 > 3", overwrite=True)
    with pytest.raises(
        OutputExistsError, match="s_passthrough.cs is the file that particles are chosen from"
    ):
        select_particles(
            of_cs,
            tmp_path / "s.cs",
            where="motion1 > 3",
            passthrough=tmp_path / "s_passthrough.cs",
            overwrite=True,
        )


def test_a_column_of_one_half_set_is_written_anew(tmp_path):
    path = tmp_path / "p.star"
    path.write_text(
        "data_particles\nloop_\n_rlnImageName\n_rlnRandomSubset\n"
        + "".join(f"{i}@s.mrcs 1\n" for i in (1, 1, 2, 3))
    )
    select_particles(path, tmp_path / "out.star", half_sets=True)
    assert read_star(tmp_path / "out.star")[0].columns["rlnRandomSubset"] == ["1", "1", "2", "1"]
    select_particles(path, tmp_path / "same.star", particles=[0, 3])
    assert read_star(tmp_path / "same.star")[0].columns["rlnRandomSubset"] == ["1", "1"]


def test_particles_of_cryosparc_and_what_belongs_to_them(run, tmp_path):
    rows = np.zeros(4, dtype=[("uid", "<u8"), ("alignments3D/class", "<u4")])
    rows["uid"] = [4, 3, 2, 1]
    through = np.zeros(4, dtype=[("uid", "<u8"), ("x", "<f4")])
    through["uid"], through["x"] = [1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4]
    for name, array in (("p.cs", rows), ("p_passthrough.cs", through)):
        with open(tmp_path / name, "wb") as file:
            np.save(file, array)
    options = {"particles": [1, 3], "passthrough": tmp_path / "p_passthrough.cs"}
    written = select_particles(tmp_path / "p.cs", tmp_path / "s.cs", **options)
    assert written.beside == tmp_path / "s_passthrough.cs"
    assert (
        np.load(written.path)["uid"].tolist() == np.load(written.beside)["uid"].tolist() == [3, 1]
    )
    assert np.load(written.beside)["x"].tolist() == through["x"][[2, 0]].tolist()
    shutil.copy(tmp_path / "p.cs", tmp_path / "q.cs")
    with pytest.raises(
        OutputExistsError, match="p_passthrough.cs is the file that particles are chosen from"
    ):
        (tmp_path / "p.cs").unlink()
        select_particles(tmp_path / "q.cs", tmp_path / "p.cs", **options, overwrite=True)
