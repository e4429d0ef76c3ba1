"""What an amortised fit writes when it is done: the same files as the closed form."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...networks.autoencoder import Autoencoder, MotionAutoencoder, OffsetAutoencoder, about
from ...parallel import in_order
from ...physics.rotations import matrix_from_quaternion
from ...runs.run import (
    BASE,
    LATENTS,
    MODEL,
    MOTIONS,
    RESIDUES,
    SUMMARY,
    write_arrays,
    write_json,
    write_table,
)
from ...runs.run_folder import BEADS
from ...structure.atoms import Structure
from ...structure.beads import BeadModel, unmodelled
from ...structure.motion.bead_deformation import BeadDeformation
from ...structure.motion.kinds import to_arrays
from ...structure.motion.motion import weighted_arms
from ...structure.motion.surface import fit_surface
from ...structure.segmentation import Segmentation
from ..problem.principal_motions import leading_axes, with_settled_sign
from ..run_writer import (
    MOST_ODD,
    left_out_column,
    motion_rows,
    outlier_scores,
    residue_names,
    rounded,
    write_particles,
)
from .training import Training
from .vae_data import CONTRAST_SD, VaeData
from .vae_training import AT_ONCE

DRAWS = 16  # of each latent, for its error


@torch.no_grad()
def write_results(
    folder: Path,
    training: Training[Autoencoder],
    data: VaeData,
    *,
    structure: Structure,
    warned: Sequence[str],
    seed: int,
) -> None:
    """Read every particle at its posterior mean and write what was found.

    summary.json, last, says that the run is whole.
    """
    model, beads = training.model, data.beads
    mean, log_sd = _posteriors(model, data)
    conformations = _conformations(model, data)
    moved = conformations.points(mean)
    axes = _axes(moved)
    place = axes.place(moved)
    generator = torch.Generator().manual_seed(seed)
    draws = [
        mean + log_sd.exp() * torch.randn(mean.shape, generator=generator) for _ in range(DRAWS)
    ]
    sd = torch.stack([axes.place(conformations.points(draw)) for draw in draws]).std(0)
    gain, outlier = _judge(model, data, mean)
    write_arrays(
        folder / MODEL,
        bead=beads.position.numpy(),
        sigma=beads.sigma.numpy(),
        amplitude=beads.amplitude.numpy(),
        bead_of_atom=beads.bead_of_atom,
        trace=beads.trace,
        **conformations.model(mean, place, axes),
    )
    write_arrays(
        folder / LATENTS,
        latent=place.numpy(),
        latent_sd=sd.numpy(),
        encoded=mean.numpy(),
        encoded_sd=log_sd.exp().numpy(),
    )
    write_arrays(folder / MOTIONS, **conformations.motions(mean))
    write_particles(
        folder,
        data.stack,
        torch.arange(len(data)),
        gain=gain,
        outlier=outlier,
        place=place,
        sd=sd,
        more=left_out_column(torch.arange(len(data)), data.left_out),
    )
    _write_residues(folder, model, beads, mean, draws)
    write_json(
        folder / SUMMARY,
        {
            "particles": len(data),
            "images": len(data),
            **conformations.summary,
            "residues": int(beads.trace.sum()),
            "chains": len(set(beads.chain.tolist())),
            "beads": len(beads),
            "resolution": round(data.disc.resolution, 3),
            "motions": motion_rows(axes.variance, axes.share, sd),
            "mean_log_likelihood_gain": round(float(gain[~data.left_out].mean()), 3),
            "bead_width": round(float(beads.sigma.median()), 3),
            "contrast_sd": CONTRAST_SD,
            "unmodelled": unmodelled(structure),
            "warnings": [*data.stack.warnings, *warned],
            "passes": training.epoch,
            "base": BASE,
        },
    )


def _write_residues(
    folder: Path,
    model: Autoencoder,
    beads: BeadModel,
    mean: Float[Tensor, "particle latent"],
    draws: Sequence[Float[Tensor, "particle latent"]],
) -> None:
    """Write residues.csv: how far each residue moves about its mean.

    It also says how far it moves with its particle's latent as drawn.
    """
    trace, shared = beads.trace_index, model.mean()

    def of_batch(index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            there = model.positions(mean[index], shared)[:, trace].double()
            drawn = torch.stack(
                [model.positions(draw[index], shared)[:, trace] for draw in draws]
            ).double()
        return (
            there.sum(0),
            there.square().sum((0, 2)),
            (drawn - drawn.mean(0)).square().sum((0, 1, 3)) / (len(draws) - 1),
        )

    parts = in_order(of_batch, torch.arange(len(mean)).split(AT_ONCE))
    total, square, error2 = (sum(each) / len(mean) for each in zip(*parts, strict=True))
    motion2 = (square - total.square().sum(1)).clamp_min(0)
    write_table(
        folder / RESIDUES,
        residue_names(beads)
        | {"motion": rounded(motion2.sqrt()), "posterior_error": rounded(error2.sqrt())},
    )


def _posteriors(
    model: Autoencoder, data: VaeData
) -> tuple[Float[Tensor, "image latent"], Float[Tensor, "image latent"]]:
    """Mean and logarithm of the standard deviation of every image's latent."""
    parts = in_order(
        lambda index: model.encoder(data.pixels[index]), torch.arange(len(data)).split(AT_ONCE)
    )
    mean, log_sd = (torch.cat(each) for each in zip(*map(_detached, parts), strict=True))
    return mean, log_sd


def _detached(pair: Sequence[Tensor]) -> tuple[Tensor, ...]:
    # workers do not know that no gradient is wanted
    return tuple(tensor.detach() for tensor in pair)


@dataclass(frozen=True)
class _Axes:
    """Principal axes of conformations.

    (p,) mean, (p, k) direction, (k,) variance in A^2 and share of all of it.
    """

    mean: Float[Tensor, "p"]
    direction: Float[Tensor, "p k"]
    variance: Float[Tensor, "k"]
    share: Float[Tensor, "k"]

    def place(self, moved: Float[Tensor, "particle p"]) -> Float[Tensor, "particle k"]:
        """Each conformation's place along each axis, A r.m.s. of the trace."""
        return (moved - self.mean) @ self.direction


class _Motions:
    """Conformations of segments as points whose distances are those of their traces.

    Distances are in A r.m.s.; it also has what a run holds of them.

    The points have few numbers, because motions have few.
    """

    def __init__(self, model: MotionAutoencoder, data: VaeData) -> None:
        self.decoder, self.segmentation = model.decoder, model.segments.segmentation()
        self.centroid = _centroids(model, self.segmentation)
        self.summary = {"segments": len(self.segmentation)}
        beads = data.beads
        arms = weighted_arms(
            beads.position[beads.trace_index],
            torch.zeros(len(self.segmentation), 3),
            weight=self.segmentation.weight[beads.trace_index],
        ).double()
        self.root = _root(arms @ arms.T / arms.shape[1])

    def points(self, latent: Float[Tensor, "particle latent"]) -> Float[Tensor, "particle p"]:
        motion = self.decoder(latent)
        rows = torch.cat(
            [matrix_from_quaternion(motion.rotation), motion.translation[..., None]], -1
        )
        # rows (particle, segment, 3, 4)
        return (rows.transpose(1, 2).flatten(2).double() @ self.root).flatten(1)

    def model(
        self,
        latent: Float[Tensor, "particle latent"],
        place: Float[Tensor, "particle k"],
        axes: _Axes,
    ) -> dict[str, np.ndarray]:
        """Arrays of model.npz."""
        return {"centroid": self.centroid.numpy(), "weight": self.segmentation.weight.numpy()}

    def motions(self, latent: Float[Tensor, "particle latent"]) -> dict[str, np.ndarray]:
        """Arrays of motions.npz."""
        motion = about(self.decoder(latent), self.centroid)
        return {"rotation": motion.rotation.numpy(), "translation": motion.translation.numpy()}


class _Offsets:
    """The same of beads.

    Features of the decoder, in which offsets are linear, are the latent of the run's deformation.
    """

    def __init__(self, model: OffsetAutoencoder, data: VaeData) -> None:
        self.decoder = model.decoder
        mode, shift = model.decoder.linear()
        self.deformation = BeadDeformation(data.beads, mode, shift)
        self.summary = {"deformation": BEADS}
        trace = mode[:, data.beads.trace_index].double().flatten(1)
        self.root = _root(3 * trace @ trace.T / trace.shape[1])

    def points(self, latent: Float[Tensor, "particle latent"]) -> Float[Tensor, "particle p"]:
        return self.decoder.features(latent).double() @ self.root

    def model(
        self,
        latent: Float[Tensor, "particle latent"],
        place: Float[Tensor, "particle k"],
        axes: _Axes,
    ) -> dict[str, np.ndarray]:
        """Arrays of model.npz."""
        surface = fit_surface(
            place.float(), self.decoder.features(latent), axes.variance.sqrt().float()
        )
        return {
            **to_arrays(self.deformation),
            "surface_scale": surface.scale.numpy(),
            "surface_coefficient": surface.coefficient.numpy(),
        }

    def motions(self, latent: Float[Tensor, "particle latent"]) -> dict[str, np.ndarray]:
        """Arrays of motions.npz."""
        return {"feature": self.decoder.features(latent).numpy()}


def _conformations(model: Autoencoder, data: VaeData) -> _Motions | _Offsets:
    if isinstance(model, OffsetAutoencoder):
        return _Offsets(model, data)
    assert isinstance(model, MotionAutoencoder)  # there are these two
    return _Motions(model, data)


def _root(metric: Float[Tensor, "p p"]) -> Float[Tensor, "p p"]:
    """R such that the squares of the rows of ``x @ R`` are ``x @ metric @ x``."""
    value, vector = torch.linalg.eigh(metric)
    return vector * value.clamp_min(0).sqrt()


def _centroids(model: MotionAutoencoder, segmentation: Segmentation) -> Float[Tensor, "segment 3"]:
    """Centroids of learned segments, A; where nothing is left, of those that one started from."""
    now, start = (
        weight.T @ model.position / weight.sum(0)[:, None]
        for weight in (segmentation.weight, model.segments.start.weight)
    )
    return torch.where(now.isfinite(), now, start)


def _axes(moved: Float[Tensor, "particle p"]) -> _Axes:
    mean = moved.mean(0)
    variance, share, direction = leading_axes((moved - mean).T @ (moved - mean) / len(moved))
    return _Axes(mean, with_settled_sign(direction), variance, share)


def _judge(
    model: Autoencoder, data: VaeData, latent: Float[Tensor, "image latent"]
) -> tuple[Float[Tensor, "image"], Float[Tensor, "image"]]:
    """How much each image gains at its particle's conformation, and how odd the rest is.

    The gain is over the base model; what is odd is what is left of the image.

    Images that have no weight are as odd as can be.
    """

    def of_batch(index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            fitted = data.log_likelihood(index, model.positions(latent[index], model.mean()))
            base = data.log_likelihood(index, model.position.expand(len(index), -1, -1))
        return fitted, base, ((data.images.transfer[index] != 0) * data.disc.multiplicity).sum(1)

    parts = in_order(of_batch, torch.arange(len(data)).split(AT_ONCE))
    fitted, base, count = (torch.cat(each) for each in zip(*parts, strict=True))
    outlier = torch.full_like(fitted, MOST_ODD)
    outlier[~data.left_out] = outlier_scores(-2 * fitted[~data.left_out], count[~data.left_out])
    return fitted - base, outlier
