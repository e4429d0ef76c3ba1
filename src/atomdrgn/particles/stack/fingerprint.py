"""A short name for the pixels of a particle set, by which a run knows them again."""

import hashlib

import torch

from .stack import ParticleStack

SAMPLED = 32  # images, of all sets: a second of reading at most


def fingerprint(particles: ParticleStack) -> str:
    """SHA-256 of the shapes of all stacks, wherever they lie, and of the pixels of some images.

    These are spread evenly over the set. Pixels are taken as they are read, light or dark: a set
    that is inverted has another fingerprint. A change in a few images alone may go unnoticed.

    Parameters
    ----------
    particles : ParticleStack
        Of any size: a second of reading at most.

    Returns
    -------
    str
        Hexadecimal.

    Raises
    ------
    FileFormatError, OSError
        A stack cannot be read any more.
    """
    found = hashlib.sha256()
    for header in particles.images.headers:
        found.update(f"{header.shape} {header.available} {header.dtype.str}\n".encode())
    count = len(particles)
    # one by one: sizes may differ
    for number in torch.linspace(0, count - 1, min(SAMPLED, count)).round().long().tolist():
        found.update(particles.images[torch.tensor([number])].read().numpy().tobytes())
    return found.hexdigest()
