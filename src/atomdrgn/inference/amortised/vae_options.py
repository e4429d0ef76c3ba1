"""What is chosen of an amortised fit and decides its result: one record, which run.json holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...errors import InputError
from ...runs.run_folder import BEADS, SEGMENTS, VAE
from .vae_data import LOSSES

EPOCHS = 300  # as in the example of cryoSPHERE's program


class _Published(NamedTuple):
    """Learning rate, and images of a step."""

    rate: float
    batch: int


# Ducrocq et al., CryoSPHERE (2025), appendix B.2; Zhong et al., Exploring generative atomic models
# (2021), section 4
PUBLISHED = {SEGMENTS: _Published(3e-5, 128), BEADS: _Published(1e-4, 8)}


@dataclass(frozen=True, kw_only=True)
class VaeOptions:
    """The options of an amortised fit: the same ones give the same result on the same machine.

    Parameters
    ----------
    deformation : {"segments", "beads"}
        What a latent moves: segments as rigid bodies, which are learned too; or every bead by
        itself, held together by restraints on bonds, side chains, the shape of the chain nearby,
        and clashes.
    segments, beads, temperature, parts, fixed, resolution
        As in :class:`atomdrgn.FitOptions`; segments that `parts` and `fixed` name are not learned.
        Where beads move there are no segments: `segments`, `temperature` and `parts` are not looked
        at.
    seed : int
        For starting weights, the order of images, and draws.
    loss : {"correlation", "likelihood"}
        What is compared: minus the correlation, or the likelihood under noise as measured at the
        base structure.
    epochs : int
        How often each image is seen. The divergences' weight rises linearly over all of them.
    rate : float, optional
        Of Adam for the networks; the segments' is ten times as large. By default 3e-5 for segments
        and 1e-4 for beads.

    Raises
    ------
    InputError
        A deformation or loss that there is not, no epoch, or a rate that is not positive.
    """

    deformation: str = SEGMENTS
    segments: int = 20
    beads: int = 1
    temperature: float | None = None
    parts: Sequence[str] | None = None
    fixed: str | None = None
    seed: int = 0
    resolution: float | None = None
    loss: str = "correlation"
    epochs: int = EPOCHS
    rate: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts) if self.parts else None)
        if self.deformation not in PUBLISHED:
            raise InputError(
                f"a deformation of {self.deformation!r}: choose {' or '.join(PUBLISHED)}"
            )
        if self.loss not in LOSSES:
            raise InputError(f"a loss of {self.loss!r}: choose {' or '.join(LOSSES)}")
        if self.epochs < 1 or self.learning_rate <= 0:
            raise InputError(
                f"{self.epochs} epochs and a rate of {self.learning_rate}: at least one epoch and "
                "a positive rate are needed"
            )

    @property
    def learning_rate(self) -> float:
        """The one that counts: as given, or as published."""
        return PUBLISHED[self.deformation].rate if self.rate is None else self.rate

    @property
    def batch(self) -> int:
        """Images of a step."""
        return PUBLISHED[self.deformation].batch

    def as_settings(self, resolution: float) -> dict[str, Any]:
        """What run.json says of them as `fit`.

        Parameters
        ----------
        resolution : float
            The finest that the fit uses, A.
        """
        of_segments = {
            "segments": self.segments,
            "temperature": self.temperature,
            "parts": list(self.parts) if self.parts else None,
        }
        return {
            "inference": VAE,
            "deformation": str(self.deformation),
            **(of_segments if self.deformation == SEGMENTS else {}),
            "beads": self.beads,
            "fixed": self.fixed,
            "seed": self.seed,
            "resolution": round(resolution, 4),
            "loss": self.loss,
            "epochs": self.epochs,
            "rate": self.learning_rate,
        }
