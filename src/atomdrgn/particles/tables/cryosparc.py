"""Fields of cryoSPARC's .cs files: images, poses, CTF and half-sets of single particles."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from ...errors import FileFormatError, InputError, UnmodelledWarning
from ...io.cs import UID, fields_of, read_cs, read_cs_rows, rows_of_uid, with_text
from ...physics.rotations import matrix_from_vector
from ..stack.image_files import find_stacks, list_rows
from .assembly import ImageRows, OpticsGroup
from .ranges import refuse_micrometres, require_in_range

BLOB = ("blob/path", "blob/idx", "blob/shape", "blob/psize_A")
CTF_FIELDS = {
    "defocus_u": "ctf/df1_A",
    "defocus_v": "ctf/df2_A",
    "defocus_angle": "ctf/df_angle_rad",
    "voltage_kv": "ctf/accel_kv",
    "spherical_aberration_mm": "ctf/cs_mm",
    "amplitude_contrast": "ctf/amp_contrast",
}
OPTIONAL_CTF_FIELDS = {
    "phase_shift": ("ctf/phase_shift_rad", 0.0),
    "scale": ("ctf/scale", 1.0),
    "b_factor": ("ctf/bfactor", 0.0),
}
# values of fields that have more than one a row
WIDTHS = {"pose": (3,), "shift": (2,), "shape": (2,)}
ALIGNMENT = ("pose", "shift", "psize_A")
ABERRATIONS = ("ctf/shift_A", "ctf/tilt_A", "ctf/trefoil_A", "ctf/tetra_A", "ctf/anisomag")


def read_cryosparc(
    path: str | Path,
    *,
    format: str,
    data_folder: str | Path | None = None,
    invert_contrast: bool | None = None,
    passthrough: str | Path | None = None,
) -> ImageRows:
    """What a .cs file says of each image.

    Parameters
    ----------
    path : path
        The file.
    format : str
        What messages call the files.
    data_folder : path, optional
        Where the images lie; for cryoSPARC the folder of the project, from which ``blob/path``
        counts.
    invert_contrast : bool, optional
        Whether the images are dark on light; left out, ``blob/sign`` says it (-1: dark on light).
    passthrough : path, optional
        The file with the fields that the job did not change; rows are joined by uid.

    Returns
    -------
    ImageRows

    Raises
    ------
    InputError
        If poses, images or the CTF are not in the file: they stand in its passthrough file.
    FileFormatError, MissingFileError
        If the file or a stack is not what it has to be.
    """
    path = Path(path)
    table = read_cs(path) if passthrough is None else read_joined(path, passthrough)
    if len(next(iter(table.values()))) == 0:
        raise InputError(f"{path}: no particles: it has fields and no rows")
    _require(table, BLOB, path=path, what="find the images")
    _require(table, tuple(CTF_FIELDS.values()), path=path, what="compute the CTF")
    require_in_range(table["blob/psize_A"], "blob/psize_A", path=path)
    pose, shift = read_alignment(table, path=path)
    groups, group = _optics_groups(table)
    # ">" marks a path that cryoSPARC resolved from an import
    file, headers = find_stacks(
        (name.lstrip(">") for name in table["blob/path"].tolist()),
        beside=path,
        data_folder=data_folder,
    )
    rows = np.arange(len(group))
    sign, warning = _contrast(table, invert_contrast, path=path)
    return ImageRows(
        source=path,
        format=format,
        headers=headers,
        file=file,
        section=table["blob/idx"].astype(np.int64),
        row=rows,
        particle=rows,
        rotation=pose,
        shift=shift,
        ctf=read_ctf(table, path=path),
        groups=groups,
        optics_group=group,
        sign=sign,
        half=read_half(table),
        half_column=half_field(table) or "split",
        origin_columns=f"{_prefixes(table)[0]}/shift",
        warnings=(*warning, *_unmodelled(table, path=path)),
    )


def read_joined(path: Path, passthrough: str | Path) -> dict[str, np.ndarray]:
    """The fields of a .cs file, and those that its passthrough file alone has, row by row.

    Parameters
    ----------
    path, passthrough : path
        The two files.

    Returns
    -------
    dict of (row, ...) array
        By the name of the field; bytes as text.

    Raises
    ------
    InputError
        A particle is not in the passthrough file.
    FileFormatError, MissingFileError
        If a file is not what it has to be, or has no uid.
    """
    rows, through = read_cs_rows(path), read_cs_rows(passthrough)
    return with_text(joined_fields(rows, through, path=path, passthrough=passthrough))


def joined_fields(
    rows: np.ndarray, through: np.ndarray, *, path: str | Path, passthrough: str | Path
) -> dict[str, np.ndarray]:
    """As :func:`read_joined`, of rows that have been read, every field as it is.

    Parameters
    ----------
    rows, through : structured array
        Of the file and of its passthrough file.
    path, passthrough : path
        What messages call them.

    Returns
    -------
    dict of (row, ...) array

    Raises
    ------
    InputError, FileFormatError
        As for :func:`read_joined`.

    Examples
    --------
    >>> rows = np.array([(7, 0.5), (3, 0.1)], [("uid", "u8"), ("shift", "f4")])
    >>> through = np.array([(3, 10), (7, 20)], [("uid", "u8"), ("idx", "u4")])
    >>> joined_fields(rows, through, path="a.cs", passthrough="b.cs")["idx"].tolist()
    [20, 10]
    """
    fields = fields_of(rows)
    if UID not in fields:
        raise FileFormatError(f"{path}: no field uid, by which {passthrough} could be joined to it")
    order = rows_of_uid(through, rows[UID], path=passthrough, joined_to=path)
    return fields | {
        name: column[order] for name, column in fields_of(through).items() if name not in fields
    }


def read_alignment(table: dict[str, np.ndarray], *, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Rotation from molecule to microscope, and shift of the molecule in the image, of each row.

    cryoSPARC's rotation vector v turns the microscope's frame into the molecule's: ours is the
    transpose of exp([v]x). Its shift moves the image so that the molecule is centred, in pixels of
    the refinement, as RELION's origin does. Where several classes were refined each row takes the
    one with the highest posterior.

    Parameters
    ----------
    table : dict of (row, ...) array
        Fields by name.
    path : Path
        The file, for messages.

    Returns
    -------
    (row, 3, 3) float64
    (row, 2) float64
        A.

    Raises
    ------
    InputError
        If there is no 3D alignment.
    FileFormatError
        If a value is out of range.

    Examples
    --------
    >>> fields = {"pose": [[0, 0, np.pi / 2]], "shift": [[3.0, 0.0]], "psize_A": [2.0]}
    >>> table = {f"alignments3D/{name}": np.array(values) for name, values in fields.items()}
    >>> rotation, shift = read_alignment(table, path=Path("particles.cs"))
    >>> (rotation[0] @ [1, 0, 0]).round(3).tolist(), shift.tolist()
    ([0.0, -1.0, 0.0], [[-6.0, -0.0]])
    """
    pose, shift, pixel_size = (_of_best_class(table, name, path=path) for name in ALIGNMENT)
    for name, values in zip(ALIGNMENT, (pose, shift, pixel_size), strict=True):
        require_in_range(
            values, f"{'/'.join((_prefixes(table)[0], name))}", quantity=name, path=path
        )
    rotation = matrix_from_vector(torch.from_numpy(pose.astype(np.float64))).mT.numpy()
    return rotation, -shift.astype(np.float64) * pixel_size.astype(np.float64)[:, None]


def read_ctf(table: dict[str, np.ndarray], *, path: Path) -> dict[str, np.ndarray]:
    """Fields of the CTF of each row in our units, float64 (row,).

    Parameters
    ----------
    table : dict of (row, ...) array
        Fields by name.
    path : Path
        The file, for messages.

    Returns
    -------
    dict of (row,) float64
        Fields of :class:`~atomdrgn.physics.ctf.CTF`.

    Raises
    ------
    InputError
        If the defocus of a row is 0.
    FileFormatError
        If a value is out of range.
    """
    ctf = {ours: table[theirs].astype(np.float64) for ours, theirs in CTF_FIELDS.items()}
    for ours, theirs in CTF_FIELDS.items():
        require_in_range(ctf[ours], theirs, path=path)
    zero = np.flatnonzero((ctf["defocus_u"] == 0) & (ctf["defocus_v"] == 0))
    if len(zero):
        raise InputError(
            f"{path}: the defocus of {list_rows(zero)} is 0: the CTF was not estimated; estimate "
            "it, or leave these rows out"
        )
    refuse_micrometres(ctf["defocus_u"], ctf["defocus_v"], "ctf/df1_A and ctf/df2_A", path=path)
    _refuse_other_kinds(
        table, [name for name, _ in OPTIONAL_CTF_FIELDS.values() if name in table], path=path
    )
    for ours, (theirs, otherwise) in OPTIONAL_CTF_FIELDS.items():
        ctf[ours] = (
            table[theirs].astype(np.float64)
            if theirs in table
            else np.full(len(ctf["defocus_u"]), otherwise)
        )
        require_in_range(ctf[ours], theirs, path=path)
    return {**ctf, "dose": np.zeros(len(ctf["defocus_u"]))}


def _require(table: dict[str, np.ndarray], names: Sequence[str], *, path: Path, what: str) -> None:
    missing = [name for name in names if name not in table]
    if missing:
        raise InputError(
            f"{path}: no {', '.join(missing)}, without which there is no way to {what}: cryoSPARC "
            "keeps fields that a job did not change in a passthrough file; "
            f"{_where_passthrough(path)}"
        )
    _refuse_other_kinds(table, names, path=path)


def _refuse_other_kinds(table: dict[str, np.ndarray], names: Sequence[str], *, path: Path) -> None:
    """Refuse fields with other kinds of values, or another number of them, than cryoSPARC's."""
    for name in names:
        expected, column = WIDTHS.get(name.rpartition("/")[2], ()), table[name]
        kinds = "US" if name == "blob/path" else "iuf"
        if column.shape[1:] != expected or column.dtype.kind not in kinds:
            raise FileFormatError(
                f"{path}: {name} holds {column.dtype} of shape {column.shape[1:]} in each row, "
                f"expected {'text' if kinds == 'US' else 'numbers'} of shape {expected}"
            )


def _where_passthrough(path: Path) -> str:
    """How the fields that a file lacks are found, for a message.

    It is told by the file beside it that looks like its passthrough file.
    """
    beside = sorted(other for other in path.parent.glob("*passthrough*.cs") if other != path)
    # of several jobs' files in a folder, that of this job: J24_..., or cryosparc_P12_J24_...
    job = re.search(r"(?<![A-Za-z0-9])J\d+(?!\d)", path.name)
    mine = [
        other
        for other in beside
        if job and re.search(rf"(?<![A-Za-z0-9]){job[0]}(?!\d)", other.name)
    ]
    if mine or beside:
        return (
            f"{(mine or beside)[0].name} lies beside it: name it with --passthrough (passthrough=)"
        )
    return (
        "name it with --passthrough (passthrough=), or export the particles as one .cs file that "
        "holds all fields"
    )


def _prefixes(table: Iterable[str]) -> list[str]:
    """Prefixes of 3D alignments.

    There is one of a refinement, or one for each class of an ab-initio or heterogeneous job.
    """
    classes = {
        name.split("/")[0] for name in table if re.fullmatch(r"alignments_class_?\d+/pose", name)
    }
    return (
        ["alignments3D"]
        if "alignments3D/pose" in table
        else sorted(classes, key=lambda name: int(re.sub(r"\D", "", name)))
    )


def _of_best_class(table: dict[str, np.ndarray], name: str, *, path: Path) -> np.ndarray:
    prefixes = _prefixes(table)
    if not prefixes:
        raise InputError(
            f"{path}: no alignments3D/pose: the particles have no 3D orientation and have to be "
            f"refined, or it stands in the passthrough file; {_where_passthrough(path)}"
        )
    _require(
        table, [f"{prefix}/{name}" for prefix in prefixes], path=path, what="place the molecules"
    )
    if len(prefixes) == 1:
        return table[f"{prefixes[0]}/{name}"]
    _require(
        table,
        [f"{prefix}/class_posterior" for prefix in prefixes],
        path=path,
        what="choose among the classes",
    )
    for prefix in prefixes:  # NaN would be the best of all
        require_in_range(
            table[f"{prefix}/class_posterior"],
            f"{prefix}/class_posterior",
            quantity="class_posterior",
            path=path,
        )
    best = np.argmax([table[f"{prefix}/class_posterior"] for prefix in prefixes], axis=0)
    return np.stack([table[f"{prefix}/{name}"] for prefix in prefixes])[best, np.arange(len(best))]


def _optics_groups(table: dict[str, np.ndarray]) -> tuple[tuple[OpticsGroup, ...], np.ndarray]:
    box, pixel_size = (
        table["blob/shape"][:, 0].astype(np.int64),
        table["blob/psize_A"].astype(np.float64),
    )
    exposure = (
        table["ctf/exp_group_id"].astype(np.int64)
        if "ctf/exp_group_id" in table
        else np.zeros(len(box), np.int64)
    )
    key = np.stack([exposure, box, pixel_size], 1)
    _, first, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
    return tuple(
        OpticsGroup(str(exposure[row]), float(pixel_size[row]), int(box[row])) for row in first
    ), group.reshape(-1)


def _contrast(
    table: dict[str, np.ndarray], invert_contrast: bool | None, *, path: Path
) -> tuple[np.ndarray, tuple[Warning, ...]]:
    sign = (
        table["blob/sign"].astype(np.float64)
        if "blob/sign" in table
        else np.ones(len(table["blob/idx"]))
    )
    if invert_contrast is None:
        return np.where(sign < 0, -1.0, 1.0), ()
    wanted = -1.0 if invert_contrast else 1.0
    warning = UserWarning(
        f"{path}: blob/sign says that the images are "
        f"{'dark on light' if wanted > 0 else 'protein white'}, and the setting of the contrast "
        "says otherwise; the setting is followed"
    )
    return np.full(len(sign), wanted), (warning,) if "blob/sign" in table and (
        sign != wanted
    ).any() else ()


def half_field(fields: Iterable[str]) -> str | None:
    """The name of the field that says the half-sets, or None.

    Parameters
    ----------
    fields : iterable of str
        Those of a file.

    Returns
    -------
    str or None

    Examples
    --------
    >>> half_field(["uid", "alignments3D/pose", "alignments3D/split"])
    'alignments3D/split'
    """
    return next(
        (f"{prefix}/split" for prefix in _prefixes(fields) if f"{prefix}/split" in fields), None
    )


def read_half(table: dict[str, np.ndarray]) -> np.ndarray | None:
    """Half-set of each row, 1 or 2; None where the file does not say it.

    cryoSPARC counts from 0.

    Parameters
    ----------
    table : dict of (row, ...) array
        Fields by name.

    Returns
    -------
    (row,) int64 or None

    Examples
    --------
    >>> table = {"alignments3D/pose": np.zeros((2, 3)), "alignments3D/split": np.array([0, 1])}
    >>> read_half(table).tolist()
    [1, 2]
    """
    field = half_field(table)
    return None if field is None else table[field].astype(np.int64) + 1


def _unmodelled(table: dict[str, np.ndarray], *, path: Path) -> tuple[Warning, ...]:
    present = [
        name for name in ABERRATIONS if name in table and np.abs(table[name]).max(initial=0) > 1e-6
    ]
    if not present:
        return ()
    return (
        UnmodelledWarning(
            f"{path}: aberrations that are not modelled and were left out: {', '.join(present)}; "
            "resolution finer than a few angstrom suffers"
        ),
    )
