"""A fit whose motions are forced on: python -m benchmarks.fitted_to_noise SET RUN

The population of motions stays as wide as it starts, whatever the images say, so that in a set
where nothing moves every particle is moved by its noise. What `atomdrgn debias RUN` says of it is
the negative control of docs/accuracy.md.
"""

import sys
from pathlib import Path

import torch

from atomdrgn import fit, read_particles, read_structure
from atomdrgn.inference.population.population import Population
from atomdrgn.inference.posterior import gauss_newton_pass as passes


def as_wide_as_before(equations, directions, population, **_):
    return Population(population.mean, torch.cat([directions.seen, directions.unseen], 1)), [0.0]


def main(folder, out):
    passes.fit_population = as_wide_as_before
    star = Path(folder) / "particles.star"
    fit(
        read_structure(Path(folder) / "base.pdb"),
        read_particles(star),
        out,
        segments=12,
        resolution=20.0,
        settings={"reading": {"particles": str(star)}},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
