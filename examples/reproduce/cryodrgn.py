"""Linear1D and Discrete3 of cryoDRGN (Zhong et al. 2021) with `atomdrgn volume`, beside the
published figures.

    cryodrgn.py [OUT] [--images N] [--epochs N] [--quick]

Linear1D: one domain turns by 1.5 rad, 50 conformations, all equally frequent. Discrete3: three
conformations, 20, 30 and 50 % of the images. As in the paper: one number a latent, exact poses,
CTF, a B-factor of 100 A^2. Images have 32 pixels and a signal to noise of 1.6: what a cut in
Fourier space to 32 leaves of the paper's 128 pixels at 0.1, because noise is in all frequencies and
the signal in few. The molecule is adenylate kinase, whose lid turns, or which is open, half way and
closed; theirs are a hypothetical complex, and the ribosome and its subunits, which differ in mass.
Images are fewer (50,000 there), training and networks smaller (100 epochs, 256 x 3 and 512 x 5
there). The truth is used at the end only.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.metrics import adjusted_rand_score

from atomdrgn import ImageGrid, open_volume_run, simulate_particles
from atomdrgn.analysis.examination.latent_space import k_means_on_data
from atomdrgn.simulate.imaging import Microscope, image_once

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
    turning_lid,
)

GRID, SNR, B_FACTOR = ImageGrid(32, 3.0), 0.1 * (128 / 32) ** 2, 100.0
MICROSCOPE = Microscope(spherical_aberration_mm=2.0)
STEPS, STEP = 50, 0.03  # conformations of Linear1D, and rad between them
POPULATIONS = (0.2, 0.3, 0.5)  # of Discrete3: 30S, 50S and 70S there
# particles whose volumes are compared with the truth, as in the paper
COMPARED = 100
TRAINING = ["--latent", 1, "--width", 128]
QUICK = ["--width", 32, "--depth", 1, "--coefficients", 64, "--batch", 8, "--rate", 2e-3]


def main(out="cryodrgn", images=1000, epochs=20, quick=False):
    """Simulate, train and compare both sets; what was found, by name of the set."""
    out = begin(out, "cryodrgn.py")
    if quick:
        images, epochs = 100, 3  # too short to find anything
    training = [*TRAINING, "--epochs", epochs, *(QUICK if quick else [])]
    found = {"Linear1D": linear(out / "linear", images, training)}
    if not quick:
        found["Discrete3"] = discrete(out / "discrete", images, training)
    rows = [
        [name, row["words"], row["paper"], *row["volumes"], *row["seconds"]]
        for name, row in found.items()
    ]
    print_table(
        ["set", "latents and the truth", "paper", *VOLUME_HEADER, "CPU (s): simulate", "train"],
        rows,
    )
    return found


def linear(out, images, training):
    """What is found of Linear1D."""
    closed, _, turned = turning_lid()
    which = torch.arange(images) % STEPS
    run, row = measure(closed, [turned(STEP * step) for step in range(STEPS)], which, out, training)
    row["agreement"] = float(abs(spearmanr(run.latent[:, 0], which).statistic))
    return row | {"words": f"Spearman {row['agreement']:.3f}", "paper": "0.996"}


def discrete(out, images, training):
    """What is found of Discrete3."""
    closed, path = adenylate_kinase()
    which = torch.from_numpy(np.random.default_rng(0).choice(3, images, p=POPULATIONS))
    run, row = measure(closed, [path(closing) for closing in (0.0, 0.5, 1.0)], which, out, training)
    label, state = k_means_on_data(run.latent, 3).label, which.numpy()
    right = sum(np.bincount(state[label == cluster]).max() for cluster in range(3)) / images
    row["agreement"] = float(adjusted_rand_score(state, label))
    return row | {
        "words": f"ARI {row['agreement']:.3f}, accuracy {right:.1%}",
        "paper": "accuracy 99.9 %",
    }


def measure(structure, conformations, which, out, training):
    """A trained run on images of conformations, and how its volumes agree with the truth, with
    processor times.
    """
    generator = torch.Generator().manual_seed(0)
    imaging = image_once(len(which), GRID, generator, microscope=MICROSCOPE).with_b_factor(B_FACTOR)
    star, simulated = measured(
        simulate_particles,
        structure,
        torch.tensor(np.stack(conformations), dtype=torch.float32),
        out,
        snr=SNR,
        imaging=imaging,
        which=which,
        generator=generator,
    )
    trained = call("volume", star, "--latents", "encoder", "--out", f"{out}.volume", *training)
    run = open_volume_run(f"{out}.volume")
    compared = np.linspace(0, len(which) - 1, min(COMPARED, len(which))).astype(int)
    row = compare_volumes(
        run,
        structure,
        {particle: conformations[which[particle]] for particle in compared.tolist()},
        GRID,
    )
    return run, row | {"seconds": [f"{simulated:.0f}", f"{trained:.0f}"]}


if __name__ == "__main__":
    main(**arguments(__doc__, "cryodrgn", images=1000, epochs=20))
