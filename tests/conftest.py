"""What all tests share: shapes are checked as annotated, and real data is found where it is kept beside the repository."""

from jaxtyping import install_import_hook

install_import_hook("atomdrgn", "beartype.beartype")    # before anything imports the package

from pathlib import Path  # noqa: E402

import pytest  # noqa: E402


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of third-party data that the project does not carry; tests that need it are skipped where it is absent."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"real data is not here: {folder}")
    return folder
