"""How the images of a tilt series are tilted, by their poses alone.

It also makes the poses and orders that a faulty import gives.

The specimen's normal, its z axis, is the same direction in the molecule for all images of a
particle, and stands at the tilt angle to the beam. Views of a series lie in a plane, across its
tilt axis, and so does the normal; where in that plane it is the cosines of the tilts tell, which
particle files give as the scale of the images.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...particles.stack.image_files import ImageFiles
from ...physics.pose import Pose

REVERSED, BY_ANGLE = "images in reverse order", "images in order of tilt angle"
# Which side is positive poses do not tell, so that rising and falling are not told either.
BY_FALLING_ANGLE, BY_DOSE = "images in order of tilt angle, backwards", "images in order of dose"

# of views or places, beside the largest: below it they do not tell a direction
SMALLEST_SPREAD = 1e-6
SMALLEST_SHIFT = 1e-3  # the same for the displacement that shifts have in common


def specimen_normal(
    pose: Pose, scale: Float[Tensor, "image"], particle: Int[Tensor, "image"]
) -> Float[Tensor, "image 3"]:
    """Direction of the specimen's z axis in the camera's frame of each image.

    Parameters
    ----------
    pose : Pose (image,)
    scale : (image,)
        Cosine of the tilt; where all are alike, the normal is in the middle of the views.
    particle : (image,)
        Whose image it is, from 0 without a gap.
    """
    view = pose.rotation[:, 2]  # the beam, in the molecule
    spread = _sum_by(particle, view[:, :, None] * view[:, None, :])
    values, directions = torch.linalg.eigh(spread)
    told = values > SMALLEST_SPREAD * values[:, -1:]
    # across the plane of the views nothing is told
    told[:, 0] = False
    mean = _sum_by(particle, view * scale[:, None])
    along = (directions.mT @ mean[:, :, None])[..., 0]
    normal = (directions @ torch.where(told, along / values, 0.0)[:, :, None])[..., 0]
    normal = torch.nn.functional.normalize(normal, dim=1)
    return (pose.rotation @ normal[particle][:, :, None])[..., 0]


def tilt_angles(normal: Float[Tensor, "image 3"]) -> Float[Tensor, "image"]:
    """Tilt of each image, degrees.

    Which side is positive is not known from poses: that to which the normal leans along the larger
    of the camera's x and y.

    Parameters
    ----------
    normal : (image, 3)
        Of :func:`specimen_normal`.
    """
    aside = normal[:, :2]
    across = torch.linalg.eigh(aside.mT @ aside).eigenvectors[:, -1]
    across = across * across[across.abs().argmax()].sign()
    return torch.rad2deg(torch.atan2(aside.norm(dim=1) * (aside @ across).sign(), normal[:, 2]))


def with_other_sign(
    rotation: Float[Tensor, "image 3 3"], normal: Float[Tensor, "image 3"]
) -> Float[Tensor, "image 3 3"]:
    """Rotations with every tilt to the other side: tilted back twice.

    With T the rotation from specimen to camera and M = diag(1, 1, -1), M T M is the tilt of the
    other sign, and M T M T^T = M (1 - 2 n n^T) with the normal n = T z. The product of two
    reflections is a rotation by twice the tilt.
    """
    return _reflected_twice(rotation, normal)


def without_tilt(
    rotation: Float[Tensor, "image 3 3"], normal: Float[Tensor, "image 3"]
) -> Float[Tensor, "image 3 3"]:
    """Rotations as if no image were tilted.

    They are tilted back once, by a reflection half way between the normal and the beam.
    """
    half_way = torch.nn.functional.normalize(normal + normal.new_tensor([0.0, 0.0, 1.0]), dim=1)
    return _reflected_twice(rotation, half_way)


def shift_along(
    pose: Pose, rotation: Float[Tensor, "image 3 3"], particle: Int[Tensor, "image"]
) -> Float[Tensor, "image 2"]:
    """Shifts under other rotations, of one displacement that turns with each particle.

    Parameters
    ----------
    pose : Pose (image,)
        As in the file; what is an image's own in its shifts stays.
    rotation : (image, 3, 3)
        The others.
    particle : (image,)
        Whose image it is, from 0 without a gap.
    """
    seen = pose.rotation[:, :2]
    inverse = torch.linalg.pinv(
        _sum_by(particle, seen.mT @ seen), rtol=SMALLEST_SHIFT, hermitian=True
    )
    displacement = inverse @ _sum_by(particle, seen.mT @ pose.shift[:, :, None])
    return pose.shift + ((rotation - pose.rotation)[:, :2] @ displacement[particle])[..., 0]


def other_orders(
    images: ImageFiles,
    particle: Int[Tensor, "image"],
    *,
    angle: Float[Tensor, "image"],
    place: Int[Tensor, "image"],
) -> dict[str, Int[Tensor, "image"]]:
    """Which image belongs to each entry if images and tilts are in different orders.

    Parameters
    ----------
    images : ImageFiles (image,)
        Where the image of each entry lies.
    particle : (image,)
        Whose it is; rising.
    angle, place : (image,)
        Tilt of each entry, and its place by dose.

    Returns
    -------
    dict of (image,)
        Index of an image of the same particle, for each order that is neither that of the file nor
        another's.
    """

    def sorted_by(*keys: Tensor) -> Int[Tensor, "image"]:
        return torch.from_numpy(
            np.lexsort((*(key.numpy() for key in reversed(keys)), particle.numpy()))
        )

    at = torch.arange(len(particle))
    in_file = sorted_by(images.file, images.section)
    entries = {
        REVERSED: sorted_by(-images.file, -images.section),
        BY_ANGLE: sorted_by(angle),
        BY_FALLING_ANGLE: sorted_by(-angle),
        BY_DOSE: sorted_by(place),
    }
    found: dict[str, Tensor] = {}
    for name, entry in entries.items():
        image = torch.empty_like(at).index_put_((entry,), in_file)
        if not any(torch.equal(image, other) for other in (at, *found.values())):
            found[name] = image
    return found


def _reflected_twice(
    rotation: Float[Tensor, "image 3 3"], across: Float[Tensor, "image 3"]
) -> Float[Tensor, "image 3 3"]:
    """Rotations followed by two reflections, across a direction and across the beam."""
    mirror = rotation.new_tensor([1.0, 1.0, -1.0])
    return mirror[:, None] * (rotation - 2 * across[:, :, None] * (across[:, None, :] @ rotation))


def _sum_by(
    particle: Int[Tensor, "image"], values: Float[Tensor, "image *value"]
) -> Float[Tensor, "particle *value"]:
    return values.new_zeros(int(particle.max()) + 1, *values.shape[1:]).index_add_(
        0, particle, values
    )
