"""The frame of conformations whose poses are not known."""

import math

import pytest
import torch

from atomdrgn.inference.fit_assembly import assemble
from atomdrgn.inference.fit_options import FitOptions
from atomdrgn.inference.population.pose_corrections import corrected
from atomdrgn.inference.posterior.gauge import (
    mean_correction,
    moved_as_a_whole,
    without_whole_motion,
)
from atomdrgn.likelihood.image_model import ImageModel
from atomdrgn.likelihood.normal_equations import predict
from atomdrgn.physics.pose import Pose
from atomdrgn.physics.rotations import uniform_rotations, vector_from_matrix
from atomdrgn.structure.motion.surface import Surface

pytestmark = pytest.mark.seconds
TWIST = torch.tensor(
    [
        [0.5, -1.0, 0.7, 0.02, 0.0, -0.03],
        [0.3, 0.2, -0.4, 0.03, -0.05, 0.01],
        [0.0, 0.1, 0.0, -0.01, 0.0, 0.02],
    ]
)


def features(place):
    return torch.stack([torch.ones_like(place), place, place.square()], 1)


def test_what_all_views_have_in_common_is_found():
    """Shifts and turns of the molecule that go with its place, seen from everywhere, and noise."""
    generator = torch.Generator().manual_seed(0)
    pose = Pose(uniform_rotations(800).float(), torch.zeros(800, 2))
    feature = features(torch.rand(800, generator=generator) * 2 - 1)
    moved, turned = (pose.rotation @ each[..., None] for each in (feature @ TWIST).split([3, 3], 1))
    correction = torch.cat([moved[:, :2, 0], turned[..., 0]], 1)
    noise = torch.tensor([0.5, 0.5, 0.02, 0.02, 0.02]) * torch.randn(800, 5, generator=generator)
    # images that know nothing of their poses count for nothing
    weight = (torch.arange(800) % 4 > 0).float()
    lost = correction + 1e3 * (weight == 0)[:, None]
    found = mean_correction(feature, lost, pose, weight=weight) - TWIST
    assert (found.abs() < 0.1 * TWIST.abs().amax(1, keepdim=True) + 0.01).all()
    found = mean_correction(feature, correction + noise, pose, weight=torch.ones(800)) - TWIST
    assert found[:, :3].abs().max() < 0.15 and found[:, 3:].abs().max() < 0.006


def test_moved_molecules_at_poses_without_it_make_the_same_images(hinged):
    """Predictions before and after, at places that are far apart."""
    structure, particles, _ = hinged
    model = assemble(structure, particles, FitOptions(segments=2, resolution=14.0))
    deformation, place = model.deformation, torch.linspace(-1, 1, 150)[:, None]
    generator = torch.Generator().manual_seed(1)
    coefficient = torch.randn(3, deformation.n_latent, generator=generator)
    surface = Surface(torch.ones(1), coefficient * torch.tensor([1.0, 4.0, 0.5])[:, None])
    correction = torch.tensor([1.0, 1.0] + [math.radians(2)] * 3) * torch.randn(
        150, 5, generator=generator
    )
    feature = surface.features(place)
    moved = moved_as_a_whole(surface, deformation, TWIST, place)
    left = without_whole_motion(correction, feature @ TWIST, particles.pose)
    some = torch.arange(0, 150, 10)
    images = [
        predict(
            deformation,
            ImageModel(model.beads),
            each(place)[some],
            pose=corrected(particles.pose[some], poses[some]),
            disc=model.images.disc,
        )
        for each, poses in ((surface, correction), (moved, left), (moved, correction))
    ]
    apart = (images[1] - images[0]).square().sum((1, 2)).sqrt()
    untouched = (images[2] - images[0]).square().sum((1, 2)).sqrt()
    assert (apart < 0.12 * untouched).all() and apart.mean() < 0.05 * untouched.mean()


def test_the_gauge_leaves_no_mean_correction():
    pose = Pose(uniform_rotations(2000).float(), torch.zeros(2000, 2))
    place = torch.rand(2000, generator=torch.Generator().manual_seed(2)) * 2 - 1
    feature, known = features(place), torch.ones(2000)
    turned = (pose.rotation @ (feature @ TWIST)[:, 3:, None])[..., 0]
    correction = torch.cat([torch.zeros(2000, 2), turned], 1)
    twist = mean_correction(feature, correction, pose, weight=known)
    left = without_whole_motion(correction, feature @ twist, pose)
    again = mean_correction(feature, left, pose, weight=known)
    assert again.abs().max() < 0.1 * twist.abs().max()
    both = corrected(pose, correction), corrected(pose, left)
    turn = vector_from_matrix(both[0].rotation @ both[1].rotation.mT)
    torch.testing.assert_close(turn, turned, atol=5e-3, rtol=0.05)
    few = slice(0, 8)
    of_few = mean_correction(feature[few], 9 * correction[few], pose[few], weight=known[few])
    assert of_few[1:].abs().max() < 1
