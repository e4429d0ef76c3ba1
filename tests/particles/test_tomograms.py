import numpy as np

from atomdrgn.io.star import read_star
from atomdrgn.particles.tomograms import projection_rotations, read_tomograms


def test_real_angles_of_relion_5_show_the_tilt(shared):
    """RELION's own scale is the cosine of the tilt, which is how far the camera's z leans from the tomogram's."""
    (tilts,) = read_star(shared / "data" / "star_zoo" / "relion5_TS_01_tilt.star")
    rotation = projection_rotations(tilts)
    np.testing.assert_allclose(rotation[:, 2, 2], tilts.numbers("rlnCtfScalefactor"), atol=1e-5)
    np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), np.broadcast_to(np.eye(3), rotation.shape), atol=1e-12)


def test_real_matrices_of_warptools(shared):
    path = shared / "data" / "star_zoo" / "warp2_matching_tomograms.star"
    tomograms = read_tomograms(path, ["TS_1.tomostar", "TS_17.tomostar"])
    assert list(tomograms) == ["TS_1.tomostar", "TS_17.tomostar"]
    tomogram = tomograms["TS_17.tomostar"]
    assert tomogram.hand == -1 and tomogram.pixel_size == 0.7894
    np.testing.assert_allclose(tomogram.size, np.array([4400, 6000, 1000]) * 0.7894)
    kept = tomogram.ctf["scale"] > 0
    np.testing.assert_allclose(tomogram.projection[kept, 2, 2], tomogram.ctf["scale"][kept], atol=1e-3)
    assert tomogram.ctf["dose"].min() == 0
