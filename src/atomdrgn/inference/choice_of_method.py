"""Which posterior method a fit goes by."""

from ..errors import InputError
from .passes import Passes
from .posterior_method import Begun, PosteriorMethod
from .problem.fit_problem import FitModel
from .rounds import Rounds

# In this order they are asked whether they are for the particles of a fit.
METHODS: list[type[PosteriorMethod]] = [
    Rounds,  # of many particles that tell next to nothing one by one
    Passes,  # of all others
]


def choose_method(model: FitModel) -> Begun:
    """The first of :data:`METHODS` that is for the particles of a fit, ready to begin.

    Parameters
    ----------
    model : FitModel
        The fit, its images read.

    Raises
    ------
    InputError
        None is for them.
    """
    for method in METHODS:
        begun = method.suited(model)
        if begun is not None:
            return begun
    names = ", ".join(method.__name__ for method in METHODS)
    raise InputError(f"no posterior method is for these particles: {names or 'there is none'}")
