import dataclasses

import numpy as np
import pytest
import torch

from atomdrgn.errors import FileFormatError
from atomdrgn.particles.reading import read_particles
from atomdrgn.particles.tables.assembly import number_by_first_row, order_by_dose
from tiny_particles import bead_image, write_stack


def test_a_subset_carries_everything_along(tiny):
    stack = read_particles(tiny.star)
    part = stack[torch.tensor([4, 1])]
    assert len(part) == 2 and part.particle.tolist() == [4, 1] and part.row.tolist() == [4, 1]
    assert (part.pose.rotation == stack.pose.rotation[[4, 1]]).all() and (
        part.ctf.defocus_u == stack.ctf.defocus_u[[4, 1]]
    ).all()
    assert (part.read() == stack.read()[[4, 1]]).all()
    assert (part[1].read() == stack.read(slice(1, 2))).all() and len(stack[-1]) == 1
    assert stack[stack.half == 1].particle.tolist() == [0, 2, 4]
    assert len(stack[[]]) == 0 and stack[[]].read().shape == (0, 32, 32) and stack[[]].n_tilts == 0


def test_images_of_particles(tiny):
    stack = read_particles(tiny.star)
    assert stack.of_particles([5, 2]).particle.tolist() == [2, 5]
    assert stack.of_particles(torch.tensor([0])).n_particles == 1


def test_it_is_frozen_and_moves_as_a_whole(tiny):
    stack = read_particles(tiny.star)
    with pytest.raises(dataclasses.FrozenInstanceError):
        stack.half = None
    moved = stack.to("cpu")
    assert moved.grid == stack.grid and (moved.read([2]) == stack.read([2])).all()


@pytest.mark.parametrize(
    "pixel, fault",
    [
        (np.nan, "not finite"),
        (np.inf, "not finite"),
        (None, "is constant, so it is empty"),
        (3e38, "values from 0 to 3e.38: expected less"),
    ],
)
def test_an_empty_or_broken_image_is_named_when_it_is_read(tiny, pixel, fault):
    images = np.stack([bead_image((0, 0), 32, 2.0)] * 6)
    images[3] = 1.5
    if pixel is not None:
        images[3, 2:] = 0
        images[3, 5, 5] = pixel
    write_stack(tiny.folder / "stack.mrcs", images[::-1])
    tiny.columns["rlnImageName"] = [f"{i}@stack.mrcs" for i in range(6, 0, -1)]
    stack = read_particles(tiny.star)
    assert stack.read([0, 1, 2]).shape == (3, 32, 32)
    with pytest.raises(
        FileFormatError, match=f"particles.star row 4: image 3 of .*stack.mrcs.*{fault}"
    ):
        stack.read()


def test_images_that_hardly_differ_from_nothing_are_named(tiny):
    write_stack(
        tiny.folder / "stack.mrcs", np.stack([bead_image((0, 0), 32, 2.0)] * 6) * np.float32(1e-20)
    )
    with pytest.raises(
        FileFormatError,
        match="row 1: image 1 of .* holds values from .* to 1e-20: .*differ by more than 1e-15",
    ):
        read_particles(tiny.star).read()


def test_numbers_follow_first_rows():
    assert number_by_first_row(["x", "a", "x", "m", "a"]).tolist() == [0, 1, 0, 2, 1]


def test_order_by_dose_within_each_particle():
    assert order_by_dose(
        np.array([0, 1, 0, 1, 0]), np.array([5.0, 1.0, 5.0, 0.0, 2.0])
    ).tolist() == [1, 1, 2, 0, 0]
