from dataclasses import replace

import pytest
import torch

from atomdrgn.errors import InputError
from atomdrgn.inference.images.faults_before_fit import find_faults, read_images
from atomdrgn.inference.images.fourier_images import FourierImages
from atomdrgn.reporting import Reporter
from atomdrgn.structure.beads import coarse_grain
from hinge import make_hinged, with_pixels


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Beads of the base model, and particles with little noise."""
    structure, particles, _ = make_hinged(
        tmp_path_factory.mktemp("small"), count=40, snr=1.0, largest=5.0
    )
    return coarse_grain(structure), particles


def inverted(stack):
    return replace(stack, images=replace(stack.images, sign=-stack.images.sign))


def test_images_and_poses_that_agree_with_the_model_have_no_faults(small):
    beads, particles = small
    assert find_faults(particles, beads) == ()


def test_inverted_contrast_is_refused_as_inspect_names_it(small):
    beads, particles = small
    with pytest.raises(
        InputError, match="particles.star: the contrast is inverted .*pass --keep-contrast"
    ):
        find_faults(inverted(particles), beads)


def test_a_mirrored_model_is_named(small):
    beads, particles = small
    mirrored = replace(beads, position=beads.position * torch.tensor([1.0, 1.0, -1.0]))
    (warning,) = find_faults(particles, mirrored)
    assert warning.startswith("particles.star: the hand is mirrored")


def test_of_noise_nothing_is_said(small, tmp_path):
    beads, particles = small

    def drown(pixels):
        pixels[:] = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(3)).numpy()

    assert find_faults(with_pixels(particles, tmp_path / "noise", drown), beads) == ()


def test_molecules_that_no_image_can_show_are_refused(small):
    beads, particles = small
    images = FourierImages(
        replace(particles, pose=replace(particles.pose, shift=particles.pose.shift + 300.0)), 15.0
    )
    with pytest.raises(InputError, match="shifts put every molecule outside of its image"):
        read_images(images, beads, reporter=Reporter())
