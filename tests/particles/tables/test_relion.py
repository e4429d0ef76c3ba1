import warnings

import numpy as np
import pytest
import torch

from atomdrgn.errors import FileFormatError, InputError, UnmodelledWarning
from atomdrgn.io.star import read_star
from atomdrgn.particles.reading import read_particles
from atomdrgn.particles.subsets import open_particle_file
from atomdrgn.particles.tables.optics import read_optics
from atomdrgn.particles.tables.relion import particle_table, read_rotation, read_shift
from tiny_particles import BEAD, write_stack


def centroid(images, pixel_size):
    """Centre of brightness from pixel box // 2, x and y, A."""
    box = images.shape[-1]
    x = (torch.arange(box) - box // 2) * pixel_size
    total = images.sum((-2, -1))
    return (
        torch.stack([(images.sum(-2) * x).sum(-1), (images.sum(-1) * x).sum(-1)], -1)
        / total[:, None]
    )


def test_the_pose_puts_the_bead_where_the_image_shows_it(tiny):
    stack = read_particles(tiny.star)
    expected = stack.pose.apply(torch.tensor(BEAD, dtype=torch.float32)[None].expand(6, 1, 3))[
        :, 0, :2
    ]
    torch.testing.assert_close(centroid(stack.read(), 2.0), expected, atol=0.02, rtol=0)


def test_relion_30_and_31_say_the_same(tiny):
    new = read_particles(tiny.star)
    tiny.columns["rlnOriginX"] = tiny.origin[:, 0] / 2
    tiny.columns["rlnOriginY"] = tiny.origin[:, 1] / 2
    for name in ("rlnOriginXAngst", "rlnOriginYAngst", "rlnOpticsGroup"):
        tiny.columns.pop(name)
    tiny.columns |= {
        "rlnVoltage": [300] * 6,
        "rlnSphericalAberration": [2.7] * 6,
        "rlnAmplitudeContrast": [0.1] * 6,
        "rlnMagnification": [25000] * 6,
        "rlnDetectorPixelSize": [5] * 6,
    }
    tiny.optics = {}
    old = read_particles(tiny.star)
    assert old.grid == new.grid and old.format == "RELION 3.0"
    torch.testing.assert_close(old.pose.shift, new.pose.shift)
    torch.testing.assert_close(old.ctf.evaluate(old.grid), new.ctf.evaluate(new.grid))


def test_what_is_missing_and_means_nothing(tiny):
    for name in ("rlnOriginXAngst", "rlnOriginYAngst"):
        tiny.columns.pop(name)
    stack = read_particles(tiny.star)
    assert not stack.pose.shift.any() and not stack.ctf.phase_shift.any()
    assert (
        (stack.ctf.scale == 1).all() and not stack.ctf.b_factor.any() and not stack.ctf.dose.any()
    )


def test_units_of_the_ctf(tiny):
    tiny.columns |= {
        "rlnPhaseShift": [90] * 6,
        "rlnCtfBfactor": [80] * 6,
        "rlnCtfScalefactor": [0.9] * 6,
    }
    ctf = read_particles(tiny.star).ctf
    assert (
        ctf.defocus_u[1] == 15100
        and ctf.defocus_v[1] == 14000
        and ctf.spherical_aberration_mm[1] == 2.7
    )
    np.testing.assert_allclose(
        [ctf.defocus_angle[0], ctf.phase_shift[0]], [np.pi / 6, np.pi / 2], rtol=1e-6
    )
    assert ctf.b_factor[0] == 80 and ctf.scale[0] == 0.9


@pytest.mark.parametrize(
    "absent, message",
    [
        (["rlnAngleTilt"], "no rlnAngleTilt: the particles have no 3D orientation"),
        (["rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"], "no CTF columns"),
        (["rlnDefocusV"], "no rlnDefocusV, which the other CTF columns need"),
    ],
)
def test_missing_columns_are_refused(tiny, absent, message):
    for name in absent:
        tiny.columns.pop(name)
    with pytest.raises(InputError, match=message):
        read_particles(tiny.star)


@pytest.mark.parametrize(
    "absent, message",
    [
        ("rlnAmplitudeContrast", "no rlnAmplitudeContrast: the CTF needs it"),
        ("rlnImagePixelSize", "no pixel size"),
    ],
)
def test_missing_optics_are_refused(tiny, absent, message):
    tiny.optics.pop(absent)
    with pytest.raises(InputError, match=message):
        read_particles(tiny.star)


def test_images_without_a_ctf_are_accepted_when_asked(tiny):
    for name in ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"):
        tiny.columns.pop(name)
    stack = read_particles(tiny.star, allow_missing_ctf=True)
    torch.testing.assert_close(stack.ctf.evaluate(stack.grid), torch.ones(6, 32, 17))


def test_a_defocus_of_zero_names_its_rows(tiny):
    for name in ("rlnDefocusU", "rlnDefocusV"):
        tiny.columns[name][2] = tiny.columns[name][4] = 0
    with pytest.raises(InputError, match="defocus of rows 3 and 5 is 0"):
        read_particles(tiny.star)


def test_a_pose_that_is_no_number_names_its_row(tiny):
    tiny.columns["rlnAnglePsi"][3] = "nan"
    with pytest.raises(
        FileFormatError,
        match="row 4 of rlnAnglePsi in data_particles is nan, expected -3600 to 3600 degrees",
    ):
        read_particles(tiny.star)


def test_a_stack_without_a_number_is_refused_where_it_holds_several_images(tiny):
    """Otherwise every row would show its first image."""
    tiny.columns["rlnImageName"] = [*tiny.columns["rlnImageName"][:2], *["stack.mrcs"] * 4]
    with pytest.raises(
        FileFormatError,
        match="row 3 of rlnImageName is 'stack.mrcs', which holds 6 images .*NUMBER@STACK",
    ):
        read_particles(tiny.star)
    for number, image in enumerate(
        np.random.default_rng(0).normal(size=(6, 1, 32, 32)).astype(np.float32)
    ):
        write_stack(tiny.folder / f"{number}.mrc", image)
    tiny.columns["rlnImageName"] = [f"{number}.mrc" for number in range(6)]
    assert len(read_particles(tiny.star)) == 6


def test_pixel_sizes_of_one_table_that_differ_are_said(tiny):
    """RELION 3.0 knows detector and magnification alone; another program's pixel size beside them
    may be before binning.
    """
    tiny.optics = {}
    tiny.columns.pop("rlnOpticsGroup")
    tiny.columns |= {
        "rlnVoltage": [300] * 6,
        "rlnSphericalAberration": [2.7] * 6,
        "rlnAmplitudeContrast": [0.1] * 6,
        "rlnMagnification": [10000] * 6,
        "rlnDetectorPixelSize": [2.0] * 6,
        "rlnPixelSize": [2.001] * 6,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_particles(tiny.star)
    tiny.columns["rlnPixelSize"][3] = 1.0
    tiny.columns["rlnImageName"][3] = "000001@other.mrcs"
    write_stack(tiny.folder / "other.mrcs", np.zeros((1, 32, 32), np.float32))
    with pytest.warns(
        UserWarning,
        match="row 4 of data_particles has pixels of 1 A by rlnPixelSize and of 2 A by rlnDetector",
    ):
        read_particles(tiny.star)


def test_volumes_and_flipped_images_are_refused(tiny):
    tiny.optics["rlnImageDimensionality"] = [3]
    with pytest.raises(InputError, match="subtomogram volumes, and 2D images are needed"):
        read_particles(tiny.star)
    tiny.optics["rlnImageDimensionality"] = [2]
    tiny.optics["rlnCtfDataArePhaseFlipped"] = [1]
    with pytest.raises(InputError, match="phase-flipped"):
        read_particles(tiny.star)


def test_aberrations_are_named_in_one_warning(tiny):
    tiny.optics |= {
        "rlnBeamTiltX": [0.1],
        "rlnBeamTiltY": [0],
        "rlnOddZernike": ["[0,0,0]"],
        "rlnEvenZernike": ["[0,0.2,0]"],
        "rlnMagMat00": [1.01],
        "rlnMagMat01": [0],
        "rlnMagMat10": [0],
        "rlnMagMat11": [1],
    }
    with pytest.warns(UnmodelledWarning) as found:
        stack = read_particles(tiny.star)
    assert len(found) == 1
    assert "left out: rlnBeamTiltX, rlnEvenZernike, rlnMagMat00;" in str(found[0].message)
    assert stack.warnings == (str(found[0].message),)


def test_a_group_that_is_not_listed_and_a_name_without_number(tiny):
    tiny.columns["rlnOpticsGroup"][3] = 7
    with pytest.raises(
        FileFormatError, match="row 4 is of optics group 7, but data_optics lists 1"
    ):
        read_particles(tiny.star)
    tiny.columns["rlnOpticsGroup"][3] = 1
    tiny.columns["rlnImageName"][0] = "one@stack.mrcs"
    with pytest.raises(FileFormatError, match="row 1 of rlnImageName is 'one@stack.mrcs'"):
        read_particles(tiny.star)


@pytest.mark.parametrize("name", ["000000@stack.mrcs", "0@stack.mrcs"])
def test_images_count_from_one(tiny, name):
    tiny.columns["rlnImageName"][1] = name
    with pytest.raises(
        FileFormatError,
        match=f"row 2 names image 0 .rlnImageName is '{name}'.; images count from 1",
    ):
        read_particles(tiny.star)


@pytest.mark.parametrize(
    "number", ["1" * 24, "9" * 5000, "-1", "1.5", "\N{ARABIC-INDIC DIGIT ONE}", ""]
)
def test_numbers_that_no_image_has(tiny, number):
    tiny.columns["rlnImageName"][2] = f"{number}@stack.mrcs"
    with pytest.raises(
        FileFormatError, match=f"row 3 of rlnImageName is '{number[:20]}.*expected NUMBER@STACK"
    ):
        read_particles(tiny.star)


@pytest.mark.parametrize("value", [0, 1, 2, 7])
def test_one_half_set_is_no_split(tiny, value):
    tiny.columns["rlnRandomSubset"] = [value] * 6
    with pytest.warns(
        UserWarning, match="particles.star: rlnRandomSubset has one value for all particles"
    ) as found:
        stack = read_particles(tiny.star)
    assert stack.half.tolist() == [1, 2] * 3 and len(found) == 1
    assert (
        open_particle_file(tiny.star).stated_half is None
        and open_particle_file(tiny.star).half.tolist() == [1, 2] * 3
    )


def test_halves_by_turns_keep_copies_together(tiny):
    tiny.columns |= {
        "rlnRandomSubset": [1] * 6,
        "rlnImageName": [f"{i}@stack.mrcs" for i in (1, 1, 2, 2, 3, 3)],
    }
    with pytest.warns(UserWarning, match="one value for all particles"):
        assert read_particles(tiny.star).half.tolist() == [1, 1, 2, 2, 1, 1]


def test_copies_are_known_under_other_names_of_their_stack(tiny):
    """As in lists that were joined, one with paths from another folder."""
    (tiny.folder / "link.mrcs").symlink_to(tiny.folder / "stack.mrcs")
    names = [
        "1@stack.mrcs",
        "1@./stack.mrcs",
        "2@stack.mrcs",
        f"2@{tiny.folder}/stack.mrcs",
        "3@link.mrcs",
        "3@stack.mrcs",
    ]
    tiny.columns["rlnImageName"] = names
    stack = read_particles(tiny.star)
    assert stack.half.tolist() == [1, 1, 2, 2, 1, 1] and len(stack.images.headers) == 1
    assert (stack.read()[::2] == stack.read()[1::2]).all()


@pytest.mark.parametrize(
    "halves, says",
    [
        ([1, 2, 1, 2, 0, 1], "row 5 is of half-set 0 .rlnRandomSubset., expected 1 or 2"),
        (
            [0, 1, 0, 1, 1, 0],
            "row 1 is of half-set 0 .*if 0 and 1 are meant as half-sets, write 1 and 2",
        ),
        ([1, 2, 3, 1, 2, 1], "row 3 is of half-set 3"),
        ([1, 2, "nan", 1, 2, 1], "row 3 of rlnRandomSubset is nan, expected 1 or 2"),
        ([1, 2, 1.5, 1, 2, 1], "row 3 of rlnRandomSubset is 1.5"),
        ([1, 2, 1, "1e30", 2, 1], "row 4 of rlnRandomSubset is 1e30"),
    ],
)
def test_half_sets_that_are_none_are_refused(tiny, halves, says):
    tiny.columns["rlnRandomSubset"] = halves
    with pytest.raises(FileFormatError, match=f"particles.star: {says}"):
        read_particles(tiny.star)


def test_tables_that_stand_twice_are_refused(tiny):
    path = tiny.star
    text = path.read_text()
    path.write_text(text + text[text.index("data_particles") :])
    with pytest.raises(
        FileFormatError,
        match="2 tables list images: data_particles with 6 rows .line 20. and data_particles",
    ):
        read_particles(path)
    path.write_text(text[: text.index("data_particles")] + text)
    with pytest.raises(FileFormatError, match="data_optics stands 2 times"):
        read_particles(path)


def test_an_optics_group_that_stands_twice_is_refused_where_it_differs(tiny):
    tiny.optics = {name: values * 2 for name, values in tiny.optics.items()}
    assert len(read_particles(tiny.star)) == 6
    tiny.optics["rlnVoltage"] = [300.0, 200.0]
    with pytest.raises(
        FileFormatError, match="rows 1 and 2 of data_optics are both optics group 1 and differ"
    ):
        read_particles(tiny.star)


def test_pixels_of_two_sizes_in_a_group_are_refused(tiny):
    tiny.optics.pop("rlnImagePixelSize")
    tiny.columns["rlnPixelSize"] = [2.0] * 6
    assert read_particles(tiny.star).grid.pixel_size == 2
    tiny.columns["rlnPixelSize"][3] = 2.1
    with pytest.raises(
        FileFormatError,
        match="row 4 has pixels of 2.1 A, and other rows of its optics group of 2 A",
    ):
        read_particles(tiny.star)


def test_a_file_without_particles(tiny):
    tiny.columns = {name: [] for name in tiny.columns}
    with pytest.raises(InputError, match="no particles"):
        read_particles(tiny.star)
    tiny.columns.pop("rlnImageName")
    with pytest.raises(FileFormatError, match="no table with rlnImageName"):
        read_particles(tiny.star)
    tiny.columns = {"cisTEMPositionInStack": [1, 2]}
    with pytest.raises(
        FileFormatError,
        match="no table with rlnImageName.*columns of cisTEM; export them to RELION",
    ):
        read_particles(tiny.star)


def test_a_real_file_reads_as_another_program_reads_it(shared):
    zoo = shared / "data" / "star_zoo"
    particles = particle_table(read_star(zoo / "FinalRefinement-OriginalParticles-PfCRT.star"))
    optics = read_optics(particles, None)
    theirs = np.load(zoo / "pose.star.npz")
    np.testing.assert_allclose(read_rotation(particles), theirs["rotation"], atol=1e-12)
    # theirs are fractions of the box
    shift = read_shift(particles, optics.pixel_size) / (300 * optics.pixel_size[:, None])
    np.testing.assert_allclose(-shift, theirs["shift"], atol=1e-9)
    ctf = np.load(zoo / "ctf1.npz")["ctf"]
    np.testing.assert_allclose(ctf[:, 2], particles.numbers("rlnDefocusU"), rtol=1e-6)
    np.testing.assert_allclose(optics.pixel_size, ctf[:, 1], rtol=1e-6)


def test_six_real_optics_groups(shared):
    tables = read_star(shared / "data" / "star_zoo" / "relion31.6opticsgroups.star")
    optics = read_optics(particle_table(tables), tables[0])
    assert [group.name for group in optics.groups] == [
        f"opticsGroup{i}" for i in (5, 3, 2, 1, 4, 6)
    ]
    assert len(optics.group) == 139 and set(optics.pixel_size) <= {1.24, 1.25}
    assert (optics.values["rlnSphericalAberration"] == np.where(optics.group == 3, 2.6, 2.7)).all()


def test_shifts_of_real_projections_centre_them(shared):
    """RELION projected one map shifted and centred: reading both and undoing the shift gives one
    image.
    """
    folder = shared / "data" / "particles" / "relion_project_70S"
    shifted, centred = (
        read_particles(folder / f"rln_proj_64_{name}.star", allow_missing_ctf=True)
        for name in ("shifted", "centered")
    )
    kx, ky = shifted.grid.frequencies()
    phase = torch.exp(
        2j
        * np.pi
        * (kx * shifted.pose.shift[:, 0, None, None] + ky * shifted.pose.shift[:, 1, None, None])
    )
    moved = torch.fft.irfft2(torch.fft.rfft2(shifted.read()) * phase, s=(64, 64))
    inner = (slice(None), slice(16, 48), slice(16, 48))  # the shift cut off the rims
    pairs = torch.stack([moved[inner].flatten(1), centred.read()[inner].flatten(1)], 1)
    assert all(torch.corrcoef(pair)[0, 1] > 0.95 for pair in pairs)
