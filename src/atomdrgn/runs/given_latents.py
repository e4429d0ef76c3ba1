"""Latents of particles that another program has found, read and matched to the particles."""

import csv
import io
import re
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from ..errors import FileFormatError, InputError, MissingFileError
from ..io.run_formats.arrays import read_npz
from ..io.star import StarTable, read_star
from ..io.text import read_text
from ..particles.stack.stack import ParticleStack

EXPECTED = "latents as .npy, .npz, .csv or .star"
PICKLES = b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"
ARRAYS = "latent", "latents", "z", "zs", "latent_coords"  # names in an .npz file, the first first
SPREADS = "latent_sd", "sd"
# z1, latent_2, umap1, and the same behind a program's own prefix
COLUMN = re.compile(r"^_?(?:.*[_/. ]|rln|user)?(z|latent|component|pc|umap)_?(\d+)$", re.IGNORECASE)
NAMES = "rlnTomoParticleName", "rlnImageName"  # columns that tell whose a row is
PLACE, FIRST_ROW = "particle", "first_row"  # of particles.csv


@dataclass(frozen=True, eq=False)
class GivenLatents:
    """Latents of the particles of a stack.

    Parameters
    ----------
    latent : (particle, latent) float64
        In the order of the particles' numbers.
    sd : (particle, latent) float64
        Standard deviations; 0 where the file has none.
    """

    latent: Float[np.ndarray, "particle latent"]
    sd: Float[np.ndarray, "particle latent"]


def read_latents(path: str | PathLike[str], particles: ParticleStack) -> GivenLatents:
    """The latents of a file, a row a particle.

    Rows are those of the particles in the order of the particle file. A STAR file whose names of
    images or particles are those of the particle file may have them in any order, and so may a CSV
    file with the columns `first_row` or `particle`, as particles.csv of a run has them.

    Parameters
    ----------
    path : path
        An array (.npy), arrays (.npz), or columns called z1, z2, ... (latent1, component1, pc1 and
        umap1 are known too) of a table (.csv, .star).
    particles : ParticleStack
        Whose latents they are.

    Raises
    ------
    MissingFileError
        There is no such file.
    FileFormatError
        It is a pickle, which is not opened, or holds no latents that can be told.
    InputError
        They are those of other particles, or not finite.

    Examples
    --------
    >>> from atomdrgn import read_particles
    >>> np.save("z.npy", np.arange(16.0).reshape(8, 2))
    >>> read_latents("z.npy", read_particles("particles.star")).latent.shape
    (8, 2)
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file; expected {EXPECTED}")
    with open(path, "rb") as file:
        beginning = file.read(8)
    if path.suffix in (".pkl", ".pickle") or beginning.startswith(PICKLES):
        raise FileFormatError(
            f"{path}: a pickle, which can run any program when it is opened; where you trust it, "
            "write its array as z.npy: python -c \"import pickle, numpy; numpy.save('z.npy', "
            f"pickle.load(open('{path.name}', 'rb')))\""
        )
    readers = {".npy": _of_array, ".npz": _of_arrays, ".csv": _of_csv, ".star": _of_star}
    if path.suffix not in readers:
        raise FileFormatError(f"{path}: expected {EXPECTED}, by its ending")
    latent, sd = readers[path.suffix](path, particles)
    if latent.shape[1] == 0 or latent.shape != sd.shape:
        raise FileFormatError(f"{path}: latents of {latent.shape[1]} numbers a particle")
    bad = np.nonzero(~np.isfinite(latent).all(1) | ~np.isfinite(sd).all(1))[0]
    if len(bad):
        raise InputError(
            f"{path}: the latent of particle {bad[0]} is not finite ({len(bad):,} such particles); "
            "leave these out of the particle file, with atomdrgn select, or find latents anew"
        )
    if not latent.std(0).all():
        number = int(np.argmin(latent.std(0))) + 1
        raise InputError(f"{path}: number {number} of the latents is the same in all particles")
    return GivenLatents(latent, sd)


def _of_array(path: Path, particles: ParticleStack) -> tuple[np.ndarray, np.ndarray]:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise FileFormatError(
            f"{path}: no array of numbers ({error}); numpy.save writes one"
        ) from error
    latent = _rows(path, array, particles)
    return latent, np.zeros_like(latent)


def _of_arrays(path: Path, particles: ParticleStack) -> tuple[np.ndarray, np.ndarray]:
    arrays = read_npz(path, rows=particles.n_particles)
    flat = [name for name, each in arrays.items() if each.ndim == 2 and each.dtype.kind in "fiu"]
    named = [name for name in ARRAYS if name in arrays] or flat
    if not named or (len(flat) > 1 and named is flat):
        raise FileFormatError(
            f"{path}: holds {', '.join(arrays) or 'nothing'}; expected one array with a row a "
            f"particle, or one called {ARRAYS[0]}"
        )
    latent = _rows(path, arrays[named[0]], particles)
    spread = next((arrays[name] for name in SPREADS if name in arrays), np.zeros_like(latent))
    return latent, _rows(path, spread, particles)


def _of_csv(path: Path, particles: ParticleStack) -> tuple[np.ndarray, np.ndarray]:
    text = read_text(path, expected="a CSV table")
    lines = [line for line in csv.reader(io.StringIO(text, newline="")) if line]
    header, rows = [name.strip() for name in lines[0]] if lines else [], lines[1:]
    if any(len(row) != len(header) for row in rows):
        raise FileFormatError(f"{path}: rows of different lengths; expected a CSV table")
    columns = {name: [row[k] for row in rows] for k, name in enumerate(header)}

    def numbers(name: str) -> np.ndarray:
        try:
            return np.array([float(cell) for cell in columns[name]])
        except ValueError:
            raise FileFormatError(f"{path}: column {name} holds what is no number") from None

    latent = np.stack([numbers(name) for name in _latent_columns(path, header)], 1)
    spreads = [f"sd{k + 1}" for k in range(latent.shape[1])]
    sd = (
        np.stack([numbers(name) for name in spreads], 1)
        if all(name in columns for name in spreads)
        else np.zeros_like(latent)
    )
    for name, asked in (
        (FIRST_ROW, _first_rows(particles)),
        (PLACE, np.arange(particles.n_particles)),
    ):
        if name in columns:
            place = {int(value): row for row, value in enumerate(numbers(name))}
            row = _matched(path, name, place, asked.tolist())
            return latent[row], sd[row]
    return _rows(path, latent, particles), _rows(path, sd, particles)


def _of_star(path: Path, particles: ParticleStack) -> tuple[np.ndarray, np.ndarray]:
    tables = [table for table in read_star(path) if len(table)]
    table = max(tables, key=len, default=None)
    if table is None:
        raise FileFormatError(f"{path}: no table with rows; expected {EXPECTED}")
    names = _latent_columns(path, list(table.columns))
    latent = np.stack([table.numbers(name) for name in names], 1)
    row = _rows_by_name(path, table, particles)
    latent = _rows(path, latent, particles) if row is None else latent[row]
    return latent, np.zeros_like(latent)


def _rows_by_name(path: Path, table: StarTable, particles: ParticleStack) -> list[int] | None:
    """Row of each particle by the name that both files have; None where they have none."""
    if particles.source.suffix != ".star":
        return None
    first = _first_rows(particles)
    for own in read_star(particles.source):
        for name in NAMES:
            if name in own and name in table and len(own) > first.max():
                named = own.texts(name)
                place = {text: row for row, text in enumerate(table.texts(name))}
                return _matched(path, name, place, [named[row] for row in first])
    return None


def _matched(path: Path, name: str, place: dict, asked: list) -> list[int]:
    missing = [each for each in asked if each not in place]
    if missing:
        raise InputError(
            f"{path}: {len(missing):,} of {len(asked):,} particles have no row there, the first "
            f"is {missing[0]} by {name}: these are latents of other particles"
        )
    return [place[each] for each in asked]


def _rows(path: Path, array: np.ndarray, particles: ParticleStack) -> np.ndarray:
    """An array with a row for each particle, in their order."""
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2):
        raise FileFormatError(
            f"{path}: an array of {array.dtype} with the shape {array.shape}; expected numbers, a "
            "row a particle"
        )
    latent = array.reshape(len(array), -1).astype(np.float64)
    if len(latent) == particles.n_particles:
        return latent
    more = " (images of a particle share one row)" if len(latent) == len(particles) else ""
    raise InputError(
        f"{path}: {len(latent):,} rows for the {particles.n_particles:,} particles of "
        f"{particles.source}{more}; give the particle file that they were found on, or the rows of "
        "these particles"
    )


def _latent_columns(path: Path, names: list[str]) -> list[str]:
    """Names of the columns that hold latents, by their numbers."""
    kinds: dict[str, dict[int, str]] = {}
    for name in names:
        found = COLUMN.match(name)
        if found:
            kinds.setdefault(found[1].lower(), {})[int(found[2])] = name
    if not kinds:
        raise FileFormatError(
            f"{path}: no columns of latents among {', '.join(names) or 'none'}; expected z1, z2 "
            "and so on"
        )
    kind = next(kind for kind in ("z", "latent", "component", "pc", "umap") if kind in kinds)
    return [kinds[kind][number] for number in sorted(kinds[kind])]


def _first_rows(particles: ParticleStack) -> np.ndarray:
    """The first row of each particle in the particle file."""
    number = torch.unique(particles.particle, return_inverse=True)[1]
    first = torch.full((particles.n_particles,), torch.iinfo(torch.int64).max)
    return first.scatter_reduce(0, number, particles.row.long(), "amin").numpy()
