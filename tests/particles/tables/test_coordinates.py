"""Coordinates of particles in tomograms: which pixels they are in, and pixel sizes that contradict
each other.
"""

import warnings

import numpy as np
import pytest
import torch

from atomdrgn.errors import FileFormatError, InputError
from atomdrgn.io.star import read_star
from atomdrgn.particles.tomogram_positions import read_places
from tilt_set import tilted  # noqa: F401 - a fixture


def without_name(tilted, name="TS_01"):  # noqa: F811
    """The same set under a name that is not WarpTools'."""
    tilted.particles["rlnTomoName"], tilted.tomogram["rlnTomoName"] = [name] * 3, [name]


def unmoved(tilted):  # noqa: F811
    """Projection matrices as WarpTools writes them: nothing moves the tomogram's corner to the
    image's.
    """
    for axis in "XY":
        name = f"rlnTomoProj{axis}"
        tilted.tilts[name] = [text.rsplit(",", 1)[0] + ",0]" for text in tilted.tilts[name]]


def in_pixels_of(tilted, pixel_size):  # noqa: F811
    """The coordinates, in pixels of 10 A in the fixture, in pixels of another size."""
    for axis in "XYZ":
        name = f"rlnCoordinate{axis}"
        tilted.particles[name] = (np.array(tilted.particles[name]) * 10 / pixel_size).tolist()


@pytest.fixture
def silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_warptools_is_known_by_its_dummy_where_tomograms_were_renamed(tilted):  # noqa: F811
    warp = tilted.read()
    tilted.tomogram["rlnTomoTiltSeriesName"] = ["warp/dummy_tiltseries.mrc"]
    without_name(tilted)
    with pytest.warns(
        UserWarning,
        match="taken as pixels of 10 A and not of 1.5 A .tomogram TS_01., for .* WarpTools' dummy",
    ):
        renamed = tilted.read()
    assert (renamed.ctf.defocus_u == warp.ctf.defocus_u).all()
    with pytest.warns(UserWarning, match="taken as pixels of 10 A"):
        places = read_places(read_star(tilted.star), tomograms=tilted.tomograms)
    np.testing.assert_allclose(
        places.position, [[3000, 3300, 900], [3200, 3000, 600], [2000, 3100, 900]]
    )


def test_matrices_that_move_nothing_are_warptools_where_that_fits(tilted):  # noqa: F811
    warp = tilted.read()
    without_name(tilted)
    unmoved(tilted)
    with pytest.warns(
        UserWarning,
        match="taken as pixels of 10 A and not of 1.5 A .*the projection matrices do not move",
    ):
        assert (tilted.read().ctf.defocus_u == warp.ctf.defocus_u).all()


def test_what_stands_inside_the_tomogram_decides(tilted, silent):  # noqa: F811
    """The same matrices, but coordinates that only fit in pixels of the tilt series."""
    warp = tilted.read()
    without_name(tilted)
    unmoved(tilted)
    in_pixels_of(tilted, 1.5)
    torch.testing.assert_close(tilted.read().ctf.defocus_u, warp.ctf.defocus_u)


def test_names_of_warptools_over_coordinates_of_relion_are_found_out(tilted):  # noqa: F811
    warp = tilted.read()
    in_pixels_of(tilted, 1.5)
    with pytest.warns(
        UserWarning,
        match="taken as pixels of 1.5 A and not of 10 A .*most particles would stand outside",
    ):
        torch.testing.assert_close(tilted.read().ctf.defocus_u, warp.ctf.defocus_u)


def test_tomograms_of_relion_are_in_pixels_of_the_tilt_series(tilted, silent):  # noqa: F811
    """Whether they would fit in larger pixels or not: RELION's matrices and tables are known."""
    without_name(tilted)
    defocus = tilted.read().ctf.defocus_u.reshape(3, 4)[:, 1]
    # hand -1; 1,800 A thick
    np.testing.assert_allclose(defocus - 30100, 900 - np.array([90, 120, 90]) * 1.5, atol=0.01)


def test_a_virtual_tomogram_of_warptools(tilted, silent):  # noqa: F811
    """Newer versions write the pixels of the images as those of the tilt series: both units are
    one.
    """
    warp = tilted.read()
    tilted.tomogram |= {
        "rlnTomoTiltSeriesPixelSize": [10.0],
        **{
            f"rlnTomoSize{axis}": [tilted.tomogram[f"rlnTomoSize{axis}"][0] * 0.15]
            for axis in "XYZ"
        },
    }
    tilted.optics |= {"rlnTomoTiltSeriesPixelSize": [10.0], "rlnTomoSubtomogramBinning": [1.0]}
    torch.testing.assert_close(tilted.read().ctf.defocus_u, warp.ctf.defocus_u)
    without_name(tilted)
    torch.testing.assert_close(tilted.read().ctf.defocus_u, warp.ctf.defocus_u)


def test_pixel_sizes_are_held_against_the_binning(tilted):  # noqa: F811
    whole = tilted.read()
    tilted.optics["rlnTomoSubtomogramBinning"] = [10 / 1.5]
    assert not tilted.read().warnings
    tilted.optics["rlnTomoTiltSeriesPixelSize"] = [10.0]
    with pytest.warns(
        UserWarning,
        match="is 10 A in data_optics and 1.5 A in tomograms.star .*the second is followed",
    ):
        assert (tilted.read().ctf.defocus_u == whole.ctf.defocus_u).all()
    tilted.tomogram["rlnTomoTiltSeriesPixelSize"] = [10.0]
    with pytest.raises(
        InputError,
        match="rlnTomoTiltSeriesPixelSize 10 A in tomograms.star, but an rlnImagePixelSize of 10 A "
        "and rlnTomoSubtomogramBinning 6.6667 make it 1.5 A",
    ):
        tilted.read()
    with pytest.raises(InputError, match="make it 1.5 A"):
        read_places(read_star(tilted.star), tomograms=tilted.tomograms)
    tilted.tomogram["rlnTomoTiltSeriesPixelSize"] = [1.53]
    with pytest.warns(
        UserWarning,
        match="1.53 A in tomograms.star, .* make it 1.5 A; the size of the tomogram may be wrong",
    ):
        tilted.read()


def test_a_wrong_pixel_size_of_a_tomogram_leaves_centred_coordinates(tilted):  # noqa: F811
    for axis in "XYZ":
        tilted.particles[f"rlnCenteredCoordinate{axis}Angst"] = [10, 20, 30]
    whole = tilted.read()
    tilted.optics["rlnTomoSubtomogramBinning"] = [10 / 1.5]
    tilted.tomogram["rlnTomoTiltSeriesPixelSize"] = [10.0]
    with pytest.warns(UserWarning, match="the size of the tomogram may be wrong"):
        assert (tilted.read().ctf.defocus_u == whole.ctf.defocus_u).all()


@pytest.mark.parametrize("name", ["rlnCoordinateZ", "rlnOriginXAngst"])
def test_what_is_not_finite_is_named(tilted, name):  # noqa: F811
    tilted.particles |= {"rlnOriginXAngst": [0.0] * 3}
    tilted.particles[name][1] = "nan"
    for read in (
        tilted.read,
        lambda: read_places(read_star(tilted.star), tomograms=tilted.tomograms),
    ):
        with pytest.raises(FileFormatError, match=f"{name} of row 2 is not finite"):
            read()


def test_a_missing_coordinate_is_named(tilted):  # noqa: F811
    del tilted.particles["rlnCoordinateZ"]
    with pytest.raises(FileFormatError, match="no column rlnCoordinateZ"):
        tilted.read()
