"""The inspect command prints what the function found, on standard output."""

import json
import subprocess
import sys


def test_what_a_file_holds(atomdrgn, folder):
    ended = atomdrgn("inspect", "particles.star", "--quiet")
    assert ended.code == 0 and ended.err == ""
    assert (
        "12, one a particle" in ended.out
        and "32 x 32 pixels of 3 A" in ended.out
        and "300 kV" in ended.out
    )


def test_how_well_a_structure_explains_it(atomdrgn, folder):
    ended = atomdrgn(
        "inspect", "particles.star", "--against", "base.pdb", "--limit", "10", "--resolution", "8"
    )
    assert (
        ended.code == 0 and "base.pdb against 10 images of 10 particles, down to 8 A" in ended.out
    )
    assert "rotations of other particles" in ended.out and "hand mirrored" in ended.out
    assert ended.out.splitlines()[-1].startswith("  poses")


def test_dark_protein_is_named(atomdrgn, folder):
    ended = atomdrgn("inspect", "particles.star", "--against", "base.pdb", "--invert-contrast")
    assert ended.code == 0 and "pass --keep-contrast" in ended.out.splitlines()[-1]


def test_a_limit_that_makes_no_sense(atomdrgn, folder):
    ended = atomdrgn("inspect", "particles.star", "--limit", "0")
    assert ended.code == 2 and ended.err == "error: a limit of 0 images: expected at least 1\n"


def test_the_same_as_json(atomdrgn, folder):
    ended = atomdrgn("inspect", "particles.star", "--against", "base.pdb", "--json")
    said = json.loads(ended.out)
    assert ended.code == 0 and said["n_particles"] == 12 and said["box_size"] == 32
    assert said["optics"][0]["voltage_kv"] == 300 and said["half_sets"] == [6, 6]
    mean, error = said["against"]["correlations"]["as in the file"]
    assert 0 < error < mean and said["against"]["worse_by"]["hand mirrored"] is not None


def test_nobody_has_to_read_to_the_end(folder):
    """`atomdrgn inspect ... | head -1` says nothing of a broken pipe."""
    words = [sys.executable, "-m", "atomdrgn", "inspect", "particles.star", "--quiet"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        command.stdout.close()
        said = command.stderr.read()
    assert said == b"" and command.returncode == 141
