"""A fit that was learned on a part of its particles."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from atomdrgn.inference import fit as fitting
from atomdrgn.inference.fit_stages import FitProgress
from atomdrgn.inference.placing import everyone
from atomdrgn.particles.stack.stack import ParticleStack
from atomdrgn.runs.run import Run
from atomdrgn.structure.atoms import Structure
from hinge import make_hinged

CHUNK = 32  # particles of a file of placed ones
CHOICES = {"segments": 2, "resolution": 14.0, "learn_on": 100}


@dataclass(frozen=True)
class PartRun:
    """The fit, what it was as all particles had been placed, and the folder that it was in then."""

    structure: Structure
    particles: ParticleStack
    angle: torch.Tensor
    progress: FitProgress
    stopped: Path
    run: Run

    def everyone(self, folder, **of_learned):
        """All particles, to be placed in another folder."""
        return replace(
            self.progress.everyone,
            folder=folder,
            learned=replace(self.progress.everyone.learned, **of_learned),
        )


def learn_on_part(folder, count=160):
    """Fit so many particles, stopped as all are placed, and gone on with."""
    structure, particles, angle = make_hinged(folder, count=count)
    kept, out = [], folder / "part.fit"

    def stop(progress):
        kept.append(progress)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(everyone, "CHUNK", CHUNK)
        with pytest.MonkeyPatch.context() as stopped:
            stopped.setattr(fitting, "write_results", stop)
            with pytest.raises(KeyboardInterrupt):
                fitting.fit(structure, particles, out, **CHOICES)
        shutil.copytree(out, folder / "stopped.fit")
        # what the fit does next, without finding again what was found
        fitting.write_results(kept[0])
    return PartRun(
        structure, particles, angle, kept[0], folder / "stopped.fit", fitting.open_run(out)
    )
