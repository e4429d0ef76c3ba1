"""What a fit prints when it ends."""

SMALLEST_SHARE, MOST_MOTIONS = 0.01, 6


def summary_lines(run) -> list[str]:
    """A few lines on an :class:`atomdrgn.Run`: what was fitted, the largest motions, and what to do next."""
    found = run.summary
    lines = [f"{found['particles']:,} particles ({found['images']:,} images) fitted to {found['resolution']:.1f} A with "
             f"{found['segments']} segments of {found['residues']:,} residues",
             f"log-likelihood gained over the base structure: {found['mean_log_likelihood_gain']:.1f} a particle, on average",
             *_motion_lines(found["motions"]), *_composition_lines(found.get("composition"))]
    if found["unmodelled"]:
        lines.append(f"not modelled: {', '.join(found['unmodelled'])}")
    return [*lines, f"the run is in {run.folder}; its structures: atomdrgn export {run.folder} --out DIR --format dcd"]


def _motion_lines(motions):
    if not motions:
        return []
    shown = [motion for motion in motions if motion["share"] >= SMALLEST_SHARE][:MOST_MOTIONS] or motions[:1]
    lines = ["motion   r.m.s. (A)   share of variance   median error (A)"]
    lines += [f"{motion['number']:6d} {motion['variance']**0.5:12.2f} {motion['share']:19.1%} {motion['median_sd']:18.2f}"
              for motion in shown]
    left = len(motions) - len(shown)
    return [*lines, f"   and {left} smaller ones"] if left else lines


def _composition_lines(composition):
    if composition is None:
        return []
    selections = {row["segment"]: row["selection"] for row in composition["segments"]}
    lines = [f"absent from {row['absent_fraction']:.1%} (+-{row['absent_fraction_error']:.1%}) of the particles: "
             f"{','.join(selections[number] for number in row['segments'])}" for row in composition["sets"]]
    return lines or ["no part is absent"]
