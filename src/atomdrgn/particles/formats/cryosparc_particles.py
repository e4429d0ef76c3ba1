"""Single particles of cryoSPARC: .cs files, with or without their passthrough file."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Int

from ...errors import FileFormatError, InputError
from ...io.cs import UID, fields_of, read_cs_rows, rows_of_uid, write_cs
from ...physics.rotations import vector_from_matrix
from ..tables.assembly import ImageRows, stated_halves
from ..tables.cryosparc import joined_fields, read_alignment, read_cryosparc, read_half
from .particle_format import (
    ParticleFile,
    ParticleFormat,
    ParticleSource,
    refuse_passthrough,
    refuse_tomograms,
)

GROUP = ".csg"
SPLIT = "alignments3D/split"


@final
class CryosparcParticles(ParticleFormat):
    """The .cs files of cryoSPARC; each row is an image and a particle."""

    name = "cryoSPARC"
    ending = ".cs"

    def matches(self, source: ParticleSource) -> bool:
        """Whether the name ends as those of cryoSPARC do; a group is known, and refused."""
        return source.path.suffix in (self.ending, GROUP)

    def refuse_settings(self, source: ParticleSource) -> None:
        """Refuse groups, which name files, and tomograms."""
        if source.path.suffix == GROUP:
            refuse_passthrough(source)
            raise InputError(
                f"{source.path}: a group of cryoSPARC, which names files; give the .cs file of the "
                "particles that it names, and the other with --passthrough"
            )
        refuse_tomograms(source.path, source.reading.tomograms)

    def read(self, source: ParticleSource) -> ImageRows:
        """What the file and its passthrough file say of each image."""
        reading = source.reading
        return read_cryosparc(
            source.path,
            format=self.name,
            data_folder=reading.data_folder,
            invert_contrast=reading.invert_contrast,
            passthrough=reading.passthrough,
        )

    def open(
        self, source: ParticleSource, *, first_row: Int[np.ndarray, "particle"] | None = None
    ) -> "CryosparcFile":
        """The file to be cut down; each row is a particle, so `first_row` tells nothing new."""
        path, passthrough = source.path, source.reading.passthrough
        rows = read_cs_rows(path)
        names = list(fields_of(rows))
        if UID not in names:
            raise FileFormatError(
                f"{path}: no field uid, so it is no particle file of cryoSPARC (it has "
                f"{', '.join(names[:5])})"
            )
        if len(rows) == 0:
            raise InputError(f"{path}: no particles")
        through = None if passthrough is None else read_cs_rows(passthrough)
        fields = _fields(rows, through, path=path, passthrough=passthrough or "")
        image = _image_labels(fields, len(rows))
        return CryosparcFile(
            self, path, np.arange(len(rows)), image, rows=rows, passthrough=through
        )


@final
@dataclass(frozen=True)
class CryosparcFile(ParticleFile):
    """A .cs file of cryoSPARC.

    Parameters
    ----------
    rows : structured array (row,)
        As they stand in the file.
    passthrough : structured array, optional
        The fields that a job did not change, rows joined by uid.
    """

    rows: np.ndarray
    passthrough: np.ndarray | None = None

    half_column = SPLIT

    @property
    def stated_half(self) -> Int[np.ndarray, "row"] | None:
        """(row,) half-set where the file says it; one value for all rows parts nothing: None."""
        return stated_halves(read_half(_fields(self.rows, self.passthrough, path=self.path)))

    def of_rows(self, rows: Int[np.ndarray, "chosen"]) -> "CryosparcFile":
        """The file cut down to some rows, and its passthrough file to the same particles."""
        kept, through = self.rows[rows], self.passthrough
        if through is not None:
            beside = f"the passthrough file of {self.path}"
            through = through[rows_of_uid(through, kept[UID], path=beside, joined_to=self.path)]
        return replace(self, rows=kept, passthrough=through, **self.numbers_of(rows))

    def with_class(self, column: str, number: Any) -> "CryosparcFile":
        """As for STAR files, but the field has to be there, and counts from 0 as cryoSPARC does."""
        there = [
            name
            for name in fields_of(self.rows)
            if self.rows.dtype[name].kind in "iu" and not self.rows.dtype[name].shape
        ]
        if column not in there:
            raise InputError(
                f"{self.path}: no field {column!r} of whole numbers to write to (there are "
                f"{', '.join(there)})"
            )
        return self._with_field(column, self.at_rows(number) - 1)

    def with_images(self, stack: Sequence[str], section: Sequence[int] | None) -> "CryosparcFile":
        """The same file with other images, and the fields of its passthrough file in it."""
        fields = _fields(self.rows, self.passthrough, path=self.path)
        fields["blob/path"] = np.array([os.fsencode(name) for name in stack])
        fields["blob/idx"] = np.asarray(section, dtype=fields["blob/idx"].dtype)
        rows = np.empty(
            len(self.rows),
            dtype=[(name, column.dtype, column.shape[1:]) for name, column in fields.items()],
        )
        for name, column in fields.items():
            rows[name] = column
        return replace(self, rows=rows, passthrough=None)

    def following(
        self, rotation: Float[np.ndarray, "particle 3 3"], shift: Float[np.ndarray, "particle 3"]
    ) -> "CryosparcFile":
        """The same file with poses that follow a part; only a refinement's file has them."""
        if "alignments3D/pose" not in fields_of(self.rows):
            raise InputError(
                f"{self.path}: no alignments3D/pose: poses are written to a refinement's file only"
            )
        old, at = read_alignment(fields_of(self.rows), path=self.path)
        new = (old @ self.at_rows(rotation)).transpose(0, 2, 1)
        moved = at + np.einsum("nij,nj->ni", old, self.at_rows(shift))[:, :2]
        pixel_size = self.rows["alignments3D/psize_A"][:, None]
        turned = self._with_field(
            "alignments3D/pose", vector_from_matrix(torch.from_numpy(new)).numpy()
        )
        return turned._with_field("alignments3D/shift", -moved / pixel_size)

    def write(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""
        write_cs(path, self.rows)

    def files_beside(self, path: Path) -> list[Path]:
        """The passthrough file, where there is one."""
        if self.passthrough is None:
            return []
        return [path.with_name(f"{path.stem}_passthrough.cs")]

    def write_beside(self, path: Path) -> list[Path]:
        """Write the passthrough file: rows of the same particles, in the same order."""
        if self.passthrough is None:
            return []
        (beside,) = self.files_beside(path)
        write_cs(beside, self.passthrough)
        return [beside]

    def _with_field(self, name: str, values: np.ndarray) -> "CryosparcFile":
        rows = self.rows.copy()
        rows[name] = values
        return replace(self, rows=rows)


def _fields(
    rows: np.ndarray,
    through: np.ndarray | None,
    *,
    path: Path,
    passthrough: str | Path = "its passthrough file",
) -> dict[str, np.ndarray]:
    """The fields of rows, and those that only their passthrough file has."""
    return (
        fields_of(rows)
        if through is None
        else joined_fields(rows, through, path=path, passthrough=passthrough)
    )


def _image_labels(fields: dict[str, np.ndarray], count: int) -> np.ndarray:
    if not {"blob/path", "blob/idx"} <= set(fields):
        return np.arange(count)
    path = np.unique(fields["blob/path"], return_inverse=True)[1].reshape(-1)
    place = np.stack([path, fields["blob/idx"].astype(np.int64)], 1)
    return np.unique(place, axis=0, return_inverse=True)[1].reshape(-1)
