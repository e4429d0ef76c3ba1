"""Which kind of poses images come with: exact, off by independent errors, or refined on them.

Images tell before anything is fitted whether their poses were refined on them (see
:mod:`.pose_slopes`). Of poses that were not, the fit itself finds how far they are off, once
conformations are known.
"""

import logging
import math
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ..problem.fit_problem import FitModel
from .pose_errors import Play
from .pose_slopes import BandRatios, PoseSlopes, Slope, pose_slopes

logger = logging.getLogger(__name__)
EXACT, INDEPENDENT, REFINED, UNDECIDED = "exact", "independent", "refined", "undecided"
# Agreement of slopes: refined poses came to -0.40 and less, others to -0.03 and more.
BETWEEN, CLEARLY_REFINED, CLEARLY_NOT = -0.15, 3.0, 2.0
WEAKEST_REFINED = -0.35  # below what poses that were not refined reach within their error
# standard errors: bands agree on errors of poses, as they do on conformations
CLEARLY_SEEN = 3.0
LEAST_SHARE = 0.3  # of the information on poses that half-maps have in common
IMAGES_ASKED, FEWEST = 2000, 16  # images at most, particles at least
# Pose errors that a fit finds where a base model is 1.5 A off and poses are exact: up to 0.3 A and
# 1.3 degrees.
SHIFT_OFF, TURN_OFF = 0.5, 2.0  # A, degrees


@dataclass(frozen=True)
class PoseVerdict:
    """What images say of their poses before the fit.

    Parameters
    ----------
    kind : {"refined", "undecided"} or None
        None where they were not refined on these images.
    slopes : PoseSlopes, optional
        What that is read from; none where there are too few images or resolutions.
    """

    kind: str | None
    slopes: PoseSlopes | None = None

    @property
    def unknown(self) -> bool:
        """Whether nothing is known of the poses but what each image tells."""
        return self.kind is not None

    def as_json(self) -> dict[str, Any]:
        """What the run keeps of it."""
        return {"kind": self.kind, "slopes": None if self.slopes is None else asdict(self.slopes)}

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> "PoseVerdict":
        """What :meth:`as_json` has made."""
        slopes: dict[str, Any] | None = said["slopes"]
        if slopes is None:
            return cls(said["kind"])
        read: dict[str, Any] = {
            name: Slope(**slopes[name]) if isinstance(slopes[name], dict) else slopes[name]
            for name in slopes
        }
        read["bands"] = tuple(BandRatios(**band) for band in slopes["bands"])
        return cls(said["kind"], PoseSlopes(**read))


def judge_poses(model: FitModel) -> PoseVerdict:
    """Whether the poses of a fit's images were refined on them.

    Each process looks at the same evenly spread particles, as they are on disk, so that the answer
    does not depend on how many processes there are.

    Parameters
    ----------
    model : FitModel
        The fit, its images read, before anything is known.
    """
    count = max(1, IMAGES_ASKED * model.n_particles // len(model.images))
    chosen = torch.zeros(model.n_particles, dtype=torch.bool)
    chosen[model.evenly_spread(count)] = True
    image = torch.nonzero(chosen[model.particle] & ~model.images.left_out)[:, 0]
    model.reporter.start("poses", len(image))
    number = model.particle[image].unique(return_inverse=True)[1]
    slopes = (
        pose_slopes(model.images.stack[image], number, finest=model.images.disc.resolution)
        if int(number.max()) + 1 >= FEWEST
        else None
    )
    model.reporter.finish()
    found = PoseVerdict(UNDECIDED if slopes is None else kind_before_fit(slopes), slopes)
    logger.info("poses: %s", found)
    return found


def kind_before_fit(slopes: PoseSlopes) -> str | None:
    """Refined, undecided, or None: turns say it, and shifts where turns do not or they alone do.

    A stack that was cut out anew has refined turns and shifts that do not know the images.
    """
    if slopes.map_share < LEAST_SHARE:
        return UNDECIDED
    kinds = _kind_by(slopes.turns), _kind_by(slopes.shifts)
    if REFINED in kinds:
        return REFINED
    return kinds[0]


def _kind_by(slope: Slope) -> str | None:
    """What the slopes by some numbers of the poses say alone."""
    agreement, error = slope.agreement, slope.agreement_error
    if agreement < BETWEEN and agreement < -CLEARLY_REFINED * error:
        return REFINED
    if agreement > BETWEEN and agreement - CLEARLY_NOT * error > WEAKEST_REFINED:
        return None
    return UNDECIDED


def kind_after_fit(found: PoseVerdict, play: Play | None) -> str:
    """The kind of the poses, when conformations are known.

    Parameters
    ----------
    found : PoseVerdict
    play : Play, optional
        Errors of the poses that the fit has found; none of a fit that does not look for them.
    """
    if found.kind is not None:
        return found.kind
    if play is None or found.slopes is None:
        return EXACT
    off = play.shift > SHIFT_OFF or math.degrees(play.turn) > TURN_OFF
    seen = any(
        slope.agreement > CLEARLY_SEEN * slope.agreement_error
        for slope in (found.slopes.turns, found.slopes.shifts)
    )
    return INDEPENDENT if off and seen else EXACT
