import torch

from atomdrgn.networks.encoder_decoder import ImageEncoder, MotionDecoder, OffsetDecoder, perceptron


def normal(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_decoder_starts_without_motion_and_learns_one():
    decoder = MotionDecoder(3, torch.tensor([0, 2]), 4, normal())
    latent = torch.randn(5, 3, generator=normal())
    motion = decoder(latent)
    assert (
        torch.equal(motion.rotation, torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(5, 4, 4))
        and not motion.translation.any()
    )
    optimizer = torch.optim.Adam(decoder.parameters(), lr=0.01)
    wanted = torch.tensor([3.0, 0.0, 0.0])
    for _ in range(3):
        loss = (decoder(latent).translation[:, 0] - wanted).square().sum() + decoder(
            latent
        ).rotation[:, 2, 1].sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    motion = decoder(latent)
    assert (motion.translation[:, 0, 0] > 0).all() and (motion.rotation[:, 2, 1] < 0).all()
    assert not motion.translation[:, [1, 3]].any() and torch.equal(
        motion.rotation[:, [1, 3], 0], torch.ones(5, 2)
    )
    torch.testing.assert_close(motion.rotation.norm(dim=-1), torch.ones(5, 4))


def test_offsets_start_at_none_are_linear_in_the_features_and_leave_fixed_beads_alone():
    decoder = OffsetDecoder(3, torch.tensor([0, 2, 3]), 4, normal(), hidden=[8, 8])
    latent = torch.randn(5, 3, generator=normal())
    assert decoder(latent).shape == (5, 4, 3) and not decoder(latent).any()
    with torch.no_grad():
        decoder.layers[-1].weight.normal_(generator=normal())
        decoder.layers[-1].bias.fill_(0.5)
        offset, (mode, shift) = decoder(latent), decoder.linear()
        torch.testing.assert_close(
            offset, shift + torch.einsum("nf,fbi->nbi", decoder.features(latent), mode)
        )
    assert offset[:, [0, 2, 3]].abs().min() > 0 and not offset[:, 1].any()


def test_the_encoder_tells_mean_and_error_of_each_image():
    encoder = ImageEncoder(16, 3, normal(), hidden=[8])
    pixels = torch.randn(5, 16, generator=normal(1))
    mean, log_sd = encoder(pixels)
    assert mean.shape == log_sd.shape == (5, 3)
    torch.testing.assert_close(encoder(pixels[2:3])[0], mean[2:3])


def test_weights_come_from_the_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, other, third = (perceptron([4, 5, 2], normal(seed)) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one[0].weight, other[0].weight) and not torch.equal(
        one[0].weight, third[0].weight
    )
    assert len(one) == 3


def test_residual_layers_add_to_what_passes():
    layers = perceptron([4, 6, 6, 2], normal(), residual=True)
    plain = perceptron([4, 6, 6, 2], normal())
    x = torch.randn(5, 4, generator=normal(1))
    hidden = plain[:2](x)
    # the same generator draws the same weights
    expected = plain[4](torch.relu(hidden + plain[2](hidden)))
    torch.testing.assert_close(layers(x), expected)


def test_layers_keep_the_size_of_what_passes():
    wide = perceptron([400, 400, 400, 400], normal())
    passed = wide(torch.randn(50, 400, generator=normal(1)))
    assert 0.7 < passed.std() < 1.4
