"""The base of the frozen records that hold one entry an image, a bead or a particle."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch

# not typing.Self, which the shape checker of the tests cannot read method by method
R = TypeVar("R", bound="Record")


@dataclass(frozen=True, eq=False, repr=False)
class Record:
    """A frozen dataclass whose tensors share their leading dimensions.

    ``record[index]`` picks along them (an int, a slice, a mask, an index tensor);
    ``record.to(device)`` moves them. A field that is not a tensor belongs to the whole record and
    is left as it is.

    Examples
    --------
    >>> from atomdrgn import Pose
    >>> poses = Pose(torch.eye(3).expand(4, 3, 3), torch.zeros(4, 2))
    >>> poses[:2].shift.shape
    torch.Size([2, 2])
    """

    def _mapped(self: R, function: Callable[[torch.Tensor], torch.Tensor]) -> R:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(
            self, **{name: function(v) for name, v in values.items() if isinstance(v, torch.Tensor)}
        )

    def __getitem__(self: R, index: Any) -> R:
        return self._mapped(lambda tensor: tensor[index])

    def to(self: R, device: torch.device | torch.dtype | str | None) -> R:
        """The same record with its tensors on a device, or of a dtype.

        Anything that ``Tensor.to`` takes will do.
        """
        return self._mapped(lambda tensor: tensor.to(device))


def joined(records: Sequence[R]) -> R:
    """Records of the same kind one behind the other.

    What belongs to a whole record is the first one's.

    Parameters
    ----------
    records : sequence of Record
        At least one; they are joined along the first dimension.

    Returns
    -------
    Record
        Of the same kind.

    Examples
    --------
    >>> from atomdrgn import Pose
    >>> pose = Pose(torch.eye(3)[None], torch.zeros(1, 2))
    >>> joined([pose, pose]).rotation.shape
    torch.Size([2, 3, 3])
    """
    first = records[0]
    tensors = [f.name for f in fields(first) if isinstance(getattr(first, f.name), torch.Tensor)]
    return replace(
        first,
        **{name: torch.cat([getattr(record, name) for record in records]) for name in tensors},
    )
