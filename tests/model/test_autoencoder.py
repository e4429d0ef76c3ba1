import torch

from atomdrgn.model.autoencoder import about
from atomdrgn.physics.rotations import quaternion_from_vector
from atomdrgn.structure.motion import RigidMotion


def test_motions_about_origin_and_centroids_are_the_same():
    generator = torch.Generator().manual_seed(0)
    point, centroid = torch.randn(7, 3, generator=generator), 10 * torch.randn(2, 3, generator=generator)
    weight = torch.rand(7, 1, generator=generator)
    weight = torch.cat([weight, 1 - weight], 1)
    vector, shift = torch.randn(2, 4, 2, 3, generator=generator)
    motion = RigidMotion(quaternion_from_vector(vector), shift)
    told = about(motion, centroid).apply(point, centroid, weight=weight)
    torch.testing.assert_close(told, motion.apply(point, torch.zeros(2, 3), weight=weight), atol=1e-4, rtol=0)
