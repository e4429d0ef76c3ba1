"""Latent spaces: principal axes, clusters, paths and maps.

Clusters stand on particles, and paths go through where particles are.

All of it takes plain arrays, so it serves any latent: of the neural field, or places along motions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import KDTree

from ...errors import InputError

SEEDS = 2**32  # as many as scikit-learn takes


@dataclass(frozen=True)
class PrincipalAxes:
    """Directions in which latents vary most, the widest first.

    Parameters
    ----------
    mean : (latent,)
        Of all particles.
    axis : (axis, latent)
        Of unit length; the largest number of each is positive, so that a direction has one sign.
    variance : (axis,)
        Along each.
    """

    mean: Float[ndarray, "latent"]
    axis: Float[ndarray, "axis latent"]
    variance: Float[ndarray, "axis"]

    @property
    def share(self) -> Float[ndarray, "axis"]:
        """Part of the whole variance that is along each axis; 0 where nothing varies."""
        whole = self.variance.sum()
        return self.variance / whole if whole > 0 else np.zeros_like(self.variance)

    def place(self, latent: Float[ndarray, "particle latent"]) -> Float[ndarray, "particle axis"]:
        """Where latents are along the axes."""
        return (latent - self.mean) @ self.axis.T

    def latent(self, place: Float[ndarray, "point axis"]) -> Float[ndarray, "point latent"]:
        """The latents at places along the axes, or along the first of them."""
        return self.mean + place @ self.axis[: place.shape[-1]]


@dataclass(frozen=True)
class Clusters:
    """What k-means has found.

    Parameters
    ----------
    label : (particle,)
        Number of each particle's cluster, from 0; the largest cluster is 0.
    centre : (cluster, latent)
        Mean of each.
    on_data : (cluster,)
        The particle that is nearest to each centre.
    """

    label: Int[ndarray, "particle"]
    centre: Float[ndarray, "cluster latent"]
    on_data: Int[ndarray, "cluster"]

    @property
    def size(self) -> Int[ndarray, "cluster"]:
        """Particles in each."""
        return np.bincount(self.label, minlength=len(self.centre))


def principal_axes(latent: Float[ndarray, "particle latent"]) -> PrincipalAxes:
    """Principal axes of latents: as many as there are numbers, or particles less one.

    Raises
    ------
    InputError
        Fewer than two particles, or latents that are not finite.
    """
    latent = _sound(latent)
    if len(latent) < 2:
        raise InputError("principal axes of one particle: at least two are needed")
    mean = latent.mean(0)
    _, scale, axis = np.linalg.svd(latent - mean, full_matrices=False)
    keep = min(latent.shape[1], len(latent) - 1)
    largest = np.take_along_axis(axis, np.abs(axis).argmax(1)[:, None], 1)
    return PrincipalAxes(
        mean, (axis * np.where(largest < 0, -1, 1))[:keep], scale[:keep] ** 2 / (len(latent) - 1)
    )


def k_means_on_data(
    latent: Float[ndarray, "particle latent"], clusters: int, *, seed: int = 0
) -> Clusters:
    """Clusters of latents, and the particle next to each centre.

    Parameters
    ----------
    latent : (particle, latent)
        Of all particles.
    clusters : int
        How many.
    seed : int
        For where k-means starts; the best of ten starts is taken.

    Raises
    ------
    InputError
        More clusters than there are different latents, or fewer than one.

    References
    ----------
    Zhong et al., CryoDRGN (2021), methods, "Latent space graph traversal": a centre may lie where
    no particle is, so what is shown of a cluster is the particle nearest to it.
    """
    latent = _sound(latent)
    different = len(np.unique(latent, axis=0))
    if not 1 <= clusters <= different:
        raise InputError(
            f"{clusters} clusters of {len(latent)} particles with {different} different latents: "
            f"choose a number from 1 to {different}"
        )
    from sklearn.cluster import KMeans

    found = KMeans(clusters, n_init=10, random_state=seed % SEEDS).fit(latent)
    order = np.argsort(-np.bincount(found.labels_, minlength=clusters), kind="stable")
    centre = found.cluster_centers_[order].astype(latent.dtype)
    return Clusters(np.argsort(order)[found.labels_], centre, nearest_particles(latent, centre))


def nearest_particles(
    latent: Float[ndarray, "particle latent"], point: Float[ndarray, "point latent"]
) -> Int[ndarray, "point"]:
    """The particle whose latent is nearest to each point."""
    return KDTree(latent).query(point)[1]


def graph_traversal(
    latent: Float[ndarray, "particle latent"],
    anchors: Sequence[int],
    *,
    neighbours: int = 5,
    most_neighbours: int = 10,
) -> Int[ndarray, "step"]:
    """Particles on the shortest way through some anchors that keeps to where particles are.

    Particles are joined that are near each other; the way from each anchor to the next is the
    shortest along these joints.

    Parameters
    ----------
    latent : (particle, latent)
        Of all particles.
    anchors : sequence of int
        Particles to pass through, in this order.
    neighbours : int
        On average each particle chooses so many of those nearest to it; more where these do not
        join the anchors.
    most_neighbours : int
        None chooses more than this many.

    Raises
    ------
    InputError
        An anchor that is no particle, fewer than two of them, or no way from one to the next.

    References
    ----------
    Zhong et al., CryoDRGN (2021), methods, "Latent space graph traversal for generating
    trajectories": 5 and at most 10 neighbours, Dijkstra's algorithm. One threshold for all
    distances, as there, leaves gaps where particles are few.
    """
    latent, anchors = _sound(latent), list(anchors)
    if len(anchors) < 2:
        raise InputError(f"a way through {len(anchors)} anchors: name at least two")
    unknown = [anchor for anchor in anchors if not 0 <= anchor < len(latent)]
    if unknown:
        raise InputError(
            f"anchor {unknown[0]} is no particle: they are numbered from 0 to {len(latent) - 1}"
        )
    if not 1 <= neighbours <= most_neighbours:
        raise InputError(
            f"{neighbours} neighbours of at most {most_neighbours}: choose at least one, and not "
            "more than the most"
        )
    path = anchors[:1]
    for start, end in zip(anchors[:-1], anchors[1:], strict=True):
        path += _shortest_way(latent, start, end, neighbours, most_neighbours)
    return np.array(path)


def umap_embedding(
    latent: Float[ndarray, "particle latent"], *, seed: int = 0
) -> Float[ndarray, "particle 2"]:
    """A map of latents in two dimensions that keeps neighbours together.

    Distances in it mean little.

    Raises
    ------
    InputError
        umap-learn is not installed, or there are fewer than four particles.

    References
    ----------
    McInnes et al., UMAP: uniform manifold approximation and projection for dimension reduction
    (2018).
    """
    latent = _sound(latent)
    if len(latent) < 4:
        raise InputError(f"UMAP of {len(latent)} particles: at least four are needed")
    try:
        from umap import UMAP
    except ImportError as error:
        raise InputError("UMAP needs a further package: pip install 'atomdrgn[umap]'") from error

    return UMAP(
        n_neighbors=min(15, len(latent) - 1), random_state=seed % SEEDS, n_jobs=1
    ).fit_transform(latent)


def _shortest_way(
    latent: np.ndarray, start: int, end: int, neighbours: int, most_neighbours: int
) -> list[int]:
    """Particles from `start`, which is left out, to `end`."""
    for average in range(neighbours, most_neighbours + 1):
        graph = _neighbour_graph(latent, average, most_neighbours)
        _, before = dijkstra(graph, directed=False, indices=start, return_predecessors=True)
        if start == end or before[end] >= 0:
            break
    else:
        raise InputError(
            f"no way leads from particle {start} to particle {end}: they stand in groups that are "
            f"too far apart; join more than {most_neighbours} neighbours, or go by a straight line"
        )
    steps = []
    while end != start:
        steps.append(end)
        end = int(before[end])
    return steps[::-1]


def _neighbour_graph(latent: np.ndarray, neighbours: int, most_neighbours: int) -> csr_matrix:
    """Distances of joined particles, as a sparse matrix."""
    count = min(most_neighbours, len(latent) - 1)
    distance, other = KDTree(latent).query(latent, k=np.arange(1, count + 2))
    itself = other == np.arange(len(latent))[:, None]
    # among many at the same place a particle may not find itself
    itself[~itself.any(1), -1] = True
    distance, other = (
        distance[~itself].reshape(len(latent), count),
        other[~itself].reshape(len(latent), count),
    )
    kept = min(neighbours * len(latent), distance.size)
    near = distance <= np.partition(distance, kept - 1, axis=None)[kept - 1]
    row = np.nonzero(near)[0]
    # a sparse matrix would forget joints of no length
    length = np.maximum(distance[near], np.finfo(float).tiny)
    return coo_matrix((length, (row, other[near])), shape=(len(latent),) * 2).tocsr()


def _sound(latent: np.ndarray) -> np.ndarray:
    latent = np.asarray(latent)
    if latent.ndim != 2 or latent.shape[1] == 0 or len(latent) == 0:
        raise InputError(
            f"latents of shape {latent.shape}: particles and at least one number of each are "
            "expected"
        )
    if not np.isfinite(latent).all():
        raise InputError("some latents are not finite: the run that they come from has diverged")
    return latent
