"""How many components make images likelier that had no part in finding them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from ..inference.findings.held_out_support import with_tails_drawn_in
from ..inference.problem.significance import is_clear
from .component_fit import Components
from .particle_systems import Systems


@dataclass(frozen=True)
class ComponentSupport:
    """What the images of each half-set say of a component of the other.

    Parameters
    ----------
    gain : tuple of float
        Mean gain of the log-likelihood a particle of each half-set, over the components before.
    error : tuple of float
        Its standard error.
    supported : bool
        Whether it counts: it and those before make the images of either half-set likelier, and
        those of both by more than chance does.
    """

    gain: tuple[float, ...]
    error: tuple[float, ...]
    supported: bool


def held_out_gains(
    components: Components, systems: Systems
) -> Float[np.ndarray, "particle component"]:
    """How much likelier each component, over those before, makes particles of the other half-set.

    Parameters
    ----------
    components : Components
        Of one half-set.
    systems : Systems
        Of the particles of the other, in the amounts of these volumes.
    """
    likelihood = [
        components.first(count).log_likelihood(systems.first(1 + count))
        for count in range(1 + components.count)
    ]
    return np.diff(np.stack(likelihood, 1), axis=1)


def judged(gains: Sequence[Float[np.ndarray, "_ component"]]) -> list[ComponentSupport]:
    """What both half-sets say of each component; behind one that does not count, none does.

    Examples
    --------
    >>> rising = np.linspace(0.5, 1.5, 50)
    >>> gains = np.stack([rising, -rising], 1)
    >>> [each.supported for each in judged([gains, gains])]
    [True, False]
    """
    result, so_far = [], True
    drawn = [with_tails_drawn_in(torch.from_numpy(gain).float()) for gain in gains]
    for component in range(gains[0].shape[1]):
        each = [gain[:, component] for gain in drawn]
        so_far = so_far and all(gain.mean() > 0 for gain in each) and is_clear(torch.cat(each))
        result.append(
            ComponentSupport(
                tuple(float(gain.mean()) for gain in each),
                tuple(float(gain.std() / len(gain) ** 0.5) for gain in each),
                so_far,
            )
        )
    return result
