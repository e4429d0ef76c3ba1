"""Tensors with a check sum: a byte that is flipped is noticed."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from atomdrgn.errors import FileFormatError
from atomdrgn.io.run_formats.tensors import read_tensors, write_tensors

TENSORS = {
    "a": torch.arange(12.0).reshape(3, 4),
    "none": torch.zeros(0, 3),
    "flag": torch.tensor([True, False]),
    "step": torch.tensor(7.0, dtype=torch.float64),
    "b": torch.ones(5, dtype=torch.bfloat16),
}


def test_tensors_come_back(tmp_path):
    write_tensors(tmp_path / "a.safetensors", TENSORS)
    found = read_tensors(tmp_path / "a.safetensors")
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)


def test_every_flipped_byte_and_every_cut_is_noticed(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, TENSORS)
    whole = path.read_bytes()
    for position in np.linspace(0, len(whole) - 1, 150).astype(int):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x14]) + whole[position + 1 :])
        try:
            found = read_tensors(path)
        except FileFormatError:
            continue
        # but for the name of the check sum: there it is a file without one
        assert all(
            torch.equal(found[name], tensor) for name, tensor in TENSORS.items() if name in found
        )
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError):
            read_tensors(path)


def test_files_without_a_check_sum_are_read(tmp_path):
    save_file(TENSORS, tmp_path / "old.safetensors")
    assert torch.equal(read_tensors(tmp_path / "old.safetensors")["a"], TENSORS["a"])


def test_what_the_system_says_is_left_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "none.safetensors")
