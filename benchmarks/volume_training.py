"""What part of held-out images a volume field misses after how many CPU-seconds of training.

Run ``python -m benchmarks.volume_training noisy/particles.star clean/particles.star`` from the
repository's root: two sets of the same particles, one with noise and one without, in any scale. The
last particles are held out: their latents are read from their noisy images, and the prediction is
compared with the clean ones, so that noise is no part of the error. A share of 1 is missed by
predicting nothing. ``--published`` trains with the settings of cryoDRGN's program: all
coefficients, single precision, batches of 8, a rate of 1e-4.
"""

import argparse
import resource
import time

import torch

from atomdrgn import read_particles
from atomdrgn.networks.volume_model import VolumeModel
from atomdrgn.parallel import whole_batches_on_threads
from atomdrgn.volume.field_data import FieldData, read_field_data
from atomdrgn.volume.field_training import read_latents, run_epoch, start_training
from atomdrgn.volume.mean_volume import mean_volume
from atomdrgn.volume.volume_fit import FieldShape, fill_schedule, new_model

PUBLISHED = {"coefficients": 0, "precision": "float32", "batch": 8, "rate": 1e-4}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("noisy")
    parser.add_argument("clean")
    parser.add_argument("--held-out", type=int, default=200)
    parser.add_argument("--box", type=int)
    parser.add_argument("--latent", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--published", action="store_true")
    arguments = parser.parse_args()
    noisy, clean = (
        read_particles(path, box=arguments.box) for path in (arguments.noisy, arguments.clean)
    )
    first = noisy.n_particles - arguments.held_out
    some, held, truth = (
        noisy[noisy.particle < first],
        noisy[noisy.particle >= first],
        clean[clean.particle >= first],
    )
    choices = {"batch": None, "rate": 1e-3, "coefficients": None, "precision": "auto"}
    schedule = fill_schedule(
        some,
        arguments.latent,
        epochs=arguments.epochs,
        tilts=None,
        beta=None,
        seed=0,
        **(PUBLISHED if arguments.published else choices),
    )
    with whole_batches_on_threads():
        start = time.process_time()
        mean, spectrum = mean_volume(some)
        data = read_field_data(some, mean, spectrum)
        used = time.process_time() - start
        data_of_held = read_field_data(held, mean, spectrum)
        signal = clean_residual(held, truth, mean, spectrum, data_of_held)
        training = start_training(
            new_model(data, FieldShape(arguments.latent), seed=0), schedule.rate
        )
        print(
            f"{len(some)} images, {len(held)} held out, box {some.grid.box_size}; images take "
            f"{data.nbytes / 1e6:.0f} MB\n"
            f"{'epoch':>5}{'CPU-s':>10}{'missed':>10}"
        )
        print(
            f"{0:>5}{used:>10.1f}{missed(training.model, data_of_held, signal):>10.4f}", flush=True
        )
        for _ in range(arguments.epochs):
            start = time.process_time()
            training.history.append(run_epoch(training, data, schedule))
            used += time.process_time() - start
            print(
                f"{training.epoch:>5}{used:>10.1f}"
                f"{missed(training.model, data_of_held, signal):>10.4f}",
                flush=True,
            )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def clean_residual(held, truth, mean, spectrum, data: FieldData):
    """What the mean volume leaves of the clean images, whitened as the noisy ones are, and the
    power of those images.
    """
    noisy_pixels, clean_pixels = held.read(), truth.read()
    scale = (noisy_pixels * clean_pixels).sum() / clean_pixels.square().sum()
    of_clean = read_field_data(truth, torch.zeros_like(mean), spectrum / scale**2).residual.float()
    of_mean = (
        read_field_data(held, torch.zeros_like(mean), spectrum).residual.float()
        - data.residual.float()
    )
    return of_clean - of_mean, of_clean.square().sum()


@torch.no_grad()
def missed(model: VolumeModel, data: FieldData, signal) -> float:
    """Part of the clean images' power that predictions at the latents of the noisy images do not
    have.
    """
    left, power = signal
    latent, total = read_latents(model, data)[0], 0.0
    for particle, image in torch.nonzero(data.there):
        number = data.image[particle, image]
        rotation = data.stack.pose.rotation[number]
        frequency = data.disc.kx[:, None] * rotation[0] + data.disc.ky[:, None] * rotation[1]
        value = model.field(frequency[None], latent[particle][None])[0]
        total += (left[number] - data.transfer[number].float()[:, None] * value).square().sum()
    return float(total / power)


if __name__ == "__main__":
    main()
