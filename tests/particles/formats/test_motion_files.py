"""Motion files are cut down with the particles: named blocks by their names, numbered ones by their
order and numbered anew.
"""

from pathlib import Path

import numpy as np
import pytest

from atomdrgn.errors import FileFormatError, InputError, MissingFileError
from atomdrgn.io.star import read_star
from atomdrgn.particles.formats.motion_files import Trajectories

NAMES = ("TS_01/1", "TS_01/2", "TS_02/1", "TS_02/7")


def write_motion(path, names, count=None):
    """A block a particle, whose first shift says which of them it is."""
    blocks = "".join(
        f"# version 50001\n\ndata_{name}\n\nloop_\n_rlnOriginXAngst #1\n_rlnOriginYAngst "
        "#2\n_rlnOriginZAngst #3\n"
        f"{number}.10 0.0 0.0\n1e-7 001 0.0\n\n\n"
        for number, name in enumerate(names)
    )
    path.write_text(
        f"# version 50001\n\ndata_general\n\n_rlnParticleNumber {count or len(names)}\n\n\n{blocks}"
    )


def trajectories(folder, *, names=NAMES):
    return Trajectories("motion.star", Path(folder) / "set.star", names, np.arange(4), 4)


def written(path):
    general, *blocks = read_star(path)
    return general.columns["rlnParticleNumber"], {
        table.block: table.columns["rlnOriginXAngst"] for table in blocks
    }


@pytest.mark.parametrize("order", [NAMES, NAMES[::-1], (*NAMES, "TS_09/1")])
def test_named_blocks_go_with_their_particle_wherever_they_stand(tmp_path, order):
    write_motion(tmp_path / "motion.star", order)
    trajectories(tmp_path).of_rows(np.array([1, 3])).write(tmp_path / "out.star")
    count, blocks = written(tmp_path / "out.star")
    assert count == ["2"] and blocks == {
        name: [f"{order.index(name)}.10", "1e-7"] for name in ("TS_01/2", "TS_02/7")
    }
    assert read_star(tmp_path / "out.star")[1].comments == ("# version 50001",)


def test_rows_can_be_left_out_more_than_once(tmp_path):
    write_motion(tmp_path / "motion.star", NAMES)
    trajectories(tmp_path).of_rows(np.array([1, 2, 3])).of_rows(np.array([0, 2])).write(
        tmp_path / "out.star"
    )
    assert list(written(tmp_path / "out.star")[1]) == ["TS_01/2", "TS_02/7"]


def test_numbered_blocks_go_by_order_and_are_numbered_anew(tmp_path):
    """RELION knows an old file by its first block, which has to be 0, and then goes by order alone."""
    write_motion(tmp_path / "motion.star", range(4))
    trajectories(tmp_path, names=None).of_rows(np.array([1, 3])).write(tmp_path / "out.star")
    assert written(tmp_path / "out.star") == (["2"], {"0": ["1.10", "1e-7"], "1": ["3.10", "1e-7"]})


def test_copies_of_a_particle_share_its_block(tmp_path):
    """RELION reads as many blocks as the file says that there are."""
    write_motion(tmp_path / "motion.star", ("TS_01/1", "TS_02/1"))
    of_all = trajectories(tmp_path, names=("TS_01/1", "TS_01/1", "TS_02/1", "TS_02/1"))
    of_all.of_rows(np.array([0, 1, 2])).write(tmp_path / "out.star")
    assert written(tmp_path / "out.star") == (
        ["2"],
        {"TS_01/1": ["0.10", "1e-7"], "TS_02/1": ["1.10", "1e-7"]},
    )


def test_it_is_looked_for_as_other_files_are(tmp_path):
    (tmp_path / "project" / "Polish").mkdir(parents=True)
    write_motion(tmp_path / "project" / "Polish" / "motion.star", NAMES)
    found = Trajectories(
        "Polish/motion.star",
        tmp_path / "set.star",
        NAMES,
        np.arange(4),
        4,
        data_folder=tmp_path / "project",
    )
    assert found.find() == tmp_path / "project" / "Polish" / "motion.star"
    assert trajectories(tmp_path).find() is None
    with pytest.raises(MissingFileError, match="motion.star, which is not there"):
        trajectories(tmp_path).write(tmp_path / "out.star")


def test_what_is_not_of_these_particles_is_refused(tmp_path):
    path = tmp_path / "motion.star"
    for names, motion, says in (
        (NAMES, NAMES[:3], r"no block of 1 of the 4 particles \(such as TS_02/7\)"),
        (NAMES, range(3), "3 blocks without the names of particles, but there are 4 particles"),
        (NAMES, (*NAMES, "TS_02/1"), "TS_02/1 has 2 blocks, so that its motion cannot be told"),
        (None, NAMES, "have no rlnTomoParticleName"),
    ):
        write_motion(path, motion)
        with pytest.raises(InputError, match=says):
            trajectories(tmp_path, names=names).write(tmp_path / "out.star")
    path.write_text("data_TS_01/1\n\nloop_\n_rlnOriginXAngst\n0\n")
    with pytest.raises(
        FileFormatError, match="no rlnParticleNumber in data_general, so it is no motion file"
    ):
        trajectories(tmp_path).write(tmp_path / "out.star")
    assert not (tmp_path / "out.star").exists()
