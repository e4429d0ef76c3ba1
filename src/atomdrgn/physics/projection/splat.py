"""Images of Gaussian beads on the CPU.

Narrow Gaussians are drawn on a canvas of few samples, then one product of matrices an axis follows.

A Gaussian of width s is a narrower one, of width t, blurred by a Gaussian of width b, s^2 = t^2 +
b^2. Each bead is drawn with its own t on a canvas whose samples are ``spacing`` pixels apart; the
blur, which all beads of a level share, takes the canvas to the pixels. Along an axis

    p(X - x; s) = spacing * sum over u of blur(X - u spacing) g(u spacing - x; t)

up to the aliases of the sampling. The matrix ``blur`` is a banded Gaussian for wide beads. For
narrow ones it is a Gaussian without the frequencies that the pixels cannot hold, on an infinite
plane, so that the bead is band-limited and nothing wraps; the narrowest are *sharpened* (b^2 < 0),
which is harmless within the band of the pixels. Canvas and matrix get smaller as beads get wider,
and a bead costs the same at any width.

The scheme is the non-uniform fast Fourier transform with a Gaussian kernel (Dutt & Rokhlin 1993;
Greengard & Lee 2004), with one matrix in place of deconvolution, Fourier transform and crop.
"""

import ctypes
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import roots_legendre
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..grid import ImageGrid
from .dense import BAND_LIMITED_BELOW
from .splat_loops import draw_images, gradients_of_beads


@dataclass(frozen=True)
class Accuracy:
    """What the method leaves out.

    Parameters
    ----------
    radius : float
        Where a bead's Gaussian ends, in its widths t.
    kernel : float
        t of the narrowest bead of a level, in samples.
    overlap : float
        e, where exp(-2 pi^2 e) is the largest alias relative to the bead's transform at zero
        frequency.
    """

    radius: float
    kernel: float
    overlap: float


# The largest relative errors (root mean square over an infinite plane, one bead on one axis) of
# value, derivative to position and derivative to width: 2e-6, 2e-5 and 1e-4 in single precision;
# 1e-11, 1e-10 and 1e-9 in double precision.
ACCURACY = {torch.float32: Accuracy(5.0, 1.15, 0.75), torch.float64: Accuracy(7.0, 1.55, 1.4)}

# Wide beads are drawn on several canvases where they differ in width by more than the
# square root of two, and as many as these would be drawn in fewer samples: about what
# blurring another canvas costs.
BEADS_WORTH_A_LEVEL = 1000


@dataclass(frozen=True)
class Level:
    """Beads drawn on one canvas, and the way from the canvas to the pixels.

    Parameters
    ----------
    spacing : float
        Between samples, pixels.
    blur2 : float
        b^2, pixels^2.
    reach : float
        Beads whose centre is farther from the origin are left out, pixels.
    edge : int
        The canvas is at most samples -edge to edge.
    to_pixels : (box, sample)
        The matrix of the blur, padded to multiples of four.
    first, last : (box / 4,)
        Columns of `to_pixels` that four rows use.
    to_samples : (sample, box)
        Its transpose.
    first_pixel, last_pixel : (sample / 4,)
        Columns of `to_samples` that four rows use.
    """

    spacing: float
    blur2: float
    reach: float
    edge: int
    to_pixels: np.ndarray
    first: np.ndarray
    last: np.ndarray
    to_samples: np.ndarray
    first_pixel: np.ndarray
    last_pixel: np.ndarray


@lru_cache(maxsize=64)
def _level(narrowest: float, box_size: int, dtype: torch.dtype) -> Level:
    """The coarsest canvas that beads of width `narrowest` (pixels) and wider can be drawn on."""
    accuracy = ACCURACY[dtype]
    kernel2 = accuracy.kernel**2
    if narrowest < BAND_LIMITED_BELOW:
        # their matrices are full: as few samples as can be had without a blur, where that is within
        # the reach of one vector
        kernel2 = max(accuracy.kernel, min(1.45, narrowest / 2 + math.sqrt(accuracy.overlap))) ** 2
    if narrowest >= BAND_LIMITED_BELOW:
        # the largest alias lies where the Gaussians t and b meet: 1 / t^2 + 1
        # / b^2 = 1 / e, in samples
        blur_by_spacing2 = 1 / (1 / accuracy.overlap - 1 / kernel2)
        spacing = narrowest / math.sqrt(kernel2 + blur_by_spacing2)
        blur = math.sqrt(blur_by_spacing2) * spacing
        reach, edge = math.inf, (box_size // 2 + 1 + accuracy.radius * blur) / spacing
    else:
        # it lies at the highest frequency of the pixels: t^2 (1 / spacing - 1 / 2)^2 + b^2 / 4 = e
        spacing = (narrowest**2 / 4 + kernel2 - accuracy.overlap) / kernel2
        blur2 = narrowest**2 - kernel2 * spacing**2
        reach = float(box_size)
        edge = (box_size + accuracy.radius * math.sqrt(BAND_LIMITED_BELOW**2 - blur2)) / spacing
    edge = 4 * math.ceil(edge / 4)
    sample = spacing * np.arange(-edge, edge)
    pixel = np.arange(box_size) - box_size // 2
    to_pixels = np.zeros((4 * math.ceil(box_size / 4), 2 * edge))
    if narrowest >= BAND_LIMITED_BELOW:
        distance = (pixel[:, None] - sample) / blur
        to_pixels[:box_size] = np.exp(-0.5 * distance**2) / (math.sqrt(2 * math.pi) * blur)
        to_pixels[:box_size][np.abs(distance) > accuracy.radius] = 0
        blur2 = blur**2
    else:
        to_pixels[:box_size] = _band_limited(pixel, sample, blur2)
    to_samples = np.ascontiguousarray(to_pixels.T)
    precision = torch.empty(0, dtype=dtype).numpy().dtype
    return Level(
        spacing,
        blur2,
        reach,
        edge,
        to_pixels.astype(precision),
        *_bands(to_pixels),
        to_samples.astype(precision),
        *_bands(to_samples),
    )


def _band_limited(pixel: np.ndarray, sample: np.ndarray, blur2: float) -> np.ndarray:
    """(pixel, sample): the integral of exp(-2 pi^2 b^2 k^2) cos(2 pi k d) over |k| < 1/2.

    d is from sample to pixel, in pixels.
    """
    # a cosine of d pixels needs somewhat more than pi d / 2 nodes
    half = math.ceil(0.8 * (np.abs(pixel).max() + np.abs(sample).max())) + 10
    node, weight = roots_legendre(2 * half)
    k, weight = node[half:] / 2, weight[half:]
    spectrum = weight * np.exp(-2 * blur2 * (math.pi * k) ** 2)
    pixel, sample = (2 * math.pi * np.outer(place, k) for place in (pixel, sample))
    return (np.cos(pixel) * spectrum) @ np.cos(sample).T + (np.sin(pixel) * spectrum) @ np.sin(
        sample
    ).T


def _bands(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First column, and the one behind the last, that any of four rows holds; multiples of four."""
    held = (matrix.reshape(len(matrix) // 4, 4, -1, 4) != 0).any((1, 3))
    first = held.argmax(1)
    last = np.where(held.any(1), held.shape[1] - held[:, ::-1].argmax(1), first)
    return 4 * first, 4 * last


def levels_of(
    sigma: np.ndarray, box_size: int, dtype: torch.dtype
) -> list[tuple[float, float, Level]]:
    """The canvases that beads of these widths are drawn on.

    Parameters
    ----------
    sigma : (image, bead)
        Widths, pixels.
    box_size : int
        Pixels along an edge of the image.
    dtype : torch.dtype
        Single or double precision.

    Returns
    -------
    list of (float, float, Level)
        Square of the narrowest width of each level, of the next level's narrowest, and the level.

    Examples
    --------
    >>> levels = levels_of(np.array([[0.5, 3.0]]), 32, torch.float32)
    >>> [round(level.spacing, 2) for _, _, level in levels]
    [0.48, 0.86]
    """
    sigma = np.abs(sigma)
    if not (sigma.size and math.isfinite(sigma.sum())):
        sigma = sigma[np.isfinite(sigma)]  # an image with others is NaN, on any canvas
    if not sigma.size:
        return [(-math.inf, math.inf, _level(BAND_LIMITED_BELOW, box_size, dtype))]
    starts, widest = [_ladder(sigma.min())], sigma.max()
    if starts[0] < BAND_LIMITED_BELOW <= widest:
        starts.append(BAND_LIMITED_BELOW)
    while starts[-1] >= BAND_LIMITED_BELOW and widest > (start := starts[-1] * math.sqrt(2)):
        if (sigma >= start).sum() < BEADS_WORTH_A_LEVEL * len(sigma):
            break
        starts.append(start)
    above, below = (
        [-math.inf, *(start**2 for start in starts[1:])],
        [*(start**2 for start in starts[1:]), math.inf],
    )
    return [
        (a, b, _level(start, box_size, dtype))
        for a, b, start in zip(above, below, starts, strict=True)
    ]


def _ladder(width: float | np.floating) -> float:
    """The next of few widths below, pixels.

    Levels are cached, and widths may change from call to call.
    """
    if width < BAND_LIMITED_BELOW:
        return math.floor(10 * width + 1e-9) / 10
    return BAND_LIMITED_BELOW * 2 ** (
        math.floor(4 * math.log2(width / BAND_LIMITED_BELOW) + 1e-9) / 4
    )


class _Splat(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        position: Float[Tensor, "image bead 3"],
        amplitude: Float[Tensor, "shared bead"],
        sigma: Float[Tensor, "own bead"],
        grid: ImageGrid,
    ) -> Float[Tensor, "image box box"]:
        ctx.save_for_backward(position, amplitude, sigma)
        ctx.grid = grid
        beads = [tensor.detach().contiguous().numpy() for tensor in (position, amplitude, sigma)]
        result = _zeros(beads[0], len(position), grid.box_size, grid.box_size)
        levels = levels_of(beads[2] / grid.pixel_size, grid.box_size, position.dtype)

        def project(images: tuple[int, int]) -> None:
            for canvas, level in _canvases(levels, grid, position.dtype):
                draw_images(
                    images, *beads, canvas, level.to_pixels, (level.first, level.last), result
                )

        _on_threads(project, len(position))
        return torch.from_numpy(result)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gradient: Float[Tensor, "image box box"]
    ) -> tuple[Tensor, Tensor, Tensor, None]:
        tensors, grid = ctx.saved_tensors, ctx.grid
        beads = [tensor.contiguous().numpy() for tensor in tensors]
        of_images = gradient.contiguous().numpy()
        results = [_zeros(beads[0], *tensors[0].shape), *_zeros(beads[0], 2, *tensors[0].shape[:2])]
        levels = levels_of(beads[2] / grid.pixel_size, grid.box_size, tensors[0].dtype)

        def project_backward(images: tuple[int, int]) -> None:
            for canvas, level in _canvases(levels, grid, tensors[0].dtype):
                bands = (level.first_pixel, level.last_pixel)
                gradients_of_beads(
                    images, *beads, canvas, level.to_samples, bands, of_images, *results
                )

        _on_threads(project_backward, len(tensors[0]))
        of_position, of_amplitude, of_sigma = map(torch.from_numpy, results)
        return (
            of_position,
            of_amplitude.sum_to_size(tensors[1].shape),
            of_sigma.sum_to_size(tensors[2].shape),
            None,
        )


def _zeros(like: np.ndarray, *shape: int) -> np.ndarray:
    """Zeros, made without torch.

    Its threads would go on looking for more to do for milliseconds, on the cores that ours need.
    """
    return np.zeros(shape, like.dtype)


def project_beads_splat(
    position: Float[Tensor, "*batch bead 3"],
    amplitude: Float[Tensor, "*#batch bead"],
    sigma: Float[Tensor, "*#batch bead"],
    grid: ImageGrid,
) -> Float[Tensor, "*batch box box"]:
    """The same images for tensors of one precision in the computer's memory.

    Parameters
    ----------
    position, amplitude, sigma, grid
        As for :func:`atomdrgn.physics.projection.project.project_beads`.

    Returns
    -------
    (*batch, box, box)
        Line integrals at the pixel centres, amplitude per A^2.

    Examples
    --------
    >>> bead = torch.zeros(1, 3), torch.ones(1), torch.full((1,), 2.0)
    >>> image = project_beads_splat(*bead, ImageGrid(16, 1.0))
    >>> round(image.sum().item(), 3)
    1.0
    """
    batch, *beads = images_and_beads(position, amplitude, sigma)
    return _Splat.apply(*beads, grid).reshape(*batch, grid.box_size, grid.box_size)


def images_and_beads(
    position: Float[Tensor, "*batch bead 3"],
    amplitude: Float[Tensor, "*#batch bead"],
    sigma: Float[Tensor, "*#batch bead"],
) -> tuple[torch.Size, Tensor, Tensor, Tensor]:
    """Beads with one leading dimension, over images.

    Parameters
    ----------
    position, amplitude, sigma
        As for :func:`atomdrgn.physics.projection.project.project_beads`.

    Returns
    -------
    batch : torch.Size
        The leading dimensions.
    position : (image, bead, 3)
        A.
    amplitude, sigma : (image, bead)
        Or (1, bead) where all images share them.

    Examples
    --------
    >>> every = torch.ones(5)
    >>> batch, position, *_ = images_and_beads(torch.zeros(2, 3, 5, 3), every, every)
    >>> batch, position.shape
    (torch.Size([2, 3]), torch.Size([6, 5, 3]))
    """
    batch = torch.broadcast_shapes(position.shape[:-2], amplitude.shape[:-1], sigma.shape[:-1])
    images, beads = math.prod(batch), position.shape[-2]
    position = position.expand(*batch, beads, 3).reshape(images, beads, 3)
    amplitude, sigma = (
        tensor.reshape(1, beads)
        if math.prod(tensor.shape[:-1]) == 1
        else tensor.expand(*batch, beads).reshape(images, beads)
        for tensor in (amplitude, sigma)
    )
    return batch, position, amplitude, sigma


def _canvases(
    levels: list[tuple[float, float, Level]], grid: ImageGrid, dtype: torch.dtype
) -> list[tuple[tuple[float | int, ...], Level]]:
    return [
        (
            (
                float(grid.pixel_size),
                level.spacing,
                level.blur2,
                above,
                below,
                level.reach,
                level.edge,
                ACCURACY[dtype].radius,
            ),
            level,
        )
        for above, below, level in levels
    ]


def _on_threads(function: Callable[[tuple[int, int]], None], images: int) -> None:
    """Call the function for all images, a few at a time, on torch's number of threads.

    An image is one thread's: sums repeat.
    """
    threads = min(torch.get_num_threads(), images)
    if threads <= 1:
        function((0, images))
        return
    share = max(1, images // (2 * threads))
    starts = iter(range(0, images, share))

    def work() -> None:
        for start in starts:
            function((start, min(start + share, images)))

    if _openmp() is not None:
        _on_torchs_threads(work, threads)
        return
    helpers = [_pool(threads - 1).submit(work) for _ in range(threads - 1)]
    work()
    for helper in helpers:
        # a helper that other calls keep busy has nothing left to do
        if not helper.cancel():
            helper.result()


CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@lru_cache(maxsize=1)
def _openmp() -> Any:
    """The OpenMP library that torch's own threads belong to, where it is GNU's."""
    try:
        with open("/proc/self/maps") as maps:
            path = next(
                (line.split(maxsplit=5)[5].strip() for line in maps if "libgomp" in line), None
            )
        return ctypes.CDLL(path).GOMP_parallel if path else None
    except (OSError, AttributeError):
        return None


def _on_torchs_threads(work: Callable[[], None], threads: int) -> None:
    """Call the function on torch's threads, this one among them.

    They keep their cores for milliseconds after each operation of torch, looking for more to do:
    threads of our own would wait for these cores longer than the work takes.
    """
    failures = []

    def guarded(_: Any) -> None:
        try:
            work()
        except BaseException as error:  # what is raised in a callback would be lost
            failures.append(error)

    _openmp()(CALLBACK(guarded), None, ctypes.c_uint(threads), ctypes.c_uint(0))
    if failures:
        raise failures[0]


@lru_cache(maxsize=8)
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, "project_beads")


if hasattr(os, "register_at_fork"):  # a forked process has none of the threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
