"""Tensors in .safetensors files with a check sum."""

import errno
import hashlib
import os
import re
from os import PathLike

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...errors import FileFormatError
from ..whole_file import new_file_mode, whole_file

CHECK = "sha256"  # in the file's metadata; files of earlier versions have none


def write_tensors(path: str | PathLike[str], tensors: dict[str, Tensor]) -> None:
    """Write tensors whole or not at all, with a check sum.

    Parameters
    ----------
    path : path
        Of the .safetensors file.
    tensors : dict
        {name: tensor}

    Raises
    ------
    OSError
        The system cannot write it.

    Examples
    --------
    >>> write_tensors("some.safetensors", {"latent": torch.zeros(2, 6)})
    >>> read_tensors("some.safetensors")["latent"].shape
    torch.Size([2, 6])
    """
    with whole_file(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={CHECK: _check_sum(tensors)})
        except SafetensorError as error:  # it tells what the system says in words of its own
            said = re.search(r"os error (\d+)", str(error))
            number = int(said[1]) if said else errno.EIO
            raise OSError(number, os.strerror(number), str(path)) from error
        # the library makes files that none but the owner can read
        temporary.chmod(new_file_mode())


def read_tensors(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Read what :func:`write_tensors` wrote.

    Parameters
    ----------
    path : path
        Of the .safetensors file.

    Returns
    -------
    dict
        {name: tensor}

    Raises
    ------
    FileFormatError
        The file is none, is damaged, or its content has changed since it was written. The message
        does not name the file.
    FileNotFoundError and other errors with a number
        The system cannot read it.

    Examples
    --------
    >>> write_tensors("some.safetensors", {"scale": torch.ones(1)})
    >>> read_tensors("some.safetensors")
    {'scale': tensor([1.])}
    """
    with open(path, "rb"):  # the library's errors say less
        pass
    try:
        with safe_open(path, framework="pt") as file:
            said = (file.metadata() or {}).get(CHECK)
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise FileFormatError(f"{error}") from error
    if said is not None and said != _check_sum(tensors):
        raise FileFormatError(
            "its check sum is another: the content has changed since it was written"
        )
    return tensors


def _check_sum(tensors: dict[str, Tensor]) -> str:
    """Check sum of names, kinds, shapes and values, whatever the order."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
