"""Whether what images gain by something is more than chance makes it."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

SIGNIFICANT = 3.0  # standard errors by which unseen images must be likelier
# Cosine to what the other half-set has found, of the first motion, and of any in weak images: few
# or weak images find the way of a motion roughly (0.6).
FIRST_ALIKE = 0.5


@dataclass(frozen=True)
class MotionSupport:
    """How much likelier each motion of one half-set makes the images of the other.

    Parameters
    ----------
    gain : (k,)
        Mean gain of the log-likelihood a particle of motion k, over motions 1 to k - 1, with its
        tails drawn in.
    error : (k,)
        Its standard error.
    alike : (k,)
        Cosine between motion k of the one and what the first k + 1 of the other span: of two that
        are as large as each other either may come first.
    needed : (k,)
        What it has to be for the motion to be confirmed.
    testable : bool
        Whether the half-sets have enough particles for it to say anything.
    """

    gain: Float[Tensor, "k"]
    error: Float[Tensor, "k"]
    alike: Float[Tensor, "k"]
    needed: Float[Tensor, "k"]
    testable: bool = True


def is_clear(gain: Float[Tensor, "particle"]) -> bool:
    """Whether the mean of what each particle's likelihood gains is more than chance makes it."""
    return bool(gain.mean() > SIGNIFICANT * gain.std() / len(gain) ** 0.5)
