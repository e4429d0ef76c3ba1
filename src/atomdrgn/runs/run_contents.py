"""What the files of a run have to hold.

It is shapes and ranges of arrays, and kinds of what the JSON files say.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import FileFormatError
from ..io.run_formats.arrays import FINITE, FLAG, POSITIVE, SIZE, TEXT
from ..structure.motion.bead_deformation import BeadDeformation
from ..structure.motion.deformation import Held
from ..structure.motion.kinds import KIND, KINDS, kind_of
from ..structure.motion.segment_deformation import SegmentDeformation

LARGEST = 1e6  # A: no coordinate, and no number of a motion, is larger

# Of each array its dimensions, by name or as a number, and its kind; an index is of the named
# dimension. Not all are in all runs.
MODEL = {
    "bead": ("bead 3", FINITE),
    "sigma": ("bead", POSITIVE),
    "amplitude": ("bead", SIZE),
    "bead_of_atom": ("atom", "bead"),
    "trace": ("bead", FLAG),
    "base_shift": ("bead 3", FINITE),
    "half_error": ("bead", SIZE),
    KIND: ("", TEXT),
    **SegmentDeformation.ARRAYS,
    **BeadDeformation.ARRAYS,
    "surface_scale": ("motion", POSITIVE),
    "surface_coefficient": ("feature latent", FINITE),
}
LATENTS = {
    "latent": ("particle motion", FINITE),
    "latent_sd": ("particle motion", SIZE),
    "draws": ("particle draw motion", FINITE),
    "latent_covariance": ("particle motion motion", FINITE),
    "contrast": ("particle", FINITE),
}
MOTIONS = {
    "present": ("particle segment", SIZE),
    **SegmentDeformation.MOTIONS,
    **BeadDeformation.MOTIONS,
}
BORDERS = {"segment": ("residue", "whole")}
JUNK = {"junk": ("particle", FLAG)}
CORRECTION = {"shifts": ("half bead 3", FINITE), "gain": ("", FINITE), "supported": ("", FLAG)}
LANDSCAPE = {
    "group_name": ("group", TEXT),
    "group_tilt": ("group", "whole"),
    "pose_sd": ("5", SIZE),
    "weight": ("component", SIZE),
    "mean": ("component motion", FINITE),
    "root": ("component motion motion", FINITE),
}
NEEDED = {
    "latent",
    "latent_sd",
    "bead",
    "sigma",
    "amplitude",
    "bead_of_atom",
    "trace",
    "segment",
    "junk",
    "shifts",
    "gain",
    "supported",
}


class Contents:
    """Checks arrays of one file, first their shapes and then their numbers.

    Parameters
    ----------
    arrays : dict
        One of the tables above.
    sizes : dict
        Of dimensions that are known; those that the file tells are added.
    """

    def __init__(self, arrays: dict[str, tuple[str, str]], sizes: dict[str, int]) -> None:
        self.arrays, self.sizes = arrays, sizes

    def check_header(self, name: str, shape: tuple, dtype: np.dtype) -> None:
        """Refuse an array that has not the shape or the kind of numbers that it should have.

        Raises
        ------
        FileFormatError
            What it is and what it should be.
        """
        if name not in self.arrays:
            return
        dimensions, kind = self.arrays[name][0].split(), self.arrays[name][1]
        numbers = "f" if kind in (FINITE, POSITIVE, SIZE) else "iu"
        allowed = {FLAG: "b", TEXT: "U"}.get(kind, numbers)
        expected = [
            int(each) if each.isdigit() else self.sizes.get(each, each) for each in dimensions
        ]
        if len(shape) != len(expected) or any(
            size != there
            for size, there in zip(expected, shape, strict=True)
            if not isinstance(size, str)
        ):
            raise FileFormatError(
                f"{name} has the shape {_listed(shape)}, where {_listed(expected)} is expected"
            )
        if dtype.kind not in allowed:
            raise FileFormatError(
                f"{name} holds values of the kind {dtype}, which is not what is expected"
            )
        self.sizes |= {
            each: size for each, size in zip(dimensions, shape, strict=True) if not each.isdigit()
        }

    def check_values(self, arrays: dict[str, np.ndarray]) -> None:
        """Refuse arrays that are missing or hold numbers that make no sense.

        Raises
        ------
        FileFormatError
            Which array, and the first such number.
        """
        for name, (_, kind) in self.arrays.items():
            if name not in arrays:
                if name in NEEDED:
                    raise FileFormatError(f"there is no array {name}")
                continue
            values = arrays[name]
            if kind in (FLAG, TEXT) or not values.size:
                continue
            low, high = float(values.min()), float(values.max())
            if kind in (FINITE, POSITIVE, SIZE):
                least, most = (
                    {FINITE: -LARGEST, POSITIVE: np.nextafter(0, 1), SIZE: 0.0}[kind],
                    LARGEST,
                )
            else:
                least, most = 0, self.sizes.get(kind, np.inf) - 1
            if not (low >= least and high <= most):  # of NaN both are wrong
                wrong = low if not low >= least else high
                raise FileFormatError(
                    f"{name} holds {wrong:g}, where numbers {_range(kind, least, most)} are "
                    "expected"
                )


def check_together(arrays: dict[str, np.ndarray]) -> None:
    """Refuse arrays of model.npz that do not fit each other.

    Raises
    ------
    FileFormatError
        What does not.
    """
    kind = kind_of(arrays)
    for name, other in (
        ("weight", "centroid"),
        ("mode", "shift"),
        ("surface_coefficient", "surface_scale"),
        ("surface_scale", "surface_coefficient"),
        ("free", "radius"),
        ("radius", "free"),
    ):
        if name in arrays and other not in arrays:
            raise FileFormatError(f"there is no array {other} beside {name}")
    if "surface_scale" in arrays:
        k, features = len(arrays["surface_scale"]), len(arrays["surface_coefficient"])
        if features != 1 + k + k * (k + 1) // 2:
            raise FileFormatError(
                f"surface_coefficient has {features} rows, where {k} motions have "
                f"{1 + k + k * (k + 1) // 2}"
            )
        of_twists = kind == SegmentDeformation.kind and "free" in arrays
        if of_twists and arrays["surface_coefficient"].shape[1] != 6 * len(arrays["free"]):
            raise FileFormatError(
                f"surface_coefficient has {arrays['surface_coefficient'].shape[1]} columns, where "
                f"{len(arrays['free'])} free segments have {6 * len(arrays['free'])}"
            )


def check_deformation(arrays: dict[str, np.ndarray], sizes: dict[str, int]) -> None:
    """Refuse arrays of model.npz that are not those of the kind of deformation that they name.

    Raises
    ------
    FileFormatError
        What is wrong.
    """
    held = KINDS[kind_of(arrays)]
    _check_held(arrays, held.ARRAYS, sizes, optional=held.OPTIONAL)


def check_motions(
    arrays: dict[str, np.ndarray], model: dict[str, np.ndarray], sizes: dict[str, int]
) -> None:
    """Refuse arrays of motions.npz that are not those of such a model, or whose rotations are none.

    Raises
    ------
    FileFormatError
        What is wrong.
    """
    _check_held(arrays, KINDS[kind_of(model)].MOTIONS, sizes)
    if "rotation" in arrays:
        length = np.linalg.norm(arrays["rotation"], axis=-1)
        if length.size and not (0.9 < length.min() and length.max() < 1.1):
            raise FileFormatError("rotation holds quaternions that are not of length 1")


def _check_held(
    arrays: dict[str, np.ndarray],
    held: Held,
    sizes: dict[str, int],
    *,
    optional: frozenset[str] = frozenset(),
) -> None:
    """Refuse arrays without those that a kind of deformation has, or with others in their place."""
    check = Contents(held, sizes)
    for name in held:
        if name not in arrays and name not in optional:
            raise FileFormatError(f"there is no array {name}")
    for name in held.keys() & arrays.keys():
        check.check_header(name, arrays[name].shape, arrays[name].dtype)
    check.check_values(arrays)


def _listed(shape: Iterable[object]) -> str:
    return f"({', '.join(map(str, shape))})"


def _range(kind: str, least: float | int, most: float | int) -> str:
    if kind == POSITIVE:
        return f"above 0 and up to {most:g}"
    return f"from {least:g} to {most:g}" if np.isfinite(most) else f"from {least:g}"


# ---- what JSON files say ------------------------------------------------------------------------


def whole(value: object) -> bool:
    """Whether it is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def number(value: object) -> bool:
    """Whether it is a number."""
    return isinstance(value, float) or whole(value)


def text(value: object) -> bool:
    """Whether it is a text."""
    return isinstance(value, str)


def flag(value: object) -> bool:
    """Whether it is true or false."""
    return isinstance(value, bool)


def size(value: object) -> bool:
    """Whether it is a number that is not negative."""
    return isinstance(value, int | float) and number(value) and value >= 0


def anything(value: object) -> bool:
    """Whatever it is."""
    return True


WORDS = {
    whole: "a whole number",
    number: "a number",
    text: "a text",
    flag: "true or false",
    size: "a number that is not negative",
    anything: "anything",
}
# A function is what a value has to be; in a list or set (of an object), what each has to be; in a
# tuple, None is as good. Names that are not here may say anything.
OF_SLOPES = {"ratio": size, "ratio_error": size, "agreement": number, "agreement_error": size}
OF_BANDS = [{"coarsest": size, "finest": size, "turns": size, "shifts": size}]
SLOPES = {
    "particles": whole,
    "map_share": number,
    "turns": OF_SLOPES,
    "shifts": OF_SLOPES,
    "turns_out_of_plane": (OF_SLOPES,),
    "turns_in_plane": (OF_SLOPES,),
    "bands": OF_BANDS,
}
PART = {"particles": whole}
POSE_VERDICT = {"kind": (text,), "slopes": (SLOPES,)}
SUMMARY = {
    "particles": whole,
    "images": whole,
    "segments": whole,
    "residues": whole,
    "chains": whole,
    "beads": whole,
    "passes": whole,
    "resolution": size,
    "motions_supported": (whole,),
    "half_set_error": (size,),
    "mean_log_likelihood_gain": number,
    "bead_width": number,
    "contrast_sd": number,
    "unmodelled": [text],
    "warnings": [text],
    "base": text,
    "motions": [
        {
            "number": whole,
            "variance": size,
            "share": number,
            "median_sd": size,
            "half_set_agreement": number,
            "held_out_gain": [number],
            "held_out_gain_error": [number],
        }
    ],
    "motions_tested": [
        {
            "number": whole,
            "verdict": text,
            "why": text,
            "held_out_gain": [number],
            "held_out_gain_error": [number],
            "half_sets_alike": number,
        }
    ],
    "groups": [{"number": whole, "selection": text, "residues": whole, "motion": number}],
    "states": [{"number": whole, "population": number, "error": number, "place": [number]}],
    "composition": {
        "segments": [
            {
                "segment": whole,
                "selection": text,
                "mean_occupancy": number,
                "mean_error": number,
                "set": (whole,),
                "absent_fraction": number,
                "absent_fraction_error": number,
            }
        ],
        "sets": [
            {
                "set": whole,
                "segments": [whole],
                "absent_fraction": number,
                "absent_fraction_error": number,
            }
        ],
    },
    "against_base": {
        "kept_base": flag,
        "held_out_gain": number,
        "held_out_gain_error": number,
        "fitted_gain": number,
    },
    "base_correction": {
        "supported": flag,
        "rms": number,
        "largest": number,
        "held_out_gain": number,
    },
    "flexing": {
        "supported": flag,
        "orders": [whole],
        "rms": number,
        "constant": number,
        "held_out_gain": number,
    },
    "far_start": {"selection": text, "turn": number},
    "pose_errors": {"shift": size, "turn": size},
    "poses": {"asked": text, "kind": text, "integrated": flag, **SLOPES},
    "pose_correction": {"shift": number, "turn": number},
    "latent": whole,
    "tilts": whole,
    "box_size": whole,
    "voxel_size": size,
    "epochs": whole,
    "error_gain": number,
    "kl": number,
    "latent_change": number,
    "cpu_seconds": number,
    "image_bytes": number,
}
SETTINGS = {
    "format": anything,
    "version": text,
    "command": text,
    "folder": text,
    "fit": {
        "inference": text,
        "deformation": (text,),
        "poses": (text,),
        "segments": (whole,),
        "beads": (whole,),
        "seed": whole,
        "box_size": whole,
        "pixel_size": number,
        "images": whole,
        "particles": whole,
    },
    "input": {
        "structure": text,
        "structure_sha256": text,
        "particles": text,
        "particles_sha256": text,
        "images_sha256": text,
        "tomograms_sha256": (text,),
        "passthrough_sha256": (text,),
    },
    "reading": {
        "base": (text,),
        "particles": text,
        "map": (text,),
        "origin": ([number],),
        "box": (whole,),
        "data_folder": (text,),
        "tomograms": (text,),
        "passthrough": (text,),
        "invert_contrast": (flag,),
        "tilt_series": (flag,),
        "allow_missing_ctf": (flag,),
    },
}


def check_said(said: Any, kinds: Any, where: str = "") -> None:
    """Refuse what a JSON file says if it is not of the kind that it has to be.

    Raises
    ------
    FileFormatError
        What is said, and what is expected.
    """
    if isinstance(kinds, tuple):
        if said is None:
            return
        (kinds,) = kinds
    if isinstance(kinds, dict):
        _require(isinstance(said, dict), said, where, "an object in braces")
        for name, kind in kinds.items():
            if name in said:
                check_said(said[name], kind, f"{where}.{name}" if where else name)
    elif isinstance(kinds, set):
        _require(isinstance(said, dict), said, where, "an object in braces")
        for name, each in said.items():
            check_said(each, next(iter(kinds)), f"{where}.{name}")
    elif isinstance(kinds, list):
        _require(isinstance(said, list), said, where, "a list in brackets")
        for position, each in enumerate(said, 1):
            check_said(each, kinds[0], f"{where} {position}")
    else:
        _require(kinds(said), said, where, WORDS[kinds])


def _require(right: bool, said: object, where: str, expected: str) -> None:
    if not right:
        text = repr(said)
        raise FileFormatError(
            f"{where} is {text[:60]}{'...' if len(text) > 60 else ''}, where {expected} is expected"
        )
