"""A density map with its place in space, read from and written to MRC files.

Frames: poses turn the molecule about voxel ``n // 2`` of each axis, which is (0, 0, 0) in the frame
of the poses. In the frame of models that fit a map as a file has it, that voxel lies at
:attr:`DensityMap.centre`.
"""

import math
import warnings
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import torch
from jaxtyping import Float
from scipy.ndimage import map_coordinates
from torch import Tensor

from ..errors import FileFormatError, InputError
from ..io import mrc
from ..io.notebook_display import facts_as_html, facts_in_line
from .placement import centre_of_map

# relative difference of a voxel's edges that is a rounding error of the header
ISOTROPIC = 1e-3


@dataclass(frozen=True, eq=False, repr=False)
class DensityMap:
    """Density on cubic voxels.

    Parameters
    ----------
    density : (z, y, x)
        Float32.
    voxel_size : float
        Edge of a voxel, A.
    centre : (3,)
        Where voxel ``n // 2`` of each axis lies, x, y, z, A; (0, 0, 0) in the frame of the poses.
    name : str
        For messages.

    Examples
    --------
    >>> density_map = DensityMap(torch.zeros(8, 8, 8), voxel_size=2.0)
    >>> density_map.box_size, density_map.origin
    (8, (-8.0, -8.0, -8.0))
    """

    density: Float[Tensor, "z y x"]
    voxel_size: float
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    name: str = "map"

    @property
    def origin(self) -> tuple[float, float, float]:
        """Where the first voxel lies, x, y, z, A."""
        x, y, z = (
            c - n // 2 * self.voxel_size
            for c, n in zip(self.centre, self.density.shape[::-1], strict=True)
        )
        return x, y, z

    @property
    def box_size(self) -> int:
        """Voxels along an edge.

        Raises
        ------
        InputError
            The map is no cube.
        """
        if len(set(self.density.shape)) > 1:
            z, y, x = self.density.shape
            raise InputError(
                f"{self.name}: {x} x {y} x {z} voxels; a cube is needed: cut or pad it to one"
            )
        return self.density.shape[0]

    def _facts(self) -> dict[str, object]:
        z, y, x = self.density.shape
        mean, sd = float(self.density.mean()), float(self.density.std())
        return {
            "voxels": f"{x} x {y} x {z} of {self.voxel_size:.4g} A",
            "density": f"{mean:.3g} +- {sd:.3g}",
        }

    def __repr__(self) -> str:
        return facts_in_line("DensityMap", self.name, self._facts())

    def _repr_html_(self) -> str:
        return facts_as_html(self.name, self._facts())

    def with_density(self, density: Tensor) -> "DensityMap":
        """Other values on the same voxels."""
        return replace(self, density=density)

    def at(self, position: Float[Tensor, "place 3"]) -> Float[Tensor, "place"]:
        """The density at places, x, y, z, A, interpolated: 0 beyond the voxels."""
        middle = torch.tensor([n // 2 for n in self.density.shape])
        place = (position - torch.tensor(self.centre)).flip(-1) / self.voxel_size + middle
        found = map_coordinates(self.density.numpy(), place.T.numpy(), order=1, mode="constant")
        return torch.from_numpy(found).float()

    def in_pose_frame(self) -> "DensityMap":
        """The same map with voxel ``n // 2`` at (0, 0, 0), whatever the frame of its file."""
        return replace(self, centre=(0.0, 0.0, 0.0))


def read_density_map(path: str | PathLike[str], *, voxel_size: float | None = None) -> DensityMap:
    """A map from an MRC file (.mrc, .map), axes in the order z, y, x.

    Their order in the file does not matter.

    Parameters
    ----------
    path : path
        Of the map.
    voxel_size : float, optional
        In place of what the header says, A.

    Returns
    -------
    DensityMap

    Raises
    ------
    MissingFileError
        There is no such file.
    FileFormatError
        It is no map, is cut short, holds no values but one, values that are not finite, or voxels
        that are no cubes.
    InputError
        The header gives no voxel size.

    Warns
    -----
    UserWarning
        The header shifts the map: its first voxel lies neither at zero nor where the box centre
        would be at zero.

    Examples
    --------
    >>> density_map = read_density_map("map.mrc")
    >>> density_map.density.shape, density_map.voxel_size, density_map.centre
    (torch.Size([24, 24, 24]), 2.0, (0.0, 0.0, 0.0))
    """
    path = Path(path)
    values, header = mrc.read_map(path)
    if voxel_size is not None:
        header = replace(header, voxel_size=(voxel_size,) * 3)
    edges = header.voxel_size
    if min(edges) > 0 and max(edges) / min(edges) > 1 + ISOTROPIC:
        raise FileFormatError(
            f"{path}: voxels of {edges[0]:.5g} x {edges[1]:.5g} x {edges[2]:.5g} A; expected "
            "cubes: resample the map, or mend the header if it is wrong"
        )
    centre = tuple(centre_of_map(header).tolist())
    density = torch.from_numpy(values)
    low, high = float(density.min()), float(density.max())
    if not math.isfinite(low + high):
        raise FileFormatError(f"{path}: holds values that are not finite; write the map again")
    if low == high:
        raise FileFormatError(
            f"{path}: every voxel is {low:g}, so the map is empty; write it again"
        )
    result = DensityMap(density, sum(edges) / 3, centre, path.name)
    if (
        max(map(abs, result.origin)) > 0.5 * result.voxel_size
        and max(map(abs, centre)) > 0.5 * result.voxel_size
    ):
        at, middle = (", ".join(f"{x:.1f}" for x in place) for place in (result.origin, centre))
        warnings.warn(
            f"{path}: the header puts the first voxel at ({at}) A and the box centre at ({middle}) "
            "A: models that fit this map stand in that frame, whereas poses turn about the box "
            "centre",
            stacklevel=2,
        )
    return result


def write_density_map(path: str | PathLike[str], density_map: DensityMap) -> None:
    """Write a map as an MRC file of 32-bit floats.

    The header says the voxel size, and the origin that puts voxel ``n // 2`` at the map's centre.

    Parameters
    ----------
    path : path
        Of the file; it appears complete or not at all.
    density_map : DensityMap
        What to write.

    Examples
    --------
    >>> write_density_map("random.mrc", DensityMap(torch.rand(8, 8, 8), voxel_size=2.0))
    >>> read_density_map("random.mrc").box_size
    8
    """
    mrc.write_map(
        path,
        density_map.density.detach().cpu().numpy(),
        voxel_size=density_map.voxel_size,
        origin=density_map.origin,
    )


def require_same_voxels(first: DensityMap, second: DensityMap) -> None:
    """Refuse two maps that cannot be compared voxel by voxel.

    Parameters
    ----------
    first, second : DensityMap
        Any two.

    Raises
    ------
    InputError
        Their shapes, voxels or places differ.

    Examples
    --------
    >>> density_map = read_density_map("map.mrc")
    >>> require_same_voxels(density_map, density_map.with_density(-density_map.density))
    """
    if (
        first.density.shape != second.density.shape
        or abs(first.voxel_size / second.voxel_size - 1) > ISOTROPIC
    ):
        shapes = [
            f"{' x '.join(map(str, m.density.shape[::-1]))} voxels of {m.voxel_size:.4g} A"
            for m in (first, second)
        ]
        raise InputError(
            f"{first.name} has {shapes[0]} and {second.name} {shapes[1]}: resample one of them"
        )
    apart = max(abs(a - b) for a, b in zip(first.centre, second.centre, strict=True))
    if apart > 0.01 * first.voxel_size:
        centres = [", ".join(f"{x:.1f}" for x in m.centre) for m in (first, second)]
        raise InputError(
            f"{first.name} has its box centre at ({centres[0]}) A and {second.name} at "
            f"({centres[1]}) A: they show different places"
        )
