"""What a run has found, in plain words."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ...structure.selection import describe_residues
from .domains import Turn
from .examination import Examination

MOST_TURNS = 3  # that are told of
LEAST_TOLD = 2.0  # degrees, over 90 % of the particles
LEAST_OFF = 0.5  # A and degrees
LONGEST = 70  # characters of a selection in a sentence
AGREES = 0.9  # of half-sets on a motion
FEW_PARTICLES = 1000
# what `motions_tested` of summary.json calls motions that half-sets do not agree on, or are too
# few to tell of
UNCONFIRMED, NOT_TESTABLE = "unconfirmed", "not testable"
REFINED = "refined"  # what `poses` are called that were found with these very images
SHARED_POSES = (
    "Poses were refined on all images together, as far as is known: the half-sets share what that "
    "refinement took from noise and mean map, so that they agree a little better than independent "
    "ones would."
)
MUCH_JUNK, ODD = 0.05, 5.0  # share of particles whose outlier score is above the other number


def verdict(found: Examination, *, angstrom: str = "A", plus_minus: str = "+-") -> str:
    """How many motions are supported, what they do, how sure that is.

    It is one paragraph, with the signs that a page has.
    """
    sentences = [
        _support(found),
        _unconfirmed(found),
        *_turns(found, angstrom),
        _states(found, plus_minus),
        *_absent(found, plus_minus),
        _sure(found, angstrom),
        _poses(found, plus_minus),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def cautions(found: Examination, *, angstrom: str = "A") -> list[str]:
    """What a reader has to bear in mind.

    That is warnings of the fit, and what its numbers say against it.
    """
    summary = found.run.summary
    said = [f"The fit warned: {text}." for text in summary["warnings"]]
    if summary["unmodelled"]:
        said.append(f"Not modelled: {', '.join(summary['unmodelled'])}.")
    correction = summary.get("base_correction", {"supported": False})
    if correction["supported"]:
        said.append(
            f"The base model has an error common to all particles, {correction['rms']:.2f} "
            f"{angstrom} r.m.s. a residue within segments and at most "
            f"{correction['largest']:.1f} {angstrom}: structures are those of a corrected one "
            "(base_correction in residues.csv of the run)."
        )
    if poses_are_off(summary):
        off = summary["pose_errors"]
        said.append(
            f"Estimated pose error: {off['turn']:.1f} degrees and {off['shift']:.1f} {angstrom} "
            "r.m.s. an axis, of the poses themselves or of the model. Errors of single structures "
            "allow for it."
        )
    if poses_are_shared(summary, found.run.settings):
        said.append(SHARED_POSES)
    if summary.get("motions_supported") is None:
        said.append("Whether the motions are real was not tested with half-sets.")
    if not found.decoder.fitted:
        said.append(
            "This run has no decoder of its own (an amortised fit, or an earlier version): "
            "structures between particles lie on a surface that was laid through the particles' "
            "structures."
        )
    said += _untold(summary.get("motions_tested", []))
    for motion in summary["motions"]:
        said += _doubts(motion, angstrom)
    if summary["particles"] < FEW_PARTICLES:
        said.append(
            f"{summary['particles']:,} particles are few: rare states and small motions cannot be "
            "seen."
        )
    junk = summary.get("junk", {})
    if junk.get("without_weight"):
        said.append(
            f"{junk['share']:.1%} (+-{junk['error']:.1%}) of the particles are junk, images that "
            f"show nothing or something else: {junk['without_weight']:,} were given no weight "
            "(junk in particles.csv of the run), and are placed here as if they were particles."
        )
    odd = float((found.run.table["outlier_score"] > ODD).mean())
    if odd > MUCH_JUNK:
        said.append(
            f"{odd:.0%} of the particles are unlike their structures (outlier score above "
            f"{ODD:g}): look at them, and leave out what is junk."
        )
    return said


def poses_are_shared(summary: Mapping, settings: Mapping) -> bool:
    """Whether poses were refined on the images of both half-sets together.

    A fit is told that, or finds it (`poses` of summary.json).
    """
    told = settings.get("fit", {}).get("poses")
    said = told or summary.get("poses", {}).get("kind")
    return said == REFINED and summary.get("motions_supported") is not None


def kind_of_poses(summary: Mapping, *, plus_minus: str = "+-") -> str:
    """Which kind of poses a fit has found, by what, and what follows.

    It is empty of a fit that does not say.
    """
    if "poses" not in summary:
        return ""
    poses = summary["poses"]
    follows = (
        "nothing is taken as known of them but what each image tells"
        if poses["integrated"]
        else "this fit takes them as exact all the same, and its errors are too small"
    )
    taken = {
        "exact": "as exact",
        "independent": "as off by errors that do not know the images",
        "refined": f"as refined on these images: {follows}",
    }
    told = {
        "exact": "the poses were not refined on these images, and no errors of them are seen",
        "independent": "the poses are off by errors that do not know the images, and errors of "
        "single structures allow for it",
        "refined": f"the poses were refined on these images: {follows}",
        "undecided": "whether the poses were refined on these images cannot be told, and "
        + (follows if poses["integrated"] else "they are taken as exact"),
    }
    kind = poses["kind"]
    if poses["asked"] in taken:
        return f"as was said (--poses {poses['asked']}), poses are taken {taken[poses['asked']]}"
    if "turns" not in poses or kind not in told:
        return told.get(kind, "")
    each = [
        f"{poses[name]['ratio']:.2f} {plus_minus} {poses[name]['ratio_error']:.2f} for {name}"
        for name in ("turns", "shifts")
    ]
    return (
        f"{told[kind]} (slopes of the likelihood by pose over those of noise are {_listed(each)}; "
        "only a refinement makes them smaller than 1)"
    )


def poses_are_off(summary: dict) -> bool:
    """Whether a fit has found errors of the poses that are worth telling of.

    What a model has wrong looks like errors of poses: exact ones came to 0.1 A and 0.4 degrees, and
    0.3 A and 1 degree, with base models 1.5 A off.
    """
    return any(size > LEAST_OFF for size in summary.get("pose_errors", {}).values())


def _doubts(motion: Mapping, angstrom: str) -> Iterator[str]:
    number, spread = motion["number"], motion["variance"] ** 0.5
    if motion.get("half_set_agreement", 1.0) < 0:
        yield (
            f"Along motion {number} the half-sets move residues in opposite directions (they agree "
            f"to {motion['half_set_agreement']:.2f}): do not interpret its shape."
        )
    elif motion.get("half_set_agreement", 1.0) < AGREES:
        yield (
            f"The half-sets agree on motion {number} to {motion['half_set_agreement']:.2f} only: "
            "its size may be real, its details are not certain."
        )
    if motion["median_sd"] > spread:
        yield (
            f"Along motion {number} a particle's place is known to {motion['median_sd']:.1f} "
            f"{angstrom}, less well than the particles are spread ({spread:.1f} {angstrom}): trust "
            "the population, not single structures."
        )


def _support(found: Examination) -> str:
    number, n = found.run.summary.get("motions_supported"), found.run.n_particles
    if number == 0:
        if found.run.summary.get("against_base", {"kept_base": False})["kept_base"]:
            nothing = "The base model is kept: what was fitted explains images worse than it does."
        elif any_unconfirmed(found.run.summary):
            nothing = "No motion is confirmed."
        else:
            nothing = "Nothing moves: no motion improves the likelihood of held-out images."
        return f"{nothing} All {n:,} particles are given one structure."
    if number is None:
        count = len(found.run.summary["motions"])
        return f"{_count(count, 'motion')} found in {n:,} particles; not tested with half-sets."
    return (
        f"{_count(number, 'motion')} {'is' if number == 1 else 'are'} supported by {n:,} particles."
    )


def any_unconfirmed(summary: Mapping) -> bool:
    """Whether there is a motion that images gain by and half-sets do not agree on."""
    return any(motion["verdict"] == UNCONFIRMED for motion in summary.get("motions_tested", []))


def _unconfirmed(found: Examination) -> str:
    tested = found.run.summary.get("motions_tested", [])
    numbers = [str(motion["number"]) for motion in tested if motion["verdict"] == UNCONFIRMED]
    if not numbers:
        return ""
    one = len(numbers) == 1
    return (
        f"Motion{'' if one else 's'} {_listed(numbers)} {'is' if one else 'are'} unconfirmed: "
        f"images gain by {'it' if one else 'them'}, but the half-sets have not found the same, so "
        f"that no structure has {'it' if one else 'them'}."
    )


def _untold(tested: Sequence[Mapping]) -> Iterator[str]:
    few = [motion for motion in tested if motion["verdict"] == NOT_TESTABLE]
    if few:
        yield f"Whether half-sets agree on the motions is not testable: {few[0]['why']}."


def _turns(found: Examination, angstrom: str) -> Iterator[str]:
    told = sorted(
        (turn for turn in found.turns if turn.width > LEAST_TOLD), key=lambda turn: -turn.sd
    )[:MOST_TURNS]
    if told and len(found.turns) == 1:
        turn = told[0]
        yield (
            f"Residues {_short(turn.moving)} turn by {turn.width:.0f} degrees against the "
            f"rest{_near(turn)} (90 % of the particles; s.d. {turn.sd:.1f} degrees)."
        )
    elif told:
        each = [
            f"{_short(turn.moving)} by {turn.width:.0f} degrees{_near(turn)} (s.d. {turn.sd:.1f})"
            for turn in told
        ]
        fixed = _short(told[0].fixed)
        yield f"Against {fixed}, these turn (90 % of the particles): {_listed(each)}."
    elif found.run.summary["motions"]:
        moved = found.run.summary["motions"][0]["variance"] ** 0.5
        yield f"The largest moves residues by {moved:.1f} {angstrom} r.m.s."


def _short(selection: str) -> str:
    """A selection as it can be read in a sentence."""
    return (
        selection
        if len(selection) <= LONGEST
        else f"{selection[: selection.rfind(',', 0, LONGEST)]} and more"
    )


def _near(turn: Turn) -> str:
    return f" about an axis near {' and '.join(turn.hinge)}" if 0 < len(turn.hinge) <= 2 else ""


def _states(found: Examination, plus_minus: str) -> str:
    states = found.run.summary.get("states", [])
    if not states:
        return ""
    shares = [
        f"{100 * state['population']:.0f} {plus_minus} {100 * state['error']:.1f} %"
        for state in states
    ]
    return f"The particles are in {len(states)} separate states: {_listed(shares)}."


def _absent(found: Examination, plus_minus: str) -> Iterator[str]:
    composition = found.run.summary.get("composition")
    if composition is None:
        return
    owner = found.run.model["weight"].argmax(1) + 1
    for row in composition["sets"]:
        selection = describe_residues(found.run.bead_model, np.isin(owner, row["segments"]))
        yield (
            f"{selection} is absent from {100 * row['absent_fraction']:.1f} {plus_minus} "
            f"{100 * row['absent_fraction_error']:.1f} % of the particles."
        )
    if not composition["sets"]:
        yield "No part is absent."


def _sure(found: Examination, angstrom: str) -> str:
    summary, said = found.run.summary, []
    if summary.get("half_set_error") is not None:
        said.append(
            f"the half-sets agree to {summary['half_set_error']:.2f} {angstrom} r.m.s. a residue"
        )
    if summary["motions"]:
        first = summary["motions"][0]
        said.append(
            f"the place of a particle along motion 1 is known to {first['median_sd']:.2f} "
            f"{angstrom}, where particles are spread by {first['variance'] ** 0.5:.2f} {angstrom}"
        )
    text = _listed(said)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _poses(found: Examination, plus_minus: str) -> str:
    text = kind_of_poses(found.run.summary, plus_minus=plus_minus)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _listed(items: Sequence[str]) -> str:
    return f"{', '.join(items[:-1])} and {items[-1]}" if len(items) > 1 else "".join(items)
