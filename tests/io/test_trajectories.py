import numpy as np
import pytest
from biotite.structure.io.dcd import DCDFile
from biotite.structure.io.xtc import XTCFile

from atomdrgn.errors import FileFormatError, InputError
from atomdrgn.io.trajectories import read_trajectory, write_trajectory


@pytest.mark.parametrize("ending, reader, precision", [(".dcd", DCDFile, 0), (".xtc", XTCFile, 0.0051)])
@pytest.mark.parametrize("atoms", [1, 50])
def test_frames_come_back_in_angstrom(tmp_path, ending, reader, precision, atoms):
    frames = np.random.default_rng(0).normal(0, 30, (7, atoms, 3)).astype(np.float32)
    assert write_trajectory(tmp_path / f"path{ending}", (frame for frame in frames)) == 7
    back = reader.read(tmp_path / f"path{ending}").get_coord()
    assert back.shape == frames.shape
    np.testing.assert_allclose(back, frames, rtol=0, atol=precision)


def test_frames_are_asked_for_one_after_the_other(tmp_path):
    alive = []

    def frames():
        for _ in range(5):
            alive.append(len(list(tmp_path.glob("path.dcd"))))
            yield np.zeros((3, 3))

    write_trajectory(tmp_path / "path.dcd", frames())
    assert alive == [0] * 5      # the file has its name only when it is complete


@pytest.mark.parametrize("ending", [".dcd", ".xtc"])
@pytest.mark.parametrize("frames, message", [
    ([], "no frame"),
    ([np.zeros((3, 3)), np.zeros((4, 3))], "frame 2 has shape"),
    ([np.zeros(3)], "frame 1 has shape"),
    ([np.zeros((3, 3)), np.full((3, 3), np.nan)], "frame 2 .* not finite"),
])
def test_what_is_no_trajectory_leaves_no_file(tmp_path, ending, frames, message):
    with pytest.raises(InputError, match=message):
        write_trajectory(tmp_path / f"path{ending}", frames)
    assert not list(tmp_path.iterdir())


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(FileFormatError, match="dcd"):
        write_trajectory(tmp_path / "path.trr", [np.zeros((3, 3))])


@pytest.mark.parametrize("ending", [".dcd", ".xtc"])
def test_paths_need_not_be_ascii(tmp_path, ending):
    """The libraries of trajectories take no other paths."""
    folder = tmp_path / "é 粒子"
    folder.mkdir()
    frames = np.random.default_rng(0).normal(0, 30, (7, 5, 3))
    assert write_trajectory(folder / f"ü{ending}", iter(frames)) == 7
    assert [path.name for path in folder.iterdir()] == [f"ü{ending}"] and not (folder / f"ü{ending}").is_symlink()
    np.testing.assert_allclose(read_trajectory(folder / f"ü{ending}"), frames, atol=0.0051)
    with pytest.raises(InputError, match="no frame"):
        write_trajectory(folder / f"none{ending}", iter([]))
    assert len(list(folder.iterdir())) == 1
