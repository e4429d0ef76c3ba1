"""A volume field with what tells it the latent of a particle."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .particle_encoder import ParticleEncoder
from .segment_posterior import gaussian_kl
from .volume_field import VolumeField


class VolumeModel(nn.Module):
    """A volume for every particle.

    Parameters
    ----------
    field : VolumeField
        Of all particles.
    encoder : ParticleEncoder, optional
        Reads latents from images.
    latent : (particle, latent), optional
        In place of an encoder: latents that are given, and are not learned.

    Examples
    --------
    >>> points, amplitude = torch.ones(3, 3), torch.ones(5)
    >>> field = VolumeField(points, amplitude, extent=16.0, n_latent=2, generator=torch.Generator())
    >>> given = VolumeModel(field, latent=torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
    >>> given.posterior(torch.tensor([1]), torch.zeros(1, 3, 20), torch.ones(1, 3).bool())[0]
    tensor([[2., 3.]])
    """

    latent: Tensor | None

    def __init__(
        self,
        field: VolumeField,
        encoder: ParticleEncoder | None = None,
        latent: Float[Tensor, "particle latent"] | None = None,
    ) -> None:
        super().__init__()
        self.field, self.encoder = field, encoder
        self.register_buffer("latent", latent, persistent=False)

    def posterior(
        self,
        particle: Int[Tensor, "batch"],
        view: Float[Tensor, "batch tilt input"],
        there: Bool[Tensor, "batch tilt"],
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Mean, and logarithm of the standard deviation, of particles' latents.

        Given ones have no deviation.
        """
        if self.encoder is not None:
            return self.encoder(view, there)
        mean = (
            torch.zeros(len(particle), self.field.n_latent)
            if self.latent is None
            else self.latent[particle]
        )
        return mean, torch.full_like(mean, -torch.inf)

    def divergence(
        self, mean: Float[Tensor, "batch latent"], log_sd: Float[Tensor, "batch latent"]
    ) -> Float[Tensor, "batch"]:
        """Divergence of each posterior from the prior, nats; 0 where latents are given."""
        return (
            mean.new_zeros(len(mean)) if self.encoder is None else gaussian_kl(mean, log_sd).sum(1)
        )

    @property
    def learned(self) -> list[Tensor]:
        """Parameters that hold any number."""
        return [parameter for parameter in self.parameters() if parameter.numel()]
