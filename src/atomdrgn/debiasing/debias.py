"""What the images say without the base model.

It gives maps on the latents of a fit, the support of each residue, and a verdict.

A fit sees the images through its base model, and finds what that model can do. Maps have no such
prior. Three kinds are made of the same particles, the fit's latents kept fixed: as if nothing
moved, with every segment followed in its motion, and around chosen latents.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..backprojection.backprojection import require_both_halves
from ..backprojection.filtering import finite
from ..backprojection.noise_spectra import measure_noise
from ..devices import PROCESSOR
from ..errors import FileFormatError, InputError
from ..inference.images.faults_before_fit import read_images
from ..inference.images.fourier_images import FourierImages
from ..io.whole_file import require_replaceable, whole_folder
from ..particles.stack.stack import ParticleStack
from ..physics.maps.atom_density import density_of_atoms
from ..physics.maps.half_maps import HalfMapCorrelation, correlate_half_maps
from ..physics.maps.masks import mask_around
from ..reporting import Reporter
from ..runs.run import (
    RESIDUES,
    Run,
    column_of_numbers,
    read_text_table,
    require_segments,
    write_json,
    write_table,
)
from ..structure.atoms import write_structure
from ..structure.beads import BeadModel
from ..structure.density_map import DensityMap, write_density_map
from ..structure.motion.motion import RigidMotion
from ..volume.volume_fit import conditioned_volumes
from .around import choose_centres, effective_number, kernel_weights, kernel_width, places_of
from .following import HalfMaps, follow_motion, make_parts, static_maps
from .gain import Gain, compare
from .residue_support import ResidueSupport, joined, residue_support, unsupported_stretches
from .run_particles import half_latents, has_halves, motion_of, particle_numbers

MASK_RADIUS, MASK_EDGE = 8.0, 12.0  # A around beads
SUPPORT, STRUCTURE, CORRELATION, SUMMARY = "support.csv", "support.cif", "fsc.csv", "summary.json"
# of the field on given latents: nothing but volumes is left to learn
FIELD_EPOCHS = 8
MEAN = 48  # conformations in a mean density
JUDGES = ("around",)  # methods whose maps say what is supported, before others
B_FACTOR = 100.0  # of a residue with all of its support


@dataclass(frozen=True, eq=False)
class Material:
    """What every way to reconstruct starts from.

    Parameters
    ----------
    run : Run
    stack : ParticleStack
        Its images, with their corrections.
    counts : (image,)
        Which of them count: what stands out from the others has no weight.
    spectrum : (group, shell)
        Noise of the images.
    beads : BeadModel
        Of the base model; brightness and width as the fit has them.
    centres : int
        How many latents maps are made around.
    at : (centre, k), optional
        These latents.
    seed : int
    reporter : Reporter
    device : torch.device
        Where images are transformed and added.
    """

    run: Run
    stack: ParticleStack
    counts: Bool[Tensor, "image"]
    spectrum: Float[Tensor, "group shell"]
    beads: BeadModel
    centres: int
    at: np.ndarray | None
    seed: int
    reporter: Reporter
    device: torch.device = PROCESSOR

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """The arrays of the run's model."""
        return {name: torch.from_numpy(value) for name, value in self.run.model.items()}

    @cached_property
    def number(self) -> Int[Tensor, "image"]:
        """Place of each image's particle in the tables of the run."""
        return particle_numbers(self.stack)

    @cached_property
    def own_latent(self) -> Float[Tensor, "particle latent"]:
        """Twists of each particle's segments as its own half-set's fit found them."""
        return half_latents(self.run, self.stack)

    @cached_property
    def own_motion(self) -> RigidMotion:
        """Motion of each particle, as its own half-set's fit found it.

        It is that of all together where half-sets were not fitted apart.
        """
        return (
            motion_of(self.run, self.own_latent)
            if has_halves(self.run)
            else self.run.segment_motion
        )

    @cached_property
    def own_place(self) -> Float[Tensor, "particle k"]:
        """Along the run's motions, likewise."""
        if not has_halves(self.run):
            return torch.from_numpy(self.run.latent).float()
        return places_of(self.run.surface, self.own_latent)

    @property
    def bead(self) -> Float[Tensor, "bead 3"]:
        """Of the base model, A."""
        return self.tensors["bead"].float()

    def moved(self, motion: RigidMotion) -> Float[Tensor, "conformation bead 3"]:
        """Beads of some conformations, A."""
        return motion.apply(
            self.bead, self.tensors["centroid"].float(), weight=self.tensors["weight"].float()
        )

    def density(self, position: Float[Tensor, "bead 3"]) -> Float[Tensor, "box box box"]:
        """Density of the base model's beads, wherever they are."""
        grid = self.stack.grid
        return density_of_atoms(
            position,
            self.tensors["amplitude"].float(),
            self.tensors["sigma"].float(),
            box_size=grid.box_size,
            voxel_size=grid.pixel_size,
        )

    def mean_density(self, weight: Float[Tensor, "particle"]) -> Float[Tensor, "box box box"]:
        """Density of the base model over MEAN of the particles, each in its conformation.

        Particles count with some weights.
        """
        share = weight.double().cumsum(0) / weight.double().sum()
        # evenly through the sum of weights: no draw at random is as even
        some = torch.searchsorted(
            share, (torch.arange(MEAN, dtype=torch.float64) + 0.5) / MEAN
        ).clamp_max(len(weight) - 1)
        density = [self.density(position) for position in self.moved(self.own_motion[some])]
        return sum(density[1:], density[0]) / MEAN


@dataclass(frozen=True, eq=False)
class Shown:
    """A map and the conformation that it shows.

    Parameters
    ----------
    name : str
        Of its file.
    maps : HalfMaps
    position : (bead, 3)
        Of the base model's beads, A.
    model : (box, box, box)
        The base model's density as the map should have it.
    weight : float
        How many particles it is made of.
    details : dict
        For the summary.
    """

    name: str
    maps: HalfMaps
    position: Float[Tensor, "bead 3"]
    model: Float[Tensor, "box box box"]
    weight: float
    details: dict = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Debiased:
    """What :func:`debias` found.

    Parameters
    ----------
    folder : Path
    summary : dict
        summary.json; ``summary["verdict"]`` says it in words.
    """

    folder: Path
    summary: dict


def maps_following(material: Material) -> list[Shown]:
    """The map in which each segment stands still."""
    tensors = material.tensors
    parts = make_parts(
        material.bead, tensors["weight"].float(), tensors["centroid"].float(), material.stack.grid
    )
    maps = follow_motion(
        material.stack,
        material.own_motion[material.number],
        parts,
        spectrum=material.spectrum,
        strength=material.counts.float(),
        reporter=material.reporter,
        device=material.device,
    )
    return [
        Shown(
            "following",
            maps,
            material.bead,
            material.density(material.bead),
            float(material.run.n_particles),
        )
    ]


def maps_around(material: Material) -> list[Shown]:
    """A map around each of some latents; one of all particles where the run has no motions."""
    place, sd = material.own_place, torch.from_numpy(material.run.latent_sd).float()
    if place.shape[1] == 0:
        centre = place[:1]
    elif material.at is not None:
        centre = torch.as_tensor(material.at, dtype=torch.float32)
    else:
        centre = choose_centres(place, material.centres, seed=material.seed)
    shown = []
    for i, (at, width) in enumerate(
        zip(centre, kernel_width(place, centre).tolist(), strict=True), 1
    ):
        weight = kernel_weights(place, sd, at, width)
        strength = weight[material.number] * material.counts
        require_both_halves(material.stack, strength)
        maps = static_maps(
            material.stack,
            spectrum=material.spectrum,
            strength=strength,
            reporter=material.reporter,
            device=material.device,
        )
        model = material.mean_density(weight)
        shown.append(
            Shown(
                f"around{i}",
                maps,
                _conformation(material, at),
                model,
                effective_number(weight),
                {
                    "at": [round(x, 3) for x in at.tolist()],
                    "kernel_width": round(width, 3),
                    "effective_particles": round(effective_number(weight), 1),
                },
            )
        )
    return shown


def maps_of_field(material: Material) -> list[Shown]:
    """Volumes of a neural field at the same latents.

    It is given every particle's latent and learns what images have there.
    """
    place = material.own_place
    centre = (
        place[:1]
        if place.shape[1] == 0
        else torch.as_tensor(material.at, dtype=torch.float32)
        if (material.at is not None)
        else choose_centres(place, material.centres, seed=material.seed)
    )
    halves = conditioned_volumes(
        material.stack,
        place.numpy(),
        centre.numpy(),
        epochs=FIELD_EPOCHS,
        seed=material.seed,
        reporter=material.reporter,
    )
    shown = []
    for i, (at, first, second) in enumerate(zip(centre, *halves, strict=True), 1):
        position = _conformation(material, at)
        shown.append(
            Shown(
                f"field{i}",
                HalfMaps(first, second, 0.5 * (first + second)),
                position,
                material.density(position),
                material.run.n_particles / len(centre),
                {"at": [round(x, 3) for x in at.tolist()]},
            )
        )
    return shown


def _conformation(material: Material, place: Float[Tensor, "k"]) -> Float[Tensor, "bead 3"]:
    """Beads at a place along the motions, A."""
    run, tensors = material.run, material.tensors
    if not len(place):
        return material.bead
    if "surface_scale" in tensors:
        motion = run.motion_at(place[None].numpy())
    # no closed form leads from a place to a conformation: the nearest particle's
    else:
        motion = run.motion[torch.cdist(place[None], material.own_place).argmin(1)]
    assert isinstance(motion, RigidMotion)  # runs without segments are refused
    return material.moved(motion)[0]


# Ways to make maps of a run's particles; each is one function from Material to maps and the
# conformations that they show.
METHODS: dict[str, Callable[[Material], list[Shown]]] = {
    "following": maps_following,
    "around": maps_around,
    "field": maps_of_field,
}
# a field has to be trained, which takes longer than all else
DEFAULT_METHODS = ("following", "around")


def debias(  # noqa: PLR0913 - a keyword a setting of the command
    run: Run,
    particles: ParticleStack,
    out: Path | str,
    *,
    methods: Sequence[str] = DEFAULT_METHODS,
    centres: int = 4,
    at: np.ndarray | None = None,
    seed: int = 0,
    overwrite: bool = False,
    settings: dict | None = None,
    reporter: Reporter | None = None,
    device: torch.device = PROCESSOR,
) -> Debiased:
    """Maps on the latents of a fit, and what they say of its base model and of its motions.

    The fit is kept as it is. Particles of each half-set are moved as their own half-set's fit found
    it, so that half-maps are independent, and a gain counts only at frequencies finer than those
    that the fit used: below, both halves share what their common base model made of noise.

    Written are the static map and those of each method with their half-maps; fsc.csv; support.csv
    and support.cif, whose B-factors are 100 times the support; and summary.json with the verdict.

    Parameters
    ----------
    run : Run
    particles : ParticleStack
        The images that it was fitted to
        (:func:`~atomdrgn.debiasing.run_particles.particles_of_run`).
    out : path
        Folder for the result.
    methods : sequence of str
        Of METHODS.
    centres : int
        How many maps around latents: in the middle of k-means clusters of the particles.
    at : (centre, k), optional
        Around these latents instead.
    seed : int
        For samples, clusters and random phases.
    overwrite : bool
        Replace an earlier result.
    settings : dict, optional
        What summary.json shall say besides.
    reporter : Reporter, optional
        Watches.
    device : torch.device
        Where images are transformed and added up (see :func:`atomdrgn.devices.choose_device`);
        fields are trained on the processor alone.

    Raises
    ------
    InputError
        A run without segments, a method that there is not, particles that are not the run's, or a
        half-set without particles.
    OutputExistsError
        The folder holds something else.

    Examples
    --------
    >>> from atomdrgn import fit, read_particles, read_structure
    >>> base, particles = read_structure("base.pdb"), read_particles("particles.star")
    >>> run = fit(base, particles, "particles.fit", segments=2, resolution=10.0)
    >>> debias(run, particles, "debiased", methods=["following"]).summary["particles"]
    8
    """
    out, reporter = Path(out), reporter or Reporter()
    require_result_folder(out, overwrite=overwrite)
    require_segments(run, "debias")
    unknown = [name for name in methods if name not in METHODS]
    if unknown or not methods:
        raise InputError(
            f"method {unknown[0]!r}: choose of {', '.join(METHODS)}"
            if unknown
            else f"no method: choose of {', '.join(METHODS)}"
        )
    if "field" in methods and device != PROCESSOR:
        raise InputError(
            f"method 'field' on the device {device}: fields are trained on the processor; give "
            "--device cpu, or leave the method out"
        )
    if particles.n_particles != run.n_particles:
        raise InputError(
            f"{particles.source} has {particles.n_particles} particles and {run.folder} was fitted "
            f"to {run.n_particles}: give the particles of the fit"
        )
    require_both_halves(particles, torch.ones(len(particles)))
    beads, images = run.bead_model, FourierImages(particles, particles.grid.nyquist)
    warned = read_images(images, None, reporter=reporter)
    particles, counts = images.stack, ~images.left_out
    require_both_halves(particles, counts.float())
    material = Material(
        run,
        particles,
        counts,
        measure_noise(particles, seed=seed, counts=counts, device=device),
        beads,
        centres,
        at,
        seed,
        reporter,
        device,
    )
    static = Shown(
        "static",
        static_maps(
            particles,
            spectrum=material.spectrum,
            strength=counts.float(),
            reporter=reporter,
            device=device,
        ),
        material.bead,
        material.mean_density(torch.ones(run.n_particles)),
        float(run.n_particles),
    )
    found = {name: METHODS[name](material) for name in methods}
    gains = (
        _gains(material, static.maps, found["following"][0].maps) if "following" in found else []
    )
    supports = {
        "static": _support(material, [static]),
        **{name: _support(material, maps) for name, maps in found.items()},
    }
    # a map that follows motions fitted to noise shows some of the base model where nothing is
    best = next(name for name in (*JUDGES, *found) if name in found)
    summary = (
        _summary(material, found, gains, supports, best)
        | {"warnings": [*particles.warnings, *warned], "device": str(device)}
        | (settings or {})
    )
    with whole_folder(out) as folder:
        _write(folder, material, static, found, gains, supports, best)
        write_json(folder / SUMMARY, summary)
    return Debiased(out, summary)


def require_result_folder(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds anything but an earlier result; without `overwrite` that too."""
    maps = (
        {path.name for path in out.glob("*.mrc")}
        if out.is_dir() and (out / SUPPORT).exists()
        else set()
    )
    require_replaceable(
        out,
        {SUPPORT, STRUCTURE, CORRELATION, SUMMARY, *maps},
        what="a debiased run",
        overwrite=overwrite,
    )


def _mask(material: Material, position: Float[Tensor, "point 3"]) -> Float[Tensor, "box box box"]:
    grid = material.stack.grid
    return mask_around(
        position,
        shape=(grid.box_size,) * 3,
        voxel_size=grid.pixel_size,
        radius=max(MASK_RADIUS, 2 * grid.pixel_size),
        edge=max(MASK_EDGE, 3 * grid.pixel_size),
    )


def _gains(material: Material, static: HalfMaps, following: HalfMaps) -> list[Gain]:
    """Gains of the whole, of each part that moves as one, and of each segment."""
    bead = material.bead
    resolution = material.run.summary["resolution"]
    return [
        compare(
            name,
            static,
            following,
            _mask(material, bead[chosen]),
            voxel_size=material.stack.grid.pixel_size,
            resolution=resolution,
            seed=material.seed,
        )
        for name, chosen in _parts(material)
        if chosen.any()
    ]


def _parts(material: Material) -> Iterator[tuple[str, Bool[Tensor, "bead"]]]:
    """Names and beads of the whole, the groups and the segments."""
    tensors, n_beads = material.tensors, len(material.beads)
    yield "whole", torch.ones(n_beads, dtype=torch.bool)
    groups = material.run.summary.get("groups", [])
    if len(groups) > 1 and (material.run.folder / RESIDUES).exists():
        path = material.run.folder / RESIDUES
        table = read_text_table(path, rows=len(material.beads.trace_index))
        if "group" not in table:
            raise FileFormatError(
                f"{path}: damaged (there is no column group); fit again with --overwrite"
            )
        of_trace = torch.from_numpy(column_of_numbers(path, "group", table["group"])).long()
        of_bead = torch.zeros(n_beads, dtype=torch.long)
        of_bead[material.beads.trace_index] = of_trace
        of_bead = of_bead[torch.from_numpy(material.beads.anchor)]
        for group in groups:
            yield f"group {group['number']} ({group['selection']})", of_bead == group["number"]
    own = tensors["weight"].argmax(1)
    for segment in range(tensors["weight"].shape[1]):
        yield f"segment {segment + 1}", own == segment


def _support(material: Material, shown: Iterable[Shown]) -> ResidueSupport:
    trace = material.beads.trace_index
    return joined(
        [
            (
                residue_support(
                    each.maps, each.model, each.position[trace], grid=material.stack.grid
                ),
                each.weight,
            )
            for each in shown
        ]
    )


def _summary(
    material: Material,
    found: Mapping[str, Sequence[Shown]],
    gains: Sequence[Gain],
    supports: Mapping[str, ResidueSupport],
    best: str,
) -> dict:
    stretches = unsupported_stretches(material.beads, supports[best])
    resolution = material.run.summary["resolution"]
    verdict = [_support_verdict(stretches, best), *_motion_verdict(material, gains, resolution)]
    return {
        "verdict": verdict,
        "run": str(material.run.folder),
        "particles": material.run.n_particles,
        "images": len(material.stack),
        "half_sets_apart": has_halves(material.run),
        "fit_resolution": resolution,
        "follows": bool(gains) and has_halves(material.run) and gains[0].significant,
        "gains": [gain.row() for gain in gains],
        "unsupported": stretches,
        "support_by": best,
        "methods": {
            name: [{"map": f"{each.name}.mrc", **each.details} for each in maps]
            for name, maps in found.items()
        },
    }


def _support_verdict(stretches: Sequence[dict], best: str) -> str:
    if not stretches:
        return f"the data support every stretch of the base model (by the map of {best})"
    named = "; ".join(
        f"{row['selection']} ({row['residues']} residues, {row['support']:.2f} of their density)"
        for row in stretches
    )
    return f"the data do not support {named}"


def _motion_verdict(material: Material, gains: Sequence[Gain], resolution: float) -> Iterator[str]:
    if not has_halves(material.run):
        yield (
            "half-sets were not fitted apart in this run, so half-maps cannot judge its motions: "
            "what was fitted to noise would look like a gain"
        )
        return
    if not gains:
        return
    whole = gains[0]
    if not math.isfinite(whole.gain):
        yield (
            f"the fit used frequencies to {resolution:g} A, the finest there are: none is left to "
            "judge its motions by; fit again with a coarser --resolution"
        )
        return
    said = f"half-map FSC beyond {resolution:g} A {whole.gain:+.4f} +- {whole.error:.4f}"
    moving = [gain for gain in gains[1:] if gain.significant and "group" in gain.name]
    parts = "".join(f"; {gain.name} {gain.gain:+.4f} +- {gain.error:.4f}" for gain in moving)
    if whole.significant or moving:
        yield f"following the motion gains beyond the frequencies of the fit: {said}{parts}"
    else:
        yield (
            f"following the motion gains nothing beyond the frequencies of the fit: {said}; the "
            "motions are not supported by what the fit did not see"
        )


def _write(
    folder: Path,
    material: Material,
    static: Shown,
    found: Mapping[str, Sequence[Shown]],
    gains: Sequence[Gain],
    supports: Mapping[str, ResidueSupport],
    best: str,
) -> None:
    voxel = material.stack.grid.pixel_size
    every = [static, *(each for maps in found.values() for each in maps)]
    for each in every:
        for density, end in (
            (each.maps.whole, ""),
            (each.maps.first, "_half1"),
            (each.maps.second, "_half2"),
        ):
            write_density_map(folder / f"{each.name}{end}.mrc", DensityMap(density, voxel))
    _write_correlations(folder / CORRELATION, material, every, gains)
    _write_support(folder, material, supports, best)


def _write_correlations(
    path: Path, material: Material, every: Iterable[Shown], gains: Iterable[Gain]
) -> None:
    """Write correlations of half-maps, of parts and around whole conformations.

    Parts have two, static and following.
    """
    rows: dict[str, list[str]] = {
        "part": [],
        "map": [],
        "frequency": [],
        "fsc": [],
        "fsc_masked": [],
        "fsc_randomised": [],
    }

    def add(part: str, name: str, found: HalfMapCorrelation) -> None:
        for i, frequency in enumerate(found.frequency.tolist()):
            values = (
                part,
                name,
                f"{frequency:.6f}",
                *(f"{float(x[i]):.6f}" for x in (found.corrected, found.masked, found.randomised)),
            )
            for column, value in zip(rows.values(), values, strict=True):
                column.append(value)

    for gain in gains:
        add(gain.name, "static", gain.static)
        add(gain.name, "following", gain.following)
    for each in every:
        if not (gains and each.name in ("static", "following")):
            add(
                "whole",
                each.name,
                correlate_half_maps(
                    each.maps.first,
                    each.maps.second,
                    mask=_mask(material, each.position),
                    voxel_size=material.stack.grid.pixel_size,
                    seed=material.seed,
                ),
            )
    write_table(path, rows)


def _write_support(
    folder: Path, material: Material, supports: Mapping[str, ResidueSupport], best: str
) -> None:
    beads, trace = material.beads, material.beads.trace_index.numpy()
    chosen = supports[best]

    def column(values: Tensor) -> list[float | str]:
        return ["" if finite(value) is None else round(value, 4) for value in values.tolist()]

    write_table(
        folder / SUPPORT,
        {
            "chain": beads.chain[trace].tolist(),
            "residue": beads.residue[trace].tolist(),
            "icode": beads.icode[trace].tolist(),
            "support": column(chosen.support),
            "error": column(chosen.error),
            "correlation": column(chosen.correlation),
            **{f"support_{name}": column(support.support) for name, support in supports.items()},
        },
    )
    of_bead = torch.zeros(len(beads))
    of_bead[material.beads.trace_index] = chosen.support.nan_to_num().clamp(0, 1)
    of_atom = of_bead[torch.from_numpy(beads.anchor)][
        torch.from_numpy(np.asarray(beads.bead_of_atom))
    ]
    write_structure(material.run.structure, folder / STRUCTURE, b_factor=B_FACTOR * of_atom)
