"""Where arithmetic is done: by compiled loops or by tensor operations, and on which device.

The only place that decides either. What belongs to the set as a whole (tables, the population,
what is written) stays on the processor; batches of images are worked on where the user asked.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from .errors import InputError

T = TypeVar("T")
PROCESSOR = torch.device("cpu")


def looped(*values: Tensor) -> bool:
    """Whether compiled loops can take the place of tensor operations on these values.

    They can in single precision, on a processor, where no gradient is wanted.

    Parameters
    ----------
    *values : Tensor
        All that the loops would read.

    Returns
    -------
    bool

    Examples
    --------
    >>> looped(torch.zeros(3)), looped(torch.zeros(3).double())
    (True, False)
    """
    wanted = torch.is_grad_enabled() and any(value.requires_grad for value in values)
    return not wanted and all(
        value.device.type == "cpu" and value.dtype == torch.float32 for value in values
    )


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """The device of that name.

    Parameters
    ----------
    name : str
        ``auto``: a GPU where there is one, else the processor; ``cpu``; ``cuda``; or ``cuda:1``,
        the second GPU of this machine.
    local_rank : int
        Number of this process among those on this machine: without a number of its own each takes
        the next GPU.

    Raises
    ------
    InputError
        No such device, or none here.

    Examples
    --------
    >>> choose_device("cpu")
    device(type='cpu')
    """
    kind, _, number = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and (kind != "cuda" or not number.isdigit())):
        raise InputError(f"device {name!r}: give auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if kind != "cpu" and torch.cuda.is_available() else 0
    if kind == "cpu" or (kind == "auto" and not count):
        return PROCESSOR
    if not count:
        raise InputError(
            f"device {name}: "
            + (
                "no GPU is found by its driver on this machine"
                if torch.version.cuda
                else "this PyTorch was built for processors alone (pytorch.org says how to install "
                "the other)"
            )
            + "; --device cpu does the same work on the processor"
        )
    if number and int(number) >= count:
        raise InputError(f"device {name}: this machine has {count}, cuda:0 to cuda:{count - 1}")
    return torch.device("cuda", int(number) if number else local_rank % count)


def moved(value: T, device: torch.device) -> T:
    """What a value holds, on a device; the value itself where it is there already.

    Parameters
    ----------
    value : any
        A tensor; a tuple, list or dict; a dataclass; or an object with a method `on` of its own. Of
        anything else nothing is on a device.
    device : torch.device
        Where it is wanted.

    Examples
    --------
    >>> moved((torch.ones(1), "text"), torch.device("cpu"))
    (tensor([1.]), 'text')
    """
    made = _moved(value, device)
    return made  # type: ignore[no-any-return]


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if hasattr(value, "on_device") and not isinstance(value, type):
        return value.on_device(device)
    if isinstance(value, tuple):
        parts = [_moved(each, device) for each in value]
        if all(one is other for one, other in zip(parts, value, strict=True)):
            return value
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, list):
        return [_moved(each, device) for each in value]
    if isinstance(value, dict):
        return {name: _moved(each, device) for name, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        held = {each.name: getattr(value, each.name) for each in fields(value) if each.init}
        there = {name: _moved(each, device) for name, each in held.items()}
        there = {name: each for name, each in there.items() if each is not held[name]}
        return replace(value, **there) if there else value
    return value


def with_attributes_on(made: T, device: torch.device) -> T:
    """A copy of an object with all that its attributes hold on a device.

    Parameters
    ----------
    made : object
        With attributes that :func:`moved` knows.
    device : torch.device
        Where they are wanted.
    """
    there = {name: _moved(each, device) for name, each in vars(made).items()}
    if all(each is vars(made)[name] for name, each in there.items()):
        return made
    other = copy(made)
    vars(other).update(there)
    return other


def brought_back(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """A function whose results are on the processor, whichever device it works on.

    Parameters
    ----------
    function : callable
        Of a batch.
    device : torch.device
        Where it works.

    Examples
    --------
    >>> brought_back(abs, torch.device("cpu")) is abs
    True
    """
    if device == PROCESSOR:
        return function
    return lambda *given: _moved(function(*given), PROCESSOR)
