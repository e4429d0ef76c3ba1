"""Tilt series of Warp and M 1.x: one row a tilt image, several rows a particle."""

from typing import final

import numpy as np
from jaxtyping import Bool, Int

from ..tables.assembly import ImageRows
from ..tables.tilt_series import COLUMNS, are_tilt_rows, as_tilt_series, read_tilt_rows
from .particle_format import ParticleSource
from .relion_particles import ImageRowFormat


@final
class WarpTiltSeries(ImageRowFormat):
    """Image series of Warp and M 1.x: rows of a group are the tilts of one particle."""

    name = "Warp or M 1.x tilt series"

    def matches(self, source: ParticleSource) -> bool:
        """Whether the user, or scales and B factors of groups, say that rows are tilts."""
        return are_tilt_rows(source.particles, tilt_series=source.reading.tilt_series)

    def read(self, source: ParticleSource) -> ImageRows:
        """What the file says of each tilt image; excluded tilts are left out."""
        rows, particles = self.image_rows(source), source.particles
        tilts = read_tilt_rows(particles, tilt_series=source.reading.tilt_series)
        return as_tilt_series(rows, particles, tilts, format=self.name)

    def particle_of_row(self, source: ParticleSource) -> Int[np.ndarray, "row"]:
        """(row,) number of the particle whose tilt each row is."""
        return read_tilt_rows(source.particles, tilt_series=source.reading.tilt_series).particle

    def usable(self, source: ParticleSource) -> Bool[np.ndarray, "row"]:
        """(row,) tilts that are not excluded (rlnCtfScalefactor 0)."""
        return source.particles.numbers(COLUMNS[1]) != 0
