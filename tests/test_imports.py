"""The direction of imports is one way, and importing the package is quick."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import atomdrgn

PACKAGE = Path(atomdrgn.__file__).parent

# Each may import those below; those that share a line do not import each other.
LAYERS = [("cli",), ("analysis",), ("reconstruction",), ("inference", "inspection", "simulate"),
          ("run_files",), ("volume_run",), ("run",), ("run_contents",),
          ("model", "likelihood"), ("structure", "particles"), ("physics", "io"), ("reporting", "parallel"), ("errors",)]
LEVEL = {name: -depth for depth, names in enumerate(LAYERS) for name in names}


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or not path.stem.startswith("__"))


def imported_parts(path):
    """Parts of the package that a module imports, wherever the statement stands."""
    package = ("atomdrgn", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            names = [*base, *(node.module.split(".") if node.module else [])]
            ends = [[*names, alias.name] for alias in node.names]
        elif isinstance(node, ast.Import):
            ends = [alias.name.split(".") for alias in node.names]
        else:
            continue
        yield from (end[1] for end in ends if end[0] == "atomdrgn" and len(end) > 1)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert part in LEVEL, f"{part} has no place in the order of imports: give it one"
    for other in imported_parts(path):
        if other != part and not other.startswith("__"):
            assert LEVEL[other] < LEVEL[part], f"{part} imports {other}, which does not stand below it"


def in_a_new_process(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_loads_nothing_heavy():
    loaded = in_a_new_process("import sys, atomdrgn, atomdrgn.cli; print(*sys.modules)").split()
    assert not {"torch", "numpy", "scipy", "gemmi", "biotite", "mrcfile"} & set(loaded)


def test_every_public_name_exists_and_is_documented():
    for name in atomdrgn.__all__:
        if name != "__version__":
            assert getattr(atomdrgn, name).__doc__, name
    assert set(atomdrgn.__all__) <= set(dir(atomdrgn))


def test_public_names_are_the_same_after_their_modules_were_imported():
    code = ("import atomdrgn as a, atomdrgn.inference.fit, atomdrgn.analysis.export, atomdrgn.analysis.analyze, "
            "atomdrgn.inspection, atomdrgn.simulate; print(callable(a.fit), callable(a.export), callable(a.analyze), "
            "callable(a.inspect), callable(a.simulate_particles))")
    assert in_a_new_process(code) == "True True True True True"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        atomdrgn.nothing  # noqa: B018


def test_the_version_is_that_of_the_package():
    assert atomdrgn.__version__.count(".") == 2
