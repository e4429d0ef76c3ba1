"""Single particles of RELION 3.0 to 5: one row an image, one image a particle."""

from dataclasses import replace
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int

from ...io.star import StarTable
from ..tables.assembly import ImageRows
from ..tables.optics import read_optics
from ..tables.relion import read_relion, read_rotation, read_shift
from ..tables.tilt_series import refuse_tilts_without_dose, tilts_in_doubt
from .particle_format import ParticleSource, refuse_tomograms
from .star_file import StarFormat, with_angles, with_numbers


class ImageRowFormat(StarFormat):
    """A format of STAR files with one row an image: poses stand in the rows, no tomograms."""

    def refuse_settings(self, source: ParticleSource) -> None:
        """Refuse tomograms that the user names."""
        refuse_tomograms(source.particles.path, source.reading.tomograms)

    def image_rows(self, source: ParticleSource) -> ImageRows:
        """What the file says of each image by itself; tomograms of an optimisation set are refused.

        Parameters
        ----------
        source : ParticleSource
            A file of this format.

        Raises
        ------
        InputError, FileFormatError, MissingFileError
            As for :meth:`read`.
        """
        refuse_tomograms(source.particles.path, source.tomograms)
        return read_relion(
            source.tables,
            data_folder=source.reading.data_folder,
            invert_contrast=source.reading.invert_contrast,
            allow_missing_ctf=source.reading.allow_missing_ctf,
        )

    def new_poses(
        self,
        table: StarTable,
        optics: StarTable | None,
        rotation: Float[np.ndarray, "row 3 3"],
        shift: Float[np.ndarray, "row 3"],
    ) -> StarTable:
        """The particle table with new angles and origins, in the unit that it has."""
        old = read_rotation(table)
        table = with_angles(table, old @ rotation)
        moved = np.einsum("nij,nj->ni", old, shift)[:, :2]
        # RELION 3.0: in pixels
        if "rlnOriginXAngst" not in table and ("rlnOriginX" in table or optics is None):
            pixel_size = read_optics(table, optics).pixel_size
            origin = -(read_shift(table, pixel_size) + moved) / pixel_size[:, None]
            return with_numbers(
                table, {f"rlnOrigin{axis}": origin[:, i] for i, axis in enumerate("XY")}
            )
        origin = -(read_shift(table, np.ones(len(table))) + moved)
        return with_numbers(
            table, {f"rlnOrigin{axis}Angst": origin[:, i] for i, axis in enumerate("XY")}
        )


@final
class RelionParticles(ImageRowFormat):
    """Single particles of RELION, and of programs that write its columns; asked last of all."""

    name = "RELION"

    def matches(self, source: ParticleSource) -> bool:
        """True: what no other format takes is read as this one, which says what is missing."""
        return True

    def read(self, source: ParticleSource) -> ImageRows:
        """What the file says of each image; rows that look like tilts are warned of."""
        rows = self.image_rows(source)
        refuse_tilts_without_dose(source.particles)
        return replace(rows, warnings=(*rows.warnings, *tilts_in_doubt(source.particles)))

    def particle_of_row(self, source: ParticleSource) -> Int[np.ndarray, "row"]:
        """(row,) each row is a particle."""
        refuse_tilts_without_dose(source.particles)
        return np.arange(len(source.particles))

    def usable(self, source: ParticleSource) -> Bool[np.ndarray, "row"]:
        """(row,) all rows are used."""
        return np.ones(len(source.particles), dtype=bool)
