"""What a volume field is trained on.

It is what the mean volume leaves of each image, whitened and centred.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import grid_sample

from ..errors import InputError
from ..inference.images.fourier_images import READ_AT_ONCE
from ..likelihood.noise import Noise, noise_groups
from ..parallel import in_order
from ..particles.stack.stack import ParticleStack
from ..physics.disc import FourierDisc, make_disc
from ..physics.dose import optimal_dose
from ..physics.grid import ImageGrid
from ..physics.maps.slices import SliceSource
from ..reporting import Reporter

ENCODED_CYCLES = 10  # a box: the encoder is given what is coarser
ENCODED_RADIUS = 0.42  # of the box: the sphere in which it is given


@dataclass(frozen=True, eq=False)
class FieldData:
    """Images as a volume field and its encoder see them, in half precision.

    Parameters
    ----------
    stack : ParticleStack
        The images.
    disc : FourierDisc
        The frequencies that are compared.
    mean : (z, y, x)
        The mean volume, which the field adds to; density per A^3.
    residual : (image, frequency, 2)
        Whitened coefficients less those of the mean volume, about the molecule's origin.
    transfer : (image, frequency)
        What a coefficient of the molecule is multiplied by in its image: CTF, weights of dose and
        tilt, over the noise's amplitude, times the root of the multiplicity; 0 where the dose is
        beyond the frequency's optimal one.
    view : (image, input)
        For the encoder: the residual smeared back into the molecule's frame, and the direction of
        view.
    image : (particle, tilt)
        Which images are a particle's, by dose; -1 where it has fewer.
    """

    stack: ParticleStack
    disc: FourierDisc
    mean: Float[Tensor, "z y x"]
    residual: Float[Tensor, "image frequency 2"]
    transfer: Float[Tensor, "image frequency"]
    view: Float[Tensor, "image input"]
    image: Int[Tensor, "particle tilt"]

    def __len__(self) -> int:
        """Particles."""
        return len(self.image)

    @property
    def there(self) -> Bool[Tensor, "particle tilt"]:
        """Which images there are."""
        return self.image >= 0

    @property
    def nbytes(self) -> int:
        """Memory that the images take."""
        return sum(tensor.nbytes for tensor in (self.residual, self.transfer, self.view))


def read_field_data(
    stack: ParticleStack,
    mean: Float[Tensor, "z y x"],
    spectrum: Float[Tensor, "group shell"],
    *,
    left_out: Bool[Tensor, "image"] | None = None,
    resolution: float = 0.0,
    dose_mask: bool = True,
    reporter: Reporter | None = None,
) -> FieldData:
    """Read all images once.

    Parameters
    ----------
    stack : ParticleStack
    mean : (z, y, x)
        The mean volume, on the voxels of the images; density per A^3.
    spectrum : (group, shell)
        Noise power for each pair of optics group and tilt, from frequency 0.
    left_out : (image,), optional
        Which images have no weight: nothing is left of them, nor of their transfer.
    resolution : float
        Finest that is used, A; 0: Nyquist.
    dose_mask : bool
        Leave out of each image the frequencies whose optimal dose it has passed.
    reporter : Reporter, optional
        Watches.

    Raises
    ------
    InputError
        Every frequency of an image is beyond its optimal dose.
    FileFormatError
        An image that is empty or not finite.

    References
    ----------
    Powell & Davis, TomoDRGN (2024), methods, "Lattice masking and reconstruction weighting". There
    squared errors are multiplied by the weights of dose and tilt; here the prediction is, so that
    each error counts with the square, as the likelihood has it.
    """
    disc = make_disc(stack.grid, max(resolution, 1e-6))
    noise = Noise(
        spectrum[:, 1:], noise_groups(stack.optics_group, stack.tilt), stack.premultiplied, left_out
    )
    source, point = SliceSource(mean, disc), encoded_points(stack.grid)
    parts = []
    reporter = reporter or Reporter()
    reporter.start("reading images", len(stack))

    def read(index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        some = stack[index]
        transfer, data = noise.whiten(disc.parts(some.read()), some.ctf, index, disc=disc)
        if dose_mask:
            held = _within_optimal_dose(some, disc)
            transfer, data = transfer * held, data * held[:, None]
        data = torch.complex(data[:, 0], data[:, 1]) * _phases(some.pose.shift, disc)
        residual = data - transfer * source.slices(some.pose.rotation)
        view = torch.cat(
            [
                smeared(residual * transfer, some.pose.rotation, disc, point),
                some.pose.rotation[:, 2],
            ],
            1,
        )
        return torch.view_as_real(residual).half(), transfer.half(), view

    for part in in_order(read, torch.arange(len(stack)).split(READ_AT_ONCE)):
        parts.append(part)
        reporter.advance(len(part[0]))
    reporter.finish()
    residual, transfer, view = (torch.cat(each) for each in zip(*parts, strict=True))
    _require_signal(transfer, stack)
    view[:, :-3] /= view[:, :-3].std().clamp_min(1e-12)
    return FieldData(stack, disc, mean, residual, transfer, view.half(), images_of_particles(stack))


def images_of_particles(stack: ParticleStack) -> Int[Tensor, "particle tilt"]:
    """Images of each particle by dose, -1 where it has fewer than others.

    Particles are in the order of their numbers.
    """
    number = torch.unique(stack.particle, return_inverse=True)[1]
    order = torch.argsort(stack.tilt, stable=True)
    order = order[torch.argsort(number[order], stable=True)]
    count = number.bincount()
    place = torch.arange(len(order)) - (count.cumsum(0) - count)[number[order]]
    image = torch.full((len(count), int(count.max())), -1)
    image[number[order], place] = order
    return image


def encoded_points(grid: ImageGrid) -> Float[Tensor, "point 3"]:
    """Points of a cubic lattice in a sphere about the box centre, A.

    They are half of the finest wave that the encoder is given apart.
    """
    along = torch.arange(-ENCODED_CYCLES, ENCODED_CYCLES + 1) * (grid.extent / (2 * ENCODED_CYCLES))
    point = torch.cartesian_prod(along, along, along)
    return point[point.norm(dim=1) <= ENCODED_RADIUS * grid.extent]


def smeared(
    coefficient: Tensor,
    rotation: Float[Tensor, "image 3 3"],
    disc: FourierDisc,
    point: Float[Tensor, "point 3"],
) -> Float[Tensor, "image point"]:
    """Values of images at the points (A) that stand in front of their pixels.

    Of residuals times their transfer this is the slope of the image's log-likelihood by density at
    each point, but for a factor: what an image says of a change of the volume, in the frame that
    all images share.

    Parameters
    ----------
    coefficient : (image, frequency) complex
        With the multiplicity in it; only up to :data:`ENCODED_CYCLES`.
    rotation : (image, 3, 3)
        Molecule to microscope.
    disc : FourierDisc
        Of the coefficients.
    point : (point, 3)
        In the molecule's frame.
    """
    kept = torch.hypot(disc.x_index.float(), disc.y_index.float()) <= ENCODED_CYCLES
    # eight pixels to the finest wave, so that straight lines between them do
    size = 8 * ENCODED_CYCLES
    plane = torch.zeros(len(coefficient), size, size // 2 + 1, dtype=torch.complex64)
    plane[:, disc.y_index[kept] % size, disc.x_index[kept]] = (
        coefficient[:, kept] / disc.multiplicity[kept]
    )
    image = torch.fft.fftshift(torch.fft.irfft2(plane, s=(size, size)), dim=(-2, -1))
    place = (point @ rotation.transpose(-1, -2))[..., :2] / disc.grid.extent  # in boxes
    return grid_sample(
        image[:, None],
        (2 * (place * size + size // 2) / (size - 1) - 1)[:, None],
        align_corners=True,
    )[:, 0, 0]


def _within_optimal_dose(stack: ParticleStack, disc: FourierDisc) -> Tensor:
    radius = torch.hypot(disc.kx, disc.ky)
    return stack.ctf.dose[:, None] <= optimal_dose(radius, voltage_kv=stack.ctf.voltage_kv[:, None])


def _phases(shift: Tensor, disc: FourierDisc) -> Tensor:
    """What brings a shifted molecule back to the origin."""
    turn = 2 * torch.pi * (shift @ torch.stack([disc.kx, disc.ky]))
    return torch.polar(torch.ones_like(turn), turn)


def _require_signal(transfer: Tensor, stack: ParticleStack) -> None:
    silent = torch.nonzero((transfer == 0).all(1))[:, 0]
    if len(silent) == len(stack):
        raise InputError(
            f"{stack.source}: no image has a frequency left that its dose or its CTF has not "
            "taken; use a coarser --box, or --no-dose-mask"
        )
