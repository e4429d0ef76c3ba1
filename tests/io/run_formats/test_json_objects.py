"""JSON files: one object, finite numbers, and a name for what is missing."""

import json

import pytest

from atomdrgn.errors import FileFormatError
from atomdrgn.io.run_formats.json_objects import read_json_object


@pytest.fixture
def path(tmp_path):
    return tmp_path / "said.json"


def test_what_is_not_said_is_an_error_that_names_the_file(path):
    path.write_text('{"a": 1, "more": {"b": [{"c": 2.5}]}}')
    said = read_json_object(path)
    assert said == {"a": 1, "more": {"b": [{"c": 2.5}]}} and json.loads(json.dumps(said)) == said
    assert said.get("x") is None and "x" not in said
    for asked in (lambda: said["x"], lambda: said["more"]["y"], lambda: said["more"]["b"][0]["z"]):
        with pytest.raises(FileFormatError, match="said.json: there is no '[xyz]'"):
            asked()


@pytest.mark.parametrize(
    "content, says",
    [
        ("", "JSON"),
        ("[1, 2]", "list"),
        ("3", "int"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ('{"a": 1e999}', "1e999"),
        ('{"a":' * 100_000, "deep"),
        ("[" * 100_000, "deep"),
        ("\0" * 50, "JSON"),
        ('{"a": "\\ud800', "JSON"),
        ('{"a": ' + "9" * 10_000 + "}", "JSON"),
    ],
)
def test_what_is_no_object_is_refused(path, content, says):
    path.write_text(content)
    with pytest.raises(FileFormatError, match=says):
        read_json_object(path)


def test_what_is_no_text_or_too_large_is_refused(path, monkeypatch):
    path.write_bytes(b'{"a": "\xff\xfe"}')
    with pytest.raises(FileFormatError, match="JSON"):
        read_json_object(path)
    monkeypatch.setattr("atomdrgn.io.run_formats.json_objects.LARGEST", 5)
    path.write_text('{"a": 1}')
    with pytest.raises(FileFormatError, match="8 bytes"):
        read_json_object(path)
