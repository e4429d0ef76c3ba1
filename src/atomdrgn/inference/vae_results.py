"""What an amortised fit writes when it is done: the same files as the closed form."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..model.autoencoder import MotionAutoencoder, about
from ..parallel import in_order
from ..physics.rotations import matrix_from_quaternion
from ..run import BASE, LATENTS, MODEL, MOTIONS, SUMMARY, write_arrays, write_json
from ..structure.atoms import Structure
from ..structure.beads import unmodelled
from ..structure.motion import RigidMotion, weighted_arms
from ..structure.segmentation import Segmentation
from .motions import leading_axes, with_settled_sign
from .results import motion_rows, outlier_scores, write_particles
from .training import Training
from .vae_data import CONTRAST_SD, VaeData
from .vae_training import AT_ONCE

DRAWS = 16      # of each latent, for its error


@torch.no_grad()
def write_results(folder: Path, training: Training, data: VaeData, *, structure: Structure, seed: int) -> None:
    """Read every particle at the posterior means and write what was found; summary.json, last, says that the run is whole."""
    model, beads = training.model, data.beads
    mean, log_sd = _posteriors(model, data)
    segmentation = model.segments.segmentation()
    motion = model.decoder(mean)
    root = _trace_root(beads, segmentation)
    moved = _moved(motion, root)
    axes = _axes(moved)
    place = axes.place(moved)
    generator = torch.Generator().manual_seed(seed)
    draws = [mean + log_sd.exp() * torch.randn(mean.shape, generator=generator) for _ in range(DRAWS)]
    sd = torch.stack([axes.place(_moved(model.decoder(draw), root)) for draw in draws]).std(0)
    centroid = _centroids(model, segmentation)
    about_centroid = about(motion, centroid)
    gain, outlier = _judge(model, data, motion, segmentation.weight)
    write_arrays(folder / MODEL, bead=beads.position.numpy(), sigma=beads.sigma.numpy(), amplitude=beads.amplitude.numpy(),
                 bead_of_atom=beads.bead_of_atom, trace=beads.trace, centroid=centroid.numpy(),
                 weight=segmentation.weight.numpy())
    write_arrays(folder / LATENTS, latent=place.numpy(), latent_sd=sd.numpy(), encoded=mean.numpy(),
                 encoded_sd=log_sd.exp().numpy())
    write_arrays(folder / MOTIONS, rotation=about_centroid.rotation.numpy(), translation=about_centroid.translation.numpy())
    write_particles(folder, data.stack, torch.arange(len(data)), gain=gain, outlier=outlier, place=place, sd=sd)
    write_json(folder / SUMMARY, {
        "particles": len(data), "images": len(data), "segments": len(segmentation), "residues": int(beads.trace.sum()),
        "chains": len(set(beads.chain.tolist())), "beads": len(beads), "resolution": round(data.disc.resolution, 3),
        "motions": motion_rows(axes.variance, axes.share, sd), "mean_log_likelihood_gain": round(float(gain.mean()), 3),
        "bead_width": round(float(beads.sigma.median()), 3), "contrast_sd": CONTRAST_SD, "unmodelled": unmodelled(structure),
        "warnings": list(data.stack.warnings), "passes": training.epoch, "base": BASE})


def _posteriors(model, data):
    """Mean and logarithm of the standard deviation of every image's latent."""
    parts = in_order(lambda index: model.encoder(data.pixels[index]), torch.arange(len(data)).split(AT_ONCE))
    return (torch.cat(each) for each in zip(*map(_detached, parts), strict=True))


def _detached(pair):
    return tuple(tensor.detach() for tensor in pair)      # workers do not know that no gradient is wanted


def _centroids(model: MotionAutoencoder, segmentation: Segmentation) -> Float[Tensor, "segment 3"]:
    """Of the learned segments, A; of the ones that one started from where nothing is left."""
    now, start = (weight.T @ model.position / weight.sum(0)[:, None]
                  for weight in (segmentation.weight, model.segments.start.weight))
    return torch.where(now.isfinite(), now, start)


@dataclass(frozen=True)
class _Axes:
    """Principal axes of conformations: (p,) mean, (p, k) direction, (k,) variance in A^2 and share of all of it."""

    mean: Float[Tensor, "p"]
    direction: Float[Tensor, "p k"]
    variance: Float[Tensor, "k"]
    share: Float[Tensor, "k"]

    def place(self, moved: Float[Tensor, "particle p"]) -> Float[Tensor, "particle k"]:
        """Each conformation's place along each axis, A r.m.s. of the trace."""
        return (moved - self.mean) @ self.direction


def _trace_root(beads, segmentation) -> Float[Tensor, "rows rows"]:
    """Root of how far the rows of the segments' motions move the trace, mean square."""
    arms = weighted_arms(beads.position[beads.trace_index], torch.zeros(len(segmentation), 3),
                         weight=segmentation.weight[beads.trace_index]).double()
    value, vector = torch.linalg.eigh(arms @ arms.T / arms.shape[1])
    return vector * value.clamp_min(0).sqrt()


def _moved(motion: RigidMotion, root: Float[Tensor, "rows rows"]) -> Float[Tensor, "particle p"]:
    """Conformations as points whose distances are those of their traces, A r.m.s.: few numbers, because motions have few."""
    rows = torch.cat([matrix_from_quaternion(motion.rotation), motion.translation[..., None]], -1)    # (particle, segment, 3, 4)
    return (rows.transpose(1, 2).flatten(2).double() @ root).flatten(1)


def _axes(moved) -> _Axes:
    mean = moved.mean(0)
    variance, share, direction = leading_axes((moved - mean).T @ (moved - mean) / len(moved))
    return _Axes(mean, with_settled_sign(direction), variance, share)


def _judge(model, data, motion, weight):
    """Of each particle: how much likelier its image is at its conformation than at the base, and how odd what is left is."""

    def of_batch(index):
        with torch.no_grad():
            fitted = data.log_likelihood(index, model.positions(motion[index], weight))
            base = data.log_likelihood(index, model.position.expand(len(index), -1, -1))
        return fitted, base, ((data.images.transfer[index] != 0) * data.disc.multiplicity).sum(1)

    parts = in_order(of_batch, torch.arange(len(data)).split(AT_ONCE))
    fitted, base, count = (torch.cat(each) for each in zip(*parts, strict=True))
    return fitted - base, outlier_scores(-2 * fitted, count)
