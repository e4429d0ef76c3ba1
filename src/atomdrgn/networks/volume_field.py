"""A molecule's Fourier transform as a coordinate network.

Frequency and latent go in, a coefficient comes out.
"""

import math

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor, nn
from torch.nn.functional import linear

from .positional_encoding import encode

WIDTH, DEPTH = 256, 3  # Zhong et al., CryoDRGN (2021), methods: 256 x 3
ROWS = 16384  # frequencies that go through the network together


class VolumeField(nn.Module):
    """A residual network from a frequency and a latent to the molecule's Fourier coefficient.

    The frequency is encoded as waves of points.

    It is evaluated on one half of Fourier space; a coefficient of the other half is the conjugate
    of its opposite (Friedel), so that every volume is real. What it gives is in units of an
    amplitude that falls with the frequency, and starts at zero.

    Parameters
    ----------
    point : (point, 3)
        Of the positional encoding, A (see :mod:`~atomdrgn.networks.positional_encoding`).
    amplitude : (shell,)
        Size of coefficients at frequencies of 0, 1, 2 ... over the extent.
    extent : float
        Edge of the box, A.
    n_latent : int
        Numbers of a latent; 0: there is one volume.
    generator : torch.Generator
        Draws the weights that one starts from.
    width, depth : int
        Of the hidden layers.

    References
    ----------
    Zhong et al., CryoDRGN (2021), methods; there the network gives one number, the Hartley
    coefficient, at every frequency of the plane. Two at every frequency of the half-plane say the
    same for half of the work.

    Examples
    --------
    >>> from atomdrgn import ImageGrid
    >>> from atomdrgn.networks.positional_encoding import geometric_points
    >>> points = geometric_points(ImageGrid(8, 2.0))
    >>> field = VolumeField(
    ...     points, torch.ones(5), extent=16.0, n_latent=2, generator=torch.Generator()
    ... )
    >>> field.coefficients(torch.zeros(1, 3), torch.zeros(2))
    tensor([0.+0.j])
    """

    point: Tensor
    amplitude: Tensor

    def __init__(
        self,
        point: Float[Tensor, "point 3"],
        amplitude: Float[Tensor, "shell"],
        *,
        extent: float,
        n_latent: int,
        generator: torch.Generator,
        width: int = WIDTH,
        depth: int = DEPTH,
    ) -> None:
        super().__init__()
        self.extent, self.n_latent = extent, n_latent
        self.register_buffer("point", point)
        self.register_buffer("amplitude", amplitude)
        n_in = 2 * len(point)
        self.first = _weight(width, n_in, generator, gain=2)
        self.of_latent = _weight(width, n_latent, generator, gain=2 * max(n_latent, 1) / n_in)
        self.hidden = nn.ParameterList(
            _weight(width, width, generator, gain=1 / depth) for _ in range(depth)
        )
        self.bias = nn.Parameter(torch.zeros(depth + 1, width))
        self.last = nn.Parameter(torch.zeros(2, width))
        self.last_bias = nn.Parameter(torch.zeros(2))

    def forward(
        self,
        frequency: Float[Tensor, "volume frequency 3"],
        latent: Float[Tensor, "volume latent"],
        *,
        precision: torch.dtype = torch.float32,
    ) -> Float[Tensor, "volume frequency 2"]:
        """Real and imaginary part of each volume's coefficients, as images show them.

        Coefficients are scaled as on a :class:`~atomdrgn.physics.disc.FourierDisc`.

        Parameters
        ----------
        frequency : (volume, frequency, 3)
            1/A, in the molecule's frame; other frequencies for each volume.
        latent : (volume, latent)
            Of each volume.
        precision : torch.dtype
            Of the products of matrices.
        """
        side = torch.where(_second_half(frequency), -1.0, 1.0)
        wave = encode(side[..., None] * frequency, self.point).to(precision)
        # what the latent adds to the first layer is the same at all frequencies of a volume
        state = linear(wave, self.first.to(precision))
        state = (state + (latent @ self.of_latent.T + self.bias[0]).to(precision)[:, None]).relu_()
        same = torch.eye(len(self.first))
        for weight, bias in zip(self.hidden, self.bias[1:], strict=True):
            state = linear(state, (same + weight).to(precision), bias.to(precision)).relu_()
        value = linear(state, self.last.to(precision)).float() + self.last_bias
        value = value * self.amplitude_at(frequency)[..., None]
        return value * torch.stack([torch.ones_like(side), side], -1)

    def amplitude_at(self, frequency: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
        """Size of coefficients at frequencies (1/A)."""
        radius = (frequency.norm(dim=-1) * self.extent).clamp_max(len(self.amplitude) - 1.0)
        below = radius.floor().long().clamp_max(len(self.amplitude) - 2)
        share = radius - below
        return self.amplitude[below] * (1 - share) + self.amplitude[below + 1] * share

    @torch.no_grad()
    def coefficients(
        self, frequency: Float[Tensor, "frequency 3"], latent: Float[Tensor, "latent"]
    ) -> Complex[Tensor, "frequency"]:
        """Coefficients of one volume, in single precision."""
        parts = [self(some[None], latent[None])[0] for some in frequency.split(ROWS)]
        return torch.view_as_complex(torch.cat(parts))


def field_from_tensors(tensors: dict[str, Tensor], *, extent: float) -> VolumeField:
    """The field whose ``state_dict`` these are.

    Parameters
    ----------
    tensors : dict
        {name: tensor}
    extent : float
        Edge of the box, A.

    Returns
    -------
    VolumeField

    Raises
    ------
    KeyError, RuntimeError
        They are not those of a field.

    Examples
    --------
    >>> points, amplitude = torch.ones(3, 3), torch.ones(5)
    >>> field = VolumeField(points, amplitude, extent=16.0, n_latent=2, generator=torch.Generator())
    >>> field_from_tensors(field.state_dict(), extent=16.0).n_latent
    2
    """
    width, n_latent = tensors["of_latent"].shape
    depth = sum(name.startswith("hidden.") for name in tensors)
    field = VolumeField(
        tensors["point"],
        tensors["amplitude"],
        extent=extent,
        n_latent=n_latent,
        width=width,
        depth=depth,
        generator=torch.Generator(),
    )
    field.load_state_dict(tensors)
    return field


def _second_half(frequency: Float[Tensor, "*batch 3"]) -> Bool[Tensor, "*batch"]:
    """Whether a frequency is in the half of Fourier space that is told by its opposite."""
    x, y, z = frequency.unbind(-1)
    return (z < 0) | (z == 0) & ((y < 0) | (y == 0) & (x < 0))


def _weight(
    n_out: int, n_in: int, generator: torch.Generator, *, gain: float | int
) -> nn.Parameter:
    """Normal weights of variance gain / n_in (He et al. 2015: 2)."""
    return nn.Parameter(
        torch.randn(n_out, n_in, generator=generator) * math.sqrt(gain / max(n_in, 1))
    )
