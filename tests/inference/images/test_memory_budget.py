import pytest

from atomdrgn.errors import InputError
from atomdrgn.inference.images.memory_budget import BASE, GB, machine_memory, share_memory


def test_the_parts_stay_within_the_limit():
    plan = share_memory(3.0, particles=100_000, images=100_000, n_latent=72)
    assert 0 < plan.equations < plan.images and plan.images + plan.equations + BASE < 3.0 * GB


def test_half_of_the_machine_is_shared_by_its_processes():
    one, two = (
        share_memory(None, particles=10, images=10, n_latent=12, processes=n) for n in (1, 2)
    )
    assert one.images + one.equations < 0.5 * machine_memory()
    assert two.images < 0.5 * one.images


def test_too_little_is_refused_with_what_is_needed():
    with pytest.raises(InputError, match=r"at least 1\.\d GB are needed; raise --memory"):
        share_memory(0.5, particles=100_000, images=100_000, n_latent=72)


def test_what_is_said_to_be_needed_is_enough():
    with pytest.raises(InputError, match=r"1\.2 GB of memory .* at least 1\.3 GB are needed"):
        share_memory(1.2, particles=300, images=300, n_latent=48)
    assert share_memory(1.3, particles=300, images=300, n_latent=48).images > 0


def test_one_structure_for_all_has_no_segments_to_take_fewer_of():
    with pytest.raises(InputError, match="--memory$"):
        share_memory(0.5, particles=100, images=100, n_latent=0)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_memory_is_a_positive_number(limit):
    with pytest.raises(InputError, match=f"{limit:g} GB of memory: expected a positive number"):
        share_memory(limit, particles=10, images=10, n_latent=12)
