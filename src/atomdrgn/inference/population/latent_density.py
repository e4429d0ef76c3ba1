"""How many particles stand where along the motions.

It is a mixture of Gaussians, with the particles' own errors taken out.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...physics.record import Record

COMPONENTS = 6
ROUNDS = 40
# of the spread of all particles; and a density shows nothing that is narrower
# than a particle's own error
NARROWEST = 0.1
MOST_FITTED = 2500  # particles


@dataclass(frozen=True)
class Density(Record):
    """A mixture of Gaussians over places.

    Parameters
    ----------
    weight : (component,)
        Sums to 1.
    mean : (component, k)
    root : (component, k, k)
        Lower triangular; ``root @ root.T`` is the covariance.
    """

    weight: Float[Tensor, "component"]
    mean: Float[Tensor, "component k"]
    root: Float[Tensor, "component k k"]

    def log(self, place: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch"]:
        """Logarithm of the density."""
        return self.log_parts(place).logsumexp(-1)

    def log_parts(self, place: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch component"]:
        """Of each component's share of it."""
        return torch.stack(
            [
                log_normal(place - mean, root) + weight.log()
                for weight, mean, root in zip(self.weight, self.mean, self.root, strict=True)
            ],
            -1,
        )

    def variance(self) -> Float[Tensor, "k"]:
        """Along each motion."""
        mean = self.weight @ self.mean
        return self.weight @ ((self.mean - mean).square() + self.root.square().sum(-1))

    def draw(self, count: int, generator: torch.Generator) -> Float[Tensor, "count k"]:
        """Places at random."""
        of = torch.multinomial(self.weight, count, replacement=True, generator=generator)
        normal = torch.randn(count, self.mean.shape[1], generator=generator)
        return self.mean[of] + (self.root[of] @ normal[..., None])[..., 0]


def log_normal(
    offset: Float[Tensor, "*batch k"], root: Float[Tensor, "*batch_or_none k k"]
) -> Float[Tensor, "*batch"]:
    """Logarithm of a Gaussian density at an offset from its mean."""
    inside = torch.linalg.solve_triangular(root, offset[..., None], upper=False)[..., 0]
    k = offset.shape[-1]
    return (
        -0.5 * inside.square().sum(-1)
        - root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        - 0.5 * k * math.log(2 * math.pi)
    )


def spread_out(place: Float[Tensor, "particle k"]) -> Density:
    """Where a fit of a mixture begins: components along the first motion.

    Together they are as wide as the particles are spread.
    """
    order = place[:, 0].argsort()
    count = min(COMPONENTS, max(1, len(place) // 50))
    groups = order.tensor_split(count)
    mean = torch.stack([place[group].mean(0) for group in groups])
    covariance = torch.cov(place.T).reshape(place.shape[1], -1) + 1e-6 * torch.eye(place.shape[1])
    within = (
        torch.stack([torch.cov(place[group].T).reshape(covariance.shape) for group in groups])
        + 0.05 * covariance
    )
    return Density(torch.full((count,), 1 / count), mean, torch.linalg.cholesky(within))


def fit_density(
    density: Density,
    place: Float[Tensor, "draw particle k"],
    weight: Float[Tensor, "draw particle"],
    *,
    error: Float[Tensor, "particle k"],
    rounds: int = ROUNDS,
    most: int = MOST_FITTED,
) -> Density:
    """The mixture that makes the particles' images likeliest, by EM.

    It is found over what each particle could be.

    Parameters
    ----------
    density : Density
        To start from.
    place : (draw, particle, k)
        Places of each particle that were looked at.
    weight : (draw, particle)
        Logarithm of the images' likelihood at each, over the density that the places were drawn
        from.
    error : (particle, k)
        Of each particle's place.
    rounds, most : int
        Rounds of EM, and how many particles it is fitted to, about.

    References
    ----------
    Bovy, Hogg & Roweis, Ann. Appl. Stat. 5:1657 (2011): mixtures of what is measured with errors.
    """
    step = max(1, place.shape[1] // most)
    place, weight = place[:, ::step], weight[:, ::step]
    mean = torch.einsum("dp,dpk->pk", (weight + density.log(place)).softmax(0), place)
    narrowest = error.square().mean(0).diag() + NARROWEST**2 * torch.cov(mean.T).reshape(
        place.shape[2], -1
    )
    for _ in range(rounds):
        part = density.log_parts(place) + weight[..., None]
        # (draw, particle, component)
        share = (part - part.logsumexp((0, 2), keepdim=True)).exp()
        count = share.sum((0, 1))
        mean = torch.einsum("dpc,dpk->ck", share, place) / count[:, None].clamp_min(1e-6)
        offset = place[:, :, None] - mean
        moment = torch.einsum("dpc,dpck,dpcl->ckl", share, offset, offset)
        covariance = _at_least(moment / count[:, None, None].clamp_min(1e-6), narrowest)
        density = Density((count + 1) / (count + 1).sum(), mean, torch.linalg.cholesky(covariance))
    return density


def _at_least(
    covariance: Float[Tensor, "component k k"], narrowest: Float[Tensor, "k k"]
) -> Float[Tensor, "component k k"]:
    """Covariances with no direction narrower than in another one."""
    root = torch.linalg.cholesky(narrowest)
    inside = torch.linalg.solve_triangular(
        root, torch.linalg.solve_triangular(root, covariance, upper=False).mT, upper=False
    )
    value, vector = torch.linalg.eigh(inside)
    wide = root @ (vector * value.clamp_min(1).sqrt()[..., None, :])
    return wide @ wide.mT
