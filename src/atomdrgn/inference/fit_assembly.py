"""What a fit is assembled from, and the state that it begins in."""

import logging

import torch

from ..devices import PROCESSOR
from ..errors import InputError
from ..parallel import Processes, portions_of
from ..particles.stack.stack import ParticleStack
from ..reporting import Reporter
from ..structure.atoms import Structure
from ..structure.beads import BeadModel, coarse_grain
from ..structure.density_map import read_density_map
from ..structure.motion.deformation import Deformation
from ..structure.motion.kinds import KINDS
from ..structure.placement import require_inside
from ..structure.segmentation import TEMPERATURE, make_segments
from .fit_options import FitOptions
from .images.fourier_images import FourierImages
from .images.memory_budget import share_memory
from .images.resolution_schedule import finest_resolution
from .problem.fit_problem import FitModel
from .problem.fit_state import FitState
from .problem.resegmentation import cut
from .residual.focus import Focus, focus_on, inside_mask, near_residues_named

logger = logging.getLogger(__name__)
START_CONTRAST_SD = 0.2
# Residues of a segment: with two each 24 to 120 images of two helices supported ten motions where
# one is true, and ended further from the truth than the base model (3.2 to 4.3 A, base 1.4); with
# seven one motion, and 0.5 to 1.1 A.
SHORTEST = 6
SMALLEST_EXTENT = 1.0  # A r.m.s., of a model's beads


def assemble(
    structure: Structure,
    particles: ParticleStack,
    options: FitOptions,
    *,
    memory: float | None = None,
    reporter: Reporter | None = None,
    processes: Processes | None = None,
    device: torch.device = PROCESSOR,
) -> FitModel:
    """A fit of particles, of which no image has been read yet.

    Parameters
    ----------
    structure, particles, options, memory, reporter, processes, device
        As for :func:`atomdrgn.fit`.

    Raises
    ------
    InputError
        A model outside the box or next to a point, nothing that is free to move, options that do
        not suit it, or too little memory.
    """
    processes = processes or Processes()
    beads = coarse_grain(structure, beads=options.beads)
    require_inside(beads, particles.grid)
    _require_extent(beads, structure.name)
    focus = _focus(options, beads)
    fixed = options.fixed if focus is None else focus.fixed
    named = len(options.parts or []) + (fixed is not None)
    segments = segments_that_fit(beads, options.segments, named=named)
    if focus is not None:
        segments = min(segments, named + max(not named, focus.free // SHORTEST))
    segmentation = make_segments(
        beads,
        segments,
        parts=options.parts,
        fixed=fixed,
        temperature=TEMPERATURE if options.temperature is None else options.temperature,
    )
    deformation = _kind(options.deformation).of_beads(beads, segmentation)
    if options.composition:
        deformation = deformation.with_composition()
    if not deformation.n_latent:
        raise InputError("every segment is fixed: leave something free to move")
    number = torch.unique(particles.particle, return_inverse=True)[1]
    images = FourierImages(particles, finest_resolution(particles.grid, options.resolution))
    plan = share_memory(
        memory,
        particles=int(number.max()) + 1,
        images=len(particles),
        n_latent=deformation.n_latent,
        processes=processes.here,
    )
    rows = torch.bincount(number)
    portion = portions_of(rows)
    first, last = processes.share(torch.bincount(portion, weights=rows).long())
    return FitModel(
        images=images,
        particle=number,
        beads=beads,
        memory=plan,
        portion=portion,
        my_particles=torch.nonzero((portion >= first) & (portion < last))[:, 0],
        refine_poses=options.refine_poses,
        unknown_poses=options.poses == "refined",
        finds_residual=not options.no_residual,
        outside=None if focus is None else focus.outside,
        seed=options.seed,
        reporter=reporter or Reporter(),
        processes=processes,
        device=device,
        **cut(beads, segmentation, deformation),
    )


def _focus(options: FitOptions, beads: BeadModel) -> Focus | None:
    """What of the molecule the fit is about; None where it is all."""
    if options.parts_mask is not None:
        inside = near_residues_named(options.parts_mask, beads)
    elif options.mask is not None:
        inside = inside_mask(read_density_map(options.mask), beads)
    else:
        return None
    return focus_on(inside, beads, parts=options.parts or (), fixed=options.fixed)


def _kind(name: str) -> type[Deformation]:
    """The kind of deformation of that name."""
    if name not in KINDS:
        raise InputError(f"a deformation of {name!r}: choose {' or '.join(KINDS)}")
    return KINDS[name]


def _require_extent(beads: BeadModel, name: str) -> None:
    """Refuse a model that is next to a point: its parts cannot be told from one another."""
    extent = float((beads.position - beads.position.mean(0)).square().sum(1).mean().sqrt())
    if len(beads) > 1 and extent < SMALLEST_EXTENT:
        raise InputError(
            f"{name}: its {len(beads)} residues lie within {extent:.2g} A r.m.s. of their middle: "
            "are its coordinates in A?"
        )


def segments_that_fit(beads: BeadModel, asked: int, *, named: int) -> int:
    """As many segments as were asked for, or fewer where they would be too short.

    Those that selections name are not judged.
    """
    residues = int(beads.trace.sum())
    most = max(1, residues // SHORTEST, named + 1 if named else 0)
    if most < asked <= residues:
        logger.info(
            "%d segments of %d residues would be shorter than %d residues each, of which their "
            "soft borders take 4: the molecule is cut into %d",
            asked,
            residues,
            SHORTEST,
            most,
        )
        return most
    return asked


def first_state(model: FitModel) -> FitState:
    """What a fit knows before its first pass: every particle where the population begins."""
    n_groups = int(model.images.group.max()) + 1
    return FitState(
        step=0,
        latent=model.start.mean.expand(model.n_particles, -1).contiguous(),
        population=model.start,
        latent_sd=torch.zeros(model.n_particles, 1),
        freedom=torch.zeros(model.n_particles),
        uncertainty=torch.zeros_like(model.start.root),
        spectrum=torch.ones(n_groups, 1),
        contrast=torch.ones(len(model.images)),
        contrast_sd=START_CONTRAST_SD,
        amplitude=1.0,
        width2=0.0,
    )
