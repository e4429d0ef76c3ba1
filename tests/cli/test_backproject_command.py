import json

import mrcfile
import numpy as np
import pytest

from atomdrgn.structure.density_map import read_density_map


def refused(ended, says):
    assert ended.code == 2 and says in ended.err.splitlines()[-1] and ended.err.splitlines()[-1].startswith("error: "), ended
    return True


def test_maps_halves_and_numbers_are_written(atomdrgn, folder):
    ended = atomdrgn("backproject", "particles.star", "--out", "map", "-q")
    assert ended.code == 0 and ended.out == ""
    assert read_density_map(folder / "map" / "map.mrc").density.shape == (32, 32, 32)
    assert (folder / "map" / "fsc.csv").read_text().startswith("frequency,fsc,")
    summary = json.loads((folder / "map" / "summary.json").read_text())
    assert summary["half_set_particles"] == [6, 6] and summary["command"].startswith("atomdrgn backproject")
    said = atomdrgn("backproject", "particles.star", "--out", "map", "--overwrite").out
    assert "12 images of 12 particles, half-sets of 6 and 6" in said and "FSC 0.143" in said
    assert said.endswith("atomdrgn dock MODEL map/map.mrc --out base.pdb\n")      # what comes next


def test_chosen_particles_and_weights_come_from_files(atomdrgn, folder):
    (folder / "some.txt").write_text("0\n1\n5\n8\n")
    (folder / "weights.txt").write_text("0.5\n" * 12)
    ended = atomdrgn("backproject", "particles.star", "--out", "map", "--particles", "some.txt", "--weights", "weights.txt",
                     "--box", "24")
    assert ended.code == 0 and "4 images of 4 particles, half-sets of 2 and 2; box 24, 4 A a voxel" in ended.out


def test_the_given_mask_is_used(atomdrgn, folder):
    with mrcfile.new(folder / "mask.mrc", np.pad(np.ones((16, 16, 16), np.float32), 8)) as mask:
        mask.voxel_size = 3.0
    assert atomdrgn("backproject", "particles.star", "--out", "map", "--mask", "mask.mrc", "--b-factor", "50").code == 0
    summary = json.loads((folder / "map" / "summary.json").read_text())
    assert summary["mask_share"] == pytest.approx(0.125, abs=1e-4) and summary["b_factor_is"] == "given"


@pytest.mark.parametrize(("content", "says"), [("", "holds no number"), ("0\n2\n", "half-set 2 has no particle"),
                                               ("0\n99\n", "no particle 99"), ("one\n", "line 1 is 'one'")])
def test_lists_that_cannot_be_used(atomdrgn, folder, content, says):
    (folder / "some.txt").write_text(content)
    assert refused(atomdrgn("backproject", "particles.star", "--out", "map", "--particles", "some.txt"), says)
    assert not (folder / "map").exists()


def test_weights_of_another_number(atomdrgn, folder):
    (folder / "w.txt").write_text("1\n1\n")
    assert refused(atomdrgn("backproject", "particles.star", "--out", "map", "--weights", "w.txt"), "2 weights for 12 particles")


def test_masks_that_cannot_be_used(atomdrgn, folder):
    with mrcfile.new(folder / "mask.mrc", np.pad(np.ones((8, 8, 8), np.float32), 4)) as mask:
        mask.voxel_size = (3.0, 3.0, 4.0)
    command = ["backproject", "particles.star", "--out", "map", "--mask"]
    assert refused(atomdrgn(*command, "mask.mrc"), "expected cubes")
    assert refused(atomdrgn(*command, "none.mrc"), "no such file")


def test_what_is_there_is_not_replaced_unasked(atomdrgn, folder):
    (folder / "map").mkdir()
    (folder / "map" / "mine.txt").write_text("mine")
    assert refused(atomdrgn("backproject", "particles.star", "--out", "map", "--overwrite"), "mine.txt")
    assert (folder / "map" / "mine.txt").read_text() == "mine"
