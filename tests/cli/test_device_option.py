"""``--device``: refused before anything is read where it is not there."""

from typing import Any

import pytest
import torch

from atomdrgn.cli.setup import device_lines, find_device
from atomdrgn.devices import PROCESSOR


@pytest.mark.parametrize(
    "words",
    [
        ("fit", "base.pdb", "particles.star"),
        ("refine", "base.pdb", "particles.star"),
        ("backproject", "particles.star", "--out", "map"),
        ("debias", "particles.fit", "--out", "maps"),
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("name", ["cuda", "cuda:3", "gpu"])
def test_a_device_that_is_not_there_is_refused(
    words: tuple[str, ...],
    name: str,
    atomdrgn: Any,
    folder: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = sorted(folder.iterdir())
    ended = atomdrgn(*words, "--device", name)
    assert ended.code == 2 and f"device {name}" in ended.err.replace("'", "")
    assert sorted(folder.iterdir()) == before


def test_the_autoencoder_has_no_device(atomdrgn: Any, folder: Any) -> None:
    ended = atomdrgn("fit", "base.pdb", "particles.star", "--inference", "vae", "--device", "cuda")
    assert ended.code == 2 and "--device belongs to the closed form" in ended.err


def test_processes_of_a_machine_share_its_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert str(find_device("cuda")) == "cuda:1"


def test_another_device_than_the_processor_is_said() -> None:
    assert device_lines(PROCESSOR) == []
    assert device_lines("cuda:1") == ["images were worked on by the device cuda:1"]
