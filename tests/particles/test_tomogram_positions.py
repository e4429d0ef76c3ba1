"""Particles stand in their tomogram where the coordinates say, turned as the tilt images show them."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from atomdrgn.errors import InputError
from atomdrgn.io.star import read_star
from atomdrgn.particles.tomogram_positions import read_places
from tilt_set import MIRROR, SIZE, TILTS, tilted  # noqa: F401 - a fixture

ATOMS = np.random.default_rng(2).normal(size=(5, 3)) * 20


def places_of(tilted, **options):  # noqa: F811
    return read_places(read_star(tilted.star), tomograms=tilted.tomograms, **options)


@pytest.mark.parametrize(
    "angles, ends",
    [
        ((0, 0, 0), (1, 0, 0)),
        ((90, 0, 0), (0, -1, 0)),  # x_camera = Rz(-psi) Ry(-tilt) Rz(-rot) x
        ((0, 90, 0), (0, 0, -1)),  # Ry(-90) takes x to z, and z is counted from the other face
        ((0, 0, 90), (0, -1, 0)),
    ],
)
def test_a_known_rotation_turns_the_molecule_as_it_says(tilted, angles, ends):  # noqa: F811
    for name, angle in zip(("Rot", "Tilt", "Psi"), angles, strict=True):
        tilted.particles[f"rlnAngle{name}"] = [angle] * 3
    places = places_of(tilted)
    np.testing.assert_allclose(places.rotation @ [1.0, 0, 0], [ends] * 3, atol=1e-6)
    # coordinates are in pixels of 10 A from the corner, the section is 1,800 A thick
    np.testing.assert_allclose(
        places.position, [[3000, 3300, 900], [3200, 3000, 600], [2000, 3100, 900]]
    )
    np.testing.assert_allclose(places.size, np.array(SIZE) * 1.5)
    assert places.tomogram == "ts.tomostar" and places.row.tolist() == [0, 1, 2]


def test_placed_atoms_project_to_where_the_poses_have_them(tilted):  # noqa: F811
    """Seen along each tilt, a placed molecule is what the pose of that image shows, at the
    particle's coordinate.
    """
    tilted.particles |= {
        "rlnTomoSubtomogramRot": [30, 0, -50],
        "rlnTomoSubtomogramTilt": [70, 10, 20],
        "rlnTomoSubtomogramPsi": [-20, 0, 60],
        "rlnOriginXAngst": [4.0, -3, 0],
        "rlnOriginYAngst": [-2.0, 0, 5],
        "rlnOriginZAngst": [7.0, 1, -6],
    }
    places, stack = places_of(tilted), tilted.read()
    np.testing.assert_allclose(np.linalg.det(places.rotation), 1)  # no mirror image
    corner = np.stack(
        [np.array(tilted.particles[f"rlnCoordinate{axis}"]) * 10.0 for axis in "XYZ"], 1
    )
    coordinate = (corner - places.size / 2) @ MIRROR
    projection = (
        MIRROR
        @ Rotation.from_euler("yz", [[tilt, 85] for tilt in TILTS], degrees=True).as_matrix()
        @ MIRROR
    )
    for image in range(len(stack)):
        particle, tilt = stack.particle[image].item(), image % 4
        placed = ATOMS @ places.rotation[particle].T + places.position[particle] - places.size / 2
        camera = ATOMS @ stack.pose.rotation[image].numpy().astype(float).T
        seen = (placed - coordinate[particle]) @ projection[tilt].T
        np.testing.assert_allclose(
            seen[:, :2], camera[:, :2] + stack.pose.shift[image].numpy(), atol=1e-4
        )


def test_the_three_units_of_coordinates_mean_one_place(tilted):  # noqa: F811
    warp = places_of(tilted)
    corner = {axis: np.array(tilted.particles.pop(f"rlnCoordinate{axis}")) * 10.0 for axis in "XYZ"}
    tilted.particles["rlnTomoName"], tilted.tomogram["rlnTomoName"] = ["ts"] * 3, ["ts"]
    tilted.particles |= {f"rlnCoordinate{axis}": corner[axis] / 1.5 for axis in "XYZ"}
    relion_4 = places_of(tilted)
    for axis, size in zip("XYZ", SIZE, strict=True):
        tilted.particles.pop(f"rlnCoordinate{axis}")
        tilted.particles[f"rlnCenteredCoordinate{axis}Angst"] = corner[axis] - size * 1.5 / 2
    for other in (relion_4, places_of(tilted)):
        np.testing.assert_allclose(other.position, warp.position)
        np.testing.assert_array_equal(other.rotation, warp.rotation)


def test_images_are_not_needed_and_tomograms_are_told_apart(tilted):  # noqa: F811
    whole = places_of(tilted)
    for image in tilted.folder.glob("*.mrcs"):
        image.unlink()
    tilted.particles["rlnTomoName"] = ["ts.tomostar", "other.tomostar", "ts.tomostar"]
    places = places_of(tilted, tomogram="ts.tomostar")
    assert places.row.tolist() == [0, 2]
    np.testing.assert_array_equal(places.position, whole.position[[0, 2]])
    with pytest.raises(
        InputError, match=r"of 2 tomograms: name one .*\(ts.tomostar, other.tomostar\)"
    ):
        places_of(tilted)
    with pytest.raises(
        InputError,
        match="no particles of a tomogram third; there are those of ts.tomostar, other.tomostar",
    ):
        places_of(tilted, tomogram="third")


def test_what_has_no_place_is_refused(tilted):  # noqa: F811
    for axis in "XYZ":
        tilted.particles.pop(f"rlnCoordinate{axis}")
    with pytest.raises(InputError, match="no rlnCenteredCoordinateXAngst and no rlnCoordinateX"):
        places_of(tilted)
    tilted.particles["rlnImageName"] = [f"{i}@p.mrcs" for i in (1, 2, 3)]
    with pytest.raises(InputError, match="rows are images, which do not say where"):
        places_of(tilted)
