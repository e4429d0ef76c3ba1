"""The curved surface that conformations form over their places along a few motions."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...physics.record import Record

FEW = 30.0  # particles that say as little of a bend as none


@dataclass(frozen=True)
class Surface(Record):
    """Latents as quadratic functions of places: the decoder of a fit's motions.

    In twists what turns about a hinge is linear; the squares are for paths that bend and for
    motions that change each other.

    Parameters
    ----------
    scale : (k,)
        Of the places along each motion, A r.m.s.: features are of the places over it.
    coefficient : (feature, latent)
        Of 1, each place, and each product of two.

    Examples
    --------
    >>> surface = straight_surface(torch.zeros(6), torch.eye(6)[:, :1], torch.ones(1))
    >>> surface(torch.tensor([2.0]))
    tensor([2., 0., 0., 0., 0., 0.])
    """

    scale: Float[Tensor, "k"]
    coefficient: Float[Tensor, "feature latent"]

    def features(self, place: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch feature"]:
        """1, each place, each product of two."""
        place = place / self.scale
        i, j = torch.triu_indices(len(self.scale), len(self.scale))
        return torch.cat(
            [place.new_ones(*place.shape[:-1], 1), place, place[..., i] * place[..., j]], -1
        )

    def __call__(self, place: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch latent"]:
        """The conformations' latents at some places."""
        return self.features(place) @ self.coefficient

    def slope(self, place: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch k latent"]:
        """What a step along each motion adds to the latents, from some places."""
        k = len(self.scale)
        i, j = torch.triu_indices(k, k)
        eye, place = torch.eye(k), (place / self.scale)[..., None, :]
        bent = eye[:, i] * place[..., j] + eye[:, j] * place[..., i]
        return (self.coefficient[1 : 1 + k] + bent @ self.coefficient[1 + k :]) / self.scale[
            :, None
        ]

    def with_straight(
        self, direction: Float[Tensor, "latent more"], scale: Float[Tensor, "more"]
    ) -> "Surface":
        """The same with further motions, along which it is straight."""
        old, k = len(self.scale), len(self.scale) + len(scale)
        bent = self.coefficient.new_zeros(k, k, self.coefficient.shape[1])
        i, j = torch.triu_indices(old, old)
        bent[i, j] = self.coefficient[1 + old :]
        i, j = torch.triu_indices(k, k)
        return Surface(
            torch.cat([self.scale, scale]),
            torch.cat([self.coefficient[: 1 + old], (direction * scale).T, bent[i, j]]),
        )

    def reparametrised(self, offset: Float[Tensor, "k"], axes: Float[Tensor, "k new"]) -> "Surface":
        """The same conformations, or some of them, over other places.

        Those at `place` are here at ``offset + axes @ place``.
        """
        k = len(self.scale)
        i, j = torch.triu_indices(k, k)
        constant, straight = self.coefficient[0], self.coefficient[1 : 1 + k] / self.scale[:, None]
        half = 0.5 * self.coefficient[1 + k :] / (self.scale[i] * self.scale[j])[:, None]
        bent = half.new_zeros(k, k, half.shape[1])
        bent[i, j] += half
        bent[j, i] += half
        constant = constant + offset @ straight + torch.einsum("k,l,klm->m", offset, offset, bent)
        straight = axes.T @ (straight + 2 * torch.einsum("l,klm->km", offset, bent))
        bent = torch.einsum("ka,lb,klm->abm", axes, axes, bent)
        i, j = torch.triu_indices(axes.shape[1], axes.shape[1])
        both = torch.where(i == j, 1.0, 2.0)[:, None]
        return Surface(
            torch.ones(axes.shape[1]), torch.cat([constant[None], straight, both * bent[i, j]])
        )

    def rescaled(self, scale: Float[Tensor, "k"]) -> "Surface":
        """The same conformations at the same places, with other units of the features."""
        i, j = torch.triu_indices(len(scale), len(scale))
        ratio = scale / self.scale
        factor = torch.cat([ratio.new_ones(1), ratio, ratio[i] * ratio[j]])
        return Surface(scale, factor[:, None] * self.coefficient)

    def at(self, place: Float[Tensor, "particle k"]) -> "Candidates":
        """The conformations at a place of each particle, decoded when they are looked up."""
        return Candidates(self, place)


@dataclass(frozen=True, eq=False)
class Candidates:
    """One conformation for each particle: index it by particles for their latents.

    Parameters
    ----------
    surface : Surface
        That decodes.
    place : (particle, k)
        Along each motion, A.

    Examples
    --------
    >>> surface = straight_surface(torch.zeros(6), torch.eye(6)[:, :1], torch.ones(1))
    >>> surface.at(torch.tensor([[1.0], [2.0]]))[1]
    tensor([2., 0., 0., 0., 0., 0.])
    """

    surface: Surface
    place: Tensor

    def __getitem__(self, particle: int | slice | Tensor) -> Tensor:
        return self.surface(self.place[particle])


def straight_surface(
    mean: Float[Tensor, "latent"], direction: Float[Tensor, "latent k"], scale: Float[Tensor, "k"]
) -> Surface:
    """A plane through the mean: what a Gaussian population says.

    Parameters
    ----------
    mean : (latent,)
        Where it passes.
    direction : (latent, k)
        What a step of 1 along each motion adds.
    scale : (k,)
        As in :class:`Surface`, A.

    Returns
    -------
    Surface

    Examples
    --------
    >>> straight_surface(torch.zeros(6), torch.eye(6)[:, :2], torch.ones(2)).coefficient.shape
    torch.Size([6, 6])
    """
    k = len(scale)
    bends = mean.new_zeros(k * (k + 1) // 2, len(mean))
    return Surface(scale, torch.cat([mean[None], (direction * scale).T, bends]))


def fit_surface(
    place: Float[Tensor, "particle k"],
    latent: Float[Tensor, "particle latent"],
    scale: Float[Tensor, "k"],
) -> Surface:
    """The surface that latents form over their places, by least squares.

    A penalty that a few dozen particles overcome keeps the bends of sparse sets at zero.

    Parameters
    ----------
    place : (particle, k)
        Along each motion, A.
    latent : (particle, latent)
        Of each particle.
    scale : (k,)
        As in :class:`Surface`, A.

    Returns
    -------
    Surface

    Examples
    --------
    >>> place = torch.linspace(-1, 1, 9)[:, None]
    >>> fit_surface(place, place.square(), torch.ones(1)).coefficient.T.round(decimals=2)
    tensor([[0.3700, 0.0000, 0.1200]])
    """
    bare = Surface(scale, latent.new_zeros(0, latent.shape[1]))
    features = bare.features(place).double()
    power = features.square().mean(0)
    penalty = torch.where(torch.arange(features.shape[1]) > place.shape[1], FEW, 1e-6) * power
    right = features.T @ latent.double()
    return Surface(scale, torch.linalg.solve(features.T @ features + penalty.diag(), right).float())
