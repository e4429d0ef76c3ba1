"""Latents of other programs: what is read, whose rows are whose, what is refused."""

import pickle

import numpy as np
import pytest
import torch

from atomdrgn import ImageGrid, read_particles, read_structure, simulate_particles
from atomdrgn.errors import FileFormatError, InputError, MissingFileError
from atomdrgn.io.star import StarTable, read_star, write_star
from atomdrgn.runs.given_latents import read_latents
from molecules import helix, write_pdb

COUNT = 6


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("particles")
    structure = read_structure(write_pdb(folder / "base.pdb", helix("A", 8)))
    atoms = structure.position.expand(COUNT, -1, -1)
    generator = torch.Generator().manual_seed(301)
    return read_particles(
        simulate_particles(
            structure, atoms, folder / "set", grid=ImageGrid(16, 4.0), snr=1.0, generator=generator
        )
    )


@pytest.fixture
def latent():
    return np.random.default_rng(0).normal(size=(COUNT, 2))


def test_arrays(particles, latent, tmp_path):
    np.save(tmp_path / "z.npy", latent.astype(np.float32))
    found = read_latents(tmp_path / "z.npy", particles)
    assert np.allclose(found.latent, latent, atol=1e-6) and not found.sd.any()
    np.save(tmp_path / "one.npy", latent[:, 0])
    assert read_latents(tmp_path / "one.npy", particles).latent.shape == (COUNT, 1)
    np.savez(tmp_path / "z.npz", latent=latent, latent_sd=0.1 + 0 * latent, contrast=latent[:, 0])
    found = read_latents(tmp_path / "z.npz", particles)
    assert np.array_equal(found.latent, latent) and np.allclose(found.sd, 0.1)
    np.savez(tmp_path / "two.npz", here=latent, there=latent)
    with pytest.raises(FileFormatError, match="holds here, there"):
        read_latents(tmp_path / "two.npz", particles)


def test_rows_of_a_table_are_matched(particles, latent, tmp_path):
    order = np.array([3, 0, 5, 1, 4, 2])
    lines = ["first_row,z2,z1,sd1,sd2"] + [
        f"{row},{latent[row, 1]!r},{latent[row, 0]!r},0.1,0.2" for row in order.tolist()
    ]
    (tmp_path / "z.csv").write_text("\n".join(lines).replace("np.float64(", "").replace(")", ""))
    found = read_latents(tmp_path / "z.csv", particles)
    assert np.allclose(found.latent, latent) and np.allclose(found.sd, [0.1, 0.2])
    (tmp_path / "less.csv").write_text("\n".join(["first_row,z1", "0,1.0", "1,2.0"]))
    with pytest.raises(InputError, match="4 of 6 particles have no row there, the first is 2"):
        read_latents(tmp_path / "less.csv", particles)


def test_rows_of_a_star_file_are_matched_by_name(particles, latent, tmp_path):
    table = next(each for each in read_star(particles.source) if "rlnImageName" in each)
    order = [3, 0, 5, 1, 4, 2]
    theirs = StarTable(
        "particles",
        {
            "rlnImageName": [table.texts("rlnImageName")[row] for row in order],
            **{f"userZ_{k + 1}": [f"{latent[row, k]:.8f}" for row in order] for k in range(2)},
        },
    )
    write_star(tmp_path / "z.star", [theirs])
    assert np.allclose(read_latents(tmp_path / "z.star", particles).latent, latent, atol=1e-6)
    write_star(tmp_path / "less.star", [theirs.rows(range(4))])
    with pytest.raises(InputError, match="these are latents of other particles"):
        read_latents(tmp_path / "less.star", particles)


class Dangerous:
    """Makes a file where it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["z.pkl", "z.npy"])
def test_a_pickle_is_named_and_not_opened(particles, tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(Dangerous(tmp_path / "ran")))
    with pytest.raises(FileFormatError, match=r"a pickle.*numpy.save\('z.npy'"):
        read_latents(tmp_path / name, particles)
    np.save(tmp_path / "objects.npy", np.array([Dangerous(tmp_path / "ran")], dtype=object))
    with pytest.raises(FileFormatError, match="no array of numbers"):
        read_latents(tmp_path / "objects.npy", particles)
    assert not (tmp_path / "ran").exists()


def test_refusals(particles, latent, tmp_path):
    with pytest.raises(MissingFileError, match="no such file"):
        read_latents(tmp_path / "z.npy", particles)
    (tmp_path / "z.txt").write_text("1 2")
    with pytest.raises(FileFormatError, match="by its ending"):
        read_latents(tmp_path / "z.txt", particles)
    (tmp_path / "z.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FileFormatError, match="no columns of latents among a, b"):
        read_latents(tmp_path / "z.csv", particles)
    (tmp_path / "word.csv").write_text("z1\nfar\n")
    with pytest.raises(FileFormatError, match="z1 holds what is no number"):
        read_latents(tmp_path / "word.csv", particles)
    for array, error, says in (
        (latent[:5], InputError, "5 rows for the 6 particles"),
        (np.where(latent == latent[2, 1], np.nan, latent), InputError, "of particle 2 is not"),
        (latent * [1, 0], InputError, "number 2 of the latents is the same in all"),
        (latent[None], FileFormatError, "expected numbers, a row"),
        (latent.astype("U5"), FileFormatError, "expected numbers, a row"),
    ):
        np.save(tmp_path / "z.npy", array)
        with pytest.raises(error, match=says):
            read_latents(tmp_path / "z.npy", particles)
