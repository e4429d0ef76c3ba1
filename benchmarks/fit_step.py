"""How long one step of a fit by gradient takes, from images in memory to updated latents,
brightness and bead width.

Run ``python -m benchmarks.fit_step`` from the repository's root. Molecules and images are made up.
Times are medians over steps, those of the parts on one thread, those of the whole step on all. The
last lines are the same step with every bead evaluated on every row and column of the image, taken
in turn with the quick one.
"""

import argparse
import math
import platform
import resource
import statistics
import time
from dataclasses import dataclass, replace
from unittest.mock import patch

import torch
from torch import Tensor

from atomdrgn.inference.amortised import gradient
from atomdrgn.inference.amortised.gradient import WhitenedImages, add_gradients, minus_log_posterior
from atomdrgn.likelihood.image_likelihood import compare
from atomdrgn.likelihood.restraints.segment_restraints import Restraints, make_restraints
from atomdrgn.parallel import whole_batches_on_threads
from atomdrgn.physics.ctf import CTF
from atomdrgn.physics.disc import FourierDisc, make_disc
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.projection.project import project_beads
from atomdrgn.physics.rotations import matrix_from_quaternion
from atomdrgn.structure.beads import BeadModel
from atomdrgn.structure.motion.segment_deformation import SegmentDeformation
from atomdrgn.structure.segmentation import make_segments

from .molecules import globular_protein
from .reference import dense_projection

CASES = ((500, 1, 128), (1510, 1, 190), (14000, 10, 256))  # residues, chains, box
SEGMENTS, PIXEL_SIZE = 20, 1.0
# A: standard deviation of each number of the latents
MOVED, CONTRAST_SD = 1.0, 0.2
PARTS = (
    "conformation",
    "projection",
    "transform, CTF, likelihood",
    "restraints",
    "backward",
    "update",
)


@dataclass(frozen=True, eq=False)
class Fit:
    """Everything that a step needs."""

    deformation: SegmentDeformation
    restraints: Restraints
    beads: BeadModel
    disc: FourierDisc
    images: WhitenedImages
    latent: Tensor
    log_amplitude: Tensor
    width2: Tensor
    optimizer: torch.optim.Optimizer

    @property
    def bright_beads(self) -> BeadModel:
        return replace(
            self.beads,
            amplitude=self.beads.amplitude * self.log_amplitude.exp(),
            sigma=(self.beads.sigma**2 + self.width2).sqrt(),
        )

    @property
    def particle(self) -> Tensor:
        return torch.arange(len(self.latent), device=self.latent.device)


def make_fit(residues: int, chains: int, box_size: int, *, batch: int, device: str) -> Fit:
    """A batch of images of one particle each: poses, CTFs and images at random, noise of unit
    variance.
    """
    generator = torch.Generator().manual_seed(0)
    beads = globular_protein(residues, chains=chains, generator=generator)
    segmentation = make_segments(beads, SEGMENTS)
    restraints = make_restraints(beads, segmentation)
    deformation = SegmentDeformation(beads.to(device), segmentation.to(device))
    grid = ImageGrid(box_size, PIXEL_SIZE)
    disc = make_disc(grid, grid.nyquist)
    rotation = matrix_from_quaternion(torch.randn(batch, 4, generator=generator))
    root = disc.multiplicity.sqrt()
    images = WhitenedImages(
        rotation,
        torch.randn(batch, 2, generator=generator),
        make_ctfs(batch, generator).at(disc.kx, disc.ky) * root,
        disc.coefficients(torch.randn(batch, box_size, box_size, generator=generator)) * root,
    )
    latent = (
        (MOVED * torch.randn(batch, deformation.n_latent, generator=generator))
        .to(device)
        .requires_grad_()
    )
    log_amplitude, width2 = (
        torch.tensor(value, device=device, requires_grad=True) for value in (0.0, 1.0)
    )
    return Fit(
        deformation,
        restraints.to(device),
        beads.to(device),
        disc.to(device),
        images.to(device),
        latent,
        log_amplitude,
        width2,
        torch.optim.Adam([latent, log_amplitude, width2], lr=1e-3),
    )


def make_ctfs(batch: int, generator: torch.Generator) -> CTF:
    """Of a 300 kV microscope at 1 to 2.5 um underfocus."""
    defocus = 10000 + 15000 * torch.rand(batch, generator=generator)
    zero = torch.zeros(batch)
    return CTF(
        defocus_u=defocus + 200,
        defocus_v=defocus,
        defocus_angle=zero,
        phase_shift=zero,
        voltage_kv=zero + 300,
        spherical_aberration_mm=zero + 2.7,
        amplitude_contrast=zero + 0.1,
        scale=zero + 1,
        b_factor=zero,
        dose=zero,
    )


def step(fit: Fit) -> None:
    """As a fit does it: on a processor, with one share of the images for each thread."""

    def loss(some):
        return minus_log_posterior(
            fit.latent[some],
            fit.images[some],
            torch.arange(len(some), device=some.device),
            deformation=fit.deformation,
            beads=fit.bright_beads,
            disc=fit.disc,
            contrast_sd=CONTRAST_SD,
            restraints=fit.restraints,
        )

    fit.optimizer.zero_grad()
    if fit.latent.is_cuda:
        loss(fit.particle).sum().backward()
    else:
        shares = fit.particle.split(math.ceil(len(fit.particle) / torch.get_num_threads()))
        add_gradients(loss, shares, (fit.latent, fit.log_amplitude, fit.width2))
    fit.optimizer.step()


def step_by_parts(fit: Fit, lap) -> None:
    """The same, all images together, with the clock told after each part."""
    fit.optimizer.zero_grad()
    beads = fit.bright_beads
    conformation = fit.deformation.conformation(fit.latent)
    seen = fit.images.pose.apply(conformation.position[fit.particle])
    amplitude = beads.amplitude * conformation.occupancy[fit.particle]
    lap()
    image = project_beads(seen, amplitude, beads.sigma, fit.disc.grid)
    lap()
    likelihood = compare(image, fit.images.transfer, fit.images.data, disc=fit.disc).log_likelihood(
        CONTRAST_SD
    )
    lap()
    loss = fit.restraints(conformation.position) - likelihood
    lap()
    loss.sum().backward()
    lap()
    fit.optimizer.step()
    lap()


def clock(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds(run, *, repeats: int, device: str) -> float:
    """Median over repeats."""
    times = []
    for _ in range(repeats):
        start = clock(device)
        run()
        times.append(clock(device) - start)
    return statistics.median(times)


def seconds_by_part(fit: Fit, *, repeats: int, device: str) -> list[float]:
    """Medians over repeats, in the order of PARTS."""
    rows = []
    for _ in range(repeats):
        laps = [clock(device)]
        step_by_parts(fit, lambda laps=laps: laps.append(clock(device)))
        rows.append([after - before for before, after in zip(laps, laps[1:], strict=False)])
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def peak_memory(device: str) -> float:
    """MiB: of the process, or of the accelerator."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def measure(case, *, batch: int, repeats: int, device: str) -> dict[str, float]:
    """Milliseconds an image by part and whole, images a second, and peak memory."""
    fit = make_fit(*case, batch=batch, device=device)
    for _ in range(3):
        step(fit)
    with whole_batches_on_threads():
        parts = seconds_by_part(fit, repeats=repeats, device=device)
    whole = seconds(lambda: step(fit), repeats=repeats, device=device)
    row = {name: 1e3 * value / batch for name, value in zip(PARTS, parts, strict=True)}
    return row | {
        "whole step": 1e3 * whole / batch,
        "images a second": batch / whole,
        "peak memory, MiB": peak_memory(device),
    }


def measure_ratio(case, *, batch: int, repeats: int, device: str) -> dict[str, float]:
    """Milliseconds an image of the step with the dense projection, and how many times longer that
    is, step by step in turn.
    """
    fit = make_fit(*case, batch=batch, device=device)
    step(fit)
    quick, slow, project_dense = [], [], dense_projection()[0]

    def dense(position, amplitude, sigma, grid):
        # one amplitude for all images
        return project_dense(position, amplitude[0], sigma, grid)

    for _ in range(repeats):
        quick.append(seconds(lambda: step(fit), repeats=3, device=device))
        with patch.object(gradient, "project_beads", dense):
            slow.append(seconds(lambda: step(fit), repeats=1, device=device))
    return {
        "with dense projection": 1e3 * statistics.median(slow) / batch,
        "times as long": statistics.median(slow) / statistics.median(quick),
    }


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=32, help="images a step (32)")
    parser.add_argument(
        "--dense-batch", type=int, default=8, help="images a step against the dense projection (8)"
    )
    parser.add_argument("--threads", type=int, default=2, help="of the processor (2)")
    parser.add_argument(
        "--repeats",
        type=int,
        default=20,
        help="steps timed (20); a fifth of them with the dense projection",
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    columns = [
        measure(case, batch=options.batch, repeats=options.repeats, device=options.device)
        for case in CASES
    ]
    for case, column in zip(CASES, columns, strict=True):  # afterwards: it needs more memory
        column |= measure_ratio(
            case,
            batch=options.dense_batch,
            repeats=math.ceil(options.repeats / 5),
            device=options.device,
        )
    print(
        f"torch {torch.__version__}, {options.device}, "
        f"{platform.processor() or platform.machine()}, {options.threads} threads, {options.batch} "
        f"images a step, {SEGMENTS} segments"
    )
    print(
        f"{'milliseconds an image':30}"
        + "".join(f"{f'{residues} / {box}':>14}" for residues, _, box in CASES)
    )
    for name in columns[0]:
        print(f"{name:30}" + "".join(f"{column[name]:14.3f}" for column in columns))


if __name__ == "__main__":
    main()
