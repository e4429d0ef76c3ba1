"""What a fit prints when it ends."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..analysis.examination.verdict import (
    NOT_TESTABLE,
    UNCONFIRMED,
    any_unconfirmed,
    kind_of_poses,
    poses_are_off,
    poses_are_shared,
)
from .terminal import shell_word

if TYPE_CHECKING:
    from ..runs.run import Run

SMALLEST_SHARE, MOST_MOTIONS = 0.01, 6


def summary_json(run: "Run") -> str:
    """What summary.json of an :class:`atomdrgn.Run` holds, and where the run is, in one line."""
    return json.dumps({"run": str(run.folder), **run.summary}, allow_nan=False)


def summary_lines(run: "Run") -> list[str]:
    """A few lines on an :class:`atomdrgn.Run`.

    They say what was fitted, which motions are supported, and what to do next.
    """
    found = run.summary
    lines = [
        f"{found['particles']:,} particles ({found['images']:,} images) fitted to "
        f"{found['resolution']:.1f} A with {_moving(found)} of {found['residues']:,} residues",
        f"log-likelihood gained over the base structure: {found['mean_log_likelihood_gain']:.1f} a "
        "particle, on average",
        *_part_lines(found.get("learned_on")),
        *_base_lines(found.get("against_base")),
        *_far_lines(found.get("far_start")),
        *_correction_lines(found.get("base_correction")),
        *_junk_lines(found.get("junk")),
        *_residual_lines(found.get("residual")),
        *_support_lines(found),
        *_shared_lines(found, run.settings),
        *_unconfirmed_lines(found.get("motions_tested", [])),
        *_flexing_lines(found.get("flexing")),
        *_motion_lines(found["motions"]),
        *_opposed_lines(found),
        *_group_lines(found.get("groups", [])),
        *_state_lines(found.get("states", [])),
        *_composition_lines(found.get("composition")),
        *_pose_lines(found),
    ]
    if found["unmodelled"]:
        lines.append(f"not modelled: {', '.join(found['unmodelled'])}")
    again = f"atomdrgn export {shell_word(run.folder)} --out DIR --format dcd"
    return [*lines, f"the run is in {run.folder}; its structures: {again}"]


def _moving(found: Mapping) -> str:
    return (
        f"{found['segments']} segments"
        if "segments" in found
        else f"each of {found['beads']:,} beads free"
    )


def _part_lines(part: Mapping | None) -> list[str]:
    """What was learned on, where that is not all particles."""
    if part is None:
        return []
    if "run" in part:
        return [f"placed on what {part['run']} has learned on {part['particles']:,} particles"]
    return [
        f"learned on {part['particles']:,} particles, on which motions were tested: a state of "
        f"fewer than {part['rarest_state']:.1%} of the particles could not have been seen"
    ]


def _base_lines(against: Mapping | None) -> list[str]:
    if against is None or not against["kept_base"]:
        return []
    return [
        "the base model is kept: what was fitted explains images worse, by "
        f"{-against['held_out_gain']:.2f} +- {against['held_out_gain_error']:.2f} a particle of "
        f"the other half-set and {-against['fitted_gain']:.2f} of its own"
    ]


def _far_lines(far: Mapping | None) -> list[str]:
    if far is None:
        return []
    return [
        f"most particles are far from the base model: the fit began with {far['selection']} turned "
        f"by {far['turn']:.0f} degrees"
    ]


def _correction_lines(correction: Mapping | None) -> list[str]:
    if correction is None or not correction["supported"]:
        return []
    return [
        "the base model has an error common to all particles, "
        f"{correction['rms']:.2f} A r.m.s. a residue within segments; it was corrected: "
        "residues.csv"
    ]


def _residual_lines(residual: Mapping | None) -> list[str]:
    if residual is None or not residual["blobs"]:
        return []
    return [f"{residual['said']} (residual.mrc, blobs.csv)"]


def _junk_lines(junk: Mapping | None) -> list[str]:
    if junk is None:
        return []
    if not junk["told"]:
        return ["whether particles are junk cannot be told: their signal is too weak, or too few"]
    if not junk["without_weight"]:
        return []
    return [
        f"junk, images that show nothing or something else: {junk['share']:.1%} +- "
        f"{junk['error']:.1%} of the particles; {junk['without_weight']:,} were given no weight "
        "(column junk of particles.csv)"
    ]


def _flexing_lines(flexing: Mapping | None) -> list[str]:
    # what is of order 0 is the same everywhere
    if flexing is None or not any(order > 0 for order in flexing["orders"]):
        return []
    return [
        f"segments bend: within them residues move by another {flexing['rms']:.2f} A r.m.s., "
        "supported by both half-sets"
    ]


def _support_lines(found: Mapping) -> list[str]:
    if "motions_supported" not in found:
        return []
    number = found["motions_supported"]
    if number is None:
        return ["too few particles for two half-sets: whether the motions are real was not tested"]
    if number == 0:
        nothing = (
            "no motion is confirmed"
            if any_unconfirmed(found)
            else "no motion is supported: none improves the likelihood of held-out images"
        )
        return [nothing, "all particles are given one structure"]
    return [
        f"{number} {'motion is' if number == 1 else 'motions are'} supported: held-out images are "
        f"likelier with {'it' if number == 1 else 'them'}; error by half-sets: "
        f"{found['half_set_error']:.2f} A r.m.s. a residue"
    ]


def _shared_lines(found: Mapping, settings: Mapping) -> list[str]:
    """What half-sets are not independent in."""
    if not poses_are_shared(found, settings):
        return []
    return [
        "poses were refined on all images together: half-sets share what that took from noise and "
        "mean map, and are not independent in it"
    ]


def _unconfirmed_lines(tested: Sequence[Mapping]) -> list[str]:
    """Of motions that images gain by and half-sets do not agree on, or are too few to tell of."""
    lines = [
        f"motion {motion['number']} is unconfirmed, and in no structure: images gain "
        f"{_gains(motion)} a particle by it, but {motion['why']} (they agree to "
        f"{motion['half_sets_alike']:.2f})"
        for motion in tested
        if motion["verdict"] == UNCONFIRMED
    ]
    few = [motion for motion in tested if motion["verdict"] == NOT_TESTABLE]
    if few:
        lines.append(f"whether the half-sets agree on the motions is not testable: {few[0]['why']}")
    return lines


def _gains(motion: Mapping) -> str:
    return " and ".join(f"{gain:.2f}" for gain in motion["held_out_gain"])


def _motion_lines(motions: Sequence[Mapping]) -> list[str]:
    if not motions:
        return []
    shown = [motion for motion in motions if motion["share"] >= SMALLEST_SHARE][
        :MOST_MOTIONS
    ] or motions[:1]
    agree = all("half_set_agreement" in motion for motion in shown)
    lines = [
        "motion   r.m.s. (A)   share of all variance   median error (A)"
        + ("   half-sets agree" if agree else "")
    ]
    lines += [
        f"{motion['number']:6d} {motion['variance'] ** 0.5:12.2f} {motion['share']:23.1%} "
        f"{motion['median_sd']:18.2f}" + (f" {motion['half_set_agreement']:17.2f}" if agree else "")
        for motion in shown
    ]
    left = len(motions) - len(shown)
    return [*lines, f"   and {left} smaller ones"] if left else lines


def _opposed_lines(found: Mapping) -> list[str]:
    """Of supported motions that the half-sets make in opposite directions."""
    opposed = [
        str(motion["number"])
        for motion in found["motions"][: found.get("motions_supported") or 0]
        if motion.get("half_set_agreement", 1.0) < 0
    ]
    return [
        f"warning: along motion {number} the half-sets move residues in opposite directions: do "
        "not interpret its shape"
        for number in opposed
    ]


def _group_lines(groups: Sequence[Mapping]) -> list[str]:
    if len(groups) < 2:
        return []
    return [
        "parts that move as one:",
        *(
            f"  {group['selection']} ({group['residues']} residues, {group['motion']:.1f} A r.m.s.)"
            for group in groups
        ),
    ]


def _state_lines(states: Sequence[Mapping]) -> list[str]:
    return [
        f"state {state['number']}: {state['population']:.1%} +- {state['error']:.1%} of the "
        "particles"
        for state in states
    ]


def _pose_lines(found: dict) -> list[str]:
    corrected, off, kind = (
        found.get("pose_correction"),
        found.get("pose_errors"),
        kind_of_poses(found),
    )
    lines = [kind] if kind else []
    if corrected is not None:
        return [
            *lines,
            f"poses corrected by {corrected['turn']:.2f} degrees and {corrected['shift']:.2f} A "
            "r.m.s. an axis: poses.csv",
        ]
    if off is not None and poses_are_off(found):
        return [
            *lines,
            f"estimated pose error: {off['turn']:.2f} degrees and {off['shift']:.2f} A r.m.s. an "
            "axis, of the poses themselves or of the model; errors of particles allow for it "
            "(--refine-poses corrects poses)",
        ]
    return lines


def _composition_lines(composition: Mapping | None) -> list[str]:
    if composition is None:
        return []
    selections = {row["segment"]: row["selection"] for row in composition["segments"]}
    lines = [
        f"absent from {row['absent_fraction']:.1%} (+-{row['absent_fraction_error']:.1%}) of the "
        f"particles: {','.join(selections[number] for number in row['segments'])}"
        for row in composition["sets"]
    ]
    return lines or ["no part is absent"]
