"""Single particles of cryoSPARC: .cs files."""

import re
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError, UnmodelledWarning
from ..io.cryosparc import read_cs
from ..physics.rotations import matrix_from_vector
from .assembly import ImageRows, OpticsGroup
from .images import find_stacks, list_rows

BLOB = ("blob/path", "blob/idx", "blob/shape", "blob/psize_A")
CTF_FIELDS = {"defocus_u": "ctf/df1_A", "defocus_v": "ctf/df2_A", "defocus_angle": "ctf/df_angle_rad",
              "voltage_kv": "ctf/accel_kv", "spherical_aberration_mm": "ctf/cs_mm", "amplitude_contrast": "ctf/amp_contrast"}
OPTIONAL_CTF_FIELDS = {"phase_shift": ("ctf/phase_shift_rad", 0.0), "scale": ("ctf/scale", 1.0), "b_factor": ("ctf/bfactor", 0.0)}
ABERRATIONS = ("ctf/shift_A", "ctf/tilt_A", "ctf/trefoil_A", "ctf/tetra_A", "ctf/anisomag")


def read_cryosparc(path, *, data_folder=None, invert_contrast: bool | None = None) -> ImageRows:
    """What a .cs file says of each image.

    Parameters
    ----------
    path : path
    data_folder : path, optional
        Where the images lie; for cryoSPARC the folder of the project, from which ``blob/path`` counts.
    invert_contrast : bool, optional
        Whether the images are dark on light; left out, ``blob/sign`` says it (-1: dark on light).

    Raises
    ------
    InputError
        If poses, images or the CTF are not in the file: they stand in its passthrough file.
    FileFormatError, MissingFileError
        If the file or a stack is not what it has to be.
    """
    path = Path(path)
    table = read_cs(path)
    _require(table, BLOB, path=path, what="find the images")
    _require(table, CTF_FIELDS.values(), path=path, what="compute the CTF")
    pose, shift = read_alignment(table, path=path)
    groups, group = _optics_groups(table)
    # ">" marks a path that cryoSPARC resolved from an import
    file, headers = find_stacks((name.lstrip(">") for name in table["blob/path"].tolist()), beside=path, data_folder=data_folder)
    rows = np.arange(len(group))
    sign, warning = _contrast(table, invert_contrast, path=path)
    return ImageRows(
        source=path, format="cryoSPARC", headers=headers, file=file, section=table["blob/idx"].astype(np.int64),
        row=rows, particle=rows,
        rotation=pose, shift=shift, ctf=read_ctf(table, path=path), groups=groups, optics_group=group, sign=sign,
        half=_half(table), warnings=(*warning, *_unmodelled(table, path=path)))


def read_alignment(table: dict[str, np.ndarray], *, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Rotation from molecule to microscope, (row, 3, 3), and shift of the molecule in the image, A (row, 2).

    cryoSPARC's rotation vector v turns the microscope's frame into the molecule's: ours is the transpose of exp([v]x). Its shift
    moves the image so that the molecule is centred, in pixels of the refinement, as RELION's origin does.

    Where several classes were refined each row takes the one with the highest posterior.

    Raises
    ------
    InputError
        If there is no 3D alignment.
    """
    pose, shift, pixel_size = (_of_best_class(table, name, path=path) for name in ("pose", "shift", "psize_A"))
    rotation = matrix_from_vector(torch.from_numpy(pose.astype(np.float64))).mT.numpy()
    return rotation, -shift.astype(np.float64) * pixel_size.astype(np.float64)[:, None]


def read_ctf(table: dict[str, np.ndarray], *, path: Path) -> dict[str, np.ndarray]:
    """Fields of the CTF of each row in our units, float64 (row,).

    Raises
    ------
    InputError
        If the defocus of a row is 0.
    """
    ctf = {ours: table[theirs].astype(np.float64) for ours, theirs in CTF_FIELDS.items()}
    zero = np.flatnonzero((ctf["defocus_u"] == 0) & (ctf["defocus_v"] == 0))
    if len(zero):
        raise InputError(f"{path}: the defocus of {list_rows(zero)} is 0: the CTF was not estimated; estimate it, or leave these "
                         "rows out")
    for ours, (theirs, otherwise) in OPTIONAL_CTF_FIELDS.items():
        ctf[ours] = table[theirs].astype(np.float64) if theirs in table else np.full(len(ctf["defocus_u"]), otherwise)
    return {**ctf, "dose": np.zeros(len(ctf["defocus_u"]))}


def _require(table, names, *, path, what):
    missing = [name for name in names if name not in table]
    if missing:
        raise InputError(f"{path}: no {', '.join(missing)}, without which there is no way to {what}: cryoSPARC keeps fields that "
                         "a job did not change in a passthrough file; export the particles as one .cs file that holds all fields")


def _prefixes(table):
    """Prefixes of 3D alignments: one refinement, or one for each class of an ab-initio or heterogeneous job."""
    classes = {name.split("/")[0] for name in table if re.fullmatch(r"alignments_class_?\d+/pose", name)}
    return ["alignments3D"] if "alignments3D/pose" in table else sorted(classes, key=lambda name: int(re.sub(r"\D", "", name)))


def _of_best_class(table, name, *, path):
    prefixes = _prefixes(table)
    if not prefixes:
        raise InputError(f"{path}: no alignments3D/pose: the particles have no 3D orientation, or it stands in the passthrough "
                         "file; refine them, or export the particles as one .cs file that holds all fields")
    _require(table, [f"{prefix}/{name}" for prefix in prefixes], path=path, what="place the molecules")
    if len(prefixes) == 1:
        return table[f"{prefixes[0]}/{name}"]
    _require(table, [f"{prefix}/class_posterior" for prefix in prefixes], path=path, what="choose among the classes")
    best = np.argmax([table[f"{prefix}/class_posterior"] for prefix in prefixes], axis=0)
    return np.stack([table[f"{prefix}/{name}"] for prefix in prefixes])[best, np.arange(len(best))]


def _optics_groups(table):
    box, pixel_size = table["blob/shape"][:, 0].astype(np.int64), table["blob/psize_A"].astype(np.float64)
    exposure = table["ctf/exp_group_id"].astype(np.int64) if "ctf/exp_group_id" in table else np.zeros(len(box), np.int64)
    key = np.stack([exposure, box, pixel_size], 1)
    _, first, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
    return tuple(OpticsGroup(str(exposure[row]), float(pixel_size[row]), int(box[row])) for row in first), group.reshape(-1)


def _contrast(table, invert_contrast, *, path):
    sign = table["blob/sign"].astype(np.float64) if "blob/sign" in table else np.ones(len(table["blob/idx"]))
    if invert_contrast is None:
        return np.where(sign < 0, -1.0, 1.0), ()
    wanted = -1.0 if invert_contrast else 1.0
    warning = UserWarning(f"{path}: blob/sign says that the images are {'dark on light' if wanted > 0 else 'protein white'}, and "
                          "the setting of the contrast says otherwise; the setting is followed")
    return np.full(len(sign), wanted), (warning,) if "blob/sign" in table and (sign != wanted).any() else ()


def _half(table):
    for prefix in _prefixes(table):
        if f"{prefix}/split" in table:
            return table[f"{prefix}/split"].astype(np.int64) + 1
    return None


def _unmodelled(table, *, path):
    present = [name for name in ABERRATIONS if name in table and np.abs(table[name]).max(initial=0) > 1e-6]
    if not present:
        return ()
    return (UnmodelledWarning(f"{path}: aberrations that are not modelled and were left out: {', '.join(present)}; resolution "
                              "finer than a few angstrom suffers"),)
