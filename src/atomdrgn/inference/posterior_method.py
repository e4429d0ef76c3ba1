"""What a fit asks of a way to find each particle's posterior: one type, to which methods are added.

A method is one final subclass in a file of its own and one line in ``METHODS``
(choice_of_method.py). Nothing else asks which method a fit goes by.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from .far_start.far_start import FarStart
from .posterior.importance_sampling import WideFit
from .problem.fit_problem import FitModel
from .problem.fit_state import FitState
from .problem.half_sets import HalfSet
from .problem.principal_motions import Motions
from .problem.significance import MotionSupport

# From a state to the next one, and its line of the history.
Step = Callable[[FitState], tuple[FitState, dict[str, Any]]]


class PosteriorMethod(ABC):
    """A way to find what each particle's conformation is, and how sure that is.

    A fit makes its steps with each half-set apart, asks what the motions of one are worth to the
    images of the other, makes further steps with all particles, and has each particle placed along
    the motions that are supported. Subclasses are final: they hold every method of this type, and
    none of them is overridden again. What a method has to hold to:

    - All that it knows of particles is in the :class:`FitState`, which is what a file holds between
      two steps. The same state gives the same next one, to the bit: random numbers begin from
      ``model.seed`` and ``state.step``. Nothing is kept in the method but settings that it finds
      again in the same way from the fit as it begins.
    - After the last step scales, noise and brightness are those of images at their own resolution,
      ``model.images.disc``: what comes then asks images as fine.
    - Steps are counted: that from ``state.step`` n leads to n + 1, and is number n (from 0) of the
      list.
    - Sums over particles go through ``model.particle_portions``, ``model.portions`` or
      ``model.processes``, so that any number of processes gives the same bits.
    - ``model.reporter`` is told how far it is.
    """

    @classmethod
    @abstractmethod
    def suited(cls, model: FitModel) -> "Begun | None":
        """The method ready for these particles, or None where it is not for them.

        Parameters
        ----------
        model : FitModel
            The fit, its images read, before anything is known.
        """

    @property
    @abstractmethod
    def corrects_base(self) -> bool:
        """Whether particles are known well enough for the base model to be corrected.

        It is corrected between the half-sets' steps and those of all particles, with particles at
        draws from Gaussians about ``state.latent`` with the root ``state.uncertainty``.
        """

    @abstractmethod
    def integrates_poses(self, *, refined: bool) -> bool:
        """Whether poses of which nothing is known are integrated out.

        If not, they are taken as exact, and the fit says so.

        Parameters
        ----------
        refined : bool
            It is known that they were refined on these images; if not, that cannot be told.
        """

    @property
    @abstractmethod
    def judges_mean(self) -> bool:
        """Whether the base model stays where nothing moves and the mean is no better.

        If not, particles of which nothing moves are at the mean that was found.
        """

    @abstractmethod
    def begin(self, model: FitModel, start: FitState) -> FitState:
        """The state before the first step, of all particles or of a half-set.

        Parameters
        ----------
        model : FitModel
            The fit of these particles.
        start : FitState
            Every particle where the population begins, no scale measured.
        """

    @abstractmethod
    def steps(self, model: FitModel, *, apart: bool) -> Sequence[Step]:
        """All steps, of a half-set `apart` or of all particles.

        A step's line of the history is
        :func:`atomdrgn.inference.posterior.gauss_newton_pass.history_row` with
        ``moved_by_search``, the number of particles that a wide look has moved.
        """

    @abstractmethod
    def borders(self, model: FitModel) -> "Borders | None":
        """When a half-set's borders between segments are learned; None where they stay."""

    def junk_after(self, model: FitModel) -> int | None:
        """After how many steps of a half-set junk among its particles is looked for.

        It has no weight from then on. None where it is looked for in the end alone.
        """
        return None

    @abstractmethod
    def support(self, half: HalfSet, own: FitState, other: FitState) -> MotionSupport:
        """What the motions of the other half-set are worth to the images of a half-set.

        Parameters
        ----------
        half : HalfSet
            The half-set whose images are asked.
        own, other : FitState
            Its fit after the last step, and that of the other half-set.
        """

    @abstractmethod
    def over_base(
        self,
        half: HalfSet,
        own: FitState,
        other: FitState,
        *,
        start: HalfSet,
        begun: FitState,
        motions: int,
    ) -> Float[Tensor, "some"]:
        """Log-evidence of some particles under what the other half-set found, over the base model.

        Parameters
        ----------
        half : HalfSet
            The half-set whose images are asked.
        own, other : FitState
            Its fit after the last step, and that of the other half-set.
        start, begun
            The half-set with the base model as it was given, and the other half-set's fit there.
        motions : int
            How many motions count.
        """

    @abstractmethod
    def together(
        self,
        model: FitModel,
        halves: Sequence[HalfSet],
        states: Sequence[FitState],
        supports: Sequence[MotionSupport],
    ) -> FitState:
        """The state that the fit of all particles goes on from; its `step` says with which step.

        Parameters
        ----------
        model : FitModel
            Of all particles.
        halves, states
            The half-sets and their fits after the last step.
        supports : sequence of MotionSupport
            Of each half-set.
        """

    @abstractmethod
    def motions(self, model: FitModel, state: FitState) -> Motions:
        """The principal motions of the population of a state, largest first."""

    @abstractmethod
    def place(
        self, model: FitModel, state: FitState, motions: Motions, *, supported: int | None
    ) -> WideFit:
        """Where each particle is along motions, and how sure that is.

        Parameters
        ----------
        model, state
            Of all particles, after the last step.
        motions : Motions
            Those that are supported; all where there are no half-sets.
        supported : int or None
            Their number; None where there are no half-sets.
        """


@dataclass(frozen=True, eq=False)
class Begun:
    """A method that is ready to begin.

    Parameters
    ----------
    method : PosteriorMethod
        With what it has found of the fit as it begins.
    model : FitModel
        The fit, which may begin away from the base model.
    far : FarStart, optional
        Where it begins then.
    """

    method: PosteriorMethod
    model: FitModel
    far: FarStart | None = None


@dataclass(frozen=True)
class Borders:
    """When borders between segments are learned.

    Parameters
    ----------
    after : int
        Steps of each half-set.
    resolution : float
        Of the images that choose them, A.
    """

    after: int
    resolution: float
