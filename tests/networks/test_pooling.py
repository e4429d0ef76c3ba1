"""Pools over the images of a particle: what is missing does not count, order does not where it must
not.
"""

import pytest
import torch

from atomdrgn.errors import InputError
from atomdrgn.networks.particle_encoder import INTERMEDIATE, ParticleEncoder
from atomdrgn.networks.pooling import POOLINGS, make_pooling


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(name):
    pooling = make_pooling(name, 6, 4, torch.Generator().manual_seed(1))
    if name == "attention":
        pooling.query.data = drawn(6, seed=2)
    return pooling


@pytest.mark.parametrize("name", POOLINGS)
def test_images_that_are_missing_do_not_count(name):
    pooling, there = made(name), torch.tensor([[True, True, False, False], [True] * 4])
    one, other = drawn(2, 4, 6), drawn(2, 4, 6)
    other[there] = one[there]
    torch.testing.assert_close(pooling(one, there), pooling(other, there))
    assert pooling(one, there).shape == (2, pooling.n_out)


@pytest.mark.parametrize("name", ["mean", "max", "attention"])
def test_the_order_of_images_does_not_matter(name):
    pooling, there, image = made(name), torch.tensor([[True, True, True, False]]), drawn(1, 4, 6)
    order = torch.tensor([2, 3, 0, 1])
    torch.testing.assert_close(pooling(image[:, order], there[:, order]), pooling(image, there))


@pytest.mark.parametrize("name", ["mean", "max", "attention"])
def test_the_pool_of_one_image_is_the_image(name):
    image = drawn(3, 1, 6)
    torch.testing.assert_close(made(name)(image, torch.ones(3, 1, dtype=torch.bool)), image[:, 0])


def test_concatenation_keeps_places():
    image = drawn(2, 4, 6)
    pooled = made("concatenate")(image, torch.ones(2, 4, dtype=torch.bool))
    torch.testing.assert_close(pooled.unflatten(1, (4, 6)), image)


def test_attention_starts_as_the_mean():
    image, there = drawn(2, 4, 6), torch.tensor([[True] * 4, [True, False, True, False]])
    start = make_pooling("attention", 6, 4, torch.Generator().manual_seed(1))
    torch.testing.assert_close(start(image, there), made("mean")(image, there))


def test_a_pool_that_is_none_is_refused():
    with pytest.raises(InputError, match="concatenate, mean, max, attention"):
        make_pooling("median", 6, 4, torch.Generator())


@pytest.mark.parametrize("name", POOLINGS)
def test_an_encoder_reads_what_is_there_and_starts_narrow(name):
    generator = torch.Generator().manual_seed(0)
    encoder = ParticleEncoder(10, 3, make_pooling(name, INTERMEDIATE, 4, generator), generator)
    there = torch.tensor([[True, True, False, False], [True] * 4])
    one, other = drawn(2, 4, 10), drawn(2, 4, 10, seed=5)
    other[there] = one[there]
    mean, log_sd = encoder(one, there)
    assert mean.shape == log_sd.shape == (2, 3)
    torch.testing.assert_close(encoder(other, there)[0], mean)
    assert (log_sd.exp() < 0.3).all() and (mean[0] - mean[1]).abs().max() > 1e-3
