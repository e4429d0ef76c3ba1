"""Axes of latents along which particles that are near each other stay together.

Components are sorted by how much density they change. Of a motion by more than the resolution the
first one turns back at both ends, the second one is its curvature, and the third one mends the
first. The axis that follows the motion to its ends is the one along which neighbours differ least.
"""

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh
from scipy.spatial import cKDTree

NEIGHBOURS = 30
FEWEST = 3  # latents: of two, the second cannot mend the first, and noise would turn the axes


def axes_by_neighbours(
    latent: Float[np.ndarray, "particle latent"],
) -> Float[np.ndarray, "latent axis"]:
    """A rotation of latents, the axis along which neighbours differ least first.

    Parameters
    ----------
    latent : (particle, latent)

    Returns
    -------
    (latent, axis)
        Orthogonal; new latents are ``latent @ axes``.

    References
    ----------
    He & Niyogi, Locality preserving projections, NeurIPS 16 (2003).

    Examples
    --------
    >>> turn = np.linspace(0, np.pi, 200)
    >>> waves = np.stack([np.cos(k * turn) for k in (3, 2, 1)], 1)
    >>> abs(axes_by_neighbours(waves)[:, 0]).round(1)
    array([0., 0., 1.])
    """
    count, latents = latent.shape
    neighbours = min(NEIGHBOURS, count // 10)
    if latents < FEWEST or neighbours < 2:
        return np.eye(latents)
    centred = latent - latent.mean(0)
    near = cKDTree(centred).query(centred, neighbours + 1)[1][:, 1:]
    step = (centred[:, None] - centred[near]).reshape(-1, latents)
    spread = centred.T @ centred / count
    floor = 1e-6 * np.trace(spread) * np.eye(latents)
    vector = eigh(step.T @ step / len(step) + floor, spread + floor)[1]
    axes = np.linalg.qr(vector)[0]
    return axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(latents)])
