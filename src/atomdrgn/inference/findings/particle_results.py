"""What a fit says of each particle, and the files that hold it: latents, motions, tables."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...io.run_formats.row_writers import RowTable, row_arrays, row_table
from ...particles.stack.stack import ParticleStack
from ...physics.rotations import euler_from_matrix
from ...runs.run import LATENTS, MOTIONS, PARTICLES, POSES
from ...structure.motion.deformation import Deformation
from ..population.pose_corrections import corrected
from .conformational_states import state_columns

MOST_ODD = 1e6  # an outlier score, where pixels are beyond all bounds


@dataclass(frozen=True, eq=False)
class ParticleResults:
    """What is known of some particles that follow one another.

    Parameters
    ----------
    stack : ParticleStack
        Their images.
    particle : (image,)
        Whose each is, from 0.
    place, sd : (particle, k)
        Latent coordinates and their standard deviations, A.
    draws : (particle, draw, k)
        From their posteriors.
    latent : (particle, latent)
        Conformations.
    gain, outlier : (particle,)
        Log-likelihood over the base model, and how odd the rest is.
    signal, junk : (particle,)
        As in :class:`~atomdrgn.inference.findings.junk.Junk`.
    state_probability : (particle, state)
        That each is in each state.
    left_out : (image,)
        Images without weight.
    pose, pose_sd : (image, 5), optional
        Corrections of the poses, and their standard deviations, where poses were corrected.
    """

    stack: ParticleStack
    particle: Int[Tensor, "image"]
    place: Float[Tensor, "particle k"]
    sd: Float[Tensor, "particle k"]
    draws: Float[Tensor, "particle draw k"]
    latent: Float[Tensor, "particle latent"]
    gain: Float[Tensor, "particle"]
    outlier: Float[Tensor, "particle"]
    signal: Float[Tensor, "particle"]
    junk: Float[Tensor, "particle"]
    state_probability: Float[Tensor, "particle state"]
    left_out: Bool[Tensor, "image"]
    pose: Float[Tensor, "image 5"] | None = None
    pose_sd: Float[Tensor, "image 5"] | None = None


def spread_of(excess: Float[Tensor, "particle"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Median and robust standard deviation."""
    middle = excess.median()
    return middle, (1.4826 * (excess - middle).abs().median()).clamp_min(1e-3)


def write_results_of(
    folder: Path,
    results: Iterable[ParticleResults],
    deformation: Deformation,
    *,
    any_left_out: bool,
) -> None:
    """Write the files of particles, some particles after the others.

    Parameters
    ----------
    folder : Path
        Of the run.
    results : iterable of ParticleResults
        Of all particles, in their order.
    deformation : Deformation
        From latents to motions.
    any_left_out : bool
        Whether any image has no weight; particles.csv says then which.
    """
    with ExitStack() as stack:
        latents, motions = (stack.enter_context(row_arrays(folder / n)) for n in (LATENTS, MOTIONS))
        table, poses, first = stack.enter_context(row_table(folder / PARTICLES)), None, 0
        for each in results:
            latents.append(
                latent=each.place.numpy(), latent_sd=each.sd.numpy(), draws=each.draws.numpy()
            )
            motions.append(**deformation.motion_arrays(each.latent))
            _append_particles(table, each, first, any_left_out=any_left_out)
            if each.pose is not None:
                poses = poses or stack.enter_context(row_table(folder / POSES))
                _append_poses(poses, each, first)
            first += len(each.place)


def _append_particles(
    table: RowTable, found: ParticleResults, first: int, *, any_left_out: bool
) -> None:
    out = torch.bincount(found.particle[found.left_out], minlength=len(found.place))
    columns = particle_columns(
        found.stack,
        found.particle,
        gain=found.gain,
        outlier=found.outlier,
        place=found.place,
        sd=found.sd,
        first=first,
    )
    table.append(
        {
            **columns,
            "state": (found.state_probability.argmax(1) + 1).tolist(),
            **state_columns(found.state_probability),
            "signal": rounded(found.signal),
            "junk": rounded(found.junk),
            **({"images_left_out": out.tolist()} if any_left_out else {}),
        }
    )


def particle_columns(
    stack: ParticleStack,
    particle: Int[Tensor, "image"],
    *,
    gain: Float[Tensor, "particle"],
    outlier: Float[Tensor, "particle"],
    place: Float[Tensor, "particle k"],
    sd: Float[Tensor, "particle k"],
    first: int = 0,
) -> dict[str, Sequence]:
    """The first columns of particles.csv: which particle, how it is explained, and where it is.

    Parameters
    ----------
    stack : ParticleStack
        The images.
    particle : (image,)
        Whose each is, from 0.
    gain, outlier : (particle,)
        Log-likelihood gained over the base, and how odd the rest is.
    place, sd : (particle, k)
        Along each motion, and its standard deviation.
    first : int
        Number of the first of these particles.
    """
    last = torch.full((len(gain),), torch.iinfo(torch.int64).max)
    along = {
        f"{name}{k + 1}": rounded(column)
        for k in range(place.shape[1])
        for name, column in (("motion", place[:, k]), ("sd", sd[:, k]))
    }
    return {
        "particle": range(first, first + len(gain)),
        "first_row": last.scatter_reduce(0, particle, stack.row, "amin").tolist(),
        "rows": torch.bincount(particle, minlength=len(gain)).tolist(),
        "log_likelihood_gain": rounded(gain),
        "outlier_score": rounded(outlier),
        **along,
    }


def _append_poses(table: RowTable, found: ParticleResults, first: int) -> None:
    assert found.pose is not None and found.pose_sd is not None
    table.append(
        pose_columns(found.stack, found.particle + first, value=found.pose, sd=found.pose_sd)
    )


def pose_columns(
    stack: ParticleStack,
    particle: Int[Tensor, "image"],
    *,
    value: Float[Tensor, "image 5"],
    sd: Float[Tensor, "image 5"],
) -> dict[str, list]:
    """Columns of poses.csv: a line for each image.

    `shift` (A) and `turn` (a rotation vector, degrees) are what was found beyond the pose of the
    file, in the camera's axes, with standard deviations; `rot`, `tilt`, `psi` (degrees), `origin_x`
    and `origin_y` (A) are the corrected pose as RELION writes it.
    """
    axes = ("shift_x", "shift_y", "turn_x", "turn_y", "turn_z")
    unit = torch.tensor([1.0] * 2 + [180 / torch.pi] * 3)
    pose = corrected(stack.pose, value)
    columns = {
        name: column
        for prefix, values in (("", value), ("sd_", sd))
        for name, column in zip([prefix + axis for axis in axes], (values * unit).T, strict=True)
    }
    angles = torch.rad2deg(euler_from_matrix(pose.rotation)).T
    names = ("rot", "tilt", "psi", "origin_x", "origin_y")
    columns |= dict(zip(names, [*angles, *-pose.shift.T], strict=True))
    whose = {
        "row": stack.row.tolist(),
        "tilt_number": stack.tilt.tolist(),
        "particle": particle.tolist(),
    }
    return whose | {name: rounded(column) for name, column in columns.items()}


def rounded(values: Float[Tensor, "row"]) -> list[float]:
    """A column of a table, to three decimals."""
    return values.double().mul(1000).round().div(1000).tolist()
