"""Adenylate kinase closes over its substrates: the whole way from particle images to a structure
for every particle.

    demo.py [OUT]        OUT: folder for everything, made anew; demo by default

Particles are simulated on the way from the open to the closed crystal structure; a fit starts from
the closed one and has to find how far each particle is. The truth is used at the end only.
"""

import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from biotite.structure.io.dcd import DCDFile
from scipy.spatial.transform import Rotation

from atomdrgn import ImageGrid, Structure, read_structure, simulate_particles
from atomdrgn.simulate.example_data import NAMES, example_file

MADE = {"base.pdb", "particles.star", "particles.mrcs", "truth.npz", "particles.fit", "ensemble"}
LID, NMP = (122, 159), (30, 59)  # the two domains that close; the rest is the core
GRID, SNR = ImageGrid(64, 1.8), 0.1


def main(out, particles=800):
    """Simulate, fit, export and compare with the truth, all in the folder `out`."""
    out = Path(out)
    clear(out)
    started = time.monotonic()
    closed, path = adenylate_kinase()
    # 0: as in 4AKE, open; 1: as in 1AKE, closed
    closing = np.random.default_rng(0).uniform(0, 1, particles)
    conformations = np.stack([path(s) for s in closing])
    print(
        f"making {particles} images of {GRID.box_size} x {GRID.box_size} pixels, signal-to-noise "
        f"ratio {SNR}",
        flush=True,
    )
    star = simulate_particles(
        closed,
        torch.tensor(conformations, dtype=torch.float32),
        out,
        grid=GRID,
        snr=SNR,
        truth={"closing": closing},
    )
    run(
        "atomdrgn",
        "fit",
        out / "base.pdb",
        star,
        "--segments",
        "12",
        "--out",
        out / "particles.fit",
    )
    run("atomdrgn", "analyze", out / "particles.fit")
    run("atomdrgn", "export", out / "particles.fit", "--out", out / "ensemble", "--format", "dcd")
    found = DCDFile.read(out / "ensemble" / "ensemble.dcd").get_coord()
    report(closed, found=found, true=conformations, out=out, seconds=time.monotonic() - started)


def clear(out):
    """Remove what an earlier demo left in `out`, and nothing else."""
    if out.exists() and not out.is_dir():
        sys.exit(f"{out} is a file: name another folder for the demo")
    foreign = sorted({path.name for path in out.glob("*")} - MADE)
    if foreign:
        sys.exit(f"{out} holds {foreign[0]}, which no demo made: name another folder for the demo")
    shutil.rmtree(out, ignore_errors=True)


def run(*command):
    """Run a command of this environment, after saying which."""
    print(f"\n$ {shlex.join(map(str, command))}", flush=True)
    subprocess.run([Path(sys.executable).parent / command[0], *command[1:]], check=True)


# ---- the truth: a path between two crystal structures -------------------------------------------


def adenylate_kinase():
    """The closed structure about its middle, and a function from 0 (open) .. 1 (closed) to
    coordinates (atom, 3), A.

    Each domain turns and moves as a rigid body while it changes in itself along straight lines, so
    that both ends are the crystal structures and no bond is stretched between them.
    """
    closed, there = (read_structure(example_file(name)) for name in NAMES)
    position = closed.position.double().numpy()
    position = position - position.mean(0)
    goal = there.position.double().numpy()[same_atoms(closed, there)]
    in_lid, in_nmp = (within(closed, domain) for domain in (LID, NMP))
    core = ~in_lid & ~in_nmp
    turn, centre, shift = superposition(goal[core], position[core])
    goal = turn.apply(goal - centre) + centre + shift
    domains = [
        (members, *superposition(position[members], goal[members]))
        for members in (core, in_lid, in_nmp)
    ]

    def path(closing):
        opening, result = 1 - closing, np.empty_like(position)
        for members, turn, centre, shift in domains:
            rest = turn.inv().apply(goal[members] - centre - shift) + centre - position[members]
            part = Rotation.from_rotvec(opening * turn.as_rotvec())
            result[members] = (
                part.apply(position[members] + opening * rest - centre) + centre + opening * shift
            )
        return result

    return closed.moved(torch.tensor(position, dtype=torch.float32)), path


def within(structure: Structure, domain):
    """(atom,) bool: atoms of the residues from the first to the last of a domain."""
    return (structure.residue >= domain[0]) & (structure.residue <= domain[1])


def same_atoms(structure: Structure, other: Structure):
    """(atom,) int: for each atom of `structure` the one of `other` with the same name in the same
    residue.
    """
    number = {
        key: i
        for i, key in enumerate(zip(other.residue.tolist(), other.atom_name.tolist(), strict=True))
    }
    return np.array(
        [
            number[key]
            for key in zip(structure.residue.tolist(), structure.atom_name.tolist(), strict=True)
        ]
    )


def superposition(moving, fixed):
    """Turn about a centre, and the shift after it, that bring points onto others with least
    squares.
    """
    centre = moving.mean(0)
    turn, _ = Rotation.align_vectors(fixed - fixed.mean(0), moving - centre)
    return turn, centre, fixed.mean(0) - centre


# ---- the result against the truth ---------------------------------------------------------------


def report(base: Structure, *, found, true, out, seconds):
    """Print how near the structures come to the truth, and where they are."""
    trace = base.atom_name == "CA"
    print("\nresult against the truth, which the fit has not seen")
    for name, domain in (("lid", LID), ("NMP-binding domain", NMP)):
        correlation = np.corrcoef(opening(base, found, domain), opening(base, true, domain))[0, 1]
        print(f"  opening of the {name}: correlation {correlation:.3f}")
    before, after = (
        trace_rmsd(x[:, trace], true[:, trace]) for x in (base.position.numpy()[None], found)
    )
    print(
        f"  trace RMSD: {before:.2f} A with the base structure for every particle, {after:.2f} A "
        "with the fitted ones"
    )
    print(f"  in {seconds:.0f} s altogether")
    print(f"""
{out}/particles.star    the images, with base.pdb and truth.npz
{out}/particles.fit/    the run: latents, motions, tables
{out}/ensemble/         reference.pdb and ensemble.dcd, one frame a particle

to look at them: chimerax {out}/particles.fit/analysis/show.cxc
the report, one page for any browser: {(out / "particles.fit" / "report.html").resolve()}""")


def opening(structure: Structure, position, domain):
    """Distance of a domain's centre from the core's, A, in each of many conformations."""
    trace = structure.atom_name == "CA"
    core = trace & ~within(structure, LID) & ~within(structure, NMP)
    return np.linalg.norm(
        position[:, trace & within(structure, domain)].mean(1) - position[:, core].mean(1), axis=-1
    )


def trace_rmsd(position, true):
    return np.sqrt(((position - true) ** 2).sum(-1).mean(-1)).mean()


if __name__ == "__main__":
    main(*sys.argv[1:2] or ["demo"])
