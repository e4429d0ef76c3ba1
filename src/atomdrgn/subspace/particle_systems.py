"""What images say of the amounts of volumes: normal equations, posteriors and evidence."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from ..parallel import in_order
from .component_grid import ComponentGrid
from .component_loops import image_systems
from .whitened_images import ImageBatch, WhitenedImages


@dataclass(frozen=True, eq=False)
class Systems:
    """Normal equations of particles in the amounts of volumes; those of its images are added up.

    Parameters
    ----------
    matrix : (particle, volume, volume) float64
    right : (particle, volume) float64

    Examples
    --------
    >>> found = Systems(np.eye(2)[None], np.ones((1, 2)))
    >>> found.first(1).right
    array([[1.]])
    """

    matrix: Float[np.ndarray, "particle volume volume"]
    right: Float[np.ndarray, "particle volume"]

    def first(self, volumes: int) -> "Systems":
        """Of the first volumes alone."""
        return Systems(self.matrix[:, :volumes, :volumes], self.right[:, :volumes])

    def of(self, particle: np.ndarray) -> "Systems":
        """Of some particles."""
        return Systems(self.matrix[particle], self.right[particle])


@dataclass(frozen=True, eq=False)
class Amounts:
    """Posterior of the amounts of volumes in particles.

    Parameters
    ----------
    mean : (particle, volume)
    covariance : (particle, volume, volume)
    """

    mean: Float[np.ndarray, "particle volume"]
    covariance: Float[np.ndarray, "particle volume volume"]

    @property
    def second(self) -> Float[np.ndarray, "particle volume volume"]:
        """Expected products of two amounts."""
        return self.covariance + self.mean[:, :, None] * self.mean[:, None]


def systems_of_batch(
    batch: ImageBatch, particle: np.ndarray, transform: np.ndarray, place: np.ndarray
) -> Systems:
    """Systems of the particles of a batch; `particle` numbers them from 0 for each image."""
    matrix, right, _ = image_systems(transform, batch.rotation, place, batch.transfer, batch.data)
    count = int(particle.max()) + 1
    result = Systems(np.zeros((count, *matrix.shape[1:])), np.zeros((count, right.shape[1])))
    np.add.at(result.matrix, particle, matrix)
    np.add.at(result.right, particle, right)
    return result


def particle_systems(
    images: WhitenedImages,
    grid: ComponentGrid,
    volumes: Float[Tensor, "volume z y x"],
    particle: Int[Tensor, "some"],
) -> Systems:
    """Systems of some particles, in the order in which they are numbered.

    Parameters
    ----------
    images : WhitenedImages
        On the disc of the grid.
    grid : ComponentGrid
    volumes : (volume, z, y, x)
        Density per A^3.
    particle : (some,)
        Numbers, rising.
    """
    transform, count = grid.transform(volumes), len(volumes)
    result = Systems(np.zeros((len(particle), count, count)), np.zeros((len(particle), count)))

    def found(image: Tensor) -> tuple[np.ndarray, Systems]:
        number, own = np.unique(images.particle[image].numpy(), return_inverse=True)
        return number, systems_of_batch(images.batch(image), own, transform, grid.place)

    for number, systems in in_order(found, images.batches(particle)):
        row = np.searchsorted(particle.numpy(), number)
        result.matrix[row], result.right[row] = systems.matrix, systems.right
    return result


def posterior(
    systems: Systems,
    mean: Float[np.ndarray, "volume"],
    covariance: Float[np.ndarray, "volume volume"],
) -> Amounts:
    """Amounts in particles whose population is normal.

    Examples
    --------
    >>> found = posterior(Systems(np.ones((1, 1, 1)), np.ones((1, 1))), np.zeros(1), np.eye(1))
    >>> found.mean, found.covariance
    (array([[0.5]]), array([[[0.5]]]))
    """
    precision = np.linalg.inv(covariance)
    spread = np.linalg.inv(systems.matrix + precision)
    return Amounts((spread @ (systems.right + precision @ mean)[..., None])[..., 0], spread)


def log_evidence(
    systems: Systems,
    mean: Float[np.ndarray, "volume"],
    covariance: Float[np.ndarray, "volume volume"],
) -> Float[np.ndarray, "particle"]:
    """Log likelihood of particles of a normal population, relative to that of noise alone.

    Examples
    --------
    >>> none = Systems(np.zeros((1, 1, 1)), np.zeros((1, 1)))
    >>> abs(log_evidence(none, np.ones(1), np.eye(1))).round(6)
    array([0.])
    """
    precision = np.linalg.inv(covariance)
    right = systems.right + precision @ mean
    matrix = systems.matrix + precision
    inner = (right * np.linalg.solve(matrix, right[..., None])[..., 0]).sum(-1)
    spread = np.linalg.slogdet(matrix)[1] + np.linalg.slogdet(covariance)[1]
    return 0.5 * (inner - mean @ precision @ mean - spread)
