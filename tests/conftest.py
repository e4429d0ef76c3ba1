"""What all tests share: shapes are checked as annotated, and real data is found where it is kept
beside the repository.
"""

import os
from importlib import import_module
from pathlib import Path

# as many workers as cores: threads of theirs would wait for each other
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from jaxtyping import install_import_hook

SOURCE = Path(__file__).parents[1] / "src"


def check_shapes():
    """Modules that are imported from now on have their shapes checked, as they are annotated."""
    # modules of compiled loops come first: the compiler does not take functions that are wrapped in
    # checks of their shapes. They hold nothing but loops over arrays, so that the rest is still
    # checked
    for file in sorted(SOURCE.rglob("*.py")):
        if "from numba import" in file.read_text():
            import_module(".".join(file.relative_to(SOURCE).with_suffix("").parts))
    return install_import_hook("atomdrgn", "beartype.beartype")


# here and not where pytest is configured: the conftest.py of a room that is given by its path is
# imported before that, and much of the package with it
CHECKS = check_shapes()


def pytest_configure(config):
    """Shapes are checked but where only slow tests run: there checks are a third of the time."""
    if config.option.markexpr == "slow":
        CHECKS.uninstall()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of third-party data that the project does not carry; tests that need it are skipped
    where it is absent.
    """
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"real data is not here: {folder}")
    return folder
