import os
import struct
import warnings

import numpy as np
import pytest
from biotite.structure.io.dcd import DCDFile
from biotite.structure.io.xtc import XTCFile

from atomdrgn.errors import FileFormatError, InputError
from atomdrgn.io.trajectories import read_trajectory, write_trajectory


@pytest.mark.parametrize(
    "ending, reader, precision", [(".dcd", DCDFile, 0), (".xtc", XTCFile, 0.0051)]
)
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
    assert alive == [0] * 5  # the file has its name only when it is complete


@pytest.mark.parametrize("ending", [".dcd", ".xtc"])
@pytest.mark.parametrize(
    "frames, message",
    [
        ([], "no frame"),
        ([np.zeros((3, 3)), np.zeros((4, 3))], "frame 2 has shape"),
        ([np.zeros(3)], "frame 1 has shape"),
        ([np.zeros((3, 3)), np.full((3, 3), np.nan)], "frame 2 .* not finite"),
    ],
)
def test_what_is_no_trajectory_leaves_no_file(tmp_path, ending, frames, message):
    with pytest.raises(InputError, match=message):
        write_trajectory(tmp_path / f"path{ending}", frames)
    assert not list(tmp_path.iterdir())


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(FileFormatError, match="dcd"):
        write_trajectory(tmp_path / "path.trr", [np.zeros((3, 3))])


@pytest.mark.parametrize("ending", [".dcd", ".xtc"])
@pytest.mark.parametrize("atoms", [1, 9, 10, 50])
def test_names_need_no_ascii(tmp_path, ending, atoms):
    frames = np.random.default_rng(0).normal(0, 30, (3, atoms, 3)).astype(np.float32)
    (tmp_path / "é 粒子").mkdir()
    path = tmp_path / "é 粒子" / f"ñ{ending}"
    assert write_trajectory(path, frames) == 3
    np.testing.assert_allclose(read_trajectory(path), frames, rtol=0, atol=0.0051)
    assert [each.name for each in path.parent.iterdir()] == [path.name] and not path.is_symlink()
    with pytest.raises(InputError, match="no frame"):
        write_trajectory(path.with_name(f"nothing{ending}"), iter([]))
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", [".dcd", ".xtc"])
@pytest.mark.parametrize("lost", [1, 4, 500])
def test_a_last_write_that_is_lost_is_noticed(tmp_path, monkeypatch, ending, lost):
    kind = DCDFile if ending == ".dcd" else XTCFile
    write = kind.write_iter

    def write_and_lose(name, frames):  # as a full disk does when the file is closed
        write(name, frames)
        os.truncate(name, os.path.getsize(name) - lost)

    monkeypatch.setattr(kind, "write_iter", write_and_lose)
    with pytest.raises(OSError, match="not written to its end"):
        write_trajectory(
            tmp_path / f"path{ending}", np.random.default_rng(0).normal(0, 30, (4, 40, 3))
        )
    assert not list(tmp_path.iterdir())


def hostile_xtc(path, **wrong):
    """A file of a frame of 20 atoms whose numbers are as one likes: where they stand in the frame,
    in words of 4 bytes.
    """
    write_trajectory(path, np.random.default_rng(0).normal(0, 30, (2, 20, 3)))
    content = bytearray(path.read_bytes())
    places = {
        "atoms": 1,
        "atoms_again": 13,
        "low": 15,
        "high": 18,
        "small": 21,
        "bytes": 22,
        "packed": 23,
    }
    for name, value in wrong.items():
        content[4 * places[name] : 4 * places[name] + 4] = struct.pack(">i", value)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "wrong",
    [
        {"bytes": 2**31 - 1},
        {"bytes": -1},
        {"bytes": 10**6},
        {"small": 10**6},
        {"small": -5},
        {"small": 73},
        {"atoms": 2**31 - 1},
        {"atoms": -20},
        {"atoms": 3},
        {"atoms_again": 2**30},
        {"atoms_again": 10**6, "atoms": 10**6},
        {"high": -(2**31)},
        {"low": 2**31 - 1},
        {"packed": -1, "small": 9},
    ],
    ids=str,
)
def test_what_crashes_the_library_is_an_error(tmp_path, wrong):
    """The worst may be read as something else; what must not happen is that this process ends, or
    takes all memory.
    """
    path = hostile_xtc(tmp_path / "hostile.xtc", **wrong)
    try:
        assert read_trajectory(path).shape[2] == 3
    except FileFormatError as error:
        assert str(error).startswith(f"{path}: ")


def test_a_reader_that_crashes_or_hangs_is_told(tmp_path, monkeypatch):
    path = tmp_path / "path.xtc"
    write_trajectory(path, np.zeros((2, 20, 3)))
    monkeypatch.setattr(
        "atomdrgn.io.trajectories.READER", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    )
    with pytest.raises(FileFormatError, match="crashed"):
        read_trajectory(path)
    monkeypatch.setattr("atomdrgn.io.trajectories.LONGEST", 0.5)
    monkeypatch.setattr("atomdrgn.io.trajectories.READER", "import time; time.sleep(60)")
    with pytest.raises(FileFormatError, match="crashed"):
        read_trajectory(path)
    monkeypatch.setattr("atomdrgn.io.trajectories.READER", "print(5, 20)")
    with pytest.raises(FileFormatError):
        read_trajectory(path)


def test_nothing_that_lies_beside_the_trajectory_is_imported(tmp_path, monkeypatch):
    write_trajectory(tmp_path / "path.dcd", np.ones((2, 20, 3)))
    (tmp_path / "numpy.py").write_text("open('executed', 'w')")
    monkeypatch.chdir(tmp_path)
    assert read_trajectory("path.dcd").shape == (2, 20, 3) and not (tmp_path / "executed").exists()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("left", [2 * 3 * 128, 2 * 3 * 128 + 50])
def test_frames_that_a_dcd_names_and_lacks_are_told(tmp_path, order, left):
    path = tmp_path / "path.dcd"
    write_trajectory(path, np.ones((5, 30, 3)))
    whole = path.read_bytes()
    # written on another machine: all numbers of these records are of 4 bytes, but for titles
    if order == ">":
        whole = _turned_round(whole)
    path.write_bytes(whole[: 276 + left])
    with pytest.warns(UserWarning, match="path.dcd: its header names 5 frames and 2 are there"):
        assert read_trajectory(path).shape == (2, 30, 3)
    for said in (5, 0, 3):  # right, never filled in, and not kept up: nothing is missing
        path.write_bytes(whole[:8] + struct.pack(f"{order}i", said) + whole[12:])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(read_trajectory(path)) == 5


def _turned_round(dcd):
    numbers, text = np.frombuffer(dcd, "<u4").byteswap().tobytes(), range(4, 8)
    titles = range(92 + 8, 92 + 8 + 160)
    return bytes(dcd[at] if at in text or at in titles else byte for at, byte in enumerate(numbers))


@pytest.mark.parametrize("atoms", [5, 30])
def test_what_follows_the_last_whole_frame_of_an_xtc_is_told(tmp_path, atoms):
    path = tmp_path / "path.xtc"
    write_trajectory(path, np.random.default_rng(0).normal(0, 30, (3, atoms, 3)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_trajectory(path)) == 3
    with open(path, "ab") as file:
        file.write(b"\0\0\7")
    with pytest.warns(UserWarning, match="path.xtc: 3 bytes follow its last whole frame"):
        assert len(read_trajectory(path)) == 3


@pytest.mark.seconds
@pytest.mark.filterwarnings("ignore:.*(header names|bytes follow)")
def test_a_cut_trajectory_is_an_error_or_holds_the_frames_before(tmp_path):
    frames = np.random.default_rng(0).normal(0, 30, (3, 30, 3)).astype(np.float32)
    for ending in (".dcd", ".xtc"):
        path = tmp_path / f"path{ending}"
        write_trajectory(path, frames)
        whole = path.read_bytes()
        for length in (0, 10, 100, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            try:
                found = read_trajectory(path)
            except FileFormatError:
                continue
            np.testing.assert_allclose(found, frames[: len(found)], atol=0.0051)
