"""What stands against a fit before it begins: images of inverted contrast, poses of another hand or convention."""

from ..errors import InputError
from ..likelihood.agreement import AS_READ, measure_agreement
from ..particles.stack import ParticleStack
from ..structure.beads import BeadModel


def find_faults(stack: ParticleStack, beads: BeadModel) -> tuple[str, ...]:
    """Which of the usual faults would explain the images clearly better if they were mended, in the words of `inspect`.

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
    found = measure_agreement(stack, beads)
    if found.explained and found.contrast < 0:
        raise InputError(f"{stack.source.name}: {found.verdict}")
    if not found.explained or found.best == AS_READ:
        return ()
    return (f"{stack.source.name}: {found.verdict}",)
