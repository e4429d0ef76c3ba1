import numpy as np
import pytest

from atomdrgn.errors import FileFormatError, MissingFileError
from atomdrgn.io.cryosparc import read_cs


def test_fields_come_by_name_and_bytes_as_text(tmp_path):
    rows = np.zeros(3, dtype=[("uid", "<u8"), ("blob/path", "S20"), ("alignments3D/pose", "<f4", (3,))])
    rows["blob/path"] = [b">J1/a.mrc", b"J1/b.mrc", b""]
    rows["alignments3D/pose"][1] = 1, 2, 3
    with open(tmp_path / "x.cs", "wb") as file:
        np.save(file, rows)
    table = read_cs(tmp_path / "x.cs")
    assert table["blob/path"].tolist() == [">J1/a.mrc", "J1/b.mrc", ""]
    assert table["alignments3D/pose"].tolist() == [[0, 0, 0], [1, 2, 3], [0, 0, 0]]
    assert table["uid"].dtype == np.uint64


def test_nothing_is_unpickled(tmp_path):
    with open(tmp_path / "x.cs", "wb") as file:
        np.save(file, np.array([{"a": 1}], dtype=object))
    with pytest.raises(FileFormatError, match="x.cs: not a .cs file"):
        read_cs(tmp_path / "x.cs")


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_what_is_no_structured_array_is_refused(tmp_path, content):
    if content is None:
        with open(tmp_path / "x.cs", "wb") as file:
            np.save(file, np.zeros(3))
    else:
        (tmp_path / "x.cs").write_bytes(content)
    with pytest.raises(FileFormatError, match="x.cs"):
        read_cs(tmp_path / "x.cs")
    with pytest.raises(MissingFileError, match="nowhere.cs"):
        read_cs(tmp_path / "nowhere.cs")
