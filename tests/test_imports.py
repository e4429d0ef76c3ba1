"""The direction of imports is one way, and importing the package is quick."""

import ast
import builtins
import dis
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import CodeType

import pytest

import atomdrgn

PACKAGE = Path(atomdrgn.__file__).parent

# The rooms of the house, from the street down to the cellar: each may import those on the lines
# below it. Files that stand in a package itself, beside its own packages, are a room too.
ROOMS = [
    ("cli",),
    ("notebook",),
    ("analysis.volumes",),
    ("analysis",),
    ("analysis.report", "analysis.particle_files"),
    ("analysis.examination", "analysis.structure_files"),
    ("debiasing",),
    ("latent_maps",),
    ("volume", "subspace"),
    ("inference.amortised",),
    ("inference",),
    ("inference.base_model",),
    ("inference.placing",),
    ("inference.findings",),
    ("inference.posterior", "inference.far_start"),
    ("inference.residual",),
    ("inference.problem", "backprojection"),
    ("inference.images", "inspection", "simulate"),
    ("runs", "docking", "likelihood.agreement", "likelihood.restraints"),
    ("inference.population", "likelihood", "networks"),
    ("structure.motion", "structure.bonds", "particles"),
    ("structure", "particles.formats"),
    ("particles.tables", "io.structure_writing"),
    ("particles.stack", "io.structure_files", "physics.projection", "physics.maps"),
    ("io.run_formats",),
    ("physics", "io", "parallel"),
    ("reporting", "devices"),
    ("errors",),
]
LEVEL = {room: -depth for depth, rooms in enumerate(ROOMS) for room in rooms}
MOST_FILES = 10
LARGER = {"cli": 21, "structure": 11}  # cli: a file a command


def modules():
    return sorted(
        path
        for path in PACKAGE.rglob("*.py")
        if path.parent != PACKAGE or not path.stem.startswith("__")
    )


def room_of(path):
    """The package that a file stands in; of files that stand in none, their own name."""
    *parts, name = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts) or name


def imported(path):
    """Files of the package that one of them imports, wherever the statement stands."""
    package = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            if not node.level and not (node.module or "").startswith("atomdrgn"):
                continue
            base = package[: len(package) - node.level + 1] if node.level else ()
            names = [*base, *((node.module or "").split(".") if node.module else [])]
            names = names[1:] if not node.level else names
            ends = [[*names, alias.name] for alias in node.names]
        elif isinstance(node, ast.Import):
            ends = [
                alias.name.split(".")[1:]
                for alias in node.names
                if alias.name.startswith("atomdrgn.")
            ]
        else:
            continue
        for end in ends:
            for names in (end, end[:-1]):
                file = PACKAGE.joinpath(*names[:-1], f"{names[-1]}.py") if names else None
                if file is not None and file.exists():
                    yield file


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    room = room_of(path)
    assert room in LEVEL, f"{room} has no place in the order of rooms: give it one"
    for other in map(room_of, imported(path)):
        assert other == room or LEVEL[other] < LEVEL[room], (
            f"{room} imports {other}, which does not stand below it"
        )


def test_rooms_are_small():
    count = Counter(room_of(path) for path in modules() if path.stem != "__init__")
    large = {room: number for room, number in count.items() if number > MOST_FILES}
    assert large == LARGER
    assert count.keys() == LEVEL.keys()


def test_no_two_files_share_a_name():
    """A command may be named as what it calls."""
    names = Counter(path.stem for path in modules() if path.parent.name != "cli")
    names.pop("__init__")
    assert [name for name, number in names.items() if number > 1] == []


def test_tests_mirror_the_rooms():
    """A file of tests stands in the room of the file that it is named after."""
    tests = Path(__file__).parent
    rooms = {
        path.stem: path.relative_to(PACKAGE).parent
        for path in modules()
        if path.parent.name != "cli"
    }
    for path in tests.rglob("test_*.py"):
        name = path.stem.removeprefix("test_")
        if name in rooms and path.parent.name != "cli":
            assert path.relative_to(tests).parent == rooms[name], path


def global_names(code):
    """Names that compiled code, and the functions in it, look up in their module."""
    for step in dis.get_instructions(code):
        if step.opname == "LOAD_GLOBAL":
            yield step.argval
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from global_names(each)


def test_every_name_that_a_function_uses_is_there():
    """What ruff would find, were the names in jaxtyping's shapes not undefined for it too."""
    for path in modules():
        name = ".".join(["atomdrgn", *path.relative_to(PACKAGE).with_suffix("").parts])
        if path.stem.endswith("_triton"):  # not importable everywhere
            continue
        there = vars(import_module(name.removesuffix(".__init__"))).keys() | vars(builtins).keys()
        used = set(global_names(compile(path.read_text(), str(path), "exec")))
        assert used <= there, f"{name}: {sorted(used - there)}"


def in_a_new_process(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_the_package_loads_nothing_heavy():
    loaded = in_a_new_process("import sys, atomdrgn, atomdrgn.cli; print(*sys.modules)").split()
    assert not {"torch", "numpy", "scipy", "gemmi", "biotite", "mrcfile"} & set(loaded)


def test_every_public_name_exists_and_is_documented():
    for name in atomdrgn.__all__:
        if name != "__version__":
            assert getattr(atomdrgn, name).__doc__, name
    assert set(atomdrgn.__all__) <= set(dir(atomdrgn))
    assert not {"Any", "import_module"} & set(dir(atomdrgn))


@pytest.mark.seconds
def test_public_names_are_the_same_after_their_modules_were_imported():
    code = (
        "import atomdrgn as a, atomdrgn.inference.fit, atomdrgn.analysis.structure_files.export, "
        "atomdrgn.analysis.analyze, atomdrgn.inspection, atomdrgn.simulate; print(callable(a.fit), "
        "callable(a.export), callable(a.analyze), callable(a.inspect), "
        "callable(a.simulate_particles))"
    )
    assert in_a_new_process(code) == "True True True True True"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        atomdrgn.nothing  # noqa: B018


def test_the_version_is_that_of_the_package():
    assert atomdrgn.__version__.count(".") == 2
