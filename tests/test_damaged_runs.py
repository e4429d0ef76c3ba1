"""Runs that were damaged or edited by hand: they are used as they are, or refused in one line that
names the file.
"""

import json
import shutil

import numpy as np
import pytest

from atomdrgn import open_run
from atomdrgn.analysis.analyze import analyze
from atomdrgn.analysis.structure_files.export import export
from atomdrgn.cli.summary import summary_lines
from atomdrgn.errors import AtomdrgnError, FileFormatError
from hinged import hinged_run, two_helices

PLACE = np.linspace(-4, 4, 12)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 12 particles; not to be changed."""
    folder = tmp_path_factory.mktemp("whole")
    return hinged_run(folder, two_helices(folder), PLACE).folder


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of it, to be damaged."""
    return shutil.copytree(whole, tmp_path / "run")


def use(folder, out, *, thoroughly=False):
    """All that commands ask of a run."""
    run = open_run(folder)
    _ = (
        run.latent,
        run.latent_sd,
        run.draws,
        run.table,
        run.motion,
        run.beads([0]),
        run.occupancy([0]),
    )
    assert np.isfinite(run.atoms(range(run.n_particles)).numpy()).all()
    assert np.isfinite(run.b_factors([0, 1]).numpy()).all()
    export(run, out / "ensemble", format="pdb", particles=[0, 1])
    export(run, out / "draws", samples=2)
    if thoroughly:
        analyze(run, out / "look", clusters=2, frames=3)


def test_a_run_that_is_whole_is_used(folder, tmp_path):
    use(folder, tmp_path, thoroughly=True)


# ---- arrays -------------------------------------------------------------------------------------

ARRAYS = {
    "model.npz": [
        "bead",
        "sigma",
        "amplitude",
        "bead_of_atom",
        "trace",
        "centroid",
        "weight",
        "radius",
        "free",
        "surface_scale",
        "surface_coefficient",
        "half_error",
    ],
    "latents.npz": ["latent", "latent_sd", "draws"],
    "motions.npz": ["rotation", "translation"],
}


def edit(path, name, change):
    with np.load(path) as held:
        arrays = dict(held)
    changed = change(arrays.pop(name))
    np.savez_compressed(path, **arrays, **({} if changed is None else {name: changed}))


def with_one(value):
    def change(array):
        array = array.astype(float) if array.dtype.kind == "f" else array.copy()
        array[(-1,) * array.ndim] = value
        return array

    return change


EDITS = {
    "missing": lambda array: None,
    "short": lambda array: array[:-1],
    "long": lambda array: np.repeat(array, 2, axis=0),
    "deeper": lambda array: array[..., None],
    "texts": lambda array: array.astype(str),
    "empty": lambda array: array[:0],
    "complex": lambda array: array.astype(complex),
    "not finite": with_one(np.nan),
    "infinite": with_one(np.inf),
    "huge": with_one(1e30),
}


# numbers that are finite; what some runs lack
WHOLE, OPTIONAL = ("bead_of_atom", "trace", "free"), ("half_error", "draws")


@pytest.mark.parametrize(
    "file, name, edit_name",
    [
        (file, name, edit)
        for file, names in ARRAYS.items()
        for name in names
        for edit in EDITS
        if not (
            edit in ("not finite", "infinite", "huge")
            and name in WHOLE
            or edit == "missing"
            and name in OPTIONAL
        )
    ],
)
def test_arrays_that_are_not_what_they_should_be_are_refused(
    folder, tmp_path, file, name, edit_name
):
    edit(folder / file, name, EDITS[edit_name])
    with pytest.raises(
        FileFormatError, match=r"run/\w+\.\w+: damaged|holds no|holds its particles"
    ):
        use(folder, tmp_path)


@pytest.mark.parametrize(
    "file, name, value",
    [
        ("model.npz", "bead_of_atom", -1),
        ("model.npz", "bead_of_atom", 10**6),
        ("model.npz", "free", 7),
        ("model.npz", "sigma", 0),
        ("model.npz", "sigma", -1),
        ("model.npz", "half_error", -1),
        ("model.npz", "weight", -1),
        ("model.npz", "surface_scale", 0),
        ("latents.npz", "latent_sd", -0.1),
        ("motions.npz", "rotation", 3),
    ],
)
def test_numbers_that_make_no_sense_are_refused(folder, tmp_path, file, name, value):
    edit(folder / file, name, with_one(value))
    with pytest.raises(FileFormatError, match=f"run/{file}: damaged \\({name} holds"):
        use(folder, tmp_path)


def test_a_model_of_another_structure_is_refused(folder, tmp_path):
    edit(folder / "model.npz", "bead_of_atom", lambda array: array[::-1].copy())
    with pytest.raises(FileFormatError, match="beads are not those of base.cif"):
        use(folder, tmp_path, thoroughly=True)


@pytest.mark.parametrize("file", ARRAYS)
@pytest.mark.parametrize("spoil", ["cut", "flipped", "empty", "text", "plain"])
def test_a_damaged_file_is_named(folder, tmp_path, file, spoil):
    path = folder / file
    content = path.read_bytes()
    if spoil == "plain":
        np.save(tmp_path / "plain.npy", np.zeros(3))
    path.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "empty": b"",
            "text": b"hello",
            "flipped": content[:300] + bytes([content[300] ^ 255]) + content[301:],
            "plain": (tmp_path / "plain.npy").read_bytes() if spoil == "plain" else b"",
        }[spoil]
    )
    with pytest.raises(FileFormatError, match=f"run/{file}: damaged .*--overwrite"):
        use(folder, tmp_path)


# ---- what is said -------------------------------------------------------------------------------


def said_paths():
    """Each thing that the JSON files of a run say, as the names that lead to it."""
    summary = [
        "particles",
        "images",
        "segments",
        "residues",
        "beads",
        "resolution",
        "motions_supported",
        "motions",
        "groups",
        "states",
        "half_set_error",
        "mean_log_likelihood_gain",
        "unmodelled",
        "warnings",
    ]
    inside = [
        ["motions", 0, name]
        for name in ("number", "variance", "share", "median_sd", "held_out_gain")
    ]
    inside += [["groups", 1, name] for name in ("number", "selection", "residues", "motion")]
    yield from (("summary.json", path) for path in [[name] for name in summary] + inside)
    yield from (
        ("run.json", path)
        for path in [
            ["version"],
            ["fit"],
            ["fit", "beads"],
            ["input"],
            ["reading"],
            ["command"],
            ["reading", "origin"],
        ]
    )


def said_differently(path, names, value):
    content = json.loads(path.read_text())
    inside = content
    for name in names[:-1]:
        inside = inside[name]
    if value is None:
        del inside[names[-1]]
    else:
        inside[names[-1]] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "value",
    [None, {"a": [1]}, "text", [[]], -1, 10**400, True],
    ids=["missing", "object", "text", "lists", "negative", "huge", "true"],
)
def test_what_is_said_wrongly_is_used_or_refused_in_one_line(folder, tmp_path, value):
    for number, (file, names) in enumerate(said_paths()):
        before = (folder / file).read_text()
        said_differently(folder / file, names, value)
        try:
            use(folder, tmp_path / str(number))
            summary_lines(open_run(folder))
        except AtomdrgnError as error:
            assert any(
                f"run/{each}" in str(error)
                for each in ("run.json", "summary.json", "model.npz", "latents.npz")
            ), names
        (folder / file).write_text(before)


@pytest.mark.long
def test_all_of_it_through_an_analysis(folder, tmp_path):
    number = 0
    for value in (None, {"a": [1]}, "text", [[]], -1, 10**400, True):
        for file, names in said_paths():
            before = (folder / file).read_text()
            said_differently(folder / file, names, value)
            try:
                analyze(
                    open_run(folder), tmp_path / str(number := number + 1), clusters=2, frames=3
                )
            except AtomdrgnError:
                pass
            (folder / file).write_text(before)


DEEP = '{"format": 1, "fit": ' + "[" * 50_000


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "3",
        "null",
        "{",
        '{"format": 1, "fit": [], "groups": 3}',
        DEEP,
        "\0" * 100,
        '{"format": 1, "reading": {"origin": [NaN, 1, 2]}}',
    ],
    ids=range(9),
)
@pytest.mark.parametrize("file", ["run.json", "summary.json"])
def test_files_that_say_nothing_are_named(folder, tmp_path, file, content):
    (folder / file).write_text(content)
    with pytest.raises(FileFormatError, match=f"run/{file}: "):
        use(folder, tmp_path, thoroughly=True)


# ---- tables -------------------------------------------------------------------------------------


def lines_of(change):
    return lambda text: "\n".join(change(text.splitlines())) + "\n"


TABLES = {
    "cut": lines_of(lambda lines: lines[:-1]),
    "ragged": lines_of(lambda lines: [*lines[:-1], lines[-1] + ",1"]),
    "header alone": lines_of(lambda lines: lines[:1]),
    "empty": lambda text: "",
    "zeros": lambda text: "\0" * len(text),
    "no number": lines_of(lambda lines: [*lines[:-1], ",".join("x" for _ in lines[-1].split(","))]),
    "one cell": lambda text: text + '"' + "x" * 200_000,
}


@pytest.mark.parametrize("spoil", TABLES)
@pytest.mark.parametrize("file", ["particles.csv", "residues.csv", "history.csv"])
def test_damaged_tables_are_named_or_not_needed(folder, tmp_path, file, spoil):
    path = folder / file
    path.write_text(TABLES[spoil](path.read_text()))
    if file == "history.csv" and spoil in ("cut", "header alone"):
        use(folder, tmp_path, thoroughly=True)  # a shorter history is one
        return
    with pytest.raises(FileFormatError, match=f"run/{file}: damaged"):
        use(folder, tmp_path, thoroughly=True)


def test_a_group_that_is_none_is_refused(folder, tmp_path):
    path = folder / "residues.csv"
    lines = path.read_text().splitlines()
    cells = lines[-1].split(",")
    cells[lines[0].split(",").index("group")] = "9"
    path.write_text("\n".join([*lines[:-1], ",".join(cells)]) + "\n")
    with pytest.raises(FileFormatError, match="residues.csv: damaged .*group"):
        use(folder, tmp_path, thoroughly=True)
