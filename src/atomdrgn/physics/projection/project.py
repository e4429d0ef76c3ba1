"""Images of Gaussian beads, by the quickest way there is."""

from importlib.util import find_spec

import torch
from jaxtyping import Float
from torch import Tensor

from ..grid import ImageGrid
from .dense import project_beads_dense


def project_beads(
    position: Float[Tensor, "*batch bead 3"],
    amplitude: Float[Tensor, "*#batch bead"],
    sigma: Float[Tensor, "*#batch bead"],
    grid: ImageGrid,
) -> Float[Tensor, "*batch box box"]:
    """Images (axes y, x) of Gaussian beads seen along z.

    They are made by the quickest method that agrees with the definition.

    The definition is :func:`~atomdrgn.physics.projection.dense.project_beads_dense`. In the
    computer's memory, in single or double precision: :mod:`atomdrgn.physics.projection.splat`, on
    torch's number of threads. On a GPU, in single precision and where triton is installed:
    :mod:`atomdrgn.physics.projection.splat_triton`. Both agree with the definition to 1e-4 (in
    double precision to 1e-8) in value and gradient, at any width. Anything else: the definition.

    Differentiable once in position, amplitude and sigma; the definition is so more often. A
    position (x, y), amplitude or sigma that is not finite makes its image NaN.

    Parameters
    ----------
    position : (*batch, bead, 3)
        In the camera's frame, A; the origin is pixel ``box_size // 2``. z does not matter.
    amplitude : (bead,) or (*batch, bead)
        Integral of each bead: a bead well inside the box adds ``amplitude`` to ``image.sum() *
        pixel_size**2``.
    sigma : (bead,) or (*batch, bead)
        Standard deviation of each bead, A; 0 is a point.
    grid : ImageGrid
        The pixels.

    Returns
    -------
    (*batch, box, box)
        Line integrals at the pixel centres, amplitude per A^2.

    Examples
    --------
    >>> bead = torch.zeros(1, 3), torch.tensor([6.0]), torch.tensor([2.0])
    >>> image = project_beads(*bead, ImageGrid(box_size=32, pixel_size=1.5))
    >>> image.shape, round(image.sum().item() * 1.5**2, 3)
    (torch.Size([32, 32]), 6.0)
    """
    kinds = {(tensor.device.type, tensor.dtype) for tensor in (position, amplitude, sigma)}
    if kinds in ({("cpu", torch.float32)}, {("cpu", torch.float64)}):
        from .splat import project_beads_splat

        return project_beads_splat(position, amplitude, sigma, grid)
    if kinds == {("cuda", torch.float32)} and find_spec("triton"):
        from .splat_triton import project_beads_triton

        return project_beads_triton(position, amplitude, sigma, grid)
    return project_beads_dense(position, amplitude, sigma, grid)
