"""The frame of conformations whose poses are not known: corrections of poses are none on average.

To turn all poses and to turn the molecule back is one and the same.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ...likelihood.normal_equations import POSE_NUMBERS
from ...physics.pose import Pose
from ...physics.rotations import matrix_from_vector, vector_from_matrix
from ...structure.motion.deformation import Deformation
from ...structure.motion.surface import Surface
from ..population.pose_corrections import no_corrections
from ..problem.fit_problem import FitModel, evenly_spread
from ..problem.fit_state import FitState
from ..problem.misfit import poses_at
from ..problem.occupancy import keep_occupancy
from .importance_sampling import WideFit

NODES = 200  # places at which a surface is moved
FEW, SMALL = 30.0, 1e-3  # images that say as little of a slope, or of the mean, as none


def in_gauge(model: FitModel, state: FitState, found: WideFit) -> tuple[WideFit, FitState]:
    """Conformations and poses where the mean correction of poses is none at each place.

    Parameters
    ----------
    model, state
        Of all particles, where nothing is known of the poses.
    found : WideFit
        Where particles are along the motions.

    Returns
    -------
    WideFit
        With conformations that have moved as wholes.
    FitState
        With the poses that go with each particle's mean place, and their errors.
    """
    if state.poses is None:  # they were as the file has them until particles were placed
        poses = no_corrections(len(model.images), model.pose_prior_sd)
        state = replace(state, poses=poses)
    assert state.poses is not None
    place = found.belief.mean
    of_image, along = place[model.particle], found.poses
    start = state.poses.value if along is None else along.at(of_image)
    here = keep_occupancy(model, state, found.surface.at(place))
    poses = poses_at(model, state, model.images.disc, here, start)
    if along is not None:
        root = along.slope @ found.belief.root[model.particle]
        poses = replace(poses, sd=torch.hypot(poses.sd, root.square().sum(-1).sqrt()))
    feature, pose = found.surface.features(of_image), model.images.stack.pose
    counts = ~model.images.left_out
    known = poses.freedom(model.pose_prior_sd) / POSE_NUMBERS
    twist = mean_correction(
        feature[counts], poses.value[counts], pose[counts], weight=known[counts]
    )
    if model.deformation.whole_motion(found.surface.coefficient[0]).shape[1]:
        surface = moved_as_a_whole(found.surface, model.deformation, twist, place)
        found = replace(found, surface=surface)
        poses = replace(poses, value=without_whole_motion(poses.value, feature @ twist, pose))
    return found, replace(state, poses=poses)


def without_whole_motion(
    correction: Float[Tensor, "image 5"], twist: Float[Tensor, "image 6"], pose: Pose
) -> Float[Tensor, "image 5"]:
    """Corrections of the poses of molecules that have moved as wholes: images stay as they are.

    Parameters
    ----------
    correction : (image, 5)
        Of the poses of the molecules where they were.
    twist : (image, 6)
        Shift (A) and turn (rad) about the origin of each, in its own frame.
    pose : Pose (image,)
        Of the file.
    """
    shift, turn = correction.split([2, 3], 1)
    moved, turned = (pose.rotation @ each[..., None] for each in twist.split([3, 3], 1))
    turn_of_pose = matrix_from_vector(turn)
    left = turn_of_pose @ matrix_from_vector(-turned[..., 0])
    return torch.cat([shift - (left @ moved)[:, :2, 0], vector_from_matrix(left)], 1)


def mean_correction(
    feature: Float[Tensor, "image feature"],
    correction: Float[Tensor, "image 5"],
    pose: Pose,
    *,
    weight: Float[Tensor, "image"],
) -> Float[Tensor, "feature 6"]:
    """How the molecule moves as a whole, in its own frame, when poses are as in the file.

    Corrections of poses that all views have in common are a motion of the molecule: three shifts
    (A) and three turns (rad) about its origin, as a function of the features of its place. A
    penalty that a few dozen images overcome keeps what goes with the place at zero in few images.

    Parameters
    ----------
    feature : (image, feature)
        Of the place of each image's particle, the constant one first.
    correction : (image, 5)
        Of its pose.
    pose : Pose (image,)
        Of the file.
    weight : (image,)
        How well each image knows its pose, from 0 to 1.
    """
    root, rotation = weight.double().sqrt()[:, None], pose.rotation.double()
    phi, (shift, turn) = root * feature.double(), (root * correction.double()).split([2, 3], 1)
    power = feature.double().square().mean(0)
    penalty = torch.where(torch.arange(len(power)) > 0, FEW, SMALL) * power
    both = phi.T @ phi + penalty.diag()
    of_turns = phi.T @ (rotation.mT @ turn[..., None])[..., 0]
    seen = rotation[:, :2]  # of a shift two components are seen
    n = both.shape[0]
    matrix = torch.einsum("if,ig,iab->fagb", phi, phi, seen.mT @ seen).reshape(3 * n, 3 * n)
    matrix = matrix + torch.kron(penalty, torch.full((3,), 2 / 3)).diag()
    of_shifts = torch.einsum("if,ia->fa", phi, (seen.mT @ shift[..., None])[..., 0]).reshape(-1)
    found = torch.linalg.solve(matrix, of_shifts)
    return torch.cat([found.reshape(n, 3), torch.linalg.solve(both, of_turns)], 1).float()


def moved_as_a_whole(
    surface: Surface,
    deformation: Deformation,
    twist: Float[Tensor, "feature 6"],
    place: Float[Tensor, "particle k"],
) -> Surface:
    """The surface on which the molecule at each place has moved as a whole.

    Parameters
    ----------
    surface : Surface
        Of conformations.
    deformation : Deformation
        What its latents decode to.
    twist : (feature, 6)
        Shifts (A) and turns (rad) about the origin, of each feature of the place.
    place : (particle, k)
        Where particles are, and the surface is asked for.
    """
    feature = surface.features(place[evenly_spread(len(place), NODES)])
    step = torch.stack(
        [
            deformation.whole_motion(latent) @ each
            for latent, each in zip(feature @ surface.coefficient, feature @ twist, strict=True)
        ]
    )
    more = torch.linalg.lstsq(feature.double(), step.double()).solution.float()
    return replace(surface, coefficient=surface.coefficient + more)
