"""A pretended device: its tensors hold real numbers, and meet no others.

What a GPU would refuse is refused here: an operation on tensors of two devices, arrays of tensors
that are elsewhere, draws by a generator of the other device. `FakeTensorMode` refuses the same, but
has no values, so that no command can be run under it; and where torch is built for processors
alone its "cuda" tensors cannot be sliced. The device is called "meta", which any torch knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

DEVICE = torch.device("meta")
aten = torch.ops.aten
COPIES = {aten._to_copy.default, aten.copy_.default}
# indices may be on the processor where what is indexed is not, as on a GPU
INDEXED = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._unsafe_index.Tensor,
    aten._index_put_impl_.default,
}


# where even a number has to be on the device
STRICT = ("cat", "stack", "index_add", "index_select", "gather", "scatter", "mm", "bmm", "baddbmm")


class MixedDevicesError(RuntimeError):
    """Two devices met in one operation."""


class Elsewhere(Tensor):
    """A tensor on the pretended device."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        """A tensor there that holds these numbers."""
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )
        made.held = held
        return made

    def __repr__(self) -> str:
        """What it holds."""
        return f"Elsewhere({self.held!r})"

    def tolist(self) -> Any:
        """Python numbers, as a tensor of any device gives them."""
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Runs an operation on what is held."""
        return _run(func, args, kwargs or {})


def _run(func: Any, args: tuple, kwargs: dict) -> Any:
    tensors = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, Tensor)]
    there = [each for each in tensors if isinstance(each, Elsewhere)]
    asked = kwargs.get("device")
    goes_there = torch.device(asked) == DEVICE if asked is not None else bool(there)
    if func is aten.copy_.default:
        goes_there = isinstance(args[0], Elsewhere)
    if func not in COPIES:
        _refuse_mixed(func, args, tensors, there)
        generator = kwargs.get("generator")
        if generator is not None and goes_there:
            raise MixedDevicesError(f"{func} with a generator of the processor")
    if asked is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    known = {id(each.held): each for each in there}
    args, kwargs = tree_map_only(Elsewhere, lambda each: each.held, (args, kwargs))
    found = func(*args, **kwargs)
    if not goes_there:
        return found
    return tree_map_only(
        Tensor, lambda each: known[id(each)] if id(each) in known else Elsewhere(each), found
    )


def _refuse_mixed(func: Any, args: tuple, tensors: list[Tensor], there: list[Elsewhere]) -> None:
    if func in INDEXED:  # what is indexed, and what is put there
        tensors = [each for each in (args[0], *args[2:3]) if isinstance(each, Tensor)]
        mixed = bool(there) and not isinstance(args[0], Elsewhere)
    else:
        mixed = False
    strict = func._schema.name.removeprefix("aten::").rstrip("_") in STRICT
    here = [each for each in tensors if not isinstance(each, Elsewhere) and (each.ndim or strict)]
    if mixed or (there and here):
        shapes = [(tuple(each.shape), str(each.device)) for each in tensors]
        raise MixedDevicesError(f"{func} of {shapes}")


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        return _run(func, args, kwargs or {})


def _from_data(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`torch.tensor` of Python numbers: of "meta" torch would drop the numbers."""

    def made(data: Any, *, device: Any = None, **more: Any) -> Tensor:
        found = make(data, **more)
        return found if device is None else found.to(device)

    return made


@contextmanager
def pretended_device() -> Iterator[torch.device]:
    """Inside, the device is there: it computes on the processor, and refuses its tensors.

    All is done on one thread: others would not know of the device.
    """
    kept, threads = (torch.tensor, torch.as_tensor), torch.get_num_threads()
    torch.set_num_threads(1)
    torch.tensor, torch.as_tensor = map(_from_data, kept)
    try:
        with _Mode():
            yield DEVICE
    finally:
        torch.tensor, torch.as_tensor = kept
        torch.set_num_threads(threads)
