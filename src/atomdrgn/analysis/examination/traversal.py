"""Ways through the places of a run.

They go along each motion, and from cluster to cluster where particles are.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ...errors import InputError
from .latent_space import graph_traversal

ENDS = (0.01, 0.99)  # quantiles of the particles between which a motion is followed
WIDTH = 0.05  # of that stretch: how far apart particles are nearby
MOST_JOINED = 5000  # particles that a way is looked for among
# that a particle is joined to: more where groups of particles stand apart
NEIGHBOURS = (5, 10, 20, 50)


@dataclass(frozen=True)
class Traversal:
    """Places in an order.

    Parameters
    ----------
    name : str
        Of its files: "motion1", "path", "centres".
    place : (frame, k)
        Along the motions, A.
    particle : (frame,) or None
        The particle that each is the place of; None where places are no particles'.
    """

    name: str
    place: Float[np.ndarray, "frame k"]
    particle: Int[np.ndarray, "frame"] | None = None


def along_motion(place: Float[np.ndarray, "particle k"], number: int, frames: int) -> Traversal:
    """From one end of the particles to the other along one motion (from 0).

    The other motions are at their mean over the particles nearby.

    At the mean of all particles, a straight line would leave particles that are spread over a bent
    band.
    """
    low, high = np.quantile(place[:, number], ENDS)
    along = np.linspace(low, high, frames)
    width = WIDTH * (high - low) + 1e-6
    far = (along[:, None] - place[:, number]) / width
    weight = np.exp(-0.5 * (far**2 - (far**2).min(1, keepdims=True)))
    steps = weight @ place / weight.sum(1, keepdims=True)
    steps[:, number] = along
    return Traversal(f"motion{number + 1}", steps.astype(np.float32))


def through_particles(
    place: Float[np.ndarray, "particle k"], anchors: Int[np.ndarray, "anchor"], frames: int
) -> Traversal | None:
    """The shortest way from anchor to anchor that keeps to where particles are.

    Its steps are of about one length.

    None where no way leads from one to the next without a leap.
    """
    among = np.unique(
        np.concatenate(
            [np.linspace(0, len(place) - 1, min(MOST_JOINED, len(place))).astype(int), anchors]
        )
    )
    way = _way(place[among], np.searchsorted(among, anchors).tolist())
    if way is None:
        return None
    way = among[way]
    gone = np.concatenate([[0], np.linalg.norm(np.diff(place[way], axis=0), axis=1).cumsum()])
    chosen = way[np.unique(np.abs(gone - np.linspace(0, gone[-1], frames)[:, None]).argmin(1))]
    return Traversal("path", place[chosen].astype(np.float32), chosen)


def _way(place: np.ndarray, anchors: list[int]) -> np.ndarray | None:
    for neighbours in NEIGHBOURS:
        try:
            return graph_traversal(
                place, anchors, neighbours=neighbours, most_neighbours=2 * neighbours
            )
        except InputError:  # no way leads from one to the next
            continue
    return None
