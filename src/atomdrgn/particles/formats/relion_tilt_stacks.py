"""Tilt series of WarpTools and RELION 4 and 5: one row and one 2D stack a particle."""

import warnings
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int

from ...io.star import StarTable
from ..tables.assembly import ImageRows
from ..tables.optics import read_optics
from ..tables.relion import read_rotation
from ..tables.tilt_stacks import (
    MIRROR,
    are_tilt_stacks,
    origin_columns,
    read_origin,
    read_tilt_stacks,
    visible_images,
)
from ..tables.tomograms import lists_of_numbers, read_tomograms
from .particle_format import ParticleSource
from .star_file import StarFormat, with_angles, with_numbers

VISIBLE = "rlnTomoVisibleFrames"


@final
class RelionTiltStacks(StarFormat):
    """2D stacks of tilts with a tomograms.star, named alone or by an optimisation set."""

    name = "2D stacks of tilts"

    def matches(self, source: ParticleSource) -> bool:
        """Whether rows name a tomogram and a whole stack."""
        return are_tilt_stacks(source.particles)

    def refuse_settings(self, source: ParticleSource) -> None:
        """Nothing is refused: a passthrough file has been, where the STAR file was read."""

    def read(self, source: ParticleSource) -> ImageRows:
        """What the file and its tomograms.star say of each tilt image."""
        return read_tilt_stacks(
            source.tables,
            tomograms=source.tomograms,
            data_folder=source.reading.data_folder,
            invert_contrast=source.reading.invert_contrast,
            format=self.name,
        )

    def particle_of_row(self, source: ParticleSource) -> Int[np.ndarray, "row"]:
        """(row,) each row is a particle."""
        return np.arange(len(source.particles))

    def usable(self, source: ParticleSource) -> Bool[np.ndarray, "row"]:
        """(row,) whether a stack has an image that is neither hidden nor excluded.

        Which tilts are excluded tomograms.star says: a particle that has no other is none. Where
        that is not known and could matter, a warning says so.
        """
        table = source.particles
        if source.tomograms is not None:
            return _with_images_in_use(
                table, source.tomograms, data_folder=source.reading.data_folder
            )
        if VISIBLE not in table:
            return np.ones(len(table), dtype=bool)
        shown = lists_of_numbers(table, VISIBLE)
        in_doubt = sum(flags.any() and not flags.all() for flags in shown)
        if in_doubt:
            warnings.warn(
                f"{table.path}: {in_doubt:,} particles have hidden tilts, and a fit leaves those "
                "out whose other tilts are all excluded, which tomograms.star says: without it "
                "(--tomograms) particles may be counted otherwise than by a fit",
                stacklevel=4,
            )
        return np.array([flags.any() for flags in shown])

    def new_poses(
        self,
        table: StarTable,
        optics: StarTable | None,
        rotation: Float[np.ndarray, "row 3 3"],
        shift: Float[np.ndarray, "row 3"],
    ) -> StarTable:
        """The particle table with new angles and origins, in the unit that it has.

        The angles mean Sub Rot in the mirrored tomogram (see :mod:`~..tables.tilt_stacks`): with
        A = Sub Rot, A becomes A M G M. The origin, from which the molecule stands at Sub times
        minus it, changes by minus Rot M d. It is written in the unit that the file has; an axis
        that has no column gets one in the unit of the others.
        """
        old, there = read_rotation(table), origin_columns(table)
        in_pixels = any(there) and not any(name.endswith("Angst") for name in there if name)
        pixels_there = any(name and not name.endswith("Angst") for name in there)
        pixel_size = read_optics(table, optics).pixel_size if pixels_there else np.ones(len(table))
        origin = read_origin(table, pixel_size) - np.einsum("nij,nj->ni", old @ MIRROR, shift)
        names = [
            name or f"rlnOrigin{axis}{'' if in_pixels else 'Angst'}"
            for name, axis in zip(there, "XYZ", strict=True)
        ]
        numbers = {
            name: values if name.endswith("Angst") else values / pixel_size
            for name, values in zip(names, origin.T, strict=True)
        }
        return with_numbers(with_angles(table, old @ MIRROR @ rotation @ MIRROR), numbers)


def _with_images_in_use(
    table: StarTable, tomograms: str | Path, *, data_folder: str | Path | None
) -> Bool[np.ndarray, "row"]:
    names = table.texts("rlnTomoName")
    by_name = read_tomograms(tomograms, names, data_folder=data_folder)
    scale = [by_name[name].ctf["scale"] for name in names]
    count = [len(of_tilt) for of_tilt in scale]
    shown = visible_images(table, n_tilts=count, n_images=count)
    kept = np.concatenate(scale)[np.cumsum([0, *count])[shown.row] + shown.tilt] != 0
    return np.bincount(shown.row[kept], minlength=len(table)) > 0
