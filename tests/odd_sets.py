"""Small particle sets of odd kinds, used by each command: ``python tests/odd_sets.py 2``, each kind
with two seeds.

Each set is one that the readers of particle files let through, and ends in a finite answer or in an
error of ours; whatever else happens is printed. After the number of seeds, words choose among kinds
and commands. The same seed makes the same set.
"""

import json
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import mrcfile
import numpy as np
import torch

from atomdrgn import (
    ImageGrid,
    ParticleStack,
    Structure,
    read_particles,
    read_structure,
    simulate_particles,
)
from atomdrgn.backprojection.backprojection import backproject, write_reconstruction
from atomdrgn.debiasing.debias import debias
from atomdrgn.errors import AtomdrgnError
from atomdrgn.inference.amortised.vae import fit_vae
from atomdrgn.inference.base_model.refinement import refine
from atomdrgn.inference.fit import fit
from atomdrgn.io.mrc import read_header
from atomdrgn.volume.volume_fit import fit_volume
from molecules import helix, write_pdb

BOX, PIXEL, COUNT, SNR = 32, 3.0, 24, 0.3
UNKNOWN = {"half_error"}  # arrays that may hold NaN: it is not known
LINE = np.linspace(-1, 1, BOX, dtype=np.float32)


@dataclass
class OddSet:
    """What a kind changes: images as they will be written, particles as they will be read, the base
    model.
    """

    images: np.ndarray
    stack: ParticleStack
    structure: Structure
    chance: np.random.Generator

    @property
    def sd(self):
        """Standard deviation of the pixels."""
        return self.images.std()

    def noise(self):
        """As many images of white noise, as strong."""
        return self.sd * self.chance.standard_normal(self.images.shape)

    def some(self, share=0.2):
        """Numbers of some of the images."""
        return np.flatnonzero(self.chance.random(len(self.images)) < share)

    def filtered(self, weight):
        """The images with each Fourier coefficient times a weight of its frequency, 0 to 1 at
        Nyquist.
        """
        frequency = 2 * np.hypot(np.fft.rfftfreq(BOX), np.fft.fftfreq(BOX)[:, None])
        return np.fft.irfft2(np.fft.rfft2(self.images) * weight(frequency), s=(BOX, BOX))

    def change(self, record, **values):
        """Replace fields of the stack's pose or CTF."""
        self.stack = replace(self.stack, **{record: replace(getattr(self.stack, record), **values)})

    def take(self, index):
        """The images of these numbers, each as a particle of its own."""
        self.images = self.images[index]
        chosen = self.stack[torch.as_tensor(index)]
        number = torch.arange(len(index))
        images = replace(chosen.images, section=number)
        self.stack = replace(
            chosen, particle=number, row=number, half=1 + number % 2, images=images
        )

    def tilted(self, tilts=4):
        """Each run of so many images is a tilt series, in the order of dose."""
        number = torch.arange(len(self.images))
        self.stack = replace(
            self.stack,
            particle=number // tilts,
            tilt=number % tilts,
            half=1 + (number // tilts) % 2,
        )
        self.change("ctf", dose=3.0 * (number % tilts).float())

    def scale_pixels(self, size):
        """Say that pixels have another size, A."""
        grid = ImageGrid(BOX, size)
        self.stack = replace(self.stack, grid=grid, optics_group_grids=(grid,))

    def move_model(self, position):
        """Put the model's atoms elsewhere."""
        self.structure = self.structure.moved(torch.as_tensor(position, dtype=torch.float32))


def set_images(change):
    """A kind whose images are what a function makes of the set."""

    def kind(odd):
        odd.images = change(odd)

    return kind


def spoil(change):
    """A kind whose images a function changes in place."""
    return lambda odd: change(odd, odd.images)


def set_model(change):
    """A kind whose model has its atoms where a function puts them."""
    return lambda odd: odd.move_model(change(odd, odd.structure.position))


def full(odd, value):
    return torch.full((len(odd.stack),), float(value))


def put(images, place, value):
    images[place] = value


def of_one_view(odd):
    odd.change("pose", rotation=odd.stack.pose.rotation[:1].expand(len(odd.stack), 3, 3).clone())


def one_image(count):
    return lambda odd: odd.take(np.full(count, 3))


def of_two_groups(odd):
    stack, second = odd.stack, torch.arange(len(odd.stack)) % 2
    odd.images[1::2] *= 1e4
    odd.stack = replace(
        stack,
        optics_group=second,
        optics_group_names=("a", "b"),
        optics_group_grids=2 * stack.optics_group_grids,
    )


def of_an_uneven_tilt_series(odd):
    odd.tilted()
    odd.images[3::4] = odd.noise()[3::4]
    odd.stack = odd.stack[torch.as_tensor(np.delete(np.arange(len(odd.images)), [5, 6, 7, 14]))]


KINDS = {
    "as they are": lambda odd: None,
    "noise alone": set_images(lambda odd: odd.noise()),
    "coloured noise": lambda odd: (
        set_images(lambda odd: odd.noise())(odd),
        set_images(lambda odd: odd.filtered(lambda k: 1 / np.maximum(k, 0.05)))(odd),
    ),
    "constant": set_images(lambda odd: np.full_like(odd.images, 7.0)),
    "zero": set_images(lambda odd: 0 * odd.images),
    "one of them empty": spoil(lambda odd, x: put(x, 5, 1.0)),
    "inverted": set_images(lambda odd: -odd.images),
    "half of them inverted": spoil(lambda odd, x: put(x, slice(None, None, 2), -x[::2])),
    "spectrum reversed": set_images(
        lambda odd: odd.filtered(lambda k: (1.1 - np.minimum(k, 1)) / np.maximum(k, 0.1))
    ),
    "low frequencies alone": set_images(lambda odd: odd.filtered(lambda k: k < 0.3)),
    "high frequencies alone": set_images(lambda odd: odd.filtered(lambda k: k > 0.4)),
    "blurred": set_images(lambda odd: odd.filtered(lambda k: np.exp(-20 * k**2))),
    "phases flipped": set_images(lambda odd: odd.filtered(lambda k: np.where(k < 0.4, 1, -1))),
    "transposed": set_images(lambda odd: odd.images.transpose(0, 2, 1).copy()),
    "rolled by half": set_images(lambda odd: np.roll(odd.images, BOX // 2, (1, 2))),
    "in another order": set_images(lambda odd: odd.chance.permutation(odd.images)),
    "squared": set_images(lambda odd: odd.images**2),
    "signs": set_images(lambda odd: np.sign(odd.images)),
    "cut out by a circle": set_images(
        lambda odd: odd.images * (LINE**2 + LINE[:, None] ** 2 < 0.5)
    ),
    "heavy tails": set_images(
        lambda odd: odd.images + odd.sd * odd.chance.standard_cauchy(odd.images.shape)
    ),
    "a chessboard": set_images(
        lambda odd: odd.images + 10 * odd.sd * (-1) ** np.add.outer(np.arange(BOX), np.arange(BOX))
    ),
    "NaN": spoil(lambda odd, x: put(x, (slice(None), 3, 3), np.nan)),
    "one NaN": spoil(lambda odd, x: put(x, (5, 3, 3), np.nan)),
    "infinite": spoil(lambda odd, x: put(x, (odd.some(), 3, 3), np.inf)),
    "a hot pixel": spoil(lambda odd, x: put(x, (7, 3, 9), 1000 * odd.sd)),
    "the largest number": spoil(lambda odd, x: put(x, (7, 3, 9), 3e38)),
    "a hot pixel in each": spoil(
        lambda odd, x: put(
            x, (np.arange(len(x)), *odd.chance.integers(0, BOX, (2, len(x)))), 300 * odd.sd
        )
    ),
    "the same hot pixel in all": spoil(lambda odd, x: put(x, (slice(None), 10, 11), 100 * odd.sd)),
    "a hot column in all": spoil(
        lambda odd, x: put(x, (slice(None), slice(None), slice(12, 15)), 20 * odd.sd)
    ),
    "a dead column": spoil(lambda odd, x: put(x, (slice(None), slice(None), 12), 0.0)),
    "a ramp": set_images(lambda odd: odd.images + 20 * odd.sd * LINE),
    "ramps of all kinds": set_images(
        lambda odd: (
            odd.images + 5 * odd.sd * odd.chance.standard_normal((len(odd.images), 1, 1)) * LINE
        )
    ),
    "a curve": set_images(lambda odd: odd.images + 10 * odd.sd * (LINE**2 + LINE[:, None] ** 2)),
    "one scaled": spoil(lambda odd, x: put(x, 7, 30 * x[7])),
    "some scaled": set_images(
        lambda odd: (
            odd.images * np.where(odd.chance.random(len(odd.images)) < 0.1, 10, 1)[:, None, None]
        )
    ),
    "scales of all kinds": set_images(
        lambda odd: (
            odd.images * np.exp(2 * odd.chance.standard_normal(len(odd.images)))[:, None, None]
        )
    ),
    "half of them noise": spoil(lambda odd, x: put(x, slice(None, None, 2), odd.noise()[::2])),
    "huge numbers": set_images(lambda odd: 1e20 * odd.images),
    "tiny numbers": set_images(lambda odd: 1e-20 * odd.images),
    "large numbers": set_images(lambda odd: 1e11 * odd.images),
    "small numbers": set_images(lambda odd: 1e-7 * odd.images),
    "a large offset": set_images(lambda odd: odd.images / odd.sd + 1e5),
    "a mirrored model": set_model(lambda odd, x: x * torch.tensor([1.0, 1.0, -1.0])),
    "a scrambled model": set_model(
        lambda odd, x: x[torch.as_tensor(odd.chance.permutation(len(x)))]
    ),
    "a turned model": set_model(lambda odd, x: x[:, [1, 2, 0]]),
    "a model elsewhere": set_model(lambda odd, x: x + torch.tensor([20.0, 0.0, 0.0])),
    "a small model": set_model(lambda odd, x: 0.3 * x),
    "a model that is a point": set_model(lambda odd, x: 1e-3 * x),
    "a flat model": set_model(lambda odd, x: x * torch.tensor([1.0, 1.0, 1e-3])),
    "a noisy model": set_model(
        lambda odd, x: (
            x + torch.as_tensor(3 * odd.chance.standard_normal(x.shape), dtype=torch.float32)
        )
    ),
    "one view": of_one_view,
    "poses at random": lambda odd: odd.change(
        "pose",
        rotation=odd.stack.pose.rotation[torch.as_tensor(odd.chance.permutation(len(odd.stack)))],
    ),
    "poses transposed": lambda odd: odd.change(
        "pose", rotation=odd.stack.pose.rotation.mT.contiguous()
    ),
    "one image again and again": one_image(COUNT),
    "one image a thousand times": one_image(1000),
    "every particle twice": lambda odd: odd.take(np.repeat(np.arange(COUNT // 2), 2)),
    "one particle": lambda odd: odd.take(np.arange(1)),
    "two particles": lambda odd: odd.take(np.arange(2)),
    "nine particles": lambda odd: odd.take(np.arange(9)),
    "one half-set": lambda odd: setattr(
        odd, "stack", replace(odd.stack, half=torch.ones(len(odd.stack), dtype=torch.long))
    ),
    "shifts far off": lambda odd: odd.change(
        "pose", shift=odd.stack.pose.shift + 1.9 * BOX * PIXEL
    ),
    "shifts by a third of the box": lambda odd: odd.change(
        "pose", shift=odd.stack.pose.shift + 30.0
    ),
    "huge pixels": lambda odd: odd.scale_pixels(100.0),
    "tiny pixels": lambda odd: odd.scale_pixels(0.1),
    "pixels that are too large": lambda odd: odd.scale_pixels(2 * PIXEL),
    "huge defocus": lambda odd: odd.change(
        "ctf", defocus_u=full(odd, 3e5), defocus_v=full(odd, 3e5)
    ),
    "no defocus": lambda odd: odd.change("ctf", defocus_u=full(odd, 0), defocus_v=full(odd, 0)),
    "defocus of all kinds": lambda odd: odd.change(
        "ctf", defocus_u=torch.linspace(-1e5, 1e5, len(odd.stack))
    ),
    "lowest voltage": lambda odd: odd.change("ctf", voltage_kv=full(odd, 60)),
    "highest voltage": lambda odd: odd.change("ctf", voltage_kv=full(odd, 1000)),
    "multiplied by the CTF, it is said": lambda odd: setattr(
        odd, "stack", replace(odd.stack, premultiplied=torch.ones(len(odd.stack), dtype=torch.bool))
    ),
    "two optics groups of other scales": of_two_groups,
    "tilt series": lambda odd: odd.tilted(),
    "uneven tilt series": of_an_uneven_tilt_series,
    "tilt series of 1,000 e/A^2": lambda odd: (
        odd.tilted(),
        odd.change("ctf", dose=300 * odd.stack.tilt.float()),
    ),
}


def run_of(folder):
    """Arrays and summary of a run."""
    return {
        name: dict(np.load(folder / name))
        for name in ("model.npz", "latents.npz", "motions.npz")
        if (folder / name).exists()
    }, json.loads((folder / "summary.json").read_text())


def fitted(odd, out):
    fit(odd.structure, odd.stack, out, segments=2)
    return run_of(out)


def fitted_vae(odd, out):
    fit_vae(odd.structure, odd.stack, out, segments=2, epochs=2)
    return run_of(out)


def of_volumes(odd, out):
    fit_volume(odd.stack, out, latent=2, width=16, depth=1, epochs=2)
    return run_of(out)


def refined(odd, out):
    found = refine(odd.structure, odd.stack, out, beads=1)
    return {"refined": {"position": found.structure.position.numpy()}}, found.summary


def backprojected(odd, out):
    found = backproject(odd.stack)
    write_reconstruction(found, out)
    return {
        "map": {"density": found.map.density.numpy(), "sharpened": found.sharpened.density.numpy()}
    }, found.summary


def debiased(odd, out):
    run = fit(odd.structure, odd.stack, out / "run", segments=2, keep_base=True)
    found = debias(run, odd.stack, out / "debiased", centres=1)
    return {
        path.stem: {"density": mrcfile.read(path)} for path in found.folder.glob("*.mrc")
    }, found.summary


COMMANDS = {
    "fit": fitted,
    "fit-vae": fitted_vae,
    "volume": of_volumes,
    "refine": refined,
    "backproject": backprojected,
    "debias": debiased,
}


def main(seeds: int, *words: str) -> dict:
    """How often each command answered and refused, how long the slowest took (s), and what else
    happened.
    """
    kinds, commands = (
        [name for name in names if not set(words) & set(names) or name in words]
        for names in (KINDS, COMMANDS)
    )
    counts, slowest, wrong = (
        {name: Counter() for name in commands},
        {name: 0.0 for name in commands},
        {},
    )
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(seeds):
            good = _make(Path(scratch) / f"good{seed}", seed)
            for kind in kinds:
                for command in commands:
                    started = time.process_time()
                    ended, said = _use(good, kind, command, seed, Path(scratch) / "odd")
                    slowest[command] = max(
                        slowest[command], round(time.process_time() - started, 1)
                    )
                    counts[command][ended] += 1
                    if ended == "wrong":
                        print(f"{command}, {kind}, {seed}: {said}", file=sys.stderr, flush=True)
                        wrong[f"{command}, {kind}, {seed}"] = said
    return {
        "counts": {name: dict(count) for name, count in counts.items()},
        "slowest": slowest,
        "wrong": wrong,
    }


def _make(folder, seed):
    """Structure and particles of two pairs of helices, the second of which slides."""
    folder.mkdir()
    lines = sum(
        (
            helix(
                "A",
                10,
                first=1 + 10 * k,
                start=(9.0 * (k % 2), 9.0 * (k // 2), -8),
                serial=1000 * k,
            )
            for k in range(4)
        ),
        [],
    )
    structure = read_structure(write_pdb(folder / "two.pdb", lines))
    generator = torch.Generator().manual_seed(seed)
    slide = 4 * torch.randn(COUNT, 1, 1, generator=generator) * torch.tensor([1.0, 0.0, 0.0])
    atoms = structure.position + torch.as_tensor(structure.residue > 20)[:, None] * slide
    star = simulate_particles(
        structure, atoms, folder, grid=ImageGrid(BOX, PIXEL), snr=SNR, generator=generator
    )
    return structure, read_particles(star)


def _use(good, kind, command, seed, folder):
    """Whether a set of a kind was used, refused or neither, and what was said of that."""
    structure, stack = good
    folder.mkdir()
    odd = OddSet(stack.read().numpy(), stack, structure, np.random.default_rng(seed))
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            KINDS[kind](odd)
            _write(odd, folder / stack.source.name)
            arrays, summary = COMMANDS[command](odd, folder / "out")
        json.dumps(summary, allow_nan=False)
        bad = [
            f"{file}: {name}"
            for file, held in arrays.items()
            for name, value in held.items()
            if value.dtype.kind == "f" and not np.isfinite(value).all() and name not in UNKNOWN
        ]
        return ("wrong", f"not finite: {', '.join(bad)}") if bad else ("used", "")
    except AtomdrgnError as error:
        return "refused", str(error)
    except Exception:
        return "wrong", traceback.format_exc()[-1500:]
    finally:
        shutil.rmtree(folder)


def _write(odd, path):
    """Put the images into a stack, from which the particles are read."""
    stacked = path.with_suffix(".mrcs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with mrcfile.new(stacked, np.ascontiguousarray(odd.images, dtype=np.float32)) as file:
            file.set_image_stack()
            file.voxel_size = PIXEL
    path.write_text("")
    odd.stack = replace(
        odd.stack, images=replace(odd.stack.images, headers=(read_header(stacked),)), source=path
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(main(int(sys.argv[1]), *sys.argv[2:]), indent=2))
