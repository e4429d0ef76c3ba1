import torch

from atomdrgn import read_structure
from atomdrgn.networks.autoencoder import N_LATENT, MotionAutoencoder, OffsetAutoencoder, about
from atomdrgn.physics.rotations import quaternion_from_vector
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.motion.motion import RigidMotion
from atomdrgn.structure.segmentation import make_segments
from molecules import helix, write_pdb


def test_motions_about_origin_and_centroids_are_the_same():
    generator = torch.Generator().manual_seed(0)
    point, centroid = (
        torch.randn(7, 3, generator=generator),
        10 * torch.randn(2, 3, generator=generator),
    )
    weight = torch.rand(7, 1, generator=generator)
    weight = torch.cat([weight, 1 - weight], 1)
    vector, shift = torch.randn(2, 4, 2, 3, generator=generator)
    motion = RigidMotion(quaternion_from_vector(vector), shift)
    told = about(motion, centroid).apply(point, centroid, weight=weight)
    torch.testing.assert_close(
        told, motion.apply(point, torch.zeros(2, 3), weight=weight), atol=1e-4, rtol=0
    )


def test_every_autoencoder_starts_at_the_base_and_learns_all_that_it_has(tmp_path):
    beads = coarse_grain(read_structure(write_pdb(tmp_path / "model.pdb", helix("A", 12))))
    given = {"n_pixels": 16, "generator": torch.Generator().manual_seed(0)}
    fixed = torch.arange(len(beads)) < 4
    latent = torch.randn(3, N_LATENT, generator=given["generator"])
    for model in (
        MotionAutoencoder(beads, make_segments(beads, 2), named=0, **given),
        OffsetAutoencoder(beads, fixed, **given),
    ):
        position = model.positions(latent, model.draw(given["generator"]))
        torch.testing.assert_close(position, beads.position.expand(3, -1, -1))
        groups = model.parameter_groups(1e-3)
        assert {id(p) for group in groups for p in group["params"]} == {
            id(p) for p in model.parameters()
        }
        optimizer = torch.optim.Adam(groups)
        (position - beads.position - 1).square().sum().backward()
        optimizer.step()
        moved = model.positions(latent, model.mean()) - beads.position
        assert moved[:, 4:].abs().amax((0, 2)).min() > 0 and model.kl() >= 0
    assert not moved[:, fixed].any() and float(model.kl()) == 0
