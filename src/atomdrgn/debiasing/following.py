"""Maps that follow the motion.

Each segment is reconstructed with the poses that it has itself, and the parts are blended.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..backprojection.backprojection import FLOOR
from ..backprojection.filtering import regularisation
from ..backprojection.slice_sum import SliceSum, bytes_of_sum, empty_sum
from ..backprojection.weighted_images import Target, add_images
from ..devices import PROCESSOR
from ..particles.stack.stack import ParticleStack
from ..physics.correlation import fourier_shell_correlation
from ..physics.grid import ImageGrid
from ..physics.maps.atom_density import density_of_atoms
from ..physics.pose import Pose
from ..physics.rotations import matrix_from_quaternion
from ..reporting import Reporter
from ..structure.motion.motion import RigidMotion

SUMS_BYTES = 10**9  # of the sums that are filled in one pass over the images
BLEND_WIDTH = 6.0  # A: the border between two segments is about as wide
BACKGROUND_DISTANCE = 3.0  # blend widths from a lone residue at which nothing follows it any more


@dataclass(frozen=True, eq=False)
class Parts:
    """Segments of a base model, and the share of each in every voxel of a map.

    Parameters
    ----------
    centroid : (segment, 3)
        A.
    share : (segment + 1, box, box, box)
        Adds up to 1; the last is of what is far from all segments.
    """

    centroid: Float[Tensor, "segment 3"]
    share: Float[Tensor, "part box box box"]

    def __len__(self) -> int:
        return len(self.centroid)


@dataclass(frozen=True, eq=False)
class HalfMaps:
    """Two half-maps, not regularised, and the regularised map of both.

    Parameters
    ----------
    first, second, whole : (box, box, box)
    """

    first: Float[Tensor, "box box box"]
    second: Float[Tensor, "box box box"]
    whole: Float[Tensor, "box box box"]


def make_parts(
    bead: Float[Tensor, "bead 3"],
    weight: Float[Tensor, "bead segment"],
    centroid: Float[Tensor, "segment 3"],
    grid: ImageGrid,
) -> Parts:
    """Shares of the segments by how near their beads are, in the base model.

    Parameters
    ----------
    bead : (bead, 3)
        A.
    weight : (bead, segment)
        Membership.
    centroid : (segment, 3)
        A.
    grid : ImageGrid
        Of the map.
    """
    width = max(BLEND_WIDTH, grid.pixel_size)
    near = torch.stack(
        [
            density_of_atoms(
                bead,
                weight[:, s].contiguous(),
                width,
                box_size=grid.box_size,
                voxel_size=grid.pixel_size,
            )
            for s in range(weight.shape[1])
        ]
    ).clamp_min(0)
    alone = density_of_atoms(
        torch.zeros(1, 3), torch.ones(1), width, box_size=grid.box_size, voxel_size=grid.pixel_size
    ).max()
    nothing = float(alone) * torch.exp(torch.tensor(-0.5 * BACKGROUND_DISTANCE**2))
    share = torch.cat([near, nothing.expand_as(near[:1])])
    return Parts(centroid, share / share.sum(0))


def pose_of_segment(
    pose: Pose, motion: RigidMotion, centroid: Float[Tensor, "3"], segment: int
) -> Pose:
    """Poses that show a segment where the base model has it.

    It is the particle's pose after the segment's motion.

    Parameters
    ----------
    pose : Pose (image,)
        Of the molecule.
    motion : RigidMotion (image, segment)
        Of each image's particle.
    centroid : (3,)
        Of the segment, A.
    segment : int
    """
    turn = matrix_from_quaternion(motion.rotation[:, segment])
    moved = centroid + motion.translation[:, segment] - turn @ centroid
    return Pose(pose.rotation @ turn, pose.shift + (pose.rotation @ moved[..., None])[:, :2, 0])


def follow_motion(
    stack: ParticleStack,
    motion: RigidMotion,
    parts: Parts,
    *,
    spectrum: Float[Tensor, "group shell"],
    strength: Float[Tensor, "image"] | None = None,
    reporter: Reporter | None = None,
    device: torch.device = PROCESSOR,
) -> HalfMaps:
    """Maps in which each segment stands still, blended where segments meet.

    They are static far from all of them.

    Parameters
    ----------
    stack : ParticleStack
    motion : RigidMotion (image, segment)
        Of each image's particle, as its own half-set's fit found it.
    parts : Parts
    spectrum : (group, shell)
        Of the noise.
    strength : (image,), optional
        Weight of each image.
    reporter : Reporter, optional
        Watches.
    device : torch.device
        Where images are transformed and added.
    """
    strength = torch.ones(len(stack)) if strength is None else strength
    poses = [
        pose_of_segment(stack.pose, motion, parts.centroid[s], s) for s in range(len(parts))
    ] + [stack.pose]
    blended = [torch.zeros(parts.share.shape[1:]) for _ in range(3)]
    for number, sums in half_sums(
        stack, poses, spectrum=spectrum, strength=strength, reporter=reporter, device=device
    ):
        for total, density in zip(blended, densities(*sums), strict=True):
            total += parts.share[number] * density
    return HalfMaps(*blended)


def static_maps(
    stack: ParticleStack,
    *,
    spectrum: Float[Tensor, "group shell"],
    strength: Float[Tensor, "image"] | None = None,
    reporter: Reporter | None = None,
    device: torch.device = PROCESSOR,
) -> HalfMaps:
    """Maps of particles that are taken to stand still.

    Parameters are those of :func:`follow_motion`.
    """
    strength = torch.ones(len(stack)) if strength is None else strength
    ((_, sums),) = half_sums(
        stack,
        [stack.pose],
        spectrum=spectrum,
        strength=strength,
        reporter=reporter,
        device=device,
    )
    return HalfMaps(*densities(*sums))


def half_sums(
    stack: ParticleStack,
    poses: list[Pose],
    *,
    spectrum: Tensor,
    strength: Tensor,
    reporter: Reporter | None = None,
    device: torch.device = PROCESSOR,
) -> Iterator[tuple[int, tuple[SliceSum, SliceSum]]]:
    """The sums of both half-sets for each way to see the molecule.

    The images are read in as few passes as memory allows.
    """
    at_once = max(1, SUMS_BYTES // (2 * bytes_of_sum(stack.grid)))
    for some in torch.arange(len(poses)).split(at_once):
        sums = {
            number: (empty_sum(stack.grid, device), empty_sum(stack.grid, device))
            for number in some.tolist()
        }
        add_images(
            stack,
            [
                Target(total, strength * (stack.half == half + 1), poses[number])
                for number, pair in sums.items()
                for half, total in enumerate(pair)
            ],
            spectrum=spectrum,
            reporter=reporter,
        )
        yield from sums.items()


def densities(first: SliceSum, second: SliceSum) -> tuple[Tensor, Tensor, Tensor]:
    """Half-maps as the images have them, and the map of both, regularised by their correlation."""
    one, other = (total.density(FLOOR * total.shell_weight()) for total in (first, second))
    whole = first.plus(second)
    correlation = fourier_shell_correlation(one, other)
    return one, other, whole.density(regularisation(correlation, whole.shell_weight()))
