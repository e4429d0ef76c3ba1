import warnings

import numpy as np
import pytest

from atomdrgn.errors import FileFormatError, InputError
from atomdrgn.io.star import read_star
from atomdrgn.particles.tables.tomograms import (
    lists_of_numbers,
    projection_rotations,
    read_tomograms,
)
from atomdrgn.particles.tomogram_positions import read_places
from tilt_set import matrix_columns, tilted  # noqa: F401 - a fixture
from tiny_particles import star_text


def matrices(tilted):  # noqa: F811
    return np.stack(
        [
            [
                [float(n) for n in text.strip("[]").split(",")[:3]]
                for text in tilted.tilts[f"rlnTomoProj{axis}"]
            ]
            for axis in "XYZ"
        ],
        1,
    )


def readers(tilted):  # noqa: F811
    """What a fit and what `place` read of it: both have to refuse the same."""
    return tilted.read, lambda: read_places(read_star(tilted.star), tomograms=tilted.tomograms)


def test_real_angles_of_relion_5_show_the_tilt(shared):
    """RELION's own scale is the cosine of the tilt, which is how far the camera's z leans from the
    tomogram's.
    """
    (tilts,) = read_star(shared / "data" / "star_zoo" / "relion5_TS_01_tilt.star")
    rotation = projection_rotations(tilts)
    np.testing.assert_allclose(rotation[:, 2, 2], tilts.numbers("rlnCtfScalefactor"), atol=1e-5)
    np.testing.assert_allclose(
        rotation @ rotation.transpose(0, 2, 1),
        np.broadcast_to(np.eye(3), rotation.shape),
        atol=1e-12,
    )


def test_real_matrices_of_warptools(shared):
    path = shared / "data" / "star_zoo" / "warp2_matching_tomograms.star"
    tomograms = read_tomograms(path, ["TS_1.tomostar", "TS_17.tomostar"])
    assert list(tomograms) == ["TS_1.tomostar", "TS_17.tomostar"]
    tomogram = tomograms["TS_17.tomostar"]
    assert tomogram.hand == -1 and tomogram.pixel_size == 0.7894
    np.testing.assert_allclose(tomogram.size, np.array([4400, 6000, 1000]) * 0.7894)
    kept = tomogram.ctf["scale"] > 0
    np.testing.assert_allclose(
        tomogram.projection[kept, 2, 2], tomogram.ctf["scale"][kept], atol=1e-3
    )
    assert tomogram.ctf["dose"].min() == 0


@pytest.mark.parametrize(
    "mirror", [np.diag([1.0, 1, -1]), np.array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]])]
)
@pytest.mark.parametrize("tilts", [[0, 1, 2, 3], [2]])
def test_projections_that_mirror_are_refused(tilted, mirror, tilts):  # noqa: F811
    """As an import writes them that swaps y and z and does not turn z over; be it in one tilt
    alone.
    """
    wrong = matrices(tilted)
    wrong[tilts] = wrong[tilts] @ mirror
    tilted.tilts |= matrix_columns(wrong)
    for read in readers(tilted):
        with pytest.raises(
            InputError,
            match=f"ts.tomostar: the projection matrices .* of {len(tilts)} of 4 tilts mirror "
            r"\(determinant -1\), .*--flipYZ and --flipZ",
        ):
            read()


def test_an_excluded_tilt_need_not_be_sound(tilted):  # noqa: F811
    """WarpTools' excluded tilts are left out whatever stands there."""
    kept = tilted.read().pose.rotation.reshape(3, 4, 3, 3)[:, 1:]
    wrong = matrices(tilted)
    wrong[0] = 0
    tilted.tilts |= matrix_columns(wrong)
    tilted.tilts["rlnCtfScalefactor"][0] = 0
    tilted.tilts["rlnMicrographPreExposure"][0] = -1
    tilted.tilts["rlnDefocusU"][0] = tilted.tilts["rlnDefocusV"][0] = 0
    for value in ("0.0", "nan"):
        tilted.tilts["rlnTomoProjX"][0] = f"[{value},0,0,5]"
        with pytest.warns(UserWarning, match="3 of 12 tilt images"):
            assert (tilted.read().pose.rotation.reshape(3, 3, 3, 3) == kept).all()


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda m: m * [1, 1, 0],
            r"1 of 4 tilts \(rows 2\) have matrices .* far from rotations: their axes are 1 and 1 "
            r"and .* long",
        ),
        (
            lambda m: m * 2,
            r"1 of 4 tilts \(rows 2\) have matrices .* far from rotations: their axes are 2 and 2 "
            r"and 2 long",
        ),
        (lambda m: m * np.nan, r"1 of 4 tilts \(rows 2\) have no number in rlnTomoProjX"),
        (lambda m: m * [1.1, 1, 1], None),
        (lambda m: m * 1.005, ""),
    ],
)
def test_matrices_far_from_rotations_are_refused_and_stretched_ones_said(tilted, change, message):  # noqa: F811
    wrong = matrices(tilted)
    wrong[1] = change(wrong[1])
    tilted.tilts |= matrix_columns(wrong)
    if message:
        with pytest.raises(FileFormatError, match=message):
            tilted.read()
    elif message is None:
        with pytest.warns(UserWarning, match="stretch or shorten by up to 10.0 %"):
            tilted.read()
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tilted.read()


def test_angles_that_are_no_numbers_are_named(tilted):  # noqa: F811
    for axis in "XYZ":
        tilted.tilts.pop(f"rlnTomoProj{axis}")
    tilted.tilts |= {
        "rlnTomoXTilt": [0.0] * 4,
        "rlnTomoYTilt": [-40.0, 0, "nan", 40],
        "rlnTomoZRot": [85.0] * 4,
    }
    with pytest.raises(
        FileFormatError, match=r"1 of 4 tilts \(rows 3\) have no number in rlnTomoXTilt"
    ):
        tilted.read()


@pytest.mark.parametrize(
    "doses, listed",
    [
        ([9, 0, -3, 6], "rows 3.*PreExposure -3"),
        ([-40, -37, -34, -31], "rows 1, 2, 3, 4"),
        ([9, "nan", 3, 6], "rows 2"),
    ],
)
def test_negative_doses_are_refused(tilted, doses, listed):  # noqa: F811
    tilted.tilts["rlnMicrographPreExposure"] = doses
    with pytest.raises(
        FileFormatError,
        match=rf"ts.tomostar: . of 4 tilts \({listed}.*no dose before a tilt is negative",
    ):
        tilted.read()


def test_tilts_without_a_defocus_are_refused(tilted):  # noqa: F811
    tilted.tilts["rlnDefocusU"][2] = tilted.tilts["rlnDefocusV"][2] = 0
    with pytest.raises(FileFormatError, match=r"1 of 4 tilts \(rows 3\) have a defocus of 0"):
        tilted.read()


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("rlnTomoHand", 0, "rlnTomoHand 0, expected 1 or -1"),
        ("rlnTomoHand", "nan", "rlnTomoHand nan"),
        ("rlnTomoSizeZ", 0, "rlnTomoSizeX, Y and Z 4000, 4400, 0"),
        ("rlnTomoTiltSeriesPixelSize", -1.5, "PixelSize -1.5"),
    ],
)
def test_numbers_of_a_tomogram_that_cannot_be_are_named(tilted, name, value, message):  # noqa: F811
    tilted.tomogram[name] = [value]
    for read in readers(tilted):
        with pytest.raises(FileFormatError, match=f"tomogram ts.tomostar has .*{message}"):
            read()
    del tilted.tomogram[name]
    with pytest.raises(InputError, match=f"no {name} in data_global"):
        tilted.read()


def test_a_tomogram_listed_twice_is_refused(tilted):  # noqa: F811
    """In the overview, or as a block of tilts; what no particle is of may stand there as it likes."""
    path = tilted.tomograms
    overview, tilts = star_text("global", tilted.tomogram), star_text("ts.tomostar", tilted.tilts)
    two = {name: values * 2 for name, values in tilted.tomogram.items()}
    for text, what in (
        (star_text("global", two) + tilts, "2 rows of data_global"),
        (overview + tilts * 2, "2 blocks of tilts"),
    ):
        path.write_text(text)
        with pytest.raises(
            FileFormatError, match=f"tomogram ts.tomostar has {what}, and these may differ"
        ):
            read_tomograms(path, ["ts.tomostar"])
    other = {**two, "rlnTomoName": ["other", "other"]}
    joined = {name: tilted.tomogram[name] + other[name] for name in other}
    path.write_text(star_text("global", joined) + tilts)
    assert list(read_tomograms(path, ["ts.tomostar"])) == ["ts.tomostar"]


def test_tilts_in_a_file_are_found_by_their_block(tilted):  # noqa: F811
    whole = tilted.read()
    tilted.tomogram["rlnTomoTiltSeriesStarFile"] = ["ts.star"]
    path, file = tilted.folder / "tomograms.star", tilted.folder / "ts.star"
    path.write_text(star_text("global", tilted.tomogram))
    another = {**tilted.tilts, "rlnDefocusU": [1.0] * 4}
    file.write_text(star_text("another", another) + star_text("ts.tomostar", tilted.tilts))
    found = read_tomograms(path, ["ts.tomostar"])["ts.tomostar"]
    assert found.ctf["defocus_u"].tolist() == tilted.tilts["rlnDefocusU"] and len(whole) == 12
    file.write_text(star_text("another", another) + star_text("third", another))
    with pytest.raises(
        FileFormatError, match="no block data_ts.tomostar .it has data_another, data_third"
    ):
        read_tomograms(path, ["ts.tomostar"])


def test_lists_may_have_blanks(tilted):  # noqa: F811
    tilted.particles["rlnTomoVisibleFrames"] = ['"[ 1, 0,1, 1 ]"'] * 3
    (table,) = [table for table in read_star(tilted.star) if table.block == "particles"]
    assert lists_of_numbers(table, "rlnTomoVisibleFrames")[0].tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize(
    "name, value, message",
    [
        (
            "rlnDefocusU",
            1e6,
            "row 2 of rlnDefocusU in data_ts.tomostar is 1000000.0, expected -300000 to 300000 A",
        ),
        ("rlnCtfScalefactor", -1, "row 2 of rlnCtfScalefactor in data_ts.tomostar is -1"),
        (
            "rlnMicrographPreExposure",
            3000,
            "row 2 of rlnMicrographPreExposure in data_ts.tomostar is 3000",
        ),
    ],
)
def test_tilts_out_of_range_are_named_where_they_stand(tilted, name, value, message):  # noqa: F811
    tilted.tilts[name] = list(tilted.tilts[name])
    tilted.tilts[name][1] = value
    with pytest.raises(FileFormatError, match=f"tomograms.star: {message}"):
        tilted.read()


def test_tilts_with_a_defocus_in_micrometres_are_refused(tilted):  # noqa: F811
    """The depth of a particle is added to it, so that no image shows the unit."""
    tilted.tilts |= {"rlnDefocusU": [3.0, 3.1, 3.2, 3.3], "rlnDefocusV": [2.9] * 4}
    for read in readers(tilted):
        with pytest.raises(
            FileFormatError,
            match="tomograms.star: row 1 of rlnDefocusU and rlnDefocusV in data_ts.tomostar is 3 "
            "and 2.9 .*micrometres",
        ):
            read()


@pytest.mark.parametrize("scale", [np.pi / 180, 0])
def test_tilts_that_hardly_differ_are_said(tilted, scale):  # noqa: F811
    """As angles in radians, or none, make them."""
    angles = np.array([-40.0, 0, 20, 40])
    for name in [name for name in tilted.tilts if name.startswith("rlnTomoProj")]:
        tilted.tilts.pop(name)
    tilted.tilts |= {
        "rlnTomoXTilt": [0] * 4,
        "rlnTomoYTilt": angles * scale,
        "rlnTomoZRot": [85] * 4,
    }
    with pytest.warns(
        UserWarning, match="no two tilts of tomogram ts.tomostar are more than .* degrees apart"
    ):
        tilted.read()
    tilted.tilts["rlnTomoYTilt"] = angles
    assert not [text for text in tilted.read().warnings if "apart" in text]


def test_voltages_that_contradict_each_other_are_said(tilted):  # noqa: F811
    tilted.tomogram["rlnVoltage"] = [200]
    with pytest.warns(
        UserWarning,
        match="rlnVoltage is 300 in the particles' optics and 200 in tomograms.star .tomogram "
        "ts.tom",
    ):
        assert (tilted.read().ctf.voltage_kv == 300).all()
    tilted.optics.pop("rlnVoltage")
    tilted.tomogram["rlnVoltage"] = [3e5]
    with pytest.raises(
        FileFormatError, match="rlnVoltage of the tomogram is 300000 .*may be in volts"
    ):
        tilted.read()


def test_a_list_that_is_none_is_named(tilted):  # noqa: F811
    tilted.particles["rlnTomoVisibleFrames"][1] = "[1,x,1,1]"
    with pytest.raises(
        FileFormatError,
        match=r"row 2 of rlnTomoVisibleFrames in data_particles is '\[1,x,1,1\]', expected",
    ):
        tilted.read()


def test_a_tomogram_without_tilts_is_named(tilted):  # noqa: F811
    tilted.tilts = {name: [] for name in tilted.tilts}
    for read in readers(tilted):
        with pytest.raises(
            FileFormatError,
            match="tomogram ts.tomostar has no tilts: data_ts.tomostar of .* no rows",
        ):
            read()
