"""What the images say about motions near a conformation: Gauss-Newton's normal equations, one set an image."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..physics.bead_transform import bead_transform
from ..physics.disc import FourierDisc
from ..physics.pose import Pose
from ..physics.record import Record
from ..structure.beads import BeadModel
from ..structure.deformation import SegmentDeformation


@dataclass(frozen=True)
class NormalEquations(Record):
    """Of a weighted least-squares fit, at a latent and linearised there, in the latent's coordinates.

    Near the latent q0, minus twice the log-likelihood is ``(q - q0) matrix (q - q0) - 2 gradient (q - q0) + chi2``.

    Parameters
    ----------
    matrix : (*batch, latent, latent)
        Gauss-Newton's approximation of the second derivatives.
    gradient : (*batch, latent)
        Minus half the first derivatives.
    chi2 : (*batch,)
        Weighted sum of squared residuals at q0.
    """

    matrix: Float[Tensor, "*batch latent latent"]
    gradient: Float[Tensor, "*batch latent"]
    chi2: Float[Tensor, "*batch"]


@dataclass(frozen=True)
class ImageProducts(Record):
    """All inner products among an image's derivative images, its prediction and its data, weighted by the noise.

    Parameters
    ----------
    matrix : (*batch, latent, latent)
        Among derivative images.
    with_prediction, with_data : (*batch, latent)
        Derivative images with the prediction, and with the data.
    prediction2, prediction_data, data2 : (*batch,)
        Prediction with itself, with the data; data with itself.
    """

    matrix: Float[Tensor, "*batch latent latent"]
    with_prediction: Float[Tensor, "*batch latent"]
    with_data: Float[Tensor, "*batch latent"]
    prediction2: Float[Tensor, "*batch"]
    prediction_data: Float[Tensor, "*batch"]
    data2: Float[Tensor, "*batch"]

    def contrast(self, prior_sd: float,
                 hidden: Float[Tensor, "*batch"]) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
        """Strength of the signal in each image and its standard deviation, with prior N(1, prior_sd^2).

        Parameters
        ----------
        prior_sd : float
            Of the contrast over images.
        hidden : (*batch,)
            Power that the conformation's uncertainty adds to the prediction's. Without it a conformation that was fitted to
            the image's own noise would seem to be a brighter signal.
        """
        precision = prior_sd**-2
        spread = self.prediction2 + hidden + precision
        return (self.prediction_data + precision) / spread, spread**-0.5

    def normal_equations(self, contrast_sd: float, hidden: Float[Tensor, "*batch"]) -> NormalEquations:
        """For the motion alone: each image's contrast is fitted, its uncertainty taken out of the matrix (Schur complement)."""
        contrast, sd = self.contrast(contrast_sd, hidden)
        misfit = self.data2 - 2 * contrast * self.prediction_data + contrast**2 * self.prediction2
        chi2 = misfit + ((contrast - 1) / contrast_sd) ** 2
        c = contrast[..., None]
        gradient = c * (self.with_data - c * self.with_prediction)
        # the mixed second derivative with contrast, at the fitted contrast, in Gauss-Newton's approximation
        mixed = (c * sd[..., None]) * self.with_prediction
        return NormalEquations((c * c)[..., None] * self.matrix - mixed[..., :, None] * mixed[..., None, :], gradient, chi2)


def predict(deformation: SegmentDeformation, beads: BeadModel, latent: Float[Tensor, "batch latent"], *,
            pose: Pose, disc: FourierDisc) -> Float[Tensor, "batch 2 frequency"]:
    """Fourier coefficients of the noise-free image before the CTF, at the conformation that a latent decodes to."""
    conformation = deformation.conformation(latent)
    weight = (beads.amplitude * conformation.occupancy)[..., None]
    return bead_transform(pose.apply(conformation.position), beads.sigma, disc, weight=weight)[:, 0, 0]


def derivative_images(deformation: SegmentDeformation, beads: BeadModel, latent: Float[Tensor, "batch latent"], *,
                      pose: Pose, disc: FourierDisc, transfer: Float[Tensor, "batch frequency"],
                      ) -> tuple[Float[Tensor, "batch 2 frequency"], Float[Tensor, "batch free 5 2 frequency"]]:
    """The prediction of :func:`predict` times a transfer function, and how each free segment's motion changes it.

    The five motions are shifts along the camera's x and y (per A) and turns about its x, y and z (per rad) about the segment's
    centroid as it stands; a shift along z changes nothing.

    A bead of amplitude a at p with arm r contributes ``a exp(-2 pi i k.p)``; a shift along x multiplies it by ``-2 pi i kx``,
    and a turn w moves the bead by w x r. So four fields of each segment (the amplitude, and the amplitude times each component
    of the arm) make all five.
    """
    members, conformation = deformation.members, deformation.conformation(latent)
    camera = pose.apply(conformation.position)[:, members.bead]
    arm = deformation.arms(latent) @ pose.rotation.transpose(-1, -2)
    amplitude = (beads.amplitude * conformation.occupancy)[:, members.bead] * members.weight
    field = amplitude[..., None] * torch.cat([torch.ones_like(arm[..., :1]), arm], -1)
    transform = bead_transform(camera, beads.sigma[members.bead], disc, weight=field, parts=members.parts(deformation.n_segments))
    prediction = transform[:, :, 0].sum(1) * transfer[:, None]
    if len(deformation.free) < deformation.n_segments:
        transform = transform[:, deformation.free]
    derivative = torch.empty(*transform.shape[:2], 5, 2, len(disc), dtype=transform.dtype, device=transform.device)
    along_x, along_y = (2 * torch.pi * k * transfer[:, None] for k in (disc.kx, disc.ky))
    # times -i: what was imaginary becomes real, what was real becomes minus imaginary
    for part, other, sign in ((0, 1, 1.0), (1, 0, -1.0)):
        mass, arm_x, arm_y, arm_z = transform[:, :, :, other].unbind(2)
        torch.mul(mass, sign * along_x, out=derivative[:, :, 0, part])
        torch.mul(mass, sign * along_y, out=derivative[:, :, 1, part])
        torch.mul(arm_z, -sign * along_y, out=derivative[:, :, 2, part])
        torch.mul(arm_z, sign * along_x, out=derivative[:, :, 3, part])
        torch.mul(arm_x, sign * along_y, out=derivative[:, :, 4, part]).addcmul_(arm_y, -sign * along_x)
    return prediction, derivative


def image_products(deformation: SegmentDeformation, beads: BeadModel, latent: Float[Tensor, "batch latent"], *,
                   pose: Pose, disc: FourierDisc, transfer: Float[Tensor, "batch frequency"],
                   data: Float[Tensor, "batch 2 frequency"]) -> ImageProducts:
    """Inner products from which the normal equations of each image are made.

    Parameters
    ----------
    deformation, beads, latent, pose, disc
        As in :func:`derivative_images`.
    transfer : (batch, frequency)
        What the prediction is multiplied by so that it meets `data`: the CTF over the noise's amplitude, with the root of the
        multiplicity.
    data : (batch, 2, frequency)
        Whitened coefficients of the images.
    """
    prediction, derivative = derivative_images(deformation, beads, latent, pose=pose, disc=disc, transfer=transfer)
    rows, seen = derivative.flatten(-2).flatten(1, 2), torch.stack([prediction, data], 1).flatten(-2)
    product = torch.cat([rows @ rows.transpose(-1, -2), rows @ seen.transpose(-1, -2)], -1)
    among = seen @ seen.transpose(-1, -2)
    change = camera_motion(deformation, latent, pose)
    n = product.shape[1]
    free = change.shape[1]
    left = change.transpose(-1, -2) @ product.unflatten(1, (free, 5))          # (batch, free, 6, row)
    left = left.flatten(1, 2)
    matrix = (left[..., :n].unflatten(-1, (free, 5)).transpose(1, 2) @ change).transpose(1, 2).flatten(2)
    return ImageProducts(matrix=matrix, with_prediction=left[..., n], with_data=left[..., n + 1],
                         prediction2=among[:, 0, 0], prediction_data=among[:, 0, 1], data2=among[:, 1, 1])


def camera_motion(deformation: SegmentDeformation, latent: Float[Tensor, "batch latent"],
                  pose: Pose) -> Float[Tensor, "batch free 5 6"]:
    """How the latent moves each free segment in the camera's frame: (batch, free, 5, 6)."""
    turn = pose.rotation[:, None]
    jacobian = deformation.jacobian(latent)
    return torch.cat([turn[..., :2, :] @ jacobian[..., :3, :], turn @ jacobian[..., 3:, :]], -2)
