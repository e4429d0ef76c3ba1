"""What is chosen of a fit and decides its result: one record, which run.json holds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from numbers import Integral
from os import PathLike
from typing import Any

from ..errors import InputError
from ..runs.run_folder import CLOSED_FORM, SEGMENTS, hash_of_file

# temperatures: beyond them borders are everywhere or of no width, to single precision
SOFTEST, SHARPEST = 1e-6, 1e6
FEWEST_LEARNED = 100  # particles: fewer show no motion
# That are said in run.json where they are on; runs of versions that had none of them say nothing.
SWITCHES = ("composition", "refine_poses", "keep_base", "no_residual")
PARTS = ("auto", "all")
POSES = ("auto", "exact", "independent", "refined")


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """The options of a fit: the same ones give the same result from the same particles.

    Parameters
    ----------
    segments : int
        Parts that move as rigid bodies, at most: none is shorter than 6 residues.
    beads : {1, 2}
        Of a residue.
    temperature : float, optional
        Sharpness of the borders between segments (see :func:`atomdrgn.make_segments`).
    parts : sequence of str, optional
        Selections that are segments of their own.
    fixed : str, optional
        Selection of what does not move.
    composition : bool
        Segments may be absent from particles: find which are.
    refine_poses : bool
        Correct the pose of each image a little, by shift and turn, with a prior of 1 A and 1 degree
        about each axis.
    poses : {"auto", "exact", "independent", "refined"}
        What is known of the poses: nothing is wrong with them; they are off by errors that do not
        know the images; or they were refined on these very images, so that nothing is known of
        them but what each image itself tells. By default the images tell which it is.
    keep_base : bool
        Leave the base model as it is and segments rigid. By default it is corrected where both
        half-sets agree that it is wrong in all particles alike, and residues move within segments
        where they agree on that; where a part is fixed or may be absent, where there are no
        half-sets or images are weak, neither is looked at.
    no_residual : bool
        Leave out what images show besides the base model. By default its density is estimated as
        the fit goes and is part of what images are compared with.
    mask : path, optional
        A map in the frame of the poses that is 1 where the fit shall look and 0 where it shall not.
        Residues where it is less than a half do not move and are no part of what images are
        compared with: the residual density explains what is there.
    parts_mask : str, optional
        The same by residues and how many A around them: "A:1-200+8".
    seed : int
        For the images of which noise and brightness are measured, and for draws.
    resolution : float, optional
        Finest that is used, A; by default Nyquist's or 5 A, whichever is coarser.
    learn_on : int or {"auto", "all"}
        Particles that the population is learned on, chosen by what the particle file says of them;
        all particles are placed on what was learned. By default these are some thousand, and more
        as long as half-sets of them differ by more than a part of a particle's own error; all where
        there are few.
    deformation : str
        What moves: a name of :data:`~atomdrgn.structure.motion.kinds.KINDS`. What is not the
        segments themselves is made of the base model and how that is cut into segments; borders
        are not learned then, and the base model is not corrected.

    Raises
    ------
    InputError
        A temperature that leaves no borders, parts that are one text, or a mask twice or without
        a residual density.

    Examples
    --------
    >>> options = FitOptions(segments=12, fixed="A:1-30")
    >>> options.segments, options.learns_borders
    (12, False)
    """

    segments: int = 20
    beads: int = 1
    temperature: float | None = None
    parts: Sequence[str] | None = None
    fixed: str | None = None
    composition: bool = False
    refine_poses: bool = False
    poses: str = "auto"
    keep_base: bool = False
    no_residual: bool = False
    mask: str | PathLike[str] | None = None
    parts_mask: str | None = None
    seed: int = 0
    resolution: float | None = None
    learn_on: int | str = "auto"
    deformation: str = SEGMENTS

    def __post_init__(self) -> None:
        if isinstance(self.parts, str):
            raise InputError(f"parts {self.parts!r}: expected a list of selections")
        self._require_part()
        if self.poses not in POSES:
            raise InputError(f"poses {self.poses!r}: expected one of {', '.join(POSES)}")
        if self.mask is not None and self.parts_mask is not None:
            raise InputError("two masks of what the fit is about: give the map or the residues")
        if self.focused and self.no_residual:
            raise InputError(
                "a mask without a residual density: that is what explains what lies outside"
            )
        object.__setattr__(self, "parts", tuple(self.parts) if self.parts else None)
        sharpness = self.temperature
        if sharpness is not None and (0 < sharpness < SOFTEST or sharpness > SHARPEST):
            raise InputError(
                f"a temperature of {sharpness}: expected {SOFTEST:g} to {SHARPEST:g}; larger is "
                "sharper"
            )

    def _require_part(self) -> None:
        """Refuse numbers of particles that nothing can be learned on."""
        asked = self.learn_on
        if isinstance(asked, str):
            if asked not in PARTS:
                raise InputError(f"learn_on {asked!r}: expected a number, 'all' or 'auto'")
            return
        # numbers of numpy too
        if isinstance(asked, bool) or not isinstance(asked, Integral):
            raise InputError(f"learn_on {asked!r}: expected a number, 'all' or 'auto'")
        object.__setattr__(self, "learn_on", int(asked))
        if asked < FEWEST_LEARNED:
            raise InputError(f"learn_on {asked}: expected {FEWEST_LEARNED} particles or more")
        if self.composition:
            raise InputError(
                "learn_on with composition: whether parts are absent is found for particles that "
                "are learned on alone; leave one of them out"
            )

    @property
    def focused(self) -> bool:
        """Whether the fit is about a part of the molecule."""
        return self.mask is not None or self.parts_mask is not None

    @property
    def learns_borders(self) -> bool:
        """Whether images may move the borders between segments.

        They may not where selections or a mask name segments, or something else moves; where a part
        is absent, its motion says nothing of borders.
        """
        own = self.deformation == SEGMENTS and not self.parts and not self.focused
        return own and self.fixed is None and not self.composition

    @property
    def asks_poses(self) -> bool:
        """Whether images are asked which kind of poses they come with."""
        return self.poses == "auto" and not self.refine_poses

    @property
    def corrects_base(self) -> bool:
        """Whether the base model is corrected where images show that it is wrong."""
        moved = self.deformation == SEGMENTS and not self.keep_base and not self.focused
        return moved and self.fixed is None and not self.composition

    def as_settings(self, resolution: float) -> dict[str, Any]:
        """What run.json says of them as `fit`.

        Parameters
        ----------
        resolution : float
            The finest that the fit uses, A.
        """
        said = asdict(self) | {"parts": list(self.parts) if self.parts else None}
        if self.deformation == SEGMENTS:  # as runs say that are older than the choice
            del said["deformation"]
        return {
            "inference": CLOSED_FORM,
            **said,
            **{name: said[name] or None for name in SWITCHES},
            "poses": None if self.poses == "auto" else self.poses,
            "learn_on": None if self.learn_on == "auto" else self.learn_on,
            "resolution": round(resolution, 4),
            "mask": None if self.mask is None else str(self.mask),
            "mask_sha256": None if self.mask is None else hash_of_file(self.mask),
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "FitOptions":
        """The options of a run, to fit others with: its `resolution` is the one that it used.

        Parameters
        ----------
        settings : mapping
            What run.json holds: `run.settings` of an opened run.

        Raises
        ------
        InputError
            The run is not one of this fit, such as one of the autoencoder.
        """
        said = settings.get("fit", {})
        if said.get("inference", CLOSED_FORM) != CLOSED_FORM:
            raise InputError(
                f"the run is of the inference {said['inference']!r}: only those of {CLOSED_FORM!r} "
                "have options of a fit"
            )
        names = {field.name for field in fields(cls)} & said.keys()
        return cls(**{name: said[name] for name in names if said[name] is not None})
