"""Maps around chosen latents.

They are backprojections in which each particle counts as far as its latent is near.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import InputError
from ..structure.motion.surface import Surface

# of the distance to the nearest other centre: the kernel's standard deviation
NARROW = 0.5
OF_SPREAD = 0.5  # of the latents' standard deviation where there is one centre
ROUNDS = 30  # of k-means
# of Gauss-Newton from a latent of segments to its place along the motions
STEPS = 5


def places_of(
    surface: Surface, latent: Float[Tensor, "particle latent"]
) -> Float[Tensor, "particle k"]:
    """Where on a run's surface latents of segments are nearest, by Gauss-Newton from the middle.

    A latent's numbers are all in A of motion of their segment, so that distances between latents
    are lengths.
    """
    k = len(surface.scale)
    place = latent.new_zeros(len(latent), k)
    step = 1e-2 * surface.scale
    for _ in range(STEPS if k else 0):
        here = surface(place)
        slope = torch.stack(
            [
                (surface(place + step * axis) - here) / step[i]
                for i, axis in enumerate(torch.eye(k))
            ],
            -1,
        )
        place = place + torch.linalg.lstsq(slope, (latent - here)[..., None]).solution[..., 0]
    return place


def choose_centres(
    place: Float[Tensor, "particle k"], count: int, *, seed: int = 0
) -> Float[Tensor, "centre k"]:
    """Places of particles in the middle of k-means clusters, in the order of the first motion.

    Raises
    ------
    InputError
        More centres than particles, or none.
    """
    if not 1 <= count <= len(place):
        raise InputError(f"{count} centres for {len(place)} particles: choose 1 to {len(place)}")
    generator = torch.Generator().manual_seed(seed)
    centre = place[_spread(place, count, generator)]
    for _ in range(ROUNDS):
        nearest = torch.cdist(place, centre).argmin(1)
        mean = torch.stack(
            [
                place[nearest == c].mean(0) if (nearest == c).any() else centre[c]
                for c in range(count)
            ]
        )
        if torch.equal(mean, centre):
            break
        centre = mean
    on_data = place[torch.cdist(centre, place).argmin(1)]
    return on_data[torch.argsort(on_data[:, 0])] if place.shape[1] else on_data[:1]


def _spread(place: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Particles far from each other.

    Each is drawn by its squared distance to those before (k-means++).
    """
    chosen = [int(torch.randint(len(place), (1,), generator=generator))]
    for _ in range(count - 1):
        distance = torch.cdist(place, place[chosen]).amin(1).double() ** 2
        if not distance.any():
            break
        draw = torch.rand(1, generator=generator, dtype=torch.float64) * distance.sum()
        chosen.append(min(int(torch.searchsorted(distance.cumsum(0), draw)), len(place) - 1))
    return torch.tensor(chosen + chosen[:1] * (count - len(chosen)))


def kernel_width(
    place: Float[Tensor, "particle k"], centre: Float[Tensor, "centre k"]
) -> Float[Tensor, "centre"]:
    """Standard deviation of each centre's kernel.

    It is half of its distance to the nearest other, or half of the latents' spread.
    """
    spread = (
        OF_SPREAD * place.std(0).square().sum().sqrt() if place.shape[1] else place.new_tensor(1.0)
    )
    if len(centre) == 1:
        return spread[None].clamp_min(1e-6)
    distance = torch.cdist(centre, centre)
    distance = torch.where(distance > 0, distance, torch.inf).amin(1)
    return torch.where(distance.isfinite(), NARROW * distance, spread).clamp_min(1e-6)


def kernel_weights(
    place: Float[Tensor, "particle k"],
    sd: Float[Tensor, "particle k"],
    centre: Float[Tensor, "k"],
    width: float,
) -> Float[Tensor, "particle"]:
    """How much each particle counts at a centre.

    The weight is a Gaussian kernel, averaged over what the particle's place could be.

    Parameters
    ----------
    place, sd : (particle, k)
        Where particles are, and their standard deviations.
    centre : (k,)
    width : float
        Standard deviation of the kernel.

    Returns
    -------
    (particle,)
        1 for a particle that is known to be at the centre; all 1 where there are no motions.
    """
    variance = width**2 + sd**2
    return ((width / variance.sqrt()) * torch.exp(-0.5 * (place - centre) ** 2 / variance)).prod(1)


def effective_number(weight: Float[Tensor, "particle"]) -> float:
    """How many particles of weight 1 tell as much as these.

    It is (sum of weights)^2 over the sum of their squares.
    """
    return float(weight.double().sum() ** 2 / weight.double().square().sum().clamp_min(1e-300))


def parse_places(text: str, n_motions: int) -> np.ndarray:
    """Places from text such as ``-5,0;0,0;5,0``.

    Centres are parted by semicolons, places along the motions by commas.

    Raises
    ------
    InputError
        It cannot be read, or has another number of motions.
    """
    try:
        places = [[float(word) for word in centre.split(",")] for centre in text.split(";")]
    except ValueError:
        raise InputError(
            f"places {text!r}: expected numbers such as -5,0;5,0 (A along each motion; a semicolon "
            "between places)"
        ) from None
    wrong = [place for place in places if len(place) != n_motions]
    if wrong:
        raise InputError(
            f"places {text!r}: {len(wrong[0])} numbers for a place and the run has {n_motions} "
            "motions; give one for each"
        )
    return np.array(places)
