"""How poses follow their particles along the motions."""

import torch

from atomdrgn.inference.posterior.poses_along_motions import (
    PosesAt,
    poses_along,
    poses_that_stay,
)


def test_poses_that_follow_a_line_are_found_on_it():
    """Two motions, seven images, places that hardly any weight is on."""
    generator = torch.Generator().manual_seed(0)
    value, slope = torch.randn(7, 5, generator=generator), torch.randn(7, 5, 2, generator=generator)
    place = 3 * torch.randn(20, 7, 2, generator=generator)
    mode = value + (slope @ place[..., None])[..., 0]
    log_weight = 5 * torch.randn(20, 7, generator=generator)
    found = poses_along(place, mode, log_weight)
    torch.testing.assert_close(found.slope, slope, atol=0.05, rtol=0.05)
    elsewhere = torch.randn(7, 2, generator=generator)
    expected = value + (slope @ elsewhere[..., None])[..., 0]
    torch.testing.assert_close(found.at(elsewhere), expected, atol=0.2, rtol=0.05)


def test_one_place_alone_says_nothing_of_how_poses_follow():
    place, mode = torch.ones(6, 3, 1), torch.full((6, 3, 5), 2.0)
    found = poses_along(place, mode, torch.zeros(6, 3))
    assert found.at(torch.full((3, 1), 9.0)).sub(2.0).abs().max() < 1e-3
    assert poses_that_stay(mode[0], 1).stays and found.slope.isfinite().all()


def test_images_are_looked_up_by_their_particles():
    along = poses_along(
        torch.tensor([-1.0, 0.0, 1.0])[:, None, None].expand(3, 4, 1),
        torch.tensor([-1.0, 0.0, 1.0])[:, None, None].expand(3, 4, 5),
        torch.zeros(3, 4),
    )
    at = PosesAt(along, torch.tensor([0, 0, 1, 1]), torch.tensor([[0.0], [1.0]]))
    torch.testing.assert_close(
        at[torch.tensor([1, 2])][:, 0], torch.tensor([0.0, 1.0]), atol=0.05, rtol=0
    )


def test_further_motions_are_not_followed():
    along = poses_that_stay(torch.ones(2, 5), 1).with_motions(2)
    assert torch.equal(along.at(torch.randn(2, 3)), torch.ones(2, 5))
