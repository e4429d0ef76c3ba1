"""Where arithmetic is done, and the pretended device that tests use in place of a GPU."""

import pytest
import torch

from atomdrgn.devices import PROCESSOR, brought_back, choose_device, looped, moved
from atomdrgn.errors import InputError
from atomdrgn.physics.disc import make_disc
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.pose import Pose
from pretended_device import MixedDevicesError, pretended_device


def with_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Make torch say that this machine has so many."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_the_processor_is_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, 0)
    assert choose_device("cpu") == choose_device("auto") == PROCESSOR


def test_each_process_of_a_machine_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, 2)
    found = [str(choose_device("auto", rank)) for rank in range(3)]
    assert found == ["cuda:0", "cuda:1", "cuda:0"]
    assert str(choose_device("cuda")) == "cuda:0" and str(choose_device("cuda:1")) == "cuda:1"
    assert choose_device("cpu") == PROCESSOR


@pytest.mark.parametrize(
    ("name", "count", "says"),
    [
        ("cuda", 0, "--device cpu does the same"),
        ("cuda:0", 0, "--device cpu does the same"),
        ("cuda:2", 2, "this machine has 2, cuda:0 to cuda:1"),
        ("gpu", 2, "give auto, cpu, cuda or cuda:N"),
        ("cpu:1", 2, "give auto, cpu, cuda or cuda:N"),
        ("cuda:x", 2, "give auto, cpu, cuda or cuda:N"),
    ],
)
def test_what_is_not_there_is_refused(
    name: str, count: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch, count)
    with pytest.raises(InputError, match=says):
        choose_device(name)


def test_what_a_value_holds_is_moved() -> None:
    disc = make_disc(ImageGrid(8, 2.0), 6.0)
    pose = Pose(torch.eye(3)[None], torch.zeros(1, 2))
    held = (pose, {"disc": disc, "none": None}, [torch.ones(2)], "text")
    assert moved(held[:1], PROCESSOR) == held[:1]
    assert moved(disc, PROCESSOR) is disc and moved(pose, PROCESSOR) is pose
    with pretended_device() as device:
        there = moved(held, device)
        assert there[0].rotation.device == there[1]["disc"].rank.device == device
        assert there[2][0].device == device and there[3] == "text"
        back = moved(there, PROCESSOR)
    assert torch.equal(back[0].rotation, pose.rotation) and torch.equal(back[2][0], held[2][0])


def test_results_are_brought_back() -> None:
    with pretended_device() as device:
        found = brought_back(lambda x: (x.to(device) + 1, None), device)(torch.ones(1))
        assert found[0].device == PROCESSOR and float(found[0]) == 2


def test_loops_are_for_the_processor_alone() -> None:
    with pretended_device() as device:
        assert not looped(torch.zeros(1, device=device))


@pytest.mark.parametrize(
    "mix",
    [
        lambda here, there: here + there,
        lambda here, there: here[there.long()],
        lambda here, there: here.index_add_(0, torch.zeros(2, dtype=torch.long), there),
        lambda here, there: here.index_put_((torch.arange(2),), there),
        lambda here, there: torch.stack([here, there]),
        lambda here, there: torch.randn(2, generator=torch.Generator(), device=there.device),
    ],
)
def test_the_pretended_device_refuses_what_a_gpu_would(mix: object) -> None:
    assert callable(mix)
    with pretended_device() as device, pytest.raises((MixedDevicesError, RuntimeError)):
        mix(torch.zeros(2), torch.zeros(2, device=device))


def test_arrays_are_of_the_processor_alone() -> None:
    with pretended_device() as device, pytest.raises((RuntimeError, TypeError)):
        torch.zeros(2, device=device).numpy()


def test_the_pretended_device_computes() -> None:
    x = torch.linspace(0, 1, 6).view(2, 3)
    with pretended_device() as device:
        there = x.to(device).requires_grad_()
        value = (there @ there.T).square().sum()
        value.backward()
        found = there.grad
        assert found is not None
        found, number = found.cpu(), float(value.detach())
        # a number is no tensor: it meets both, and so do indices
        picked = (2.0 * there.detach())[torch.tensor([1])].tolist()
    here = x.clone().requires_grad_()
    (here @ here.T).square().sum().backward()
    assert torch.equal(found, here.grad)
    assert number == float((x @ x.T).square().sum()) and picked == (2 * x[1:]).tolist()
