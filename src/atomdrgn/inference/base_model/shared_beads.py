"""Positions of beads that all particles share, fitted to images.

Gauss-Newton steps go up the likelihood, from coarse to fine.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...devices import PROCESSOR, moved
from ...likelihood.image_likelihood import Comparison
from ...likelihood.image_model import gain_on
from ...likelihood.noise import Noise
from ...likelihood.restraints.segment_restraints import Restraints
from ...parallel import Portions, in_order
from ...physics.disc import FourierDisc
from ...physics.projection.bead_transform import bead_transform
from ...structure.beads import BeadModel
from ..images.fourier_images import FourierImages
from ..images.resolution_schedule import coarsest_resolution, resolutions
from ..problem.calibration import (
    IMAGES_MEASURED,
    NARROWEST,
    ShellSums,
    fit_scales,
    sample_of_groups,
    sum_by_shell,
)
from .bead_error import evidence_left
from .curvature import image_curvature

Place = Callable[[Tensor, Tensor], Tensor]
CONTRAST_SD = 0.2  # of images about their mean strength, as where a population fit starts
BATCH_NUMBERS = 2**22  # in the waves of one batch
MOST_AT_ONCE = 64  # images of a batch
BATCH_NUMBERS_ELSEWHERE, MOST_ELSEWHERE = 2**26, 1024  # the same where that is not the processor
STEPS = 6  # most Gauss-Newton steps at one resolution
ENOUGH = 0.05  # A r.m.s.: no shorter step is followed by another at its resolution
# 1/A^2: a step of 10 A costs one half
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-2, 1e-4, 1e4


def still(images: FourierImages) -> Place:
    """The same positions in every image, turned by its pose: a homogeneous set."""
    return lambda position, image: moved(images.stack.pose[image], position.device).apply(position)


@dataclass(frozen=True)
class Look:
    """What decides, besides positions, what images look like.

    Parameters
    ----------
    amplitude, width2 : float
        The beads' amplitudes are multiplied by the one, their squared widths raised by the other
        (A^2).
    spectrum : (group, shell)
        Noise power a coefficient.
    """

    amplitude: float = 1.0
    width2: float = 0.0
    spectrum: Float[Tensor, "group shell"] | None = None

    @property
    def noise_power(self) -> Float[Tensor, "group shell"]:
        """The spectrum, of a look that has been measured."""
        assert self.spectrum is not None
        return self.spectrum

    def bright(self, beads: BeadModel) -> BeadModel:
        """The beads as the images show them, none narrower than any is fitted.

        These may be finer ones than the width is of.
        """
        return beads.bright(
            self.amplitude, max(self.width2, NARROWEST**2 - float((beads.sigma**2).min()))
        )


@dataclass(frozen=True, eq=False)
class SharedBeads:
    """Images of beads whose base positions all particles share.

    Parameters
    ----------
    images : FourierImages
        The data.
    index : (image,)
        Which of them count.
    beads : BeadModel
        The base model; its amplitudes in electrons.
    place : callable
        From the shared positions (*field, bead, 3) and numbers of images (image,) to the positions
        before the camera of each image (image, bead, 3), A, differentiable in the first:
        :func:`still` where nothing moves.
    portions : Portions, optional
        Of the images, which several processes share; by default this one is alone.
    sought : BeadModel, optional
        The beads whose positions are shared, where images are compared with a finer model than
        that.
    gain : (shell,), optional
        As in :class:`~atomdrgn.likelihood.image_model.ImageModel`.
    besides : callable, optional
        From numbers of images (image,) and a disc to what they show besides the beads before the
        CTF (image, 2, frequency), if that is anything.
    device : torch.device
        Where images are compared; positions are anywhere.
    """

    images: FourierImages
    index: Int[Tensor, "image"]
    beads: BeadModel
    place: Place
    portions: Portions | None = None
    sought: BeadModel | None = None
    gain: Float[Tensor, "shell"] | None = None
    besides: Callable[[Tensor, FourierDisc], Tensor] | None = None
    device: torch.device = PROCESSOR

    def batches(
        self, disc: FourierDisc, index: Int[Tensor, "some"] | None = None
    ) -> tuple[Tensor, ...]:
        """Images, all that count by default, in runs that are worked on together."""
        room, most = (
            (BATCH_NUMBERS, MOST_AT_ONCE)
            if self.device == PROCESSOR
            else (BATCH_NUMBERS_ELSEWHERE, MOST_ELSEWHERE)
        )
        fit_in = room // (8 * len(self.beads) * (disc.reach + 1) + 8 * len(disc))
        return self.shares.batches(
            self.index if index is None else index, max(1, min(most, fit_in))
        )

    @cached_property
    def shares(self) -> Portions:
        """The portions that sums are made of."""
        return self.portions or Portions.one(len(self.images))

    def whitened(
        self, index: Int[Tensor, "image"], disc: FourierDisc, spectrum: Float[Tensor, "group shell"]
    ) -> tuple[Float[Tensor, "image frequency"], Float[Tensor, "image 2 frequency"]]:
        """Transfer function (image, frequency) and data (image, 2, frequency).

        See :meth:`Noise.whiten`.
        """
        stack, (spectrum, disc) = self.images.stack, moved((spectrum, disc), self.device)
        noise = Noise(spectrum, self.images.group, stack.premultiplied, self.images.left_out)
        return noise.whiten(
            self.images.coefficients(index, disc), stack.ctf[index], index, disc=disc
        )

    def before_the_lens(
        self,
        position: Float[Tensor, "*field bead 3"],
        look: Look,
        index: Int[Tensor, "image"],
        disc: FourierDisc,
    ) -> Float[Tensor, "image 2 frequency"]:
        """Coefficients of the beads' projections in some images."""
        beads, gain, disc = moved((look.bright(self.beads), self.gain, disc), self.device)
        weight = beads.amplitude.expand(len(index), -1)[..., None]
        plane = self.place(position.to(self.device), index)
        image = bead_transform(plane, beads.sigma, disc, weight=weight)[:, 0, 0]
        return image if gain is None else image * gain_on(gain, disc)

    def compare(
        self,
        position: Float[Tensor, "*field bead 3"],
        look: Look,
        index: Int[Tensor, "image"],
        disc: FourierDisc,
    ) -> Comparison:
        """Prediction and data of some images.

        The data's own square is left out, as it is the same everywhere.
        """
        transfer, data = self.whitened(index, disc, look.noise_power)
        image = self.before_the_lens(position, look, index, disc)
        if self.besides is not None:
            image = image + self.besides(index, moved(disc, self.device))
        prediction = image * transfer[:, None]
        power, cross = (prediction * prediction).sum((1, 2)), (prediction * data).sum((1, 2))
        return Comparison(power, cross, torch.zeros_like(power))

    def log_likelihood(
        self, position: Float[Tensor, "*field bead 3"], look: Look, disc: FourierDisc
    ) -> Float[Tensor, "image"]:
        """Log-likelihood of each image that counts, over that of no molecule at all."""

        def of_batch(index: Int[Tensor, "image"]) -> Float[Tensor, "image"]:
            with torch.no_grad():
                compared = self.compare(position, look, index, disc)
                return compared.log_likelihood(CONTRAST_SD).double().cpu()

        found, batches = torch.zeros(len(self.images), dtype=torch.float64), self.batches(disc)
        for index, of_these in zip(batches, in_order(of_batch, batches), strict=True):
            found[index] = of_these
        return found[self.index]


def calibrate(
    problem: SharedBeads,
    position: Float[Tensor, "bead 3"],
    look: Look,
    disc: FourierDisc,
    generator: torch.Generator,
) -> Look:
    """Amplitude, bead width and noise spectrum that fit the images best at these positions.

    They are found in closed form.

    The warm-up of width and amplitude alone, which Zhong et al. do by an epoch of gradient descent,
    and repeated whenever the resolution is raised: as long as positions are wrong, the beads are
    wide.
    """
    sums = measure(problem, position, look, disc, generator)
    amplitude, width2, spectrum = fit_scales(sums, disc, beads=problem.beads, width2=look.width2)
    return Look(look.amplitude * amplitude, look.width2 + width2, spectrum)


def measure(
    problem: SharedBeads,
    position: Float[Tensor, "bead 3"],
    look: Look,
    disc: FourierDisc,
    generator: torch.Generator,
) -> ShellSums:
    """Shell sums over a sample of the images, the same share of each noise group."""
    group = problem.images.group
    sample = problem.index[sample_of_groups(group[problem.index], IMAGES_MEASURED, generator)]
    flat = torch.ones(int(group.max()) + 1, int(disc.shell.max()) + 1)

    def compared(index: Int[Tensor, "image"]) -> tuple[Tensor, Tensor, Tensor]:
        transfer, data = problem.whitened(index, disc, flat)
        return (
            transfer,
            data,
            problem.before_the_lens(position, look, index, disc) * transfer[:, None],
        )

    return sum_by_shell(
        compared,
        problem.batches(disc, sample),
        group=group,
        disc=moved(disc, problem.device),
        portions=problem.shares,
    )


@dataclass(frozen=True)
class Found:
    """Shared positions that fit some images.

    Parameters
    ----------
    position : (bead, 3)
        A.
    look : Look
        As the images show the beads there.
    """

    position: Float[Tensor, "bead 3"]
    look: Look


def refine_shared_beads(
    problem: SharedBeads,
    *,
    restraints: Restraints,
    weight: float,
    error: Float[Tensor, "shell"],
    seed: int = 0,
    position: Float[Tensor, "bead 3"] | None = None,
    watch: Callable[[list[float]], Iterable[float]] = iter,
) -> Found:
    """Positions, amplitude, width and noise that fit the images best.

    They are found through all resolutions from coarse to fine.

    Parameters
    ----------
    problem : SharedBeads
        Images and beads, and how positions in an image follow from shared ones.
    restraints : Restraints
        What holds the shared positions together.
    weight : float
        Of the restraints against the likelihood.
    error : (shell,)
        What beads cannot show (:func:`~atomdrgn.inference.base_model.bead_error.bead_error`).
    seed : int
        For the images of which noise and brightness are measured.
    position : (bead, 3), optional
        Where to start; the base model by default, A.
    watch : callable
        Wraps the iteration over resolutions, A.
    """
    generator, look = torch.Generator().manual_seed(seed), Look()
    position = problem.beads.position if position is None else position
    finest = problem.images.disc
    for resolution in watch(
        resolutions(coarsest_resolution(finest.grid, finest.resolution), finest.resolution)
    ):
        disc = finest.coarser(resolution)
        look = calibrate(problem, position, look, disc, generator)
        look = doubted(problem, look, disc, error)
        for step in descend(problem, position, look, disc, restraints=restraints, weight=weight):
            position = step.position
    return Found(
        position,
        doubted(problem, calibrate(problem, position, look, finest, generator), finest, error),
    )


def doubted(
    problem: SharedBeads, look: Look, disc: FourierDisc, error: Float[Tensor, "shell"]
) -> Look:
    """The look with noise raised by what beads cannot show.

    More images do not average that out.
    """
    strength = transfer_power(problem, look, disc)
    k2 = ((torch.arange(len(strength)) + 1) / disc.grid.extent) ** 2
    gain = look.amplitude * torch.exp(-2 * math.pi**2 * look.width2 * k2)
    left = evidence_left(
        error[: len(strength)] * gain**2, strength, beads=problem.beads, grid=disc.grid
    )
    return replace(look, spectrum=look.noise_power / left)


@dataclass(frozen=True)
class Step:
    """What a Gauss-Newton step has come to.

    Parameters
    ----------
    position : (*field, bead, 3)
        A.
    loss : float
        Minus the log posterior.
    moved : float
        Length of the step, A r.m.s.; 0: it was not taken.
    """

    position: Float[Tensor, "*field bead 3"]
    loss: float
    moved: float


def descend(
    problem: SharedBeads,
    position: Float[Tensor, "*field bead 3"],
    look: Look,
    disc: FourierDisc,
    *,
    restraints: Restraints,
    weight: float,
    steps: int = STEPS,
    enough: float = ENOUGH,
) -> Iterator[Step]:
    """Gauss-Newton steps at one resolution, damped as far as they have to be (Levenberg-Marquardt).

    None of them goes uphill.

    Parameters
    ----------
    problem : SharedBeads
        Images and beads.
    position : (*field, bead, 3)
        Where to start, A. Fields of positions are told by images as one is, where an image's
        weights of them have a mean square of 1 and are uncorrelated.
    look : Look
        What the images look like.
    disc : FourierDisc
        The coefficients that count.
    restraints : Restraints
        What holds each field of positions together.
    weight : float
        Of the restraints against the likelihood; 1: their standard deviations are taken at their
        word.
    steps : int
        The most.
    enough : float
        A r.m.s.: a step shorter than this, or than 1/100 of the resolution, is the last.
    """
    damping = FIRST_DAMPING
    strength = transfer_power(problem, look, disc)
    here, gradient = _posterior(problem, position, look, disc, restraints=restraints, weight=weight)
    matrix, shortest = None, max(enough, 0.01 * disc.resolution)
    for number in range(steps):
        if matrix is None:
            matrix = _curvature(
                problem, position, look, disc, strength, restraints=restraints, weight=weight
            )
        step = -_solved(matrix, damping, gradient)
        moved = float(step.square().sum(-1).mean().sqrt())
        last = moved < shortest or number + 1 == steps
        there, slope = _posterior(
            problem,
            position + step,
            look,
            disc,
            restraints=restraints,
            weight=weight,
            sloped=not last,
        )
        better = there < here
        if better:
            position, here, gradient, matrix = position + step, there, slope, None
        yield Step(position, here, moved if better else 0.0)
        damping = min(max(damping / 3 if better else damping * 100, LEAST_DAMPING), MOST_DAMPING)
        if last:
            return


def transfer_power(problem: SharedBeads, look: Look, disc: FourierDisc) -> Float[Tensor, "shell"]:
    """Squared transfer function over the noise in each ring, summed over all images that count.

    It is what they can tell there.
    """
    spectrum, its_disc = moved((look.noise_power, disc), problem.device)
    stack, images = problem.images.stack, problem.images
    noise = Noise(spectrum, images.group, stack.premultiplied, images.left_out)

    def of_batch(index: Int[Tensor, "image"]) -> tuple[int, tuple[Tensor, ...]]:
        empty = spectrum.new_zeros(len(index), 2, len(its_disc))
        transfer, _ = noise.whiten(empty, stack.ctf[index], index, disc=its_disc)
        power = transfer.square().sum(0).cpu()
        return problem.shares.of(index), (zero.index_add(0, disc.shell, power),)

    zero = torch.zeros(int(disc.shell.max()) + 1)
    return problem.shares.sum(in_order(of_batch, problem.batches(disc)), [zero])[0]


def _posterior(
    problem: SharedBeads,
    position: Float[Tensor, "*field bead 3"],
    look: Look,
    disc: FourierDisc,
    *,
    restraints: Restraints,
    weight: float,
    sloped: bool = True,
) -> tuple[float, Float[Tensor, "*field bead 3"]]:
    """Minus the log posterior and its gradient (bead, 3).

    Where no slope is asked for, which costs as much again as the value, it is zero.
    """
    place = position.detach().clone().requires_grad_(sloped)

    def of_batch(index: Int[Tensor, "image"]) -> tuple[int, tuple[Tensor, ...]]:
        value = -problem.compare(place, look, index, disc).log_likelihood(CONTRAST_SD).sum()
        return problem.shares.of(index), (
            value.detach().double().cpu(),
            *(torch.autograd.grad(value, place) if sloped else (torch.zeros_like(place),)),
        )

    total, gradient = problem.shares.sum(
        in_order(of_batch, problem.batches(disc)),
        [torch.zeros((), dtype=torch.float64), torch.zeros_like(place.detach())],
    )
    value = float(total)
    if weight:
        strain = weight * restraints.strain(place).sum()
        value += float(strain.detach())
        if sloped:
            gradient += torch.autograd.grad(strain, place)[0]
    return value, gradient


def _curvature(
    problem: SharedBeads,
    position: Float[Tensor, "*field bead 3"],
    look: Look,
    disc: FourierDisc,
    strength: Float[Tensor, "shell"],
    *,
    restraints: Restraints,
    weight: float,
) -> Float[Tensor, "coordinate coordinate"]:
    beads, middle = (
        look.bright(problem.sought or problem.beads),
        position.reshape(-1, *position.shape[-2:]).mean(0),
    )
    matrix = image_curvature(middle, beads.amplitude, beads.sigma, weight=strength, grid=disc.grid)
    return matrix + weight * restraints.curvature(middle) if weight else matrix


def _solved(
    matrix: Float[Tensor, "coordinate coordinate"],
    damping: float,
    gradient: Float[Tensor, "*field bead 3"],
) -> Float[Tensor, "*field bead 3"]:
    """The damped matrix's inverse times the gradient, (*field, bead, 3)."""
    damped = matrix + damping * torch.eye(len(matrix), dtype=matrix.dtype)
    # rounding leaves eigenvalues of the images' part a little below zero
    damped.diagonal().add_(1e-9 * float(matrix.diagonal().max()))
    root = torch.linalg.cholesky(damped)
    return (
        torch.cholesky_solve(gradient.double().reshape(-1, len(matrix)).T, root)
        .T.reshape_as(gradient)
        .to(gradient.dtype)
    )
