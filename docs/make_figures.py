"""Draw the figures of docs/concepts.md from the run in models/adk and the structures of the
tutorial.

python docs/make_figures.py
"""

from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from atomdrgn import CTF, ImageGrid, Pose, coarse_grain, open_run, project_beads, read_structure
from atomdrgn.analysis.structure_files.colours import GROUP_COLOURS, STILL
from atomdrgn.physics.fourier import inverse_transform, transform
from atomdrgn.simulate.example_data import NAMES, example_file

HERE = Path(__file__).parent
IMAGES = HERE / "images"
INK, PALE = "#23303d", "#c9d1d8"
GRID = ImageGrid(96, 1.0)
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "atomdrgn",  # the same figure is the same file
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
}


def main():
    """All figures."""
    run = open_run(HERE.parent / "models" / "adk")
    with plt.rc_context(STYLE):
        for draw in (frame, poses, latent, half_sets, support, groups, states, residual):
            figure = draw(run)
            path = IMAGES / f"concept-{draw.__name__.replace('_', '-')}.svg"
            figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
            plt.close(figure)
            print(path)


def frame(run):
    """The frame of the poses, and the usual frame of a map."""
    figure, (map_axes, pose_axes) = plt.subplots(1, 2, figsize=(7, 3.4))
    trace, size = _trace(run.base_atoms.numpy(), run), 80
    for axes, corner, title in (
        (map_axes, 0, "in the frame of the map's file"),
        (pose_axes, -size / 2, "in the frame of the poses"),
    ):
        shift = corner + size / 2
        axes.add_patch(plt.Rectangle((corner, corner), size, size, fill=False, color=PALE, lw=2))
        axes.plot(trace[:, 0] + shift, trace[:, 1] + shift, color=GROUP_COLOURS[0], lw=1.4)
        for end in ((24, 0), (0, 24)):
            axes.annotate("", end, (0, 0), arrowprops={"arrowstyle": "->", "lw": 1.6})
        axes.text(26, 1, "x", va="bottom")
        axes.text(2, 26, "y")
        axes.plot(0, 0, "o", color=GROUP_COLOURS[5])
        axes.text(corner / 2.2 - 3, -3, "(0, 0, 0)", color=GROUP_COLOURS[5], ha="right", va="top")
        axes.set_title(title, fontsize=10)
        axes.set(xlim=(corner - 28, corner + size + 3), ylim=(corner - 14, corner + size + 3))
        axes.set_aspect("equal")
        axes.axis("off")
    return figure


def poses(run):
    """From a structure to an image: pose, projection, contrast transfer function, noise."""
    figure, panels = plt.subplots(1, 4, figsize=(9, 2.6))
    beads = coarse_grain(run.structure)
    angle = torch.tensor(0.9)
    rotation = torch.tensor(
        [
            [torch.cos(angle), -torch.sin(angle), 0],
            [torch.sin(angle), torch.cos(angle), 0],
            [0, 0, 1],
        ]
    )
    pose = Pose(rotation=rotation[None], shift=torch.tensor([[8.0, -5.0]]))
    camera = pose.apply(beads.position[None])
    still, seen = _trace(run.base_atoms.numpy(), run), camera[0][beads.trace].numpy()
    panels[0].plot(still[:, 0], still[:, 1], color=PALE, lw=1.2)
    panels[0].plot(seen[:, 0], seen[:, 1], color=GROUP_COLOURS[0], lw=1.4)
    panels[0].plot(0, 0, "o", color=GROUP_COLOURS[5], ms=4)
    panels[0].set_aspect("equal")
    panels[0].set(xlim=(-48, 48), ylim=(-48, 48))
    projection = project_beads(camera, beads.amplitude, beads.sigma + 1.0, GRID)
    none = dict.fromkeys(("defocus_angle", "phase_shift", "b_factor", "dose"), torch.zeros(1))
    microscope = {
        "defocus_u": 12000.0,
        "defocus_v": 12000.0,
        "voltage_kv": 300.0,
        "spherical_aberration_mm": 2.7,
        "amplitude_contrast": 0.1,
        "scale": 1.0,
    }
    ctf = CTF(**none, **{name: torch.tensor([value]) for name, value in microscope.items()})
    filtered = inverse_transform(transform(projection) * ctf.evaluate(GRID), GRID.box_size)
    noise = np.random.default_rng(0).normal(size=filtered[0].shape)
    noisy = filtered[0].numpy() + 2.5 * float(filtered.std()) * noise
    for axes, picture in zip(panels[1:], (projection[0], filtered[0], noisy), strict=True):
        axes.imshow(picture, origin="lower", cmap="gray", interpolation="nearest")
    titles = (
        "turned by the pose\nabout (0, 0, 0), shifted",
        "projected along z",
        "filtered by the CTF",
        "with noise",
    )
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, fontsize=9.5)
        axes.axis("off")
    return figure


def latent(run):
    """Three structures along a motion, and where the particles are."""
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(7, 4.4), gridspec_kw={"height_ratios": [2.2, 1]}
    )
    along = run.latent[:, 0]
    places = np.quantile(along, [0.02, 0.5, 0.98])
    atoms = run.atoms_of(run.motion_at(places[:, None].astype(np.float32))).numpy()
    traces = [_trace(each, run) for each in atoms]
    plane = _plane(traces)
    for trace, place, colour in zip(
        traces, places, (GROUP_COLOURS[1], GROUP_COLOURS[0], GROUP_COLOURS[2]), strict=True
    ):
        x, y = (trace @ plane).T
        above.plot(x, y, color=colour, lw=1.3)
        below.axvline(place, color=colour, lw=2.5)
    above.set_aspect("equal")
    above.axis("off")
    below.hist(along, bins=40, color=PALE)
    below.set(xlabel="latent coordinate along motion 1 (A)", ylabel="particles")
    return figure


def half_sets(run):
    """Two halves, fitted apart, and what is asked of both."""
    figure, axes = plt.subplots(figsize=(8, 2.6))
    blue, orange = GROUP_COLOURS[0], GROUP_COLOURS[1]
    boxes = {
        "all particles": (0, 1, PALE),
        "half-set 1": (2.4, 1.8, blue),
        "half-set 2": (2.4, 0.2, orange),
        "base model,\nmotions, noise": (4.8, 1.8, blue),
        "base model, \nmotions, noise": (4.8, 0.2, orange),
        "is the motion the same?\n(half-sets agree)": (7.9, 1.8, PALE),
        "are the images of the\nother half likelier by it?\n(held-out support)": (7.9, 0.2, PALE),
    }
    for text, (x, y, colour) in boxes.items():
        axes.text(
            x,
            y,
            text,
            ha="center",
            va="center",
            bbox={"boxstyle": "round,pad=0.5", "fc": "white", "ec": colour, "lw": 2},
        )
    for start, end in (
        ((0.75, 1.1), (1.7, 1.7)),
        ((0.75, 0.9), (1.7, 0.3)),
        ((3.1, 1.8), (3.85, 1.8)),
        ((3.1, 0.2), (3.85, 0.2)),
        ((5.75, 1.8), (6.4, 1.8)),
        ((5.75, 0.4), (6.4, 1.5)),
        ((5.75, 0.2), (6.4, 0.2)),
        ((5.75, 1.6), (6.4, 0.55)),
    ):
        axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "lw": 1.4, "color": INK})
    axes.set(xlim=(-0.9, 9.4), ylim=(-0.4, 2.4))
    axes.axis("off")
    return figure


def support(run):
    """What motions are worth to the images of the other half-set."""
    figure, axes = plt.subplots(figsize=(5.6, 2.6))
    tested = run.summary.get("motions_tested") or run.summary["motions"]
    gains = [motion["held_out_gain"] for motion in tested]
    errors = [motion["held_out_gain_error"] for motion in tested]
    shown = [*gains, [0.02, -0.15]]  # a direction of noise: what any further motion gains
    spread = [*errors, [0.2, 0.2]]
    for half, colour in enumerate((GROUP_COLOURS[0], GROUP_COLOURS[1])):
        axes.errorbar(
            [gain[half] for gain in shown],
            np.arange(len(shown)) + 0.12 * (2 * half - 1),
            xerr=[error[half] for error in spread],
            fmt="o",
            color=colour,
            capsize=3,
            label=f"images of half-set {half + 1}",
        )
    axes.axvline(0, color=INK, lw=1)
    axes.set_yticks(
        range(len(shown)),
        [f"motion {number + 1}: supported" for number in range(len(gains))]
        + ["a direction of noise\n(sketched): not"],
    )
    axes.set(xlabel="log-likelihood gained a particle", ylim=(len(shown) - 0.4, -0.6))
    axes.legend(frameon=False, loc="center right", fontsize=9)
    return figure


def groups(run):
    """Residues that move as one."""
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(7, 4), gridspec_kw={"height_ratios": [1, 9]}
    )
    number = run.residues["group"].to_numpy(int)
    moved = [group["motion"] for group in run.summary["groups"]]
    still = int(np.argmin(moved)) + 1
    moving = [one for one in sorted(set(number.tolist())) if one != still]
    colours = {still: STILL} | dict(zip(moving, GROUP_COLOURS, strict=False))
    borders = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(number)]
    stretches = list(pairwise(borders))
    edges = np.linspace(*np.quantile(run.latent[:, 0], [0.03, 0.97]), 2)
    atoms = run.atoms_of(run.motion_at(edges[:, None].astype(np.float32))).numpy()
    traces = [_trace(each, run) for each in atoms]
    plane = _plane(traces)
    for trace, alpha in zip(traces, (0.35, 1.0), strict=True):
        x, y = (trace @ plane).T
        for start, end in stretches:
            below.plot(
                x[start : end + 1],
                y[start : end + 1],
                color=colours[int(number[start])],
                lw=2,
                alpha=alpha,
            )
    below.set_aspect("equal")
    below.axis("off")
    for start, end in stretches:
        above.axvspan(start, end, color=colours[int(number[start])], lw=0)
    above.set(xlim=(0, len(number)), xlabel="residue")
    above.set_yticks([])
    for side in ("left", "bottom"):
        above.spines[side].set_visible(False)
    figure.subplots_adjust(hspace=0.35)
    return figure


def states(run):
    """A spread without states, and two states."""
    figure, panels = plt.subplots(1, 2, figsize=(7, 2.3), sharey=True)
    x = np.linspace(-8, 8, 300)

    def peak(middle, width):
        return np.exp(-((x - middle) ** 2) / (2 * width**2)) / width

    two = 0.65 * peak(-3.4, 1.1) + 0.35 * peak(4, 1.1)
    one = sum(peak(middle, 1.2) for middle in np.linspace(-4, 4, 30))
    one = one * two.sum() / one.sum()  # as many particles
    for axes, density, title in (
        (panels[0], one, "continuous: no separate states"),
        (panels[1], two, "two states: a dip beyond its error"),
    ):
        axes.fill_between(x, density - 0.035, density + 0.035, color=GROUP_COLOURS[0], alpha=0.25)
        axes.plot(x, density, color=GROUP_COLOURS[0])
        axes.set_title(title, fontsize=10)
        axes.set(xlabel="latent coordinate (A)", ylim=(0, 0.66))
        axes.set_yticks([])
    panels[0].set_ylabel("density of particles")
    return figure


def residual(run):
    """The images' mean, the beads of a model that lacks a domain, and what is left."""
    figure, panels = plt.subplots(1, 3, figsize=(7, 2.7))
    structure = read_structure(example_file(NAMES[1]))
    beads = coarse_grain(structure)
    position = (beads.position - beads.position.mean(0))[None]
    _, first_atom = np.unique(beads.bead_of_atom, return_index=True)
    residue = structure.residue[first_atom]
    known = torch.as_tensor((residue < 118) | (residue > 161))
    pictures = [
        project_beads(
            position[:, chosen], beads.amplitude[chosen], beads.sigma[chosen] + 1.5, GRID
        )[0]
        for chosen in (torch.ones_like(known), known)
    ]
    titles = ("images show", "the model's beads explain", "residual density")
    shown = (*pictures, pictures[0] - pictures[1])
    for axes, picture, title in zip(panels, shown, titles, strict=True):
        axes.imshow(
            picture,
            origin="lower",
            cmap="gray",
            vmin=float(pictures[0].min()),
            vmax=float(pictures[0].max()),
        )
        axes.set_title(title, fontsize=10)
        axes.axis("off")
    return figure


def _trace(atoms, run):
    """(residue, 3) the alpha carbons."""
    return atoms[run.structure.atom_name == "CA"]


def _plane(traces):
    """(3, 2) the axes of a picture in which most of the motion is seen."""
    _, _, axes = np.linalg.svd(traces[-1] - traces[0], full_matrices=False)
    moved = axes[0]
    spread = traces[0] - traces[0].mean(0)
    spread = spread - np.outer(spread @ moved, moved)
    return np.stack([np.linalg.svd(spread, full_matrices=False)[2][0], moved], 1)


if __name__ == "__main__":
    main()
