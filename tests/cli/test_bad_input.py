"""What users get wrong is answered in one line that names it, with exit code 2; nothing is left
behind.
"""

import re
import subprocess
import sys

import mrcfile
import numpy as np
import pytest

from molecules import atom_line, helix, write_pdb


def refused(ended, says):
    """The command ended with code 2 and one line of error (warnings may stand before it) that
    matches.
    """
    *before, last = ended.err.splitlines()
    assert ended.code == 2 and re.search(says, last) and last.startswith("error: "), ended
    assert all(line.startswith("warning: ") for line in before), ended
    return True


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def fit(atomdrgn, *more, base="base.pdb", particles="particles.star"):
    return atomdrgn("fit", base, particles, "--segments", "2", *more)


@pytest.mark.parametrize("command", ["fit", "inspect"])
def test_a_missing_stack(atomdrgn, folder, command):
    (folder / "particles.mrcs").unlink()
    ended = fit(atomdrgn) if command == "fit" else atomdrgn("inspect", "particles.star")
    assert refused(ended, "particles.mrcs, which is not there .*--data-folder")
    assert not (folder / "particles.fit").exists()


def test_a_stack_shorter_than_the_rows(atomdrgn, folder):
    with mrcfile.open(folder / "particles.mrcs") as stack:
        images = stack.data[:10].copy()
    with mrcfile.new(folder / "particles.mrcs", images, overwrite=True):
        pass
    assert refused(fit(atomdrgn), "12.*10|10.*12")


def test_a_stack_that_cannot_be_read(atomdrgn, folder):
    (folder / "particles.mrcs").write_bytes(b"not an image" * 200)
    assert refused(fit(atomdrgn), "particles.mrcs")


@pytest.mark.parametrize("value, says", [(np.nan, "not finite"), (0.0, "constant")])
def test_an_image_of_nothing(atomdrgn, folder, value, says):
    with mrcfile.open(folder / "particles.mrcs", "r+") as stack:
        stack.data[4] = value
    assert refused(fit(atomdrgn), f"row 5: image 5 of .*particles.mrcs.* {says}")


def test_a_defocus_of_zero(atomdrgn, folder):
    star = (folder / "particles.star").read_text()
    (folder / "particles.star").write_text(
        re.sub(r"(?m)^(00000\d@\S+(?: \S+){5}) \S+ \S+", r"\1 0 0", star)
    )
    assert refused(fit(atomdrgn), "defocus of .* is 0")


def test_no_ctf_at_all(atomdrgn, folder):
    for name in ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"):
        edit(folder / "particles.star", f"_{name} ", f"_other{name} ")
    assert refused(fit(atomdrgn), "--allow-missing-ctf")


def test_another_box_than_the_stack_has(atomdrgn, folder):
    text = (folder / "particles.star").read_text()
    (folder / "particles.star").write_text(re.sub(r"3\.000000 32 2", "3.000000 64 2", text))
    assert refused(fit(atomdrgn), "box of 64 pixels.*holds images of 32")


def test_a_box_to_crop_to_that_is_too_large(atomdrgn, folder):
    assert refused(fit(atomdrgn, "--box", 48), "32 pixels cannot be cropped to 48")


def test_a_model_in_the_frame_of_its_map(atomdrgn, folder):
    write_pdb(folder / "corner.pdb", helix("A", 12, start=(120, 120, 120)))
    assert refused(fit(atomdrgn, base="corner.pdb"), "outside.*--map.*--origin")
    assert not (folder / "particles.fit").exists()


def test_a_model_without_polymer(atomdrgn, folder):
    write_pdb(
        folder / "ions.pdb",
        [atom_line(1, "ZN", "ZN", "A", 1, (0, 0, 0), element="ZN", record="HETATM")],
    )
    assert refused(fit(atomdrgn, base="ions.pdb"), "no amino acid or nucleotide")


@pytest.mark.parametrize(
    "base, particles, says",
    [
        ("particles.star", "base.pdb", "BASE comes first: atomdrgn fit base.pdb particles.star$"),
        ("base.pdb", "particles.mrcs", "particles.mrcs: not a STAR file"),
        ("absent.pdb", "particles.star", "absent.pdb: no such file"),
        ("base.pdb", "absent.star", "absent.star: no such file"),
        ("base.pdb", ".", "not a STAR file|folder"),
    ],
)
def test_files_of_the_wrong_kind(atomdrgn, folder, base, particles, says):
    assert refused(fit(atomdrgn, base=base, particles=particles), says)


@pytest.mark.parametrize(
    "words",
    [
        ("fit", "base.pdb", "particles.star", "--segments", "0"),
        ("fit", "particles.star", "base.pdb"),
        ("refine", "absent.pdb", "particles.star"),
        ("inspect", "absent.star"),
        ("volume", "absent.star"),
    ],
)
def test_what_can_be_refused_at_once_is(folder, words):
    """Neither torch nor numpy is loaded, which takes seconds."""
    loads = (
        "import sys\nfrom atomdrgn.cli import main\ntry:\n    main(sys.argv[1:])\n"
        "finally:\n    print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", loads, *words], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2 and ended.stdout == "[]\n", ended
    assert re.match("error: .*(expected 1 or more|BASE comes first|no such file)", ended.stderr)


@pytest.mark.parametrize(
    "more, says",
    [
        (["--origin", "1,2"], "--origin 1,2: expected three numbers"),
        (["--origin", "nan,0,0"], "expected three numbers"),
        (["--threads", "0"], "--threads 0: expected 1 to"),
        (["--origin", "0,0,0", "--map", "consensus.mrc"], "give one of them"),
        (["--map", "absent.mrc"], "absent.mrc: no such file"),
        (["--resume", "--overwrite"], "give one of them"),
        (["--parts", "Z:1-5"], "there is no chain 'Z'"),
        (["--fixed", "A:first"], "no range of residues"),
        (["--beads", "3"], "3 beads"),
        (["--segments", "0"], "--segments 0: expected 1 or more"),
        (["--resolution", "-3"], "--resolution -3: expected a positive number"),
        (["--box", "0"], "--box 0: expected 1 or more"),
        (["--segments", "500"], "500 segments"),
        (["--box", "1"], "box 1"),
        (["--box", "2"], "images of 2 pixels: at least 8"),
        (["--temperature", "nan"], "--temperature nan: expected a number"),
        (["--memory", "nan"], "--memory nan: expected a number"),
        (["--temperature", "1e-300"], "a temperature of 1e-300: expected 1e-06 to"),
        (["--seed", "1" + 30 * "0"], "--seed 10{30}: expected a whole number of at most"),
        (["--seed", "-1"], "--seed -1: expected 0 or a positive whole number"),
        (["--tomograms", "tomograms.star"], "leave tomograms out|no such file"),
    ],
)
def test_settings_that_make_no_sense(atomdrgn, folder, more, says):
    assert refused(fit(atomdrgn, *more), says)


def test_warnings_are_one_line_each(atomdrgn, folder):
    model = (folder / "base.pdb").read_text().replace("END", "")
    (folder / "two.pdb").write_text(f"MODEL 1\n{model}ENDMDL\nMODEL 2\n{model}ENDMDL\nEND\n")
    ended = fit(atomdrgn, "--fixed", "Z", base="two.pdb")
    assert (
        refused(ended, "no chain 'Z'")
        and "warning: two.pdb: holds 2 models; the first is used\n" in ended.err
    )


def test_inspect_needs_a_structure_to_place(atomdrgn, folder):
    assert refused(atomdrgn("inspect", "particles.star", "--origin", "0,0,0"), "--against")


def test_a_traceback_is_shown_when_asked_for(atomdrgn, folder):
    ended = fit(atomdrgn, "--debug", base="absent.pdb")
    assert ended.code == 2 and "error: absent.pdb: no such file" in ended.err


def test_what_nobody_foresaw_is_one_line_too(atomdrgn, folder, monkeypatch):
    def broken(*arguments, **settings):
        raise KeyError("a fault")

    monkeypatch.setattr("atomdrgn.particles.reading.read_particles", broken)
    ended = fit(atomdrgn)
    assert ended.code == 1 and ended.err.count("\n") == 1 and "--debug" in ended.err


@pytest.mark.parametrize(
    "error, says",
    [
        (
            OSError(28, "No space left on device", "particles.fit/latents.npz"),
            "particles.fit/latents.npz: No space left on device",
        ),
        (
            PermissionError(13, "Permission denied", "particles.fit"),
            "particles.fit: Permission denied",
        ),
        (MemoryError(), "not enough memory.*--box"),
    ],
)
def test_a_machine_that_cannot_is_a_failure(atomdrgn, folder, monkeypatch, error, says):
    def failing(*arguments, **settings):
        raise error

    monkeypatch.setattr("atomdrgn.inference.fit.fit", failing)
    ended = fit(atomdrgn)
    assert ended.code == 1 and re.search(says, ended.err) and "Traceback" not in ended.err


def test_ctrl_c_says_how_to_go_on(atomdrgn, folder, monkeypatch):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("atomdrgn.inference.fit.fit", interrupted)
    ended = fit(atomdrgn, "--parts", "A:1-12")
    assert ended.code == 130
    assert (
        ended.err
        == "stopped; to go on: atomdrgn fit base.pdb particles.star --segments 2 --parts A:1-12 "
        "--resume\n"
    )
