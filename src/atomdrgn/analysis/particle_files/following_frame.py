"""How a part of the molecule has moved in each particle, as one rigid body.

This gives the frame that follows it.
"""

import re
from collections.abc import Iterable

import numpy as np
import torch

from ...errors import FileFormatError, InputError
from ...physics.rotations import matrix_from_quaternion
from ...runs.run import Run, require_segments
from ...structure.selection import select
from ...structure.superposition import superpose

NUMBERED = re.compile(r"(segment|group):(\d+)")
FEWEST = 3  # beads that define a frame
COORDINATES_AT_A_TIME = 2**22


def motion_of_part(
    run: Run, part: str, particles: Iterable[int] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation G (particle, 3, 3) and shift d (particle, 3), A.

    The part has gone from x to G x + d, in the frame of the poses.

    Parameters
    ----------
    run : Run
    part : str
        Residues, such as "A:1-226,B"; "segment:3", a segment of the fit; or "group:2", one of the
        parts that the run's summary lists as moving as one. The motion of residues is the rigid one
        nearest to theirs.
    particles : iterable of int
        Which particles.

    Raises
    ------
    InputError
        There is no such part, such as a segment where every bead moves by itself, or it is too
        small to have an orientation.
    """
    particles = [int(number) for number in particles]
    numbered = NUMBERED.fullmatch(part.strip())
    if numbered and numbered[1] == "segment":
        return _of_segment(run, int(numbered[2]), particles)
    selection = _selection_of_group(run, int(numbered[2])) if numbered else part
    beads = run.bead_model
    if len(beads) != len(run.model["bead"]):
        raise FileFormatError(
            f"{run.folder}: {len(beads)} beads by base.cif and {len(run.model['bead'])} in "
            "model.npz: the run is of another version, or damaged; fit again"
        )
    selected = select(beads, selection)
    on_trace = selected & beads.trace
    chosen = torch.from_numpy(np.flatnonzero(on_trace if on_trace.any() else selected))
    if len(chosen) < FEWEST:
        raise InputError(
            f"{selection!r} is {len(chosen)} residues: at least {FEWEST} are needed to follow how "
            "a part turns"
        )
    base = torch.from_numpy(run.model["bead"])[chosen].double()
    batch = max(1, COORDINATES_AT_A_TIME // (3 * len(run.model["bead"])))
    found = [
        superpose(base, run.beads(particles[first : first + batch])[:, chosen].double())
        for first in range(0, len(particles), batch)
    ]
    rotation, translation = zip(*found, strict=True)
    return torch.cat(rotation).numpy(), torch.cat(translation).numpy()


def _of_segment(run: Run, number: int, particles: list[int]) -> tuple[np.ndarray, np.ndarray]:
    require_segments(run, f"segment:{number}")
    count = len(run.model["centroid"])
    if not 1 <= number <= count:
        raise InputError(f"there is no segment {number}: the run has the segments 1 to {count}")
    motion = run.segment_motion[torch.as_tensor(particles)]
    centroid = torch.from_numpy(run.model["centroid"])[number - 1].double()
    rotation = matrix_from_quaternion(motion.rotation[:, number - 1].double())
    return rotation.numpy(), (
        centroid + motion.translation[:, number - 1].double() - rotation @ centroid
    ).numpy()


def _selection_of_group(run: Run, number: int) -> str:
    groups = {row["number"]: row["selection"] for row in run.summary.get("groups", [])}
    if number not in groups:
        raise InputError(
            f"there is no group {number}: "
            + (
                f"the run has the groups {', '.join(map(str, groups))}"
                if groups
                else "the run tells of none; name residues, such as A:1-226"
            )
        )
    return groups[number]
