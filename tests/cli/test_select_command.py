"""``atomdrgn select``: a run or a particle file in, a particle file out; what cannot be is one
line.
"""

import numpy as np
import pytest

from atomdrgn import read_particles, read_structure
from atomdrgn.io.star import find_table, read_star
from runs import write_run
from tilt_set import tilted  # noqa: F401 - a fixture


@pytest.fixture
def run(folder):
    """A run of the tiny set, beside it."""
    structure = read_structure(folder / "base.pdb")
    write_run(
        folder / "particles.fit",
        structure,
        folder / "particles.star",
        part=structure.residue > 12,
        rotation=np.tile([1.0, 0, 0, 0], (12, 1)),
        translation=np.tile([3.0, 0, 0], (12, 1)),
        columns={"motion1": range(12), "sd1": [1, 2] * 6, "state": [1, 2, 3] * 4},
    )
    return folder / "particles.fit"


def test_a_run_by_condition(atomdrgn, folder, run):
    ended = atomdrgn(
        "select", "particles.fit", "--where", "motion1 >= 6 and sd1 < 2", "--out", "subset.star"
    )
    assert (ended.code, ended.out, ended.err) == (0, "wrote 3 of 12 particles to subset.star\n", "")
    whole, subset = read_particles("particles.star"), read_particles("subset.star")
    assert (subset.read() == whole.read()[[6, 8, 10]]).all()
    # all three are of half-set 1, which reads as no split: it is the column that stays
    table = find_table(read_star("subset.star"), "particles")
    assert table.numbers("rlnRandomSubset").tolist() == whole.half[[6, 8, 10]].tolist()
    assert (
        atomdrgn(
            "select", run, "--where", "state == 1", "--out", "subset.star", "--overwrite", "--quiet"
        ).out
        == ""
    )


def test_a_particle_file_by_a_list(atomdrgn, folder):
    (folder / "lasso.txt").write_text("11\n0\n")
    ended = atomdrgn("select", "particles.star", "--particles", "lasso.txt", "--out", "subset.star")
    assert ended.code == 0 and len(read_particles("subset.star")) == 2


def test_poses_that_follow_and_classes(atomdrgn, folder, run):
    ended = atomdrgn(
        "select",
        run,
        "--follow",
        "segment:2",
        "--class-column",
        "rlnClassNumber",
        "--out",
        "followed.star",
    )
    assert ended.code == 0 and "rlnClassNumber" in (folder / "followed.star").read_text()
    before, after = read_particles("particles.star").pose, read_particles("followed.star").pose
    moved = 3.0 * before.rotation[:, :2, 0]
    assert (
        abs(after.shift - before.shift - moved).max() < 1e-4
        and abs(after.rotation - before.rotation).max() < 1e-5
    )


def test_copies_of_images_are_told(atomdrgn, folder):
    text = (
        (folder / "particles.star")
        .read_text()
        .replace("000002@", "000001@")
        .replace("rlnRandomSubset", "rlnOther")
    )
    (folder / "copies.star").write_text(text)
    (folder / "all.txt").write_text("\n".join(map(str, range(12))))
    said = atomdrgn("select", "copies.star", "--particles", "all.txt", "--out", "a.star").out
    assert (
        "they show 11 images: copies are known by the same image name; --half-sets keeps them "
        "in one" in said
    )
    assert (
        "each image's are in one half-set"
        in atomdrgn("select", "copies.star", "--half-sets", "--out", "b.star").out
    )
    assert read_particles("b.star").half.tolist() == [1, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1]


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["particles.fit", "--where", "motin1 > 3"], "no column motin1; there are particle"),
        (["particles.fit", "--where", "motion1 > 99"], "no particle is chosen"),
        (["particles.fit"], "nothing to do"),
        (["absent.fit", "--where", "a > 1"], "no such folder"),
        (["absent.star", "--particles", "none.txt"], "none.txt: no such file"),
        (
            ["particles.fit", "--particles", "particles.mrcs"],
            "no text file; expected one number on each line",
        ),
        (["base.pdb", "--where", "a > 1"], "base.pdb"),
        (["particles.fit", "--where", "state == 1", "--out", "x.txt"], "ends in .star"),
        (["particles.fit", "--where", "state == 1", "--table", "base.pdb"], "column particle"),
        (["particles.fit", "--where", "state == 1", "--particles-file", "base.pdb"], "base.pdb"),
    ],
)
def test_what_is_refused(atomdrgn, folder, run, arguments, says):
    ended = atomdrgn("select", *arguments, *([] if "--out" in arguments else ["--out", "new.star"]))
    assert (
        ended.code == 2
        and says in ended.err
        and ended.err.startswith("error: ")
        and ended.err.count("\n") == 1
    ), ended
    assert not (folder / "new.star").exists()


def test_an_optimisation_set_with_motion_from_another_folder(
    atomdrgn,
    tilted,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    """The list counts as a fit counts: particle 0 of the file has no tilt that may be used."""
    tilted.particles |= {"rlnTomoParticleName": ["ts/1", "ts/2", "ts/3"]}
    tilted.particles["rlnTomoVisibleFrames"][0] = "[1,0,0,0]"
    tilted.tilts["rlnCtfScalefactor"][0] = 0
    (tmp_path / "motion.star").write_text(
        "data_general\n\n_rlnParticleNumber 3\n\n"
        + "".join(f"data_ts/{i}\n\nloop_\n_rlnOriginXAngst\n{i}.0\n\n" for i in (1, 2, 3))
    )
    (tmp_path / "set.star").write_text(
        f"data_\n\n_rlnTomoParticlesFile {tilted.star.name}\n_rlnTomoTomogramsFile "
        f"{tilted.tomograms.name}\n_rlnTomoTrajectoriesFile motion.star\n"
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "one.txt").write_text("0\n")
    ended = atomdrgn(
        "select", "../set.star", "--particles", "one.txt", "--out", "s.star", "--data-folder", ".."
    )
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        "wrote 1 of 2 particles to s.star\nand what belongs to them to s_optimisation_set.star and "
        "s_motion.star\n"
    )
    assert read_star("s.star")[-1].texts("rlnTomoParticleName") == ["ts/2"]
    ended = atomdrgn(
        "select",
        "../particles.star",
        "--particles",
        "one.txt",
        "--out",
        "t.star",
        "--tomograms",
        "../tomograms.star",
    )
    assert ended.err == "" and read_star("t.star")[-1].texts("rlnTomoParticleName") == ["ts/2"]
    ended = atomdrgn("select", "../particles.star", "--particles", "one.txt", "--out", "u.star")
    assert (
        ended.err.startswith("warning: ../particles.star: 1 particles have hidden tilts")
        and ended.err.count("\n") == 1
    )
