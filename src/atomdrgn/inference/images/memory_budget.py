"""How much memory a fit may take, and what for."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError

GB = 10**9
# The interpreter with its libraries, and the arrays of the batches that are under way.
BASE = 0.9 * GB
# Of what is left, for the normal equations; the rest is for images.
EQUATIONS_SHARE = 0.4
SMALLEST = 0.3 * GB  # for both together
CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Memory:
    """What may be kept, in bytes.

    Parameters
    ----------
    images : float
        Fourier coefficients of images.
    equations : float
        Normal equations of particles.
    """

    images: float
    equations: float


def share_memory(
    limit: float | None, *, particles: int, images: int, n_latent: int, processes: int = 1
) -> Memory:
    """What a process may keep of images and equations so that the fit stays within its limit.

    Parameters
    ----------
    limit : float, optional
        Of one process, GB (10^9 bytes); by default an equal share of half the machine's memory.
    particles, images, n_latent
        Size of the fit: poses and latents of all particles are in memory all the time. No latents:
        one structure is fitted to all.
    processes : int
        That run on this machine.

    Raises
    ------
    InputError
        The limit is no positive number, or leaves no room to work in.
    """
    if limit is not None and not limit > 0:
        raise InputError(f"{limit:g} GB of memory: expected a positive number, such as 4")
    allowed = limit * GB if limit is not None else 0.5 * machine_memory() / processes
    fixed = BASE + 400 * images + 4 * 4 * n_latent * particles
    needed = fixed + SMALLEST
    if allowed < needed:
        raise InputError(
            f"{allowed / GB:.3g} GB of memory for {particles} particles and {images} images: at "
            f"least {math.ceil(10 * needed / GB) / 10:.1f} GB are needed; raise --memory"
            + (", or take fewer --segments" if n_latent else "")
        )
    return Memory(
        images=(1 - EQUATIONS_SHARE) * (allowed - fixed),
        equations=EQUATIONS_SHARE * (allowed - fixed),
    )


def machine_memory() -> float:
    """Bytes of memory that this machine, or the container that this process runs in, has."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in map(Path, CONTAINER_LIMITS):
        try:
            whole = min(whole, int(path.read_text()))
        except (OSError, ValueError):  # no container, or one without a limit ("max")
            continue
    return float(whole)
