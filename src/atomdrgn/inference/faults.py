"""What stands against a fit before it begins: spoilt images, inverted contrast, poses of another hand or convention."""

import math
import warnings

from jaxtyping import Int
from torch import Tensor

from ..errors import InputError
from ..likelihood.agreement import measure_agreement
from ..parallel import Portions
from ..particles.stack import ParticleStack
from ..reporting import Reporter
from ..structure.beads import BeadModel
from .images import FourierImages

IMAGES_OF_A_LOOK, PARTICLES_OF_A_LOOK = 200, 16


def read_images(images: FourierImages, beads: BeadModel, *, reporter: Reporter, memory: float = math.inf,
                index: Int[Tensor, "some"] | None = None, portions: Portions | None = None) -> tuple[str, ...]:
    """Read and screen the images; what is odd about them, and about the model beside those that count, is said and returned.

    Parameters
    ----------
    images : FourierImages
        To be loaded.
    beads : BeadModel
        The base model.
    reporter : Reporter
        Watches.
    memory, index, portions
        As :meth:`FourierImages.load` takes them; of several processes the first one speaks.

    Raises
    ------
    InputError
        Nothing is left to fit, or the contrast is inverted.
    """
    images.load(index, memory, lambda batches: reporter.watch(batches, "reading images", len(batches)), portions)
    if images.left_out.all():
        raise InputError(f"{images.stack.source.name}: no image is like the others: there is nothing to fit")
    found = (*images.warnings, *find_faults(images.stack[~images.left_out], beads))
    if portions is None or portions.processes.first:
        for each in found:
            warnings.warn(each, stacklevel=2)
    return found


def find_faults(stack: ParticleStack, beads: BeadModel) -> tuple[str, ...]:
    """Which of the usual faults a look at some of the images shows clearly, in the words of `inspect`.

    Parameters
    ----------
    stack : ParticleStack
        The images that count.
    beads : BeadModel
        The base model.

    Raises
    ------
    InputError
        The contrast is inverted: every prediction would be the images' negative.
    """
    found = measure_agreement(stack, beads, limit=max(IMAGES_OF_A_LOOK, PARTICLES_OF_A_LOOK * stack.n_tilts))
    if not found.faults:
        return ()
    said = f"{stack.source.name}: {'; '.join(found.faults)} (by some of the images; `atomdrgn inspect --against` says more)"
    if found.contrast < 0:
        raise InputError(said)
    return (f"{said}; the fit goes on with what the file says",)
