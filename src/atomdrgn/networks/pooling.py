"""Pools: from the embeddings of a particle's images to one embedding of the particle.

The number of images may be any.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..errors import InputError


class Pooling(nn.Module):
    """From the embeddings of a particle's images to one embedding; `n_out` is its size.

    Parameters
    ----------
    n_embedding, n_tilts, generator
        As for :func:`make_pooling`.

    Attributes
    ----------
    n_out : int
        Numbers of a particle's embedding; as many as an image's, unless a pool says otherwise.
    """

    def __init__(self, n_embedding: int, n_tilts: int, generator: torch.Generator) -> None:
        super().__init__()
        self.n_out = n_embedding


class MeanPooling(Pooling):
    """The mean over the images that are there.

    Parameters
    ----------
    n_embedding, n_tilts, generator
        As for :func:`make_pooling`.

    Examples
    --------
    >>> pooling = MeanPooling(2, 3, torch.Generator())
    >>> pooling(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.tensor([[True, True]]))
    tensor([[2., 3.]])
    """

    def forward(
        self,
        embedding: Float[Tensor, "particle tilt embedding"],
        there: Bool[Tensor, "particle tilt"],
    ) -> Float[Tensor, "particle out"]:
        """One embedding of each particle."""
        return (embedding * there[..., None]).sum(1) / there.sum(1, keepdim=True)


class MaxPooling(Pooling):
    """The largest of each number over the images that are there.

    Parameters
    ----------
    n_embedding, n_tilts, generator
        As for :func:`make_pooling`.

    Examples
    --------
    >>> pooling = MaxPooling(2, 3, torch.Generator())
    >>> pooling(torch.tensor([[[1.0, 4.0], [3.0, 2.0]]]), torch.tensor([[True, True]]))
    tensor([[3., 4.]])
    """

    def forward(
        self,
        embedding: Float[Tensor, "particle tilt embedding"],
        there: Bool[Tensor, "particle tilt"],
    ) -> Float[Tensor, "particle out"]:
        """One embedding of each particle."""
        return embedding.masked_fill(~there[..., None], -torch.inf).amax(1)


class Concatenation(Pooling):
    """All images side by side in the order of their dose.

    Zeros stand in the places of those that are not there.

    Parameters
    ----------
    n_embedding, n_tilts, generator
        As for :func:`make_pooling`.

    Examples
    --------
    >>> pooling = Concatenation(2, 2, torch.Generator())
    >>> pooling(torch.tensor([[[1.0, 4.0], [3.0, 2.0]]]), torch.tensor([[True, False]]))
    tensor([[1., 4., 0., 0.]])
    """

    def __init__(self, n_embedding: int, n_tilts: int, generator: torch.Generator) -> None:
        super().__init__(n_embedding, n_tilts, generator)
        self.n_out = n_embedding * n_tilts

    def forward(
        self,
        embedding: Float[Tensor, "particle tilt embedding"],
        there: Bool[Tensor, "particle tilt"],
    ) -> Float[Tensor, "particle out"]:
        """One embedding of each particle."""
        return (embedding * there[..., None]).flatten(1)


class AttentionPooling(Pooling):
    """A weighted mean; how much an image weighs is learned from its embedding.

    Parameters
    ----------
    n_embedding, n_tilts, generator
        As for :func:`make_pooling`.

    References
    ----------
    Ilse et al., Attention-based deep multiple instance learning (2018), equations 7 and 8, without
    the gate.

    Examples
    --------
    >>> pooling = AttentionPooling(2, 2, torch.Generator().manual_seed(0))
    >>> with torch.no_grad():
    ...     pooling(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.tensor([[True, True]]))
    tensor([[2., 3.]])
    """

    def __init__(self, n_embedding: int, n_tilts: int, generator: torch.Generator) -> None:
        super().__init__(n_embedding, n_tilts, generator)
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
        """One embedding of each particle."""
        score = torch.tanh(embedding @ self.key) @ self.query
        weight = score.masked_fill(~there, -torch.inf).softmax(1)
        return (embedding * weight[..., None]).sum(1)


POOLINGS = {
    "concatenate": Concatenation,
    "mean": MeanPooling,
    "max": MaxPooling,
    "attention": AttentionPooling,
}


def make_pooling(name: str, n_embedding: int, n_tilts: int, generator: torch.Generator) -> Pooling:
    """A pool by its name in :data:`POOLINGS`; `n_out` is how many numbers it gives.

    Parameters
    ----------
    name : str
        One of :data:`POOLINGS`.
    n_embedding : int
        Numbers of an image's embedding.
    n_tilts : int
        The most images that a particle has.
    generator : torch.Generator
        Draws the weights that one starts from.

    Returns
    -------
    Pooling

    Raises
    ------
    InputError
        There is no such pool.

    References
    ----------
    Powell & Davis, TomoDRGN (2024), methods: concatenation by default, 'max' and 'mean'.

    Examples
    --------
    >>> make_pooling("concatenate", 8, 3, torch.Generator()).n_out
    24
    """
    require_pooling(name)
    return POOLINGS[name](n_embedding, n_tilts, generator)


def require_pooling(name: str) -> None:
    """Refuse a name that is none of a pool's.

    Parameters
    ----------
    name : str
        One of :data:`POOLINGS`.

    Raises
    ------
    InputError
        There is no such pool.

    Examples
    --------
    >>> require_pooling("mean")
    """
    if name not in POOLINGS:
        raise InputError(f"a pooling {name!r}: choose {', '.join(POOLINGS)}")
