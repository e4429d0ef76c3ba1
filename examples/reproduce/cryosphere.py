"""The toy and molecular-dynamics sets of cryoSPHERE (Ducrocq et al. 2025) with `atomdrgn fit`,
beside the published figures.

    cryosphere.py [OUT] [--images N] [--quick]

Toy: one domain turns rigidly about a hinge, by angles from two Gaussians about -60 and -120 degrees
(variance 0.04 rad^2), signal to noise 0.1; the base model is not turned at all. Dynamics: two
domains move apart on a long path, signal to noise 0.1, 0.01 and 0.001. The molecule is adenylate
kinase and its lid (38 of 214 residues), and the path between its closed and its open crystal
structure; theirs are a phytochrome (157 of 1,510 residues) and a simulation of its opening. As in
the paper: all images at the defocus of its table 1, exact poses. 150,000 images of 220 and 190
pixels there, 1,000 of 64 pixels of 1.8 A here: an image of 64 pixels has a ninth of the signal that
one of 190 has at the same signal to noise. The truth is used at the end only.
"""

import math
import sys
from pathlib import Path

import numpy as np
import torch

from atomdrgn import ImageGrid, open_run, simulate_particles
from atomdrgn.simulate.imaging import Microscope, image_once

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
from demo import LID, NMP, adenylate_kinase, opening, superposition, within  # noqa: E402
from reproduction import (  # noqa: E402
    arguments,
    begin,
    call,
    electron_density,
    mean_shell_correlation,
    measured,
    print_table,
    resolution,
    turning_lid,
)

GRID, QUICK_GRID = ImageGrid(64, 1.8), ImageGrid(32, 3.6)
# theirs: one defocus, 15,301.1 and 14,916.4 A
MICROSCOPE = Microscope(amplitude_contrast=0.07, defocus=(14916.4, 15301.1))
TOY_SNR, SNRS = 0.1, (0.1, 0.01, 0.001)
MODES, SPREAD = (math.pi / 3, 2 * math.pi / 3), 0.2
COMPARED = 50  # particles whose density is compared with the truth


def main(out="cryosphere", images=1000, quick=False):
    """Simulate, fit and compare all sets; what was found, by name of the set."""
    out = begin(out, "cryosphere.py")
    grid, options = GRID, ["--segments", 12]
    if quick:
        images, grid, options = 150, QUICK_GRID, ["--segments", 6, "--resolution", 10]
    found = {} if quick else {"toy": toy(out / "toy", images, grid, options)}
    for snr in SNRS[:1] if quick else SNRS:
        found[f"dynamics, SNR {snr:g}"] = dynamics(
            out / f"dynamics_{snr:g}", images, grid, options, snr=snr
        )
    rows = [
        [name, row["words"], row["paper"], *row["structures"], *row["seconds"]]
        for name, row in found.items()
    ]
    print_table(
        [
            "set",
            "found",
            "paper",
            "motions supported",
            "trace RMSD (A), base model's",
            "FSC = 0.5 (A), base model's",
            "CPU (s): simulate",
            "fit",
        ],
        rows,
    )
    return found


def toy(out, images, grid, options):
    """What is found of the domain that turns."""
    closed, axis, turned = turning_lid()
    random = np.random.default_rng(0)
    angle = random.normal(np.array(MODES)[random.integers(0, 2, images)], SPREAD)
    atoms, row = measure(
        closed, np.stack([turned(a) for a in angle]), out, grid, options, snr=TOY_SNR
    )
    turn = np.stack([turn_of_lid(closed, position) for position in atoms])
    size = np.linalg.norm(turn, axis=1)
    along = turn @ axis
    row["correlation"] = correlation(along, angle)
    middle = math.degrees(sum(MODES) / 2)
    low, high = (
        np.degrees(along[half]).mean()
        for half in (np.degrees(angle) < middle, np.degrees(angle) >= middle)
    )
    off = np.degrees(np.sqrt(np.mean((along - angle) ** 2)))
    return row | {
        "words": f"correlation of angles {row['correlation']:.3f}, r.m.s. error {off:.1f} "
        f"degrees, modes at {low:.0f} and {high:.0f}, cosine to the axis "
        f"{np.median(along / np.maximum(size, 1e-9)):.3f} (median)",
        "paper": "angles 'in excellent agreement' (plot), modes at 60 and 120, cosine about 1 "
        "(plot)",
    }


def turn_of_lid(base, position):
    """(3,): rotation vector by which the lid has turned against the rest, rad."""
    lid, start = within(base, LID), base.position.double().numpy()
    rest = ~lid & ~within(base, NMP)
    back, _, _ = superposition(position[rest], start[rest])
    turn, _, _ = superposition(start[lid], back.apply(position[lid]))
    return turn.as_rotvec()


def dynamics(out, images, grid, options, *, snr):
    """What is found of the opening at a signal-to-noise ratio."""
    closed, path = adenylate_kinase()
    true = np.stack([path(closing) for closing in np.random.default_rng(0).uniform(0, 1, images)])
    atoms, row = measure(closed, true, out, grid, options, snr=snr)
    was, is_ = opening(closed, true, LID), opening(closed, atoms, LID)
    row["correlation"] = correlation(is_, was)
    paper = {0.1: "'very well' (plot)", 0.01: "'recovered' (plot)", 0.001: "correlation 0.74"}.get(
        snr, ""
    )
    return row | {
        "words": f"correlation of distances {row['correlation']:.3f}, mean {is_.mean():.1f} +- "
        f"{is_.std():.1f} A (true: {was.mean():.1f} +- {was.std():.1f})",
        "paper": paper,
    }


def correlation(found, true):
    """Pearson correlation; 0 where nothing was found to move."""
    return float(np.corrcoef(found, true)[0, 1]) if np.std(found) > 1e-6 else 0.0


def measure(structure, conformations, out, grid, options, *, snr):
    """Fitted structures (particle, atom, 3) of images of conformations, how they agree with the
    truth, and processor times.
    """
    generator = torch.Generator().manual_seed(0)
    imaging = image_once(len(conformations), grid, generator, microscope=MICROSCOPE)
    star, simulated = measured(
        simulate_particles,
        structure,
        torch.tensor(conformations, dtype=torch.float32),
        out,
        snr=snr,
        imaging=imaging,
        generator=generator,
    )
    fitted = call("fit", out / "base.pdb", star, "--out", f"{out}.fit", *options)
    run = open_run(f"{out}.fit")
    atoms = run.atoms(range(run.n_particles)).double().numpy()
    trace, base = structure.atom_name == "CA", structure.position.double().numpy()[None]
    rmsd = [
        np.sqrt(((x - conformations)[:, trace] ** 2).sum(-1).mean(-1)).mean() for x in (atoms, base)
    ]
    truth = [electron_density(structure, position, grid) for position in conformations[:COMPARED]]
    fsc = [
        resolution(
            mean_shell_correlation(
                [electron_density(structure, position, grid) for position in x], truth
            ),
            grid,
        )
        for x in (atoms[:COMPARED], [base[0]] * len(truth))
    ]
    return atoms, {
        "rmsd": rmsd,
        "structures": [
            f"{run.summary['motions_supported']}",
            f"{rmsd[0]:.2f} ({rmsd[1]:.2f})",
            f"{fsc[0]:.1f} ({fsc[1]:.1f})",
        ],
        "seconds": [f"{simulated:.0f}", f"{fitted:.0f}"],
    }


if __name__ == "__main__":
    main(**arguments(__doc__, "cryosphere", images=1000))
