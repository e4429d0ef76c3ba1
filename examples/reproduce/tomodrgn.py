"""Two states in tilt series with `atomdrgn volume`, in the way of tomoDRGN's simulated set (Powell
& Davis 2024).

    tomodrgn.py [OUT] [--particles N] [--epochs N] [--quick]

Adenylate kinase, open or closed, half of the particles each: both states have the same mass, so
that neither brightness nor variance tells them apart, as they do with the paper's four assembly
states of a ribosomal subunit. As in the paper: 41 tilts to 60 degrees, dose-symmetric, 3 e/A^2 a
tilt with its damage, the cosine of the tilt, underfocus of 1.5 to 3.5 um, a signal to noise of
0.05, exact poses, k-means on the latents. Theirs are 20,000 particles of 128 pixels, a latent of
128 numbers and networks of 128 x 3 (encoders) and 256 x 3; structural noise, which has the CTF, is
left out here. The truth is used at the end only.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score

from atomdrgn import ImageGrid, open_volume_run, simulate_particles
from atomdrgn.analysis.examination.latent_space import k_means_on_data
from atomdrgn.simulate.imaging import Microscope, image_tilts

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
from demo import adenylate_kinase  # noqa: E402
from reproduction import (  # noqa: E402
    VOLUME_HEADER,
    arguments,
    begin,
    call,
    compare_volumes,
    measured,
    print_table,
)

GRID, SNR, QUICK_SNR = ImageGrid(32, 3.0), 0.05, 1.0
TILTS, QUICK_TILTS, REACH, DOSE_OF_A_TILT = 41, 5, 60.0, 3.0
MICROSCOPE = Microscope(defocus=(15000.0, 35000.0))
COMPARED = 20  # particles whose volumes are compared with the truth
TRAINING = ["--latent", 8, "--width", 128]
QUICK = ["--width", 32, "--depth", 1, "--coefficients", 64, "--rate", 2e-3]


def main(out="tomodrgn", particles=150, epochs=20, quick=False):
    """Simulate, train and compare; what was found."""
    out = begin(out, "tomodrgn.py")
    tilts, snr, more = TILTS, SNR, []
    if quick:
        particles, epochs, tilts, snr, more = 80, 12, QUICK_TILTS, QUICK_SNR, QUICK
    closed, path = adenylate_kinase()
    states, which = [path(0.0), path(1.0)], torch.arange(particles) % 2
    generator = torch.Generator().manual_seed(0)
    imaging = image_tilts(
        particles,
        GRID,
        generator,
        tilts=tilts,
        reach=REACH,
        dose=tilts * DOSE_OF_A_TILT,
        microscope=MICROSCOPE,
    )
    star, simulated = measured(
        simulate_particles,
        closed,
        torch.tensor(np.stack(states), dtype=torch.float32),
        out / "set",
        snr=snr,
        imaging=imaging,
        which=which,
        generator=generator,
    )
    trained = call(
        "volume",
        star,
        "--latents",
        "encoder",
        "--out",
        out / "volume",
        *TRAINING,
        "--epochs",
        epochs,
        *more,
    )
    run = open_volume_run(out / "volume")
    found = compare_volumes(
        run,
        closed,
        {number: states[number % 2] for number in range(min(COMPARED, particles))},
        GRID,
    )
    found["agreement"] = float(
        adjusted_rand_score(which.numpy(), k_means_on_data(run.latent, 2).label)
    )
    row = [
        f"{particles} x {tilts}, {snr:g}",
        f"{found['agreement']:.3f}",
        "violins only",
        *found["volumes"],
        f"{simulated:.0f}",
        f"{trained:.0f}",
    ]
    print_table(
        [
            "particles x tilts, SNR",
            "ARI",
            "paper's ARI",
            *VOLUME_HEADER,
            "CPU (s): simulate",
            "train",
        ],
        [row],
    )
    return found


if __name__ == "__main__":
    main(**arguments(__doc__, "tomodrgn", particles=150, epochs=20))
