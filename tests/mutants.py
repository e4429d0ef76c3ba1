"""Files changed at random: byte by byte, word by word, by their headers, or within what they pack."""

import copy
import gzip
import random
import re

import msgpack
import numpy as np

HOSTILE = [
    "nan",
    "inf",
    "-inf",
    "1e308",
    "-1e308",
    "1e-320",
    "-1",
    "0",
    "-0.0",
    "0.5",
    "3",
    "1e5",
    "2147483648",
    "-2147483649",
    "9223372036854775807",
    "9223372036854775808",
    "9" * 30,
    "9" * 5000,
    "",
    '""',
    "''",
    '"',
    "'",
    "?",
    ".",
    "#",
    ";",
    "_x",
    "data_",
    "data_optics",
    "loop_",
    "save_",
    "é",
    "\u2028",
    "\u0661\u0662",
    "\udcff",
    "\0",
    "x",
    "x" * 5000,
    "1_000",
    "0x10",
    "1,5",
    "[1,2",
    "[nan,1,0,5]",
    "[]",
    "[" * 2000,
    "000001@stack.mrcs",
    "7@",
    "@",
    "..",
    "/",
    "a b",
    "-",
    "+",
    "1e",
    "True",
    "\t",
    "\r",
    "A0000",
    "ffff",
]
NUMBERS = [np.nan, np.inf, -np.inf, 1e308, 1e30, -1.0, 0.0, 2.0**31, 2.0**63, 1e-310]
NPY_TYPES = [
    "<f4",
    "<f8",
    "<f2",
    ">f4",
    "<i8",
    "<u8",
    "<i1",
    "|b1",
    "<c16",
    "|O",
    "|V8",
    "<M8[s]",
    "|S1",
    "|S0",
    "<U0",
    "<U5",
    "f9",
]
WHOLE = [
    0,
    1,
    -1,
    2,
    3,
    255,
    2**16,
    10**6,
    2 * 10**8,
    2**31 - 1,
    2**31,
    -(2**31),
    2**32,
    2**62,
    2**63 - 1,
    2**64 - 1,
]
TELLING = (
    "srcSize",
    "rowCount",
    "kind",
    "type",
    "factor",
    "encoding",
    "origin",
    "offsets",
    "data",
    "mask",
    "stringData",
    "byteCount",
    "isUnsigned",
)
ENCODINGS = [
    "ByteArray",
    "FixedPoint",
    "IntervalQuantization",
    "RunLength",
    "Delta",
    "IntegerPacking",
    "StringArray",
    "None",
]


def of_bytes(content: bytes, chance: random.Random) -> bytes:
    """The content with some bytes changed, lost, put in, or cut off."""
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5])):
        if not changed:
            break
        place, how = (
            chance.randrange(chance.choice([len(changed), min(200, len(changed))])),
            chance.random(),
        )
        if how < 0.5:
            changed[place] = chance.choice([0, 255, 127, 128, chance.randrange(256)])
        elif how < 0.65:
            changed[place : place + 4] = chance.choice(
                [b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", bytes(4), b"\0\x10\0\0"]
            )
        elif how < 0.8:
            del changed[place:]
        elif how < 0.9:
            del changed[place : place + chance.randrange(50)]
        else:
            changed[place:place] = chance.randbytes(chance.randrange(20))
    return bytes(changed)


def of_text(content: bytes, chance: random.Random) -> bytes:
    """The text with words, rows or columns changed, lost, doubled, or in another order."""
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        chance.choice([_word, _word, _word, _column, _column, _line, _line, _field])(lines, chance)
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _filled(lines, chance):
    return chance.choice([number for number, line in enumerate(lines) if line.strip()] or [0])


def _word(lines, chance):
    """Another word in place of one."""
    number = _filled(lines, chance)
    words = re.split(r"([\s,]+)", lines[number])
    words[chance.randrange(0, len(words), 2)] = chance.choice(HOSTILE)
    lines[number] = "".join(words)


def _column(lines, chance):
    """In all lines of as many words as one has: a word lost, doubled, or another; with the name of
    the column, or without it.
    """
    words = lines[_filled(lines, chance)].split()
    place, how, value = (
        chance.randrange(max(len(words), 1)),
        chance.randrange(4),
        chance.choice(HOSTILE),
    )
    for number, line in enumerate(lines):
        mine = line.split()
        if len(mine) == len(words) and place < len(mine):
            mine[place : place + 1] = [[], [mine[place]] * 2, [value], [value]][how]
            lines[number] = " ".join(mine)
    names = [number for number, line in enumerate(lines) if line.startswith("_")]
    if how < 2 and len(names) > place and chance.random() < 0.7:
        lines[names[place] : names[place] + 1] = (
            [] if how == 0 else [lines[names[place]], "_another"]
        )


def _line(lines, chance):
    """A line lost, doubled, elsewhere, cut, or at once of all lines that begin like it."""
    number, how = _filled(lines, chance), chance.randrange(6)
    line = lines[number]
    if how == 0:
        del lines[number]
    elif how == 1:
        lines[number:number] = [line] * chance.choice([1, 2, 50])
    elif how == 2:
        lines.insert(chance.randrange(len(lines)), lines.pop(number))
    elif how == 3:
        lines[number] = line[: chance.randrange(len(line) + 1)]
    elif how == 4:
        lines[:] = [each for each in lines if each[:4] != line[:4]] or [""]
    else:
        lines[number] = chance.choice(
            [
                "",
                "loop_",
                "data_",
                "data_particles",
                "END",
                "MODEL        1",
                "TER",
                ";",
                "_x 1",
                line * 3,
            ]
        )


def _field(lines, chance):
    """Columns of a line, as PDB files have them, with something else in them."""
    number = _filled(lines, chance)
    start, width = chance.randrange(81), chance.choice([1, 2, 5, 8])
    lines[number] = (
        lines[number][:start]
        + chance.choice(HOSTILE)[:width].rjust(width)
        + lines[number][start + width :]
    )


def of_npy(content: bytes, chance: random.Random) -> bytes:
    """An array of rows with another header, or with other numbers in its fields."""
    start = (
        10 + int.from_bytes(content[8:10], "little")
        if content[6] == 1
        else 12 + int.from_bytes(content[8:12], "little")
    )
    header, rows = (
        content[10 if content[6] == 1 else 12 : start].decode("latin-1"),
        bytearray(content[start:]),
    )
    how = chance.random()
    if how < 0.25:
        words = re.findall(r"'[<>|][^']*'", header)
        header = (
            header.replace(chance.choice(words), repr(chance.choice(NPY_TYPES)), 1)
            if words
            else header
        )
    elif how < 0.4:
        shape = chance.choice([(), (0,), (1,), (-1,), (10**18,), (2**63,), (6, 1), (7,)])
        header = re.sub(r"'shape': \([^)]*\)", f"'shape': {shape}", header)
    elif how < 0.55:
        header = re.sub(
            r"\((\d+),? ?\d*\)\)", f"({chance.choice([0, 1, 2, 5, -1, 10**9])},))", header, count=1
        )
    elif how < 0.65:
        names = re.findall(r"'[a-zA-Z0-9_]+(?:/\w+)?'", header)
        header = header.replace(
            chance.choice(names),
            repr(chance.choice(["uid", "blob/path", "", "a" * 300, "é", "x"])),
            1,
        )
    elif how < 0.75:
        fields = re.findall(r"\('[^()]*(?:\([^)]*\))?\)(?:, )?", header)
        if fields:
            field = chance.choice(fields)
            header = header.replace(field, chance.choice(["", field + field]), 1)
    else:
        for _ in range(chance.choice([1, 3, 12])):
            kind = chance.choice(["<f4", "<f8", "<u4", "<i8"])
            number = np.array([chance.choice(NUMBERS)])
            with np.errstate(all="ignore"):
                value = number.astype(kind).tobytes()
            place = chance.randrange(max(len(rows) - 8, 1)) // 4 * 4
            rows[place : place + len(value)] = value
    packed = header.encode("utf-8")
    size = len(packed).to_bytes(2 if content[6] == 1 else 4, "little")
    return content[:8] + size + packed + bytes(rows)


def of_mrc(content: bytes, chance: random.Random) -> bytes:
    """Another number in a field of the header, or in place of a value."""
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 3])):
        word = chance.choice(
            [
                *range(0, 26),
                27,
                49,
                50,
                51,
                52,
                53,
                chance.randrange(256),
                256 + chance.randrange(40),
            ]
        )
        value = chance.choice(
            [
                np.array([chance.choice(NUMBERS)]).astype("<f4", casting="unsafe").tobytes(),
                (chance.choice(WHOLE) % 2**32).to_bytes(4, "little"),
                chance.randbytes(4),
                (chance.choice([0, 1, 2, 6, 12, 4, 101])).to_bytes(4, "little"),
            ]
        )
        changed[4 * word : 4 * word + 4] = value
    return bytes(changed[: len(content)])


def of_msgpack(content: bytes, chance: random.Random) -> bytes:
    """Somewhere in the tree another value, another encoding, or a branch that is lost, doubled, or
    put elsewhere.
    """
    tree = msgpack.unpackb(content)
    for _ in range(chance.choice([1, 1, 1, 2])):
        places = list(_places(tree))
        # what says how to read is the matter more often than the many texts
        telling = [place for place in places if place[1] in TELLING]
        of, name = chance.choice(telling if telling and chance.random() < 0.7 else places)
        others = [
            copy.deepcopy(parent[key]) for parent, key in chance.sample(places, min(5, len(places)))
        ]
        of[name] = _other(of[name], others, chance)
        if chance.random() < 0.1:
            del of[name]
    return msgpack.packb(tree)


def _places(tree):
    for name in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, name
        if isinstance(tree[name], dict | list):
            yield from _places(tree[name])


def _other(value, others, chance):
    if isinstance(value, bytes) and chance.random() < 0.8:
        return chance.choice(
            [
                of_bytes(value, chance),
                b"",
                value * 2,
                value[:-1],
                np.array([1, 2 * 10**8], "<i4").tobytes(),
                np.array([1, -5, 2, 400], "<i4").tobytes(),
                bytes(len(value)),
                b"\xff" * len(value),
            ]
        )
    if isinstance(value, list) and chance.random() < 0.7:
        encoding = {
            "kind": chance.choice(ENCODINGS),
            "srcType": 3,
            "type": chance.choice([1, 2, 3, 33, 7]),
            "byteCount": 1,
            "factor": chance.choice([0, 1, -1.0, 1e-300, float("nan")]),
            "isUnsigned": False,
            "min": 0,
            "max": 1e308,
            **{name: chance.choice(WHOLE) for name in ("srcSize", "origin", "numSteps")},
        }
        return chance.choice(
            [
                [],
                value * 2,
                value[::-1],
                [*value, encoding],
                [encoding, *value],
                [encoding] * 500,
                value[1:],
            ]
        )
    if isinstance(value, str) and chance.random() < 0.5:
        return (
            chance.choice([*ENCODINGS, *HOSTILE[:20], "x" * 10**5])
            .encode("utf-8", "replace")
            .decode()
        )
    return chance.choice(
        [*WHOLE, None, True, "", "x", b"", b"\0" * 7, [], {}, 0.5, float("nan"), 1e308, *others]
    )


def packed(content: bytes, chance: random.Random) -> bytes:
    """Compressed by gzip; sometimes damaged then, or twice."""
    packed = gzip.compress(content, 1)
    how = chance.random()
    if how < 0.3:
        return of_bytes(packed, chance)
    return gzip.compress(packed) if how < 0.35 else packed + packed if how < 0.4 else packed
