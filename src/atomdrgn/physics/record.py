"""The base of the frozen records that hold one entry an image, a bead or a particle."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TypeVar

import torch

# not typing.Self, which the shape checker of the tests cannot read method by method
R = TypeVar("R", bound="Record")


class Record:
    """A frozen dataclass whose tensors share their leading dimensions.

    ``record[index]`` picks along them (an int, a slice, a mask, an index tensor);
    ``record.to(device)`` moves them. A field that is not a tensor belongs to the whole record and
    is left as it is.
    """

    def _mapped(self: R, function) -> R:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(
            self, **{name: function(v) for name, v in values.items() if isinstance(v, torch.Tensor)}
        )

    def __getitem__(self: R, index) -> R:
        return self._mapped(lambda tensor: tensor[index])

    def to(self: R, device) -> R:
        """The same record with its tensors on `device` (or of a dtype: anything ``Tensor.to``
        takes).
        """
        return self._mapped(lambda tensor: tensor.to(device))


def joined(records: Sequence[R]) -> R:
    """Records of the same kind one behind the other; what belongs to a whole record is the first
    one's.
    """
    first = records[0]
    tensors = [f.name for f in fields(first) if isinstance(getattr(first, f.name), torch.Tensor)]
    return replace(
        first,
        **{name: torch.cat([getattr(record, name) for record in records]) for name in tensors},
    )
