"""Poses of small sets that are off, or refined on the images against the mean density."""

import math
from dataclasses import replace

import torch

from atomdrgn.inference.fit_assembly import assemble
from atomdrgn.inference.fit_options import FitOptions
from atomdrgn.likelihood.image_model import ImageModel
from atomdrgn.likelihood.noise import Noise
from atomdrgn.likelihood.normal_equations import pose_products
from atomdrgn.physics.pose import Pose
from atomdrgn.physics.rotations import matrix_from_vector


def moved(particles, *, shift, turn, seed=0):
    """The particles with poses that are off by so much about each axis, A and degrees."""
    generator, n = torch.Generator().manual_seed(seed), len(particles)
    turned = matrix_from_vector(math.radians(turn) * torch.randn(n, 3, generator=generator))
    off = shift * torch.randn(n, 2, generator=generator)
    pose = Pose(turned @ particles.pose.rotation, particles.pose.shift + off)
    return replace(particles, pose=pose)


def refined(structure, particles, *, rounds=6):
    """The particles with poses that fit each image best, by steps from poses that are a little off.

    The density that they are fitted to is that of the structure.
    """
    model = assemble(structure, particles, FitOptions(segments=2, resolution=10.0))
    disc, pose, n = model.images.disc, moved(particles, shift=1.0, turn=2.0).pose, len(particles)
    white = Noise(
        torch.ones(1, len(disc)), torch.zeros(n, dtype=torch.long), particles.premultiplied
    )
    transfer, data = white.whiten(
        disc.parts(particles.read()), particles.ctf, torch.arange(n), disc=disc
    )
    latent = torch.zeros(n, model.deformation.n_latent)
    for _ in range(rounds):
        found = pose_products(
            model.deformation,
            ImageModel(model.beads),
            latent,
            pose=pose,
            disc=disc,
            transfer=transfer,
            data=data,
        )
        contrast = (found.prediction_data / found.prediction2)[:, None]
        slope = found.with_data - contrast * found.with_prediction
        flat = found.with_prediction / found.prediction2[:, None].sqrt()
        matrix = found.matrix - flat[:, :, None] * flat[:, None]
        step = torch.linalg.solve(contrast[..., None] * matrix, slope)
        most = torch.tensor([2.0] * 2 + [0.1] * 3)  # A and rad at once
        step = step.clamp(-most, most)
        pose = Pose(matrix_from_vector(step[:, 2:]) @ pose.rotation, pose.shift + step[:, :2])
    return replace(particles, pose=pose)
