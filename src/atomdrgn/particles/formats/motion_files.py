"""Motion of particles over tilts or frames, as RELION 4 and 5 write it, cut down with them.

The file (rlnTomoTrajectoriesFile of an optimisation set) says how many particles there are and has
a block for each, named by rlnTomoParticleName. Old files name their blocks 0, 1 and so on, and
these go by the order of the particle file. RELION takes blocks of old files by that order whatever
the particles are, so that a file that was not cut down moves each particle by another's motion.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...errors import FileFormatError, InputError, MissingFileError
from ...io.star import StarTable, find_table, read_star, write_star
from ..stack.image_files import find_file

GENERAL, COUNT = "general", "rlnParticleNumber"
PARTICLE_NAME = "rlnTomoParticleName"


@dataclass(frozen=True)
class Trajectories:
    """The motion file of some rows of a particle file, which is read when it is written again.

    Parameters
    ----------
    name : str
        As the optimisation set has it.
    beside : Path
        The optimisation set.
    particle : tuple of str or None
        rlnTomoParticleName of each row of the whole particle file, where it has them.
    row : (row,) int64
        Rows of the whole particle file that are left, from 0.
    n_rows : int
        How many the whole file has.
    data_folder : path, optional
        Where the user says that files lie.
    """

    name: str
    beside: Path
    particle: tuple[str, ...] | None
    row: np.ndarray
    n_rows: int
    data_folder: str | Path | None = None

    def of_rows(self, rows: np.ndarray) -> "Trajectories":
        """The motion of some of the rows that are left.

        Parameters
        ----------
        rows : (chosen,) int
            From 0, among those that are left.

        Returns
        -------
        Trajectories
        """
        return replace(self, row=self.row[rows])

    def find(self) -> Path | None:
        """The file, or None where it is not there."""
        try:
            return self._file()
        except MissingFileError:
            return None

    def write(self, path: str | Path) -> None:
        """Write the motion of the rows that are left; every token of it is as it was.

        Parameters
        ----------
        path : path
            Where.

        Raises
        ------
        MissingFileError
            The file is not there.
        FileFormatError, InputError
            It is no motion file, or not of these particles.
        """
        source = self._file()
        tables = read_star(source)
        general = find_table(tables, GENERAL)
        if general is None or COUNT not in general:
            raise FileFormatError(
                f"{source}: no {COUNT} in data_{GENERAL}, so it is no motion file"
            )
        blocks = [table for table in tables if table is not general]
        kept = (
            self._in_order(blocks, source)
            if blocks and blocks[0].block == "0"
            else self._by_name(blocks, source)
        )
        # rows may share a block: copies of a particle
        write_star(path, [general.with_column(COUNT, [str(len(kept))]), *kept])

    def _file(self) -> Path:
        return find_file(self.name, beside=self.beside, data_folder=self.data_folder)

    def _in_order(self, blocks: list[StarTable], source: Path) -> list[StarTable]:
        if len(blocks) != self.n_rows:
            raise InputError(
                f"{source}: {len(blocks):,} blocks without the names of particles, but there are "
                f"{self.n_rows:,} particles: it cannot be told whose they are"
            )
        return [
            replace(blocks[row], block=str(number)) for number, row in enumerate(self.row.tolist())
        ]

    def _by_name(self, blocks: list[StarTable], source: Path) -> list[StarTable]:
        if self.particle is None:
            raise InputError(
                f"{source}: its blocks are named by particles, which have no {PARTICLE_NAME}"
            )
        wanted = {self.particle[row] for row in self.row.tolist()}
        absent = sorted(wanted - {table.block for table in blocks})
        if absent:
            raise InputError(
                f"{source}: no block of {len(absent):,} of the {len(wanted):,} particles (such as "
                f"{absent[0]})"
            )
        kept = [table for table in blocks if table.block in wanted]
        names = [table.block for table in kept]
        if len(names) > len(wanted):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(
                f"{source}: {twice} has {names.count(twice)} blocks, so that its motion cannot be "
                "told"
            )
        return kept
