"""What an analysis finds in a run: numbers only, nothing written yet."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from ...errors import InputError
from ...reporting import Reporter
from ...runs.run import Run
from ...structure.motion.motion import RigidMotion
from ...structure.selection import select
from .decoder import Decoder, decoder_of, draws_of
from .domains import Fluctuations, Measure, Turn, fluctuations, parse_measure, turn_of
from .landscape import Basin, Landscape, basins, free_energy
from .latent_space import Clusters, PrincipalAxes, k_means_on_data, principal_axes, umap_embedding
from .traversal import Traversal, along_motion, through_particles

COORDINATES_AT_A_TIME = 2**22
MOST_CONFORMATIONS = 20_000  # for turns: of so many particles
MOST_SUPERPOSED = 1_000  # for fluctuations
MOST_WATCHED = 3  # motions that have a landscape of their own
SMALLEST_STILL = 0.1  # of the residues, in the group that turns are seen from


@dataclass(frozen=True, eq=False)
class Examination:
    """What has been found.

    Parameters
    ----------
    run : Run
    decoder : Decoder
        From places to conformations.
    axes : PrincipalAxes or None
        Of the latents; None where there are fewer than two numbers.
    clusters : Clusters or None
        By k-means; None where nothing moves.
    landscapes : dict
        Over single motions, and over the first two: keys are tuples of motions, from 0.
    basins : list of Basin
        Of the landscape over the first two motions, or over the only one.
    basin : (particle,)
        The basin that each particle is in, from 0; -1: none.
    turns : list of Turn
        Of each group against the stillest one.
    measures : dict
        Distances and angles that were asked for, by the name of their column: the measure,
        (particle,) its values, and their errors.
    fluctuations : Fluctuations
    map : (particle, 2) or None
        UMAP, where asked for.
    traversals : list of Traversal
        Along each motion, the way through the clusters, and the clusters' centres.
    """

    run: Run
    decoder: Decoder
    axes: PrincipalAxes | None
    clusters: Clusters | None
    landscapes: dict[tuple[int, ...], Landscape]
    basins: list[Basin]
    basin: Int[np.ndarray, "particle"]
    turns: list[Turn]
    measures: dict[
        str, tuple[Measure, Float[np.ndarray, "particle"], Float[np.ndarray, "particle"]]
    ]
    fluctuations: Fluctuations
    map: Float[np.ndarray, "particle 2"] | None
    traversals: list[Traversal]


def examine(
    run: Run,
    *,
    clusters: int,
    frames: int,
    distances: Sequence[str] = (),
    angles: Sequence[str] = (),
    umap: bool = False,
    seed: int = 0,
    reporter: Reporter | None = None,
) -> Examination:
    """All that an analysis says of a run.

    Parameters
    ----------
    run : Run
        An opened run.
    clusters : int
        Clusters of k-means; fewer where there are fewer different particles.
    frames : int
        Conformations of a traversal.
    distances, angles : sequence of str
        See :func:`atomdrgn.analysis.examination.domains.parse_measure`.
    umap : bool
        Embed the latents by UMAP too.
    seed : int
        Of clusters, landscapes' errors and UMAP.
    reporter : Reporter, optional

    Raises
    ------
    InputError
        A selection that names nothing, a number of clusters or frames below what makes sense, or
        UMAP that is not installed or has nothing to show.
    """
    reporter = reporter or Reporter()
    if clusters < 1 or frames < 2:
        raise InputError(
            f"{clusters} clusters and {frames} frames: at least 1 cluster and 2 frames are needed"
        )
    asked = [
        parse_measure(run, kind, text)
        for kind, texts in (("distance", distances), ("angle", angles))
        for text in texts
    ]
    latent, decoder = run.latent, decoder_of(run)
    n, k = latent.shape
    if umap and k == 0:
        raise InputError(
            "--umap: no motion is supported, so that there is nothing to embed; leave it out"
        )
    draws = draws_of(run, seed=seed)
    found = (
        k_means_on_data(latent, min(clusters, len(np.unique(latent, axis=0))), seed=seed)
        if k
        else None
    )
    landscapes = _landscapes(draws, run.latent_sd, np.random.default_rng(seed))
    main = landscapes.get((0, 1)) or landscapes.get((0,))
    lows, label = basins(main) if main else ([], None)
    sample = decoder(torch.from_numpy(_one_a_particle(draws, MOST_CONFORMATIONS)))
    reporter.start("examining", 4)
    turns = _turns(run, sample)
    reporter.advance()
    measures = _measured(run, decoder, draws, asked)
    reporter.advance()
    most = max(
        50, min(MOST_SUPERPOSED, 4 * COORDINATES_AT_A_TIME // (3 * int(run.model["trace"].sum())))
    )
    moved = fluctuations(
        run, decoder(torch.from_numpy(_one_a_particle(draws, most))), _still_beads(run)
    )
    reporter.advance()
    embedded = umap_embedding(latent, seed=seed) if umap else None
    reporter.advance()
    reporter.finish()
    return Examination(
        run=run,
        decoder=decoder,
        axes=principal_axes(latent) if k > 1 and n > 1 else None,
        clusters=found,
        landscapes=landscapes,
        basins=lows,
        basin=np.zeros(n, int) if main is None else main.at(label, latent),
        turns=turns,
        measures=measures,
        fluctuations=moved,
        map=embedded,
        traversals=_traversals(latent, found, frames),
    )


def still_group(groups: list[dict]) -> int:
    """Which group the others are seen to turn from: the stillest of those that are not tiny."""
    whole = sum(group["residues"] for group in groups)
    large = [
        i for i, group in enumerate(groups) if group["residues"] >= SMALLEST_STILL * whole
    ] or list(range(len(groups)))
    return min(large, key=lambda i: groups[i]["motion"])


def _still_beads(run: Run) -> np.ndarray:
    groups = run.summary.get("groups", [])
    return (
        select(run.bead_model, groups[still_group(groups)]["selection"])
        if groups
        else np.zeros(len(run.bead_model), bool)
    )


def _landscapes(draws: np.ndarray, sd: np.ndarray, rng: np.random.Generator) -> dict:
    k = draws.shape[2]
    watched = [(axis,) for axis in range(min(k, MOST_WATCHED))] + ([(0, 1)] if k > 1 else [])
    return {
        axes: free_energy(draws[..., list(axes)], sd[:, list(axes)], rng=rng) for axes in watched
    }


def _one_a_particle(draws: np.ndarray, most: int) -> np.ndarray:
    """One draw of each of some particles, spread over both, (conformation, k)."""
    some = np.linspace(0, len(draws) - 1, min(most, len(draws))).astype(int)
    return draws[some, np.arange(len(some)) % draws.shape[1]]


def _turns(run: Run, sample: RigidMotion) -> list[Turn]:
    groups = run.summary.get("groups", [])
    if len(groups) < 2:
        return []
    still = groups[still_group(groups)]
    return [
        turn_of(run, sample, group["selection"], still["selection"])
        for group in groups
        if group is not still
    ]


def _measured(
    run: Run, decoder: Decoder, draws: np.ndarray, asked: list[Measure]
) -> dict[str, tuple[Measure, np.ndarray, np.ndarray]]:
    """Each measure of every particle's conformation, and its spread over the draws."""
    count = {"distance": 0, "angle": 0}
    found = {}
    batch = max(1, COORDINATES_AT_A_TIME // (12 * run.model["weight"].shape[1] * draws.shape[1]))
    for measure in asked:
        count[measure.kind] += 1
        value = measure(run.segment_motion).numpy()
        error = [
            measure(decoder(torch.from_numpy(draws[first : first + batch])))
            .std(1, correction=0)
            .numpy()
            for first in range(0, len(draws), batch)
        ]
        found[f"{measure.kind}{count[measure.kind]}"] = (measure, value, np.concatenate(error))
    return found


def _traversals(latent: np.ndarray, clusters: Clusters | None, frames: int) -> list[Traversal]:
    n, k = latent.shape
    if clusters is None:
        return [Traversal("centres", latent[:1], np.zeros(1, int))]
    ways = [along_motion(latent, number, frames) for number in range(k)]
    anchors = clusters.on_data[latent[clusters.on_data, 0].argsort()]
    if k > 1 and len(anchors) > 1:
        way = through_particles(latent, anchors, frames)
        ways += [way] if way else []
    return [*ways, Traversal("centres", latent[clusters.on_data], clusters.on_data)]
