"""When compiled loops take the place of tensor operations."""

import torch
from torch import Tensor


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
