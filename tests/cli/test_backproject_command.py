import json

import mrcfile
import numpy as np
import pytest

from atomdrgn import read_structure
from atomdrgn.structure.density_map import read_density_map
from runs import write_run


def refused(ended, says):
    assert (
        ended.code == 2
        and says in ended.err.splitlines()[-1]
        and ended.err.splitlines()[-1].startswith("error: ")
    ), ended
    return True


def test_maps_halves_and_numbers_are_written(atomdrgn, folder):
    ended = atomdrgn("backproject", "particles.star", "--out", "map", "-q")
    assert ended.code == 0 and ended.out == ""
    assert read_density_map(folder / "map" / "map.mrc").density.shape == (32, 32, 32)
    assert (folder / "map" / "fsc.csv").read_text().startswith("frequency,fsc,")
    summary = json.loads((folder / "map" / "summary.json").read_text())
    assert summary["half_set_particles"] == [6, 6] and summary["command"].startswith(
        "atomdrgn backproject"
    )
    said = atomdrgn("backproject", "particles.star", "--out", "map", "--overwrite").out
    assert "12 images of 12 particles, half-sets of 6 and 6" in said and "FSC 0.143" in said
    assert said.endswith("atomdrgn dock MODEL map/map.mrc --out base.pdb\n")  # what comes next


def test_chosen_particles_and_weights_come_from_files(atomdrgn, folder):
    (folder / "some.txt").write_text("0\n1\n5\n8\n")
    (folder / "weights.txt").write_text("0.5\n" * 12)
    ended = atomdrgn(
        "backproject",
        "particles.star",
        "--out",
        "map",
        "--particles",
        "some.txt",
        "--weights",
        "weights.txt",
        "--box",
        "24",
    )
    assert (
        ended.code == 0
        and "4 images of 4 particles, half-sets of 2 and 2; box 24, 4 A a voxel" in ended.out
    )


def test_the_given_mask_is_used(atomdrgn, folder):
    with mrcfile.new(folder / "mask.mrc", np.pad(np.ones((16, 16, 16), np.float32), 8)) as mask:
        mask.voxel_size = 3.0
    assert (
        atomdrgn(
            "backproject",
            "particles.star",
            "--out",
            "map",
            "--mask",
            "mask.mrc",
            "--b-factor",
            "50",
        ).code
        == 0
    )
    summary = json.loads((folder / "map" / "summary.json").read_text())
    assert (
        summary["mask_share"] == pytest.approx(0.125, abs=1e-4)
        and summary["b_factor_is"] == "given"
    )


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
        translation=np.zeros((12, 3)),
        columns={"motion1": range(12), "sd1": [1, 2] * 6},
    )
    return folder / "particles.fit"


def test_a_condition_on_a_run_chooses_the_particles_that_it_names(atomdrgn, folder, run):
    (folder / "colours.csv").write_text(
        "particle,colour\n" + "".join(f"{k},{k % 3}\n" for k in range(12))
    )
    (folder / "some.txt").write_text("3\n6\n9\n11\n")
    backproject = ["backproject", "particles.star", "-q"]
    for name, chosen, options in (
        (
            "where",
            [3, 4, 5, 7, 9, 11],
            ["--select", "motion1 in (3, 4, 5) or motion1 > 5 and sd1 == 2"],
        ),
        ("table", [0, 3, 6, 9], ["--select", "colour == 0", "--table", "colours.csv"]),
        (
            "both",
            [6, 9],
            [
                "--select",
                "colour == 0 and motion1 > 4",
                "--table",
                "colours.csv",
                "--particles",
                "some.txt",
            ],
        ),
    ):
        assert atomdrgn(*backproject, "--run", run, *options, "--out", name).code == 0
        (folder / "list.txt").write_text("\n".join(map(str, chosen)))
        assert atomdrgn(*backproject, "--particles", "list.txt", "--out", f"{name}.list").code == 0
        one, other = (
            read_density_map(folder / of / "map.mrc").density for of in (name, f"{name}.list")
        )
        assert (one == other).all() and one.std() > 0, name


@pytest.mark.parametrize(
    "options, says",
    [
        (["--select", "motion1 > 3"], "--run names"),
        (["--run", "particles.fit"], "belong together"),
        (["--table", "a.csv"], "--select"),
        (
            ["--run", "particles.fit", "--select", "motion9 > 3"],
            "no column motion9; there are particle",
        ),
        (["--run", "particles.fit", "--select", "motion1 > 99"], "no particle is chosen"),
        (["--run", "absent.fit", "--select", "motion1 > 3"], "no such folder"),
    ],
)
def test_selections_that_cannot_be_made(atomdrgn, folder, run, options, says):
    assert refused(atomdrgn("backproject", "particles.star", "--out", "map", *options), says)
    assert not (folder / "map").exists()


def test_a_run_of_another_particle_file_selects_nothing(atomdrgn, folder, run):
    lines = (folder / "particles.star").read_text().splitlines(keepends=True)
    (folder / "fewer.star").write_text("".join(line for line in lines if "000003@" not in line))
    select = ["--run", run, "--select", "motion1 > 3", "--out", "map"]
    assert refused(
        atomdrgn("backproject", "fewer.star", *select), "is not the file that was fitted"
    )
    # as if rows 4 and 5 were one particle's
    table = (run / "particles.csv").read_text().replace("\n5,5,", "\n5,4,")
    (run / "particles.csv").write_text(table)
    assert refused(
        atomdrgn("backproject", "particles.star", *select), "do not begin in the same rows"
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no number"),
        ("0\n2\n", "half-set 2 has no particle"),
        ("0\n99\n", "no particle 99"),
        ("one\n", "line 1 is 'one'"),
    ],
)
def test_lists_that_cannot_be_used(atomdrgn, folder, content, says):
    (folder / "some.txt").write_text(content)
    assert refused(
        atomdrgn("backproject", "particles.star", "--out", "map", "--particles", "some.txt"), says
    )
    assert not (folder / "map").exists()


def test_weights_of_another_number(atomdrgn, folder):
    (folder / "w.txt").write_text("1\n1\n")
    assert refused(
        atomdrgn("backproject", "particles.star", "--out", "map", "--weights", "w.txt"),
        "2 weights for 12 particles",
    )


def test_masks_that_cannot_be_used(atomdrgn, folder):
    with mrcfile.new(folder / "mask.mrc", np.pad(np.ones((8, 8, 8), np.float32), 4)) as mask:
        mask.voxel_size = (3.0, 3.0, 4.0)
    command = ["backproject", "particles.star", "--out", "map", "--mask"]
    assert refused(atomdrgn(*command, "mask.mrc"), "expected cubes")
    assert refused(atomdrgn(*command, "none.mrc"), "no such file")


def test_what_is_there_is_not_replaced_unasked(atomdrgn, folder):
    (folder / "map").mkdir()
    (folder / "map" / "mine.txt").write_text("mine")
    assert refused(
        atomdrgn("backproject", "particles.star", "--out", "map", "--overwrite"), "mine.txt"
    )
    assert (folder / "map" / "mine.txt").read_text() == "mine"
