import gzip
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from atomdrgn.errors import FileFormatError, InputError, MissingFileError
from atomdrgn.particles.reading import read_particles
from tiny_particles import bead_image, write_stack


def test_a_stack_that_is_too_short_names_the_rows(tiny):
    tiny.columns["rlnImageName"][4:] = ["000009@stack.mrcs", "000007@stack.mrcs"]
    with pytest.raises(
        FileFormatError,
        match=r"particles.star: 6 rows but stack.mrcs holds 6 images \(rows 5 and 6\)",
    ):
        read_particles(tiny.star)


def test_a_header_that_promises_too_much(tiny):
    path = tiny.folder / "stack.mrcs"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        FileFormatError, match=r"holds 5 images \(its header promises 6\) \(row 6\)"
    ):
        read_particles(tiny.star)


def test_stacks_are_found_in_the_data_folder(tiny, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "deep").mkdir(parents=True)
    tiny.columns["rlnImageName"] = [f"{i + 1}@deep/stack.mrcs" for i in range(6)]
    shutil.move(tiny.folder / "stack.mrcs", elsewhere / "deep")
    star = tiny.star
    with pytest.raises(
        MissingFileError, match=f"tried deep/stack.mrcs, {tmp_path}/deep/stack.mrcs.*--data-folder"
    ):
        read_particles(star)
    assert len(read_particles(star, data_folder=elsewhere)) == 6
    assert len(read_particles(star, data_folder=elsewhere / "deep")) == 6


def test_compressed_stacks_and_other_formats_are_named(tiny):
    path = tiny.folder / "stack.mrcs"
    raw = path.read_bytes()
    for content, says in (
        (gzip.compress(raw), "compressed by gzip: gunzip it first"),
        (b"II*\0" + bytes(5000), "TIFF or EER"),
        (b"../other/stack.mrcs", "it begins with '../other/stack.mrcs'"),
    ):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=f"stack.mrcs: .*{says}"):
            read_particles(tiny.star)


@pytest.mark.parametrize(
    "name",
    ["stra\N{LATIN SMALL LETTER SHARP S}e/a.mrcs", "my mic/a.mrcs", "a\N{NO-BREAK SPACE}b/a.mrcs"],
)
def test_stacks_of_any_name_are_found(tiny, name):
    (tiny.folder / name).parent.mkdir()
    shutil.copy(tiny.folder / "stack.mrcs", tiny.folder / name)
    tiny.columns["rlnImageName"] = [f'"{i + 1}@{name}"' for i in range(6)]
    path = tiny.folder / "particles.star"
    path.write_text(tiny.star.read_text(), encoding="utf-8")
    assert read_particles(path).read().shape == (6, 32, 32)


@pytest.mark.seconds
def test_names_of_files_are_those_of_the_file_whatever_the_locale(tiny):
    name = "stra\N{LATIN SMALL LETTER SHARP S}e.mrcs"
    shutil.copy(tiny.folder / "stack.mrcs", tiny.folder / name)
    tiny.columns["rlnImageName"] = [f"{i + 1}@{name}" for i in range(6)]
    text = tiny.star.read_text(encoding="utf-8")
    paths = {encoding: tiny.folder / f"{encoding}.star" for encoding in ("utf-8", "latin-1")}
    for encoding, path in paths.items():
        path.write_text(text, encoding=encoding)
    code = "import sys; from atomdrgn.particles.reading import read_particles; [read_particles(path) for path in sys.argv[1:]]"
    for locale in (
        {"LC_ALL": "C.UTF-8"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ):
        subprocess.run(
            [sys.executable, "-c", code, *paths.values()], env=os.environ | locale, check=True
        )


def test_a_group_file_of_cryosparc_is_named(tiny):
    (tiny.folder / "x.csg").write_text("created: 2024\n")
    with pytest.raises(InputError, match="x.csg: a group of cryoSPARC, which names files"):
        read_particles(tiny.folder / "x.csg")


def test_a_box_is_cropped_in_fourier_space(tiny):
    whole, cropped = read_particles(tiny.star), read_particles(tiny.star, box=20)
    assert cropped.grid.box_size == 20 and cropped.grid.extent == whole.grid.extent
    torch.testing.assert_close(cropped.read().mean((1, 2)), whole.read().mean((1, 2)))
    with pytest.raises(InputError, match="cannot be cropped to 40"):
        read_particles(tiny.star, box=40)
    with pytest.raises(InputError, match="at least 2"):
        read_particles(tiny.star, box=0)


def test_the_box_of_the_optics_has_to_be_that_of_the_stack(tiny):
    tiny.optics["rlnImageSize"] = [48]
    with pytest.raises(
        FileFormatError, match="box of 48 pixels, but .*stack.mrcs holds images of 32"
    ):
        read_particles(tiny.star)
    tiny.optics.pop("rlnImageSize")
    assert read_particles(tiny.star).grid.box_size == 32


def test_contrast_is_inverted_only_when_asked(tiny):
    plain, inverted = read_particles(tiny.star), read_particles(tiny.star, invert_contrast=True)
    assert (inverted.read() == -plain.read()).all()


def test_odd_boxes_and_headers_that_disagree_are_warned_of(tiny):
    write_stack(tiny.folder / "stack.mrcs", [bead_image((0, 0), 33, 2.0)] * 6)
    tiny.optics["rlnImageSize"] = [33]
    with pytest.warns(UserWarning, match="images of 33 pixels"):
        stack = read_particles(tiny.star)
    assert stack.read().shape == (6, 33, 33) and len(stack.warnings) == 1


def test_the_header_has_another_pixel_size(tiny):
    import mrcfile

    with mrcfile.open(tiny.folder / "stack.mrcs", "r+") as file:
        file.voxel_size = 4.0
    with pytest.warns(UserWarning, match="pixels of 2 A, but the header of stack.mrcs says 4 A"):
        read_particles(tiny.star)


def test_images_of_two_optics_groups_come_on_one_grid(tiny):
    """The bead stands at one place, in A, whatever pixels it was taken with."""
    place, names = (7.0, -5.0), []
    write_stack(tiny.folder / "a.mrcs", [bead_image(place, 32, 2.0)] * 3)
    write_stack(tiny.folder / "b.mrcs", [bead_image(place, 44, 1.7)] * 3)
    names = [f"{i}@{stack}.mrcs" for i in (1, 2, 3) for stack in "ab"]
    tiny.columns |= {"rlnImageName": names, "rlnOpticsGroup": [3, 8] * 3}
    tiny.optics = {name: values * 2 for name, values in tiny.optics.items()}
    tiny.optics |= {
        "rlnOpticsGroup": [3, 8],
        "rlnImagePixelSize": [2.0, 1.7],
        "rlnImageSize": [32, 44],
        "rlnOpticsGroupName": ["first", "second"],
    }
    stack = read_particles(tiny.star)
    assert stack.optics_group.tolist() == [0, 1] * 3 and stack.optics_group_names == (
        "first",
        "second",
    )
    assert stack.grid.box_size == 32 and stack.grid.pixel_size == 2.0
    images = stack.read()
    torch.testing.assert_close(images[1], images[0], atol=1e-3, rtol=0)
    torch.testing.assert_close(stack.read(torch.tensor([3, 0])), images[[3, 0]])
    coarse = read_particles(tiny.star, box=16).read()
    torch.testing.assert_close(coarse[1], coarse[0], atol=1e-3, rtol=0)


def test_a_single_image_file_is_named_without_a_number(tiny):
    write_stack(tiny.folder / "one.mrc", bead_image((0, 0), 32, 2.0))
    tiny.columns = {name: values[:1] for name, values in tiny.columns.items()} | {
        "rlnImageName": ["one.mrc"]
    }
    assert read_particles(tiny.star).read().shape == (1, 32, 32)


def test_tomograms_for_single_images_are_refused(tiny):
    with pytest.raises(InputError, match="one row an image"):
        read_particles(tiny.star, tomograms="tomograms.star")


def test_every_real_file_is_read_or_refused_with_a_reason(shared):
    from atomdrgn.errors import AtomdrgnError

    for path in [*(shared / "data" / "star_zoo").glob("*.star"), *(shared / "data").rglob("*.cs")]:
        # their stacks are not here, or they are no particles
        with pytest.raises(AtomdrgnError, match=path.name):
            read_particles(path)


@pytest.mark.filterwarnings("ignore")
def test_real_sets_are_read(shared):
    folder = shared / "data" / "particles"
    filaments = read_particles(folder / "microtubule_relion31" / "relion31.star")
    assert filaments.read().shape == (5, 256, 256) and filaments.grid.pixel_size == 2.806
    tilts = folder / "tomodrgn_10076_two_states"
    both = read_particles(tilts / "10076_both_32_sim.star", data_folder=tilts)
    assert (len(both), both.n_particles, both.n_tilts) == (1296, 144, 10)
    labels = np.load(tilts / "labels_D-0_E-1.npz")
    assert len(labels[labels.files[0]]) == both.n_particles
