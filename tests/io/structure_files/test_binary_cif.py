"""BinaryCIF: what another library writes comes back, and nothing that a file says takes memory or
leaves another error.
"""

import gzip
import io

import gemmi
import msgpack
import numpy as np
import pytest
from biotite.structure.io import pdbx

from atomdrgn import read_structure
from atomdrgn.errors import FileFormatError
from atomdrgn.io.structure_files.binary_cif import read_binary_cif

INTEGERS = np.array([0, 1, 1, 1, 127, 128, -128, -129, 255, 256, 70000, -70000, 3, 3], np.int32)
FLOATS = np.array([0, 1.25, -3.5, 100.125, 7.0, 7.0, 7.0], np.float32)
TEXTS = np.array(["", "A", "A", "it's", "two words", "_x", "5'", ".", "A"])


def content_of(columns, masks=None):
    """A file with one category that biotite writes."""
    columns = {
        name: pdbx.BinaryCIFColumn(data, (masks or {}).get(name)) for name, data in columns.items()
    }
    category = pdbx.BinaryCIFCategory(columns)
    file, content = (
        pdbx.BinaryCIFFile({"one": pdbx.BinaryCIFBlock({"atom_site": category})}),
        io.BytesIO(),
    )
    file.write(content)
    return content.getvalue()


def column_of(data, masks=None):
    ((name, categories),) = read_binary_cif(
        content_of({"id": data}, {"id": masks} if masks is not None else None)
    )
    assert name == "one"
    return categories["_atom_site"]["id"]


@pytest.mark.parametrize(
    "encoding",
    [
        [pdbx.ByteArrayEncoding()],
        [pdbx.RunLengthEncoding(), pdbx.ByteArrayEncoding()],
        [pdbx.DeltaEncoding(), pdbx.ByteArrayEncoding()],
        [pdbx.IntegerPackingEncoding(1), pdbx.ByteArrayEncoding()],
        [
            pdbx.DeltaEncoding(),
            pdbx.RunLengthEncoding(),
            pdbx.IntegerPackingEncoding(2),
            pdbx.ByteArrayEncoding(),
        ],
    ],
)
def test_integers_come_back_from_all_encodings(encoding):
    assert column_of(pdbx.BinaryCIFData(INTEGERS, encoding)) == INTEGERS.astype(str).tolist()
    assert (
        column_of(pdbx.BinaryCIFData(np.abs(INTEGERS), encoding))
        == np.abs(INTEGERS).astype(str).tolist()
    )


@pytest.mark.parametrize(
    "encoding",
    [
        [pdbx.ByteArrayEncoding()],
        [pdbx.FixedPointEncoding(1000), pdbx.DeltaEncoding(), pdbx.ByteArrayEncoding()],
        [
            pdbx.IntervalQuantizationEncoding(-3.5, 100.125, 10**5),
            pdbx.IntegerPackingEncoding(1),
            pdbx.ByteArrayEncoding(),
        ],
    ],
)
def test_floats_come_back_from_all_encodings(encoding):
    found = column_of(pdbx.BinaryCIFData(FLOATS, encoding))
    np.testing.assert_allclose(np.array(found, float), FLOATS, atol=2e-3)


def test_texts_and_masks_come_back_as_tokens():
    expected = [gemmi.cif.quote(text) for text in TEXTS]
    assert column_of(pdbx.BinaryCIFData(TEXTS)) == expected
    mask = np.zeros(len(TEXTS), np.uint8)
    mask[[1, 3]] = 1, 2
    assert column_of(pdbx.BinaryCIFData(TEXTS), pdbx.BinaryCIFData(mask)) == [
        {1: ".", 3: "?"}.get(row, token) for row, token in enumerate(expected)
    ]


# ---- what a hostile file says
# ------------------------------------------------------------------------------------------------

BYTES = {"kind": "ByteArray", "type": 3}


def file_of(*columns, rows=3):
    return msgpack.packb(
        {
            "dataBlocks": [
                {
                    "header": "x",
                    "categories": [
                        {
                            "name": "_atom_site",
                            "rowCount": rows,
                            "columns": [
                                {"name": f"c{number}", "data": data, "mask": None}
                                for number, data in enumerate(columns)
                            ],
                        }
                    ],
                }
            ]
        }
    )


def runs(*values, size):
    return {
        "data": np.array(values, "<i4").tobytes(),
        "encoding": [{"kind": "RunLength", "srcType": 3, "srcSize": size}, BYTES],
    }


def numbers(*encodings, data=(1, 2, 3)):
    return {"data": np.array(data, "<i4").tobytes(), "encoding": [*encodings, BYTES]}


def texts(text, offsets, index=(0, 0, 0), data_encoding=(BYTES,)):
    return {
        "data": np.array(index, "<i4").tobytes(),
        "encoding": [
            {
                "kind": "StringArray",
                "dataEncoding": list(data_encoding),
                "stringData": text,
                "offsetEncoding": [BYTES],
                "offsets": np.array(offsets, "<i4").tobytes(),
            }
        ],
    }


def long_chain(count, *, rows):
    one = runs(1, rows, size=rows)
    return one | {
        "encoding": [{"kind": "Delta", "srcType": 3, "origin": 0}] * count + one["encoding"]
    }


@pytest.mark.parametrize(
    "content, says",
    [
        (
            file_of(runs(1, 2 * 10**8, size=2 * 10**8)),
            "200,000,000 values stand where at most 3 may",
        ),
        (
            file_of(runs(1, 2 * 10**8, size=2 * 10**8), rows=2 * 10**8),
            "more than 100 times its size",
        ),
        (file_of(runs(1, 3, size=2 * 10**9)), "not as long as"),
        (file_of(runs(1, -3, 1, 6, size=3)), "not as long as"),
        (file_of(runs(1, 2**31 - 1, 1, 2**31 - 1, 1, 5, size=3)), "not as long as"),
        (file_of(runs(1, 3, 1, size=3)), "not as long as"),
        (file_of(*[runs(1, 10**5, size=10**5)] * 50, rows=10**5), "more than 100 times its size"),
        (
            file_of(texts("x" * 10**5, [0, 10**5], index=(0,) * 500), rows=500),
            "more than 100 times its size",
        ),
        (file_of(long_chain(10**4, rows=10**5), rows=10**5), "more than 100 times its size"),
        (
            file_of(
                numbers(
                    {
                        "kind": "IntegerPacking",
                        "byteCount": 1,
                        "isUnsigned": False,
                        "srcSize": 2**31 - 1,
                    }
                )
            ),
            "not as many",
        ),
        (
            file_of(
                numbers(
                    {"kind": "IntegerPacking", "byteCount": 4, "isUnsigned": False, "srcSize": 3},
                    data=(1, 2, 2**31 - 1),
                )
            ),
            "not as many",
        ),
        (file_of(numbers({"kind": "FixedPoint", "factor": 0, "srcType": 33})), "factor is 0"),
        (
            file_of(numbers({"kind": "FixedPoint", "factor": "2", "srcType": 33})),
            "factor is 2, expected a number",
        ),
        (
            file_of(numbers({"kind": "FixedPoint", "factor": 2.0, "srcType": 34})),
            "the number of no type",
        ),
        (
            file_of(
                numbers(
                    {
                        "kind": "IntervalQuantization",
                        "min": 0,
                        "max": 1,
                        "numSteps": 1,
                        "srcType": 33,
                    }
                )
            ),
            "has 1 steps",
        ),
        (
            file_of(numbers({"kind": "Delta", "srcType": 3, "origin": 2**40})),
            "origin is 1099511627776",
        ),
        (file_of(numbers({"kind": "Zip"})), "an encoding Zip"),
        (file_of(numbers(BYTES)), "an encoding ByteArray"),
        (file_of({"data": bytes(7), "encoding": [BYTES]}), "7 bytes are no numbers of 4"),
        (file_of({"data": bytes(7), "encoding": []}), "without an encoding"),
        (file_of({"data": "text", "encoding": []}), "no 'data'"),
        (file_of(numbers(data=(1, 2))), "2 values in 3 rows"),
        (file_of(numbers(), rows=-3), "rowCount is -3"),
        (file_of(texts("AB", [0, 1, 5])), "not where"),
        (file_of(texts("AB", [0, 2, 1])), "not where"),
        (file_of(texts("AB", [])), "not where"),
        (file_of(texts("AB", [0, 1, 2], index=(0, 1, 2))), "not there"),
        (file_of(texts("AB", [0, 1], index=(0, -2, 0))), "not there"),
        (file_of(texts("A\0", [0, 2])), "no text"),
        (
            file_of(texts("A", [0, 1], data_encoding=texts("A", [0, 1])["encoding"])),
            "an encoding StringArray",
        ),
        (msgpack.packb([1]), "no 'dataBlocks'"),
        (msgpack.packb({"dataBlocks": [3]}), "a int stands"),
        (b"", "no BinaryCIF"),
        (b"\x91" * 5000, "no BinaryCIF"),
        (msgpack.packb({"dataBlocks": []}) + b"x", "no BinaryCIF"),
    ],
)
def test_what_a_file_may_not_say_is_refused(content, says):
    with pytest.raises(FileFormatError, match=says):
        read_binary_cif(content)


@pytest.mark.parametrize("name", ["x.bcif", "x.bcif.gz"])
def test_the_file_is_named(tmp_path, name):
    content = file_of(runs(1, 2 * 10**8, size=2 * 10**8))
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(FileFormatError, match=f"{name}: cannot be read as bcif: runs of"):
        read_structure(tmp_path / name)
