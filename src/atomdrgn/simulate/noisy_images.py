"""The pixels: scatterers projected, seen through the lens, and noise."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from ..physics.ctf import CTF
from ..physics.fourier import inverse_transform, transform
from ..physics.grid import ImageGrid
from ..physics.pose import Pose
from ..physics.projection.project import project_beads
from ..structure.atoms import Structure
from ..structure.beads import ATOMIC_BLUR, coarse_grain
from ..structure.residue_kinds import residue_kinds


@dataclass(frozen=True)
class Scatterers:
    """Gaussians that scatter: atoms, or all atoms of a residue as one.

    Parameters
    ----------
    amplitude, sigma : (scatterer,)
        Electrons, and width, A.
    atom : (entry,)
        Atoms that have a share, and in `scatterer` (entry,) which of these they belong to; `share`
        (entry,) adds up to 1 in each.
    """

    amplitude: Float[Tensor, "scatterer"]
    sigma: Float[Tensor, "scatterer"]
    atom: Int[Tensor, "entry"]
    scatterer: Int[Tensor, "entry"]
    share: Float[Tensor, "entry"]

    def position(self, atoms: Float[Tensor, "batch atom 3"]) -> Float[Tensor, "batch scatterer 3"]:
        """Where they stand in some conformations, A: centroids of their atoms."""
        if len(self.atom) == len(self.amplitude):
            return atoms[:, self.atom]
        centroid = torch.zeros(len(atoms), len(self.amplitude), 3)
        return centroid.index_add_(1, self.scatterer, self.share[:, None] * atoms[:, self.atom])


def atoms_of(structure: Structure) -> Scatterers:
    """Every atom, as a Gaussian of its electrons, but for waters and what has an occupancy of 0."""
    amplitude = _electrons(structure)
    atom = torch.nonzero(amplitude > 0)[:, 0]
    sigma = torch.full((len(atom),), ATOMIC_BLUR)
    return Scatterers(amplitude[atom], sigma, atom, torch.arange(len(atom)), torch.ones(len(atom)))


def residues_of(structure: Structure) -> Scatterers:
    """One Gaussian a residue, as the fit has them: many times quicker, and without the detail
    inside a residue.
    """
    beads = coarse_grain(structure)
    electrons = _electrons(structure)
    atom = torch.nonzero(electrons > 0)[:, 0]
    scatterer = torch.from_numpy(beads.bead_of_atom)[atom]
    total = torch.zeros(len(beads)).index_add_(0, scatterer, electrons[atom])
    there = torch.nonzero(total > 0)[:, 0]
    number = torch.full((len(beads),), -1).index_copy_(0, there, torch.arange(len(there)))[
        scatterer
    ]
    return Scatterers(
        beads.amplitude[there], beads.sigma[there], atom, number, electrons[atom] / total[scatterer]
    )


def _electrons(structure):
    water = (residue_kinds(structure) == "water")[structure.residue_index]
    return torch.tensor(
        np.where(water, 0.0, structure.element * structure.occupancy), dtype=torch.float32
    )


def clean_images(
    scatterers: Scatterers,
    atoms: Float[Tensor, "image atom 3"],
    *,
    pose: Pose,
    ctf: CTF,
    grid: ImageGrid,
) -> Float[Tensor, "image box box"]:
    """Images without noise.

    The CTF acts in a box of twice the size: what it spreads beyond the image is lost.
    """
    image = project_beads(
        pose.apply(scatterers.position(atoms)), scatterers.amplitude, scatterers.sigma, grid
    )
    return _through_the_lens(image, ctf, grid)


def premultiply(
    image: Float[Tensor, "image box box"], ctf: CTF, grid: ImageGrid
) -> Float[Tensor, "image box box"]:
    """Images, noise and all, multiplied by their CTF, as programs do that weight when they extract."""
    return inverse_transform(transform(image) * ctf.oscillation(*grid.frequencies()), grid.box_size)


def _through_the_lens(image, ctf, grid):
    """The CTF applied to images on a field of twice the size, then cut out again."""
    twice = ImageGrid(2 * grid.box_size, grid.pixel_size)
    before = twice.box_size // 2 - grid.box_size // 2
    after = grid.box_size - before
    plane = transform(pad(image, (before, after) * 2)) * ctf.evaluate(twice)
    kept = slice(before, before + grid.box_size)
    return inverse_transform(plane, twice.box_size)[:, kept, kept]
