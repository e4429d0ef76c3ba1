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

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> structure = read_structure("model.pdb")
    >>> residues_of(structure).position(structure.position[None]).shape
    torch.Size([1, 24, 3])
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
    """Every atom as a Gaussian of its electrons, but for waters and what has no occupancy.

    Parameters
    ----------
    structure : Structure
        The molecule.

    Returns
    -------
    Scatterers

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> atoms_of(read_structure("model.pdb")).amplitude[:3]
    tensor([7., 6., 6.])
    """
    amplitude = _electrons(structure)
    atom = torch.nonzero(amplitude > 0)[:, 0]
    sigma = torch.full((len(atom),), ATOMIC_BLUR)
    return Scatterers(amplitude[atom], sigma, atom, torch.arange(len(atom)), torch.ones(len(atom)))


def residues_of(structure: Structure) -> Scatterers:
    """One Gaussian a residue, as the fit has them.

    It is many times quicker than atoms, and without the detail inside a residue.

    Parameters
    ----------
    structure : Structure
        The molecule.

    Returns
    -------
    Scatterers

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> residues_of(read_structure("model.pdb")).amplitude.shape
    torch.Size([24])
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


def _electrons(structure: Structure) -> Float[Tensor, "atom"]:
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

    Parameters
    ----------
    scatterers : Scatterers
        Of the molecule.
    atoms : (image, atom, 3)
        The conformation of each image, A.
    pose, ctf : Pose, CTF
        (image,) of each image.
    grid : ImageGrid
        Of the images.

    Returns
    -------
    (image, box, box)
        Electrons per A^2.

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> from atomdrgn.simulate.imaging import image_once
    >>> structure, grid = read_structure("model.pdb"), ImageGrid(16, 3.0)
    >>> how = image_once(2, grid, torch.Generator())
    >>> at = structure.position.expand(2, -1, -1)
    >>> clean_images(residues_of(structure), at, pose=how.pose, ctf=how.ctf, grid=grid).shape
    torch.Size([2, 16, 16])
    """
    image = project_beads(
        pose.apply(scatterers.position(atoms)), scatterers.amplitude, scatterers.sigma, grid
    )
    return _through_the_lens(image, ctf, grid)


def premultiply(
    image: Float[Tensor, "image box box"], ctf: CTF, grid: ImageGrid
) -> Float[Tensor, "image box box"]:
    """Images multiplied by their CTF, noise and all, as programs do that weight at extraction.

    Parameters
    ----------
    image : (image, box, box)
        Images.
    ctf : CTF
        (image,) of each.
    grid : ImageGrid
        Of the images.

    Returns
    -------
    (image, box, box)

    Examples
    --------
    >>> from atomdrgn.simulate.imaging import image_once
    >>> grid = ImageGrid(16, 3.0)
    >>> ctf = image_once(2, grid, torch.Generator()).ctf
    >>> premultiply(torch.zeros(2, 16, 16), ctf, grid).abs().max().item()
    0.0
    """
    return inverse_transform(transform(image) * ctf.oscillation(*grid.frequencies()), grid.box_size)


def _through_the_lens(
    image: Float[Tensor, "image box box"], ctf: CTF, grid: ImageGrid
) -> Float[Tensor, "image box box"]:
    """The CTF applied to images on a field of twice the size, then cut out again."""
    twice = ImageGrid(2 * grid.box_size, grid.pixel_size)
    before = twice.box_size // 2 - grid.box_size // 2
    after = grid.box_size - before
    plane = transform(pad(image, (before, after) * 2)) * ctf.evaluate(twice)
    kept = slice(before, before + grid.box_size)
    return inverse_transform(plane, twice.box_size)[:, kept, kept]
