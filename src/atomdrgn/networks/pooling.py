"""Pools: from the embeddings of a particle's images to one embedding of the particle, whatever the
number of images.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..errors import InputError


class MeanPooling(nn.Module):
    """The mean over the images that are there."""

    def __init__(self, n_embedding: int, n_tilts: int, generator: torch.Generator):
        super().__init__()
        self.n_out = n_embedding

    def forward(
        self,
        embedding: Float[Tensor, "particle tilt embedding"],
        there: Bool[Tensor, "particle tilt"],
    ) -> Float[Tensor, "particle out"]:
        return (embedding * there[..., None]).sum(1) / there.sum(1, keepdim=True)


class MaxPooling(nn.Module):
    """The largest of each number over the images that are there."""

    def __init__(self, n_embedding: int, n_tilts: int, generator: torch.Generator):
        super().__init__()
        self.n_out = n_embedding

    def forward(
        self,
        embedding: Float[Tensor, "particle tilt embedding"],
        there: Bool[Tensor, "particle tilt"],
    ) -> Float[Tensor, "particle out"]:
        return embedding.masked_fill(~there[..., None], -torch.inf).amax(1)


class Concatenation(nn.Module):
    """All images side by side in the order of their dose; zeros in the places of those that are not
    there.
    """

    def __init__(self, n_embedding: int, n_tilts: int, generator: torch.Generator):
        super().__init__()
        self.n_out = n_embedding * n_tilts

    def forward(
        self,
        embedding: Float[Tensor, "particle tilt embedding"],
        there: Bool[Tensor, "particle tilt"],
    ) -> Float[Tensor, "particle out"]:
        return (embedding * there[..., None]).flatten(1)


class AttentionPooling(nn.Module):
    """A weighted mean; how much an image weighs is learned from its embedding.

    References
    ----------
    Ilse et al., Attention-based deep multiple instance learning (2018), equations 7 and 8, without
    the gate.
    """

    def __init__(self, n_embedding: int, n_tilts: int, generator: torch.Generator):
        super().__init__()
        self.n_out = n_embedding
        self.key = nn.Parameter(
            torch.randn(n_embedding, n_embedding, generator=generator) * n_embedding**-0.5
        )
        # all images weigh the same at the start
        self.query = nn.Parameter(torch.zeros(n_embedding))

    def forward(
        self,
        embedding: Float[Tensor, "particle tilt embedding"],
        there: Bool[Tensor, "particle tilt"],
    ) -> Float[Tensor, "particle out"]:
        score = torch.tanh(embedding @ self.key) @ self.query
        weight = score.masked_fill(~there, -torch.inf).softmax(1)
        return (embedding * weight[..., None]).sum(1)


POOLINGS = {
    "concatenate": Concatenation,
    "mean": MeanPooling,
    "max": MaxPooling,
    "attention": AttentionPooling,
}


def make_pooling(
    name: str, n_embedding: int, n_tilts: int, generator: torch.Generator
) -> nn.Module:
    """A pool by its name in :data:`POOLINGS`; `n_out` is how many numbers it gives.

    Parameters
    ----------
    name : str
    n_embedding : int
        Numbers of an image's embedding.
    n_tilts : int
        The most images that a particle has.
    generator : torch.Generator
        Draws the weights that one starts from.

    Raises
    ------
    InputError
        There is no such pool.

    References
    ----------
    Powell & Davis, TomoDRGN (2024), methods: concatenation by default, 'max' and 'mean'.
    """
    require_pooling(name)
    return POOLINGS[name](n_embedding, n_tilts, generator)


def require_pooling(name: str) -> None:
    """Refuse a name that is none of a pool's.

    Raises
    ------
    InputError
        There is no such pool.
    """
    if name not in POOLINGS:
        raise InputError(f"a pooling {name!r}: choose {', '.join(POOLINGS)}")
