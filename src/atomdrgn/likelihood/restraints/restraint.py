"""What a restraint is: knowledge of a molecule's shape that needs no image."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from .restraint_loops import strain

R = TypeVar("R", bound="Restraint")


@dataclass(frozen=True, eq=False)
class Residuals:
    """What one conformation misses by, one row for each residual that acts.

    The strain is half the sum of their weighted squares.

    Parameters
    ----------
    bead : (row, end)
        The beads that it depends on: two for a distance.
    value : (row,)
        By how much it is missed, such as A; negative: too short.
    direction : (row, end, 3)
        Gradient of the value to the position of each of these beads, double precision.
    weight : (row,)
        1 / sigma^2, double precision.
    """

    bead: Int[Tensor, "row end"]
    value: Float[Tensor, "row"]
    direction: Float[Tensor, "row end 3"]
    weight: Float[Tensor, "row"]


class Strained(NamedTuple):
    """The same of a batch of conformations, as arrays for compiled loops.

    Parameters
    ----------
    conformation : (row,)
        Which entry of the batch a row belongs to, rising.
    bead, residual, direction, weight : (row, end), (row,), (row, end, 3), (row,)
        As in :class:`Residuals`; all but the beads in double precision.
    """

    conformation: Int[np.ndarray, "row"]
    bead: Int[np.ndarray, "row end"]
    residual: Float[np.ndarray, "row"]
    direction: Float[np.ndarray, "row end 3"]
    weight: Float[np.ndarray, "row"]


class Restraint(ABC):
    """One term of what is known of a molecule's shape without any image, such as its bonds.

    A term is a list of residuals of a conformation, each with a standard deviation: half the sum of
    their squares over these is its strain, in units of a log likelihood. A subclass is a frozen
    dataclass, final, and holds

    - :attr:`name`, under which its strain is listed;
    - :meth:`residuals`, from which value, gradient and normal equations follow;
    - :meth:`on_surface`, what is left of it where all particles' conformations form one surface.

    :meth:`strain` and :meth:`strained` follow from the residuals. The terms that every fit has
    bring quicker ones of their own, which have to say the same. What makes a term from a base model
    is listed in :data:`~atomdrgn.likelihood.restraints.segment_restraints.OF_SEGMENTS` for fits of
    segments and in :data:`~atomdrgn.likelihood.restraints.chain_restraints.OF_BEADS` where beads
    move one by one.
    """

    name: str
    __dataclass_fields__: ClassVar[dict[str, Any]]  # that subclasses have

    @abstractmethod
    def residuals(self, position: Float[Tensor, "bead 3"]) -> Residuals:
        """The residuals that act in one conformation; one-sided ones only where they are missed."""

    @abstractmethod
    def on_surface(self, looser: float) -> "Restraint | None":
        """What holds where one surface is fitted to all particles at once; None: nothing.

        There strain that rigid segments cannot avoid is counted once a particle, and takes a
        quarter of a weak motion away: bonds are `looser` by that factor, and clashes left out. What
        is known by measurement stays as it is.
        """

    def strain(self, position: Float[Tensor, "*batch bead 3"]) -> Float[Tensor, "*batch"]:
        """Of each conformation, differentiable in the positions."""
        return quick_strain((self,), position.reshape(-1, *position.shape[-2:])).view(
            position.shape[:-2]
        )

    def strained(self, position: Float[Tensor, "batch bead 3"]) -> Strained:
        """The residuals of many conformations, for compiled loops."""
        rows = [self.residuals(each) for each in position.detach()]
        return Strained(
            np.repeat(np.arange(len(rows)), [len(each.value) for each in rows]),
            *(
                torch.cat([getattr(each, name) for each in rows]).to(dtype).cpu().numpy()
                for name, dtype in (
                    ("bead", torch.long),
                    ("value", torch.double),
                    ("direction", torch.double),
                    ("weight", torch.double),
                )
            ),
        )

    def to(self: R, device: torch.device | str) -> R:
        """The same for conformations on `device`."""
        held = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(
            self, **{name: it.to(device) for name, it in held.items() if isinstance(it, Tensor)}
        )


def quick_strain(
    terms: tuple[Restraint, ...], position: Float[Tensor, "batch bead 3"]
) -> Float[Tensor, "batch"]:
    """Strain of all terms together; its gradient is found in the same loop."""
    return _Strain.apply(position, terms)


class _Strain(torch.autograd.Function):
    """Sum of all terms, whose gradient to the positions is made together with it."""

    @staticmethod
    def forward(
        ctx: Any, position: Float[Tensor, "batch bead 3"], terms: tuple[Restraint, ...]
    ) -> Float[Tensor, "batch"]:
        energy, gradient = (
            torch.zeros(len(position), dtype=torch.float64),
            torch.zeros(position.shape, dtype=position.dtype),
        )
        for term in terms:
            strain(*term.strained(position), energy.numpy(), gradient.numpy())
        ctx.save_for_backward(gradient.to(position.device))
        return energy.to(position)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Float[Tensor, "batch"]) -> tuple[Tensor, None]:
        return scale[:, None, None] * ctx.saved_tensors[0], None
