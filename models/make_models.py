"""Make the fitted runs of this folder anew: simulate particles, fit them, keep what opening a run
needs, write its card.

    make_models.py adk [WORK]                 adenylate kinase, of examples/data
    make_models.py antibody 1IGY.cif [WORK]   an antibody, PDB entry 1IGY, which has to be at hand

Particle images stay in WORK (models_work by default) and are not kept.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from atomdrgn import ImageGrid, open_run, read_structure, simulate_particles, write_structure
from atomdrgn.runs.run import (
    BORDERS,
    CHECKPOINT,
    CORRECTION,
    FILES,
    HALVES,
    JUNK,
    POSE_VERDICT,
)

HERE = Path(__file__).parent
PARTICLES = {"adk": 1000, "antibody": 500}
LEFT_OUT = {
    CHECKPOINT,
    *HALVES,
    BORDERS,
    CORRECTION,
    JUNK,
    POSE_VERDICT,
}  # only `fit --resume` needs them


def adk(work):
    """Particles on the way from the open (0) to the closed (1) crystal structure."""
    sys.path.insert(0, str(HERE.parent / "examples"))
    import demo

    closed, path = demo.adenylate_kinase()
    closing = np.random.default_rng(0).uniform(0, 1, PARTICLES["adk"])
    conformations = torch.tensor(np.stack([path(s) for s in closing]), dtype=torch.float32)
    simulate_particles(
        closed, conformations, work, grid=ImageGrid(64, 1.8), snr=0.1, truth={"closing": closing}
    )
    return (
        closing,
        "closing",
        "adenylate kinase on the way from its open (4AKE) to its closed crystal structure (1AKE)",
    )


def antibody(work, source):
    """Particles whose first Fab is turned by -30 to 30 degrees about an axis through its hinge."""
    structure = polymer_of(source, work / "1igy.pdb")
    structure = structure.moved(structure.position - structure.position.mean(0))
    beads_of_fab = np.isin(structure.chain, ["A"]) | (
        (structure.chain == "B") & (structure.residue <= 236)
    )
    position = structure.position.double().numpy()
    hinge = position[(structure.chain == "B") & (structure.residue == 236)].mean(0)
    arm = position[beads_of_fab].mean(0) - hinge
    axis = np.cross(arm, [0, 0, 1])
    axis /= np.linalg.norm(axis)
    angle = np.random.default_rng(0).uniform(-30, 30, PARTICLES["antibody"])
    conformations = np.repeat(position[None], len(angle), 0)
    for number, turn in enumerate(Rotation.from_rotvec(np.radians(angle)[:, None] * axis)):
        conformations[number, beads_of_fab] = turn.apply(position[beads_of_fab] - hinge) + hinge
    simulate_particles(
        structure,
        torch.tensor(conformations, dtype=torch.float32),
        work,
        grid=ImageGrid(64, 4.0),
        snr=0.1,
        truth={"angle": angle},
    )
    return (
        angle,
        "angle",
        (
            "an antibody (PDB entry 1IGY; Harris, Skaletsky & McPherson 1998) whose Fab of chains "
            "A and B "
            "turns by -30 to 30 degrees about its hinge at B:236"
        ),
    )


def polymer_of(source, path):
    """The protein atoms of a structure file, without sugars and water."""
    import gemmi

    whole = gemmi.read_structure(str(source), merge_chain_parts=False)
    whole.setup_entities()
    whole.remove_hydrogens()
    whole.remove_ligands_and_waters()
    whole.remove_empty_chains()
    whole.write_pdb(str(path))
    structure = read_structure(path)
    write_structure(structure, path)
    return structure


def fit(work):
    """The run, made by the command that its card names."""
    command = [
        "atomdrgn",
        "fit",
        "base.pdb",
        "particles.star",
        "--segments",
        "12",
        "--out",
        "particles.fit",
        "--overwrite",
        "-q",
    ]
    subprocess.run([Path(sys.executable).parent / command[0], *command[1:]], cwd=work, check=True)
    return open_run(work / "particles.fit"), " ".join(command[:-2])


def keep(run, target):
    """What opening the run needs, in this folder."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for name in set(FILES) - LEFT_OUT:
        if (run.folder / name).exists():
            shutil.copy(run.folder / name, target / name)


CARD = """# {name}

What: {what}.

From what: {particles:,} simulated images of 64 x 64 pixels, signal-to-noise ratio 0.1, exact poses,
with CTF. The images are not kept; `models/make_models.py {made_by}` makes them, and this run, anew.

By which command: `{command}`, atomdrgn {version}.

With which result: {supported} supported motion(s), {sizes}; correlation of the first with the true
{of}: {correlation:.3f}; half-sets agree to {half_sets:.2f} A. Parts that move as one:

{groups}

To look at it:

    atomdrgn analyze models/{name} --out look

The folder holds what opening a run needs ({size:.1f} MB). The checkpoints of the fit, which only
`--resume` needs, are left out.
"""


def write_card(target, run, *, truth, **says):
    """MODEL.md: what, from what, by which command, with which result."""
    found = run.summary
    says |= {
        "name": target.name,
        "particles": found["particles"],
        "version": run.settings["version"],
        "supported": found["motions_supported"],
        "sizes": ", ".join(
            f"{motion['variance'] ** 0.5:.2f} A r.m.s." for motion in found["motions"]
        ),
        "correlation": np.abs(np.corrcoef(run.latent[:, 0], truth)[0, 1]),
        "half_sets": found["half_set_error"],
        "groups": "\n".join(
            f"- {group['selection']} ({group['residues']} residues), {group['motion']:.1f} A r.m.s."
            for group in found["groups"]
        ),
        "size": sum(path.stat().st_size for path in target.iterdir()) / 1e6,
    }
    (target / "MODEL.md").write_text(CARD.format(**says))


def main(name, *rest):
    """Make one of the two."""
    source, rest = (rest[:1], rest[1:]) if name == "antibody" else ((), rest)
    work = Path(rest[0] if rest else "models_work") / name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    truth, of, what = {"adk": adk, "antibody": antibody}[name](work, *source)
    run, command = fit(work)
    keep(run, HERE / name)
    write_card(
        HERE / name,
        run,
        truth=truth,
        of=of,
        what=what,
        command=command,
        made_by=" ".join([name, *(Path(one).name for one in source)]),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
