"""``atomdrgn dock``: what it writes and says, and what users get wrong."""

import re

import mrcfile
import pytest
import torch

from atomdrgn import DensityMap, place, read_structure, write_density_map
from atomdrgn.physics.maps.atom_density import density_of_atoms
from molecules import atom_line, helix, write_pdb


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """base.pdb, about its place in the frame of consensus.mrc, whose corner is at zero."""
    monkeypatch.chdir(tmp_path)
    lines = helix("A", 20, start=(0, 0, -14)) + helix("B", 12, start=(11, 2, -6))
    centred = read_structure(write_pdb(tmp_path / "centred.pdb", lines))
    electrons = torch.as_tensor(centred.element).double()
    density = density_of_atoms(
        centred.position.double(), electrons, 1.5, box_size=32, voxel_size=2.0
    )
    write_density_map("consensus.mrc", DensityMap(density, 2.0, (32.0, 32.0, 32.0)))
    write_pdb(
        tmp_path / "base.pdb",
        helix("A", 20, start=(32.5, 33, 17)) + helix("B", 12, start=(43.5, 35, 25)),
    )
    return tmp_path


def refused(ended, says):
    *_, last = ended.err.splitlines()
    assert ended.code == 2 and last.startswith("error: ") and re.search(says, last), ended
    return True


def test_a_model_that_no_pdb_file_holds_is_placed_as_mmcif(atomdrgn, folder):
    """Hybrid-36 numbers, which gemmi reads."""
    text = (folder / "base.pdb").read_text()
    (folder / "base.pdb").write_text(text.replace("ALA A  20 ", "ALA AA000 "))
    ended = atomdrgn("dock", "base.pdb", "consensus.mrc", "--local")
    assert ended.code == 0 and "wrote base.docked.cif and base.docked.json" in ended.out
    assert "residue numbers from -999 to 9999, not 10000: mmCIF is written" in ended.out + ended.err


def test_a_model_is_placed_and_kept(atomdrgn, folder):
    ended = atomdrgn("dock", "base.pdb", "consensus.mrc", "--local")
    assert ended.code == 0 and "wrote base.docked.pdb and base.docked.json" in ended.out
    assert "next: atomdrgn fit base.docked.pdb PARTICLES\n" in ended.out
    placed, centred = read_structure("base.docked.pdb"), read_structure("centred.pdb")
    assert (placed.position - centred.position).norm(dim=1).max() < 0.2
    assert refused(
        atomdrgn("dock", "base.pdb", "consensus.mrc", "--local"),
        "base.docked.pdb is already there.*--overwrite",
    )
    again = atomdrgn("dock", "base.pdb", "consensus.mrc", "--local", "--overwrite", "-q")
    assert again.code == 0 and again.out == again.err == ""


def test_it_can_stay_in_the_frame_of_the_map(atomdrgn, folder):
    ended = atomdrgn(
        "dock", "base.pdb", "consensus.mrc", "--local", "--frame", "map", "--out", "in_map.cif.gz"
    )
    assert (
        "next: atomdrgn fit in_map.cif.gz PARTICLES --map consensus.mrc\n" in ended.out
        and (folder / "in_map.json").exists()
    )
    centred = place(read_structure("centred.pdb"), (-32.0, -32.0, -32.0))
    assert (read_structure("in_map.cif.gz").position - centred.position).norm(dim=1).max() < 0.2


@pytest.mark.seconds
def test_all_placements_are_compared(atomdrgn, folder):
    ended = atomdrgn("dock", "base.pdb", "consensus.mrc")
    assert ended.code == 0 and "second best" in ended.out and "the hand is right" in ended.out
    placed, centred = read_structure("base.docked.pdb"), read_structure("centred.pdb")
    assert (placed.position - centred.position).norm(dim=1).max() < 0.5


def test_a_header_without_voxel_size_needs_the_option(atomdrgn, folder):
    with mrcfile.open("consensus.mrc", "r+") as file:
        file.header.cella = (0, 0, 0)
        file.header.origin = (0, 0, 0)
    assert refused(atomdrgn("dock", "base.pdb", "consensus.mrc"), "no voxel size")
    assert atomdrgn("dock", "base.pdb", "consensus.mrc", "--local", "--voxel-size", 2).code == 0


def test_voxels_that_are_no_cubes(atomdrgn, folder):
    with mrcfile.open("consensus.mrc", "r+") as file:
        file.header.cella = (64, 64, 70)
    assert refused(atomdrgn("dock", "base.pdb", "consensus.mrc"), "voxels of 2 x 2 x 2.1875 A")


def test_a_shifted_origin_is_said(atomdrgn, folder):
    with mrcfile.open("consensus.mrc", "r+") as file:
        file.header.origin = (10, 20, 30)
    ended = atomdrgn("dock", "base.pdb", "consensus.mrc", "--local")
    assert (
        "warning: consensus.mrc: the header puts the first voxel at (10.0, 20.0, 30.0) A"
        in ended.err
    )


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_an_empty_map(atomdrgn, folder, value):
    with mrcfile.open("consensus.mrc", "r+") as file:
        file.data[:] = value
    assert refused(atomdrgn("dock", "base.pdb", "consensus.mrc"), "consensus.mrc: every voxel is")


def test_a_map_cut_short(atomdrgn, folder):
    content = (folder / "consensus.mrc").read_bytes()
    (folder / "consensus.mrc").write_bytes(content[:-4000])
    assert refused(
        atomdrgn("dock", "base.pdb", "consensus.mrc"), "promises 32 sections and the file holds 31"
    )


def test_a_model_of_water(atomdrgn, folder):
    write_pdb(
        folder / "water.pdb",
        [atom_line(n, "O", "HOH", "A", n, (3 * n, 0, 0), record="HETATM") for n in (1, 2)],
    )
    assert refused(
        atomdrgn("dock", "water.pdb", "consensus.mrc"), "water.pdb: 0 of 2 atoms give density"
    )


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["base.pdb", "absent.mrc"], "absent.mrc: no such file"),
        (
            ["consensus.mrc", "base.pdb"],
            "consensus.mrc: the name of a structure file has to end in",
        ),
        (["base.pdb", "base.pdb"], "base.pdb"),
        (
            ["base.pdb", "consensus.mrc", "--voxel-size", "0.1"],
            "smaller than the model.*--voxel-size",
        ),
        (["base.pdb", "consensus.mrc", "--voxel-size", "-1"], "--voxel-size -1"),
        (["base.pdb", "consensus.mrc", "--resolution", "1"], "choose from 4 to 32 A"),
        (["base.pdb", "consensus.mrc", "--resolution", "0"], "--resolution 0: expected a positive"),
        (["base.pdb", "consensus.mrc", "--resolution", "50"], "choose from 4 to 32 A"),
        (
            ["base.pdb", "consensus.mrc", "--out", "model.xyz"],
            "model.xyz: the name of a structure file has to end in",
        ),
        (
            ["base.pdb", "consensus.mrc", "--out", "absent/model.pdb"],
            "the folder absent is not there",
        ),
    ],
)
def test_what_users_get_wrong(atomdrgn, folder, arguments, says):
    before = sorted(path.name for path in folder.iterdir())
    assert refused(atomdrgn("dock", *arguments), says)
    assert sorted(path.name for path in folder.iterdir()) == before
