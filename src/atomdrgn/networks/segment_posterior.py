"""A segmentation that is learned.

It is what is believed of the mixture's parameters, and the memberships that follow.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..structure.motion.deformation import Conformation
from ..structure.motion.segment_deformation import SegmentDeformation
from ..structure.segmentation import Segmentation, without_traces

# of every number, where its prior has 1: borders are uncertain by about two residues in a hundred
START_SD = 0.02
# log weight of a component that takes no part; finite, so that no gradient is NaN
UNUSED = -1e4


class SegmentPosterior(nn.Module):
    """A Gaussian posterior over the mixture of a segmentation.

    It is over the mean, width and log weight of each component.

    Each is told by a number whose prior is the standard Gaussian about the segmentation that one
    starts from: a mean by its shift in units of its chain's length over its number of components, a
    width as the start's times ``elu + 1``, a log weight by its change. What named and fixed
    segments hold is not learned: their columns stay as they are, and the rest of each row is
    divided among the others.

    Parameters
    ----------
    segmentation : Segmentation
        Where one starts, and the prior's mean.
    named : int
        The first so many segments are the user's own (`parts` of :func:`~atomdrgn.make_segments`)
        and are not learned.

    References
    ----------
    Ducrocq et al., CryoSPHERE (2025), sections 3.3 and 3.5: the mixture, its Gaussian posterior and
    prior, ELU + 1 for widths. There the numbers are residues; in units of a segment's length one
    learning rate suits chains of any length.

    Examples
    --------
    >>> from atomdrgn import coarse_grain, make_segments, read_structure
    >>> segmentation = make_segments(coarse_grain(read_structure("model.pdb")), 2)
    >>> posterior = SegmentPosterior(segmentation)
    >>> torch.allclose(posterior.mean(), segmentation.weight, atol=1e-5)
    True
    """

    def __init__(self, segmentation: Segmentation, *, named: int = 0) -> None:
        super().__init__()
        self.start = segmentation
        owner = segmentation.component_segment
        self.learned = (owner >= named) & ~segmentation.fixed[owner]
        count = int(self.learned.sum())
        self.place = nn.Parameter(torch.zeros(3, count))
        self.log_sd = nn.Parameter(torch.full((3, count), START_SD).log())
        self._unit = _spacing(segmentation)[self.learned]
        learned_segment = torch.zeros(len(segmentation), dtype=torch.bool)
        learned_segment[owner[self.learned]] = True
        self._kept = segmentation.weight * ~learned_segment

    def membership(self, noise: Float[Tensor, "3 learned"]) -> Float[Tensor, "bead segment"]:
        """Memberships at the posterior's mean plus so many of its standard deviations.

        Rows sum to 1; differentiable.
        """
        mixture = self._mixture(self.place + self.log_sd.exp() * noise)
        mixture["log_weight"] = torch.where(self.learned, mixture["log_weight"], UNUSED)
        rest = 1 - self._kept.sum(1, keepdim=True)
        return without_traces(self._kept + rest * self.start.membership(**mixture))

    def sample(self, generator: torch.Generator) -> Float[Tensor, "bead segment"]:
        """Memberships under one draw of the parameters."""
        return self.membership(self.draw(generator))

    def draw(self, generator: torch.Generator) -> Float[Tensor, "3 learned"]:
        """Standard Gaussian noise for :meth:`membership`."""
        return torch.randn(self.place.shape, generator=generator)

    def mean(self) -> Float[Tensor, "bead segment"]:
        """Memberships at the posterior's mean: how the segmentation is read."""
        return self.membership(torch.zeros_like(self.place))

    def kl(self) -> Float[Tensor, ""]:
        """Kullback-Leibler divergence of the posterior from the prior, nats."""
        return gaussian_kl(self.place, self.log_sd).sum()

    @torch.no_grad()
    def segmentation(self) -> Segmentation:
        """The segmentation at the posterior's mean.

        :class:`~atomdrgn.structure.motion.segment_deformation.SegmentDeformation` takes it.
        """
        mixture = self._mixture(self.place)
        return replace(
            self.start,
            weight=self.mean(),
            mean=mixture["mean"],
            width=mixture["width"],
            log_weight=mixture["log_weight"],
        )

    def _mixture(self, number: Float[Tensor, "3 learned"]) -> dict[str, Tensor]:
        """Parameters of all components where `number` tells those of the learned ones."""
        start = self.start
        shift = torch.zeros_like(start.mean).masked_scatter(self.learned, self._unit * number[0])
        scale = torch.ones_like(start.mean).masked_scatter(
            self.learned, nn.functional.elu(number[1]) + 1
        )
        gain = torch.zeros_like(start.mean).masked_scatter(self.learned, number[2])
        return {
            "mean": start.mean + shift,
            "width": start.width * scale,
            "log_weight": start.log_weight + gain,
        }


def gaussian_kl(
    mean: Float[Tensor, "*shape"], log_sd: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Divergence of each Gaussian from the standard one, nats.

    Parameters
    ----------
    mean, log_sd : (*shape)
        Mean, and logarithm of the standard deviation, of each.

    Returns
    -------
    (*shape)

    References
    ----------
    Kingma & Welling, Auto-encoding variational Bayes (2014), appendix B.

    Examples
    --------
    >>> gaussian_kl(torch.tensor([0.0, 2.0]), torch.zeros(2))
    tensor([0., 2.])
    """
    return 0.5 * (mean.square() + (2 * log_sd).exp() - 1) - log_sd


def conformation(
    deformation: SegmentDeformation,
    latent: Float[Tensor, "*batch latent"],
    membership: Float[Tensor, "bead segment"],
) -> Conformation:
    """What a latent decodes to under other memberships than the deformation's own.

    It is differentiable in both.

    Segments turn about the deformation's centroids, whatever the memberships are.

    Parameters
    ----------
    deformation : SegmentDeformation
        Of the base model.
    latent : (*batch, latent)
        Of a conformation.
    membership : (bead, segment)
        Rows sum to 1.

    Returns
    -------
    Conformation
    """
    position = deformation.motion(latent).apply(
        deformation.position, deformation.centroid, weight=membership
    )
    return Conformation(position, torch.ones_like(position[..., 0]))


def _spacing(segmentation: Segmentation) -> Float[Tensor, "component"]:
    """(component,): residues of each component's chain over its number of components."""
    chains = int(segmentation.chain.max()) + 1
    length = torch.zeros(chains).scatter_reduce(
        0, segmentation.chain, segmentation.coordinate + 1, "amax"
    )
    return (length / torch.bincount(segmentation.component_chain, minlength=chains))[
        segmentation.component_chain
    ]
