from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from atomdrgn.backprojection.noise_spectra import measure_noise
from atomdrgn.backprojection.slice_sum import empty_sum, padded_grid
from atomdrgn.backprojection.weighted_images import Target, add_images, batches_of, weighted
from atomdrgn.physics.dose import dose_weight
from atomdrgn.physics.fourier import inverse_transform, transform


def test_weights_are_ctf_squared_over_the_noise(still):
    some = still[1][torch.arange(3)]
    noise = torch.full((3, 64, 33), 4.0)
    value, weight = weighted(some, noise)
    ctf = some.ctf.evaluate(padded_grid(some.grid))
    assert_close(weight, ctf**2 / 4)
    plain, _ = weighted(some, torch.ones(3, 64, 33))
    assert_close(value, plain / 4)


def test_dose_and_tilt_lower_the_weight(still):
    some = still[1][torch.arange(4)]
    dosed = replace(
        some, ctf=replace(some.ctf, dose=torch.full((4,), 60.0), scale=torch.full((4,), 0.5))
    )
    noise = torch.ones(4, 64, 33)
    kx, ky = padded_grid(some.grid).frequencies()
    expected = 0.25 * dose_weight(torch.tensor(60.0), torch.hypot(kx, ky)) ** 2
    assert_close(
        weighted(dosed, noise)[1], weighted(some, noise)[1] * expected, rtol=1e-4, atol=1e-7
    )


def test_a_premultiplied_image_says_the_same(still):
    """The image times its CTF is what a plain image is multiplied by: nothing is left to do but the
    envelope.
    """
    some = still[1][torch.arange(4)]
    some = replace(some, ctf=replace(some.ctf, scale=torch.full((4,), 0.7)))
    fine = padded_grid(some.grid)
    noise = torch.ones(4, 64, 33)
    plain, weight = weighted(some, noise)
    premultiplied = replace(some, premultiplied=torch.ones(4, dtype=torch.bool))
    # the same pixels, as if they had been multiplied
    without, same = weighted(premultiplied, noise)
    assert_close(weight, same)
    oscillation = some.ctf.oscillation(*fine.frequencies())
    # real images only: what is its own mirror keeps its real part
    assert_close(
        inverse_transform(without * oscillation, 64),
        inverse_transform(plain, 64),
        atol=1e-4,
        rtol=1e-4,
    )


def test_images_go_to_every_target_that_wants_them(still):
    stack = still[1][torch.arange(40)]
    spectrum = torch.ones(1, 17)
    strength = (torch.arange(40) % 3 == 0).float()
    one, all_of_them, only = (empty_sum(stack.grid) for _ in range(3))
    add_images(
        stack,
        [Target(one, strength, stack.pose), Target(all_of_them, torch.ones(40), stack.pose)],
        spectrum=spectrum,
    )
    add_images(
        stack[strength > 0],
        [Target(only, torch.ones(14), stack[strength > 0].pose)],
        spectrum=spectrum,
    )
    assert abs(one.sums - only.sums).max() < 1e-3 * abs(only.sums).max()
    assert all_of_them.shell_weight()[3] > 2 * one.shell_weight()[3]


def test_batches_are_all_images_in_order(still):
    assert torch.cat(list(batches_of(still[1], torch.arange(600)))).tolist() == list(range(600))


def test_noise_is_measured_without_the_signal(still):
    """The signal of these images has half the power of the noise, nearly all of it below 1/20 A."""
    stack = still[1]
    image = stack.read()
    found = measure_noise(stack)
    assert found.shape == (1, 17)
    # what the corner of the images shows, where there is no molecule
    expected = float(image[:, :5, :5].var())
    assert found[0, 3:16].mean() == pytest.approx(expected, rel=0.1)
    total = (transform(image) / 32).abs() ** 2
    assert found[0, 1:6].mean() < 0.8 * total[:, 1:4, 1:4].mean()


def test_each_group_has_its_noise(still):
    stack = still[1]
    groups = torch.arange(600) % 2
    # the second group's images are three times as loud as their noise says: signal and all
    louder = replace(
        stack,
        optics_group=groups,
        optics_group_names=("a", "b"),
        optics_group_grids=stack.optics_group_grids * 2,
        images=replace(stack.images, sign=stack.images.sign * (1 + 2 * groups)),
        ctf=replace(stack.ctf, scale=1 + 2.0 * groups),
    )
    found = measure_noise(louder)
    assert found.shape == (2, 17)
    assert_close(found[1, 2:], 9 * found[0, 2:], rtol=0.25, atol=0)
