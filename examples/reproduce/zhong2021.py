"""Tables 1 and 2 of Zhong et al. (2021): how near a refined structure comes, from starts that are
more and less wrong.

    zhong2021.py [OUT]        OUT: folder for everything, made anew; zhong2021 by default

Images of closed adenylate kinase (214 residues; theirs is a haemoglobin chain of 141) from all
atoms, box 128, 1 A a pixel, signal to noise 0.1, exact poses, as in the paper; 1,000 of them in
place of 50,000, seen through a CTF, which the paper leaves out, and with shifts of a pixel in place
of ten. The same command refines every start. The truth is used at the end only.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from atomdrgn import ImageGrid, coarse_grain, read_structure, simulate_particles, write_structure
from atomdrgn.structure.beads import ATOMIC_BLUR

sys.path.insert(0, str(Path(__file__).parents[1]))
from demo import adenylate_kinase  # noqa: E402

GRID, SNR, IMAGES = ImageGrid(128, 1.0), 0.1, 1000
# A: RMSE of their approximate structure, and half the range of their noise
APPROXIMATE, NOISE = 5.15, 6.0
# name, start, more options, and the paper's RMSE before and after (A), part within 3 A, NMSE of the
# volume
ROWS = [
    ("exact", "exact", [], (0.00, 0.84, 0.993, 0.28)),
    ("on the way to the open structure", "approximate", [], (5.15, 3.81, 0.773, 0.32)),
    ("+ Uniform[6 A]", "noise", [], (6.50, 3.19, 0.532, 0.35)),
    ("on the way, no side-chain bead", "approximate", ["--beads", "1"], (5.15, 4.10, 0.702, 0.49)),
    ("on the way, no bonds", "approximate", ["--no-bonds"], (5.15, 10.42, 0.376, 0.36)),
    ("open structure (4AKE)", "open", [], None),
]


def main(out):
    """Simulate, refine every start, and print the table."""
    out = Path(out)
    if (
        out.exists()
        and not (out / "particles.star").exists()
        and (not out.is_dir() or any(out.iterdir()))
    ):
        sys.exit(f"{out} is not of this script: name another folder")
    shutil.rmtree(out, ignore_errors=True)
    closed, path = adenylate_kinase()
    print(
        f"making {IMAGES} images of {GRID.box_size} x {GRID.box_size} pixels, signal-to-noise "
        f"ratio {SNR}",
        flush=True,
    )
    simulate_particles(closed, closed.position.expand(IMAGES, -1, -1), out, grid=GRID, snr=SNR)
    for name, position in starts(closed, path).items():
        write_structure(closed, out / f"{name}.pdb", position=position)
    print(
        "start | RMSE before (A) | CA RMSE (A) | within 3 A | volume NMSE | weight | seconds | "
        "paper: before, RMSE, within, NMSE"
    )
    for name, start, options, paper in ROWS:
        print(row(out, name, start, options, paper=paper), flush=True)


def starts(closed, path):
    """Coordinates (atom, 3) to start from, by name."""
    truth, trace = closed.position.double().numpy(), closed.atom_name == "CA"
    openings = np.linspace(0, 1, 101)
    off = [abs(rmse(path(closing)[trace], truth[trace]) - APPROXIMATE) for closing in openings]
    noise = np.random.default_rng(0).uniform(-NOISE, NOISE, (closed.residue_index.max() + 1, 3))
    return {
        "exact": truth,
        "approximate": path(openings[int(np.argmin(off))]),
        "open": path(0.0),
        "noise": truth + noise[closed.residue_index],
    }


def row(out, name, start, options, *, paper):
    """One line of the table."""
    folder = out / ("-".join([start, *options]).replace("--", "") + ".refined")
    started = time.monotonic()
    command = [
        sys.executable,
        "-m",
        "atomdrgn",
        "refine",
        out / f"{start}.pdb",
        out / "particles.star",
        "--out",
        folder,
    ]
    subprocess.run([*map(str, command), "--quiet", *options], check=True)
    seconds = time.monotonic() - started
    truth, base, found = (
        read_structure(path)
        for path in (out / "base.pdb", out / f"{start}.pdb", folder / "refined.cif")
    )
    summary = json.loads((folder / "summary.json").read_text())
    trace = torch.from_numpy(truth.atom_name == "CA")
    before, after = (
        rmse(x.position[trace].numpy(), truth.position[trace].numpy()) for x in (base, found)
    )
    within = float(
        (torch.linalg.vector_norm((found.position - truth.position)[trace], dim=1) < 3)
        .float()
        .mean()
    )
    error = volume_error(truth, found, summary)
    theirs = "not tried" if paper is None else "{:.2f}, {:.2f}, {:.1%}, {:.2f}".format(*paper)
    return (
        f"{name} | {before:.2f} | {after:.2f} | {within:.1%} | {error:.2f} | "
        f"{summary['refine']['weight']:g} | {seconds:.0f} | {theirs}"
    )


def rmse(position, truth):
    return float(np.sqrt(((position - truth) ** 2).sum(-1).mean()))


def volume_error(truth, found, summary):
    """Squared difference of the refined beads' density from the atoms' as the images show them,
    over the atoms' square.
    """
    beads = coarse_grain(found, beads=summary["refine"]["beads"])
    electrons = torch.tensor(truth.element * truth.occupancy).float()
    wanted = density(truth.position, torch.full_like(electrons, ATOMIC_BLUR), electrons)
    made = density(
        beads.position,
        (beads.sigma**2 + summary["width_added2"]).sqrt(),
        beads.amplitude * summary["amplitude"],
    )
    return float((made - wanted).square().sum() / wanted.square().sum())


def density(position, sigma, amplitude):
    """Sum of Gaussians on a grid of 1 A, electrons/A^3."""
    grid = torch.arange(-48.0, 48.0)
    # (grid, point, xyz)
    along = torch.exp(-0.5 * ((grid[:, None, None] - position) / sigma[:, None]) ** 2)
    weight = amplitude / (2 * torch.pi * sigma**2) ** 1.5
    x, y, z = along.unbind(2)
    return torch.stack([(y * (weight * plane)) @ x.T for plane in z])


if __name__ == "__main__":
    main(*sys.argv[1:2] or ["zhong2021"])
