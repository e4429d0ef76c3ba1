"""What stands against a fit before it begins.

Spoilt images, inverted contrast, and poses of another hand or convention are found.
"""

import warnings

from jaxtyping import Int
from torch import Tensor

from ...errors import InputError
from ...likelihood.agreement.agreement import measure_agreement
from ...parallel import Portions
from ...particles.stack.stack import ParticleStack
from ...reporting import Reporter
from ...structure.beads import BeadModel
from .fourier_images import FourierImages

IMAGES_OF_A_LOOK, PARTICLES_OF_A_LOOK = 200, 16


def read_images(
    images: FourierImages,
    beads: BeadModel | None,
    *,
    reporter: Reporter,
    memory: float = 0.0,
    index: Int[Tensor, "some"] | None = None,
    portions: Portions | None = None,
) -> tuple[str, ...]:
    """Read and screen the images.

    What is odd about them, and about a model beside those that count, is said and returned.

    Parameters
    ----------
    images : FourierImages
        To be loaded.
    beads : BeadModel, optional
        The base model, where there is one.
    reporter : Reporter
        Watches.
    memory, index, portions
        As :meth:`FourierImages.load` takes them, but that no coefficients are kept by default; of
        several processes the first one speaks.

    Raises
    ------
    InputError
        Nothing is left to fit, the poses put every molecule outside of its image, or the contrast
        is inverted.
    """
    if beads is not None:
        _require_seen(images.stack, beads)
    images.load(
        index,
        memory,
        lambda batches: reporter.watch(batches, "reading images", len(batches)),
        portions,
    )
    if images.left_out.all():
        raise InputError(
            f"{images.stack.source.name}: no image is like the others: there is nothing to fit"
        )
    found = (
        *images.warnings,
        *(() if beads is None else find_faults(images.stack[~images.left_out], beads)),
    )
    if portions is None or portions.processes.first:
        for each in found:
            warnings.warn(each, stacklevel=2)
    return found


def _require_seen(stack: ParticleStack, beads: BeadModel) -> None:
    away = stack.pose.shift.abs().amax(1) - beads.position.norm(dim=1).max()
    if (away > stack.grid.extent / 2).all():
        raise InputError(
            f"{stack.source.name}: the shifts put every molecule outside of its image, "
            f"{away.min():.0f} A or more from its middle (edge {stack.grid.extent:.0f} A): are "
            "they in the right unit?"
        )


def find_faults(stack: ParticleStack, beads: BeadModel) -> tuple[str, ...]:
    """Which of the usual faults a look at some of the images shows clearly.

    They are told in the words of `inspect`.

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
    found = measure_agreement(
        stack, beads, limit=max(IMAGES_OF_A_LOOK, PARTICLES_OF_A_LOOK * stack.n_tilts)
    )
    if not found.faults:
        return ()
    said = (
        f"{stack.source.name}: {'; '.join(found.faults)} (by some of the images; `atomdrgn inspect "
        "--against` says more)"
    )
    if found.contrast < 0:
        raise InputError(said)
    return (f"{said}; the fit goes on with what the file says",)
