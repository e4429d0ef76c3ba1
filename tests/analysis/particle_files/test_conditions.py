"""Conditions mean what they say, and nothing else can be said in them."""

import numpy as np
import pytest

from atomdrgn.analysis.particle_files.conditions import where
from atomdrgn.errors import InputError

TABLE = {
    "a": np.array([0.0, 1, 2, 3, 4, np.nan]),
    "b": np.array([5.0, -1, 2, -3, 0, 1]),
    "state": np.array([1.0, 2, 3, 1, 2, 3]),
}
A, B, S = TABLE.values()


@pytest.mark.parametrize(
    "condition, expected",
    [
        ("a > 1", A > 1),
        ("a >= 1 and b < 0", (A >= 1) & (B < 0)),
        ("a < 1 or b == 2", (A < 1) | (B == 2)),
        ("not a > 1", ~(A > 1)),
        ("0 < a <= 3", (A > 0) & (A <= 3)),
        ("a < b", A < B),
        ("a != 2", A != 2),
        ("b > -1.5e0", B > -1.5),
        ("b < +1", B < 1),
        ("state in (1, 3)", np.isin(S, [1, 3])),
        ("state not in [2]", S != 2),
        ("state in {2}", S == 2),
        ("state in (1,)", S == 1),
        ("not (a > 1 and (b < 0 or state == 3))", ~((A > 1) & ((B < 0) | (S == 3)))),
        ("-a > -2", A < 2),
        ("a > 1 and b > 0 or state == 1", (A > 1) & (B > 0) | (S == 1)),
        ("  a > 1  ", A > 1),
        ("1 < 2", np.ones(6, bool)),
    ],
)
def test_conditions(condition, expected):
    assert where(condition, TABLE).tolist() == expected.tolist()


@pytest.mark.parametrize(
    "condition",
    [
        "__import__('os').system('true')",
        "a.shape",
        "a[0] > 1",
        "(lambda: a)() > 1",
        "[x for x in a]",
        "a > 'x'",
        "a + 1 > 2",
        "abs(a) > 1",
        "a",
        "a and b",
        "1",
        "True",
        "a > True",
        "a is b",
        "a in 3",
        "a in (b, 1)",
        "a if b else a",
        "a := 1",
        "a > 1; b",
        "a >",
        "",
        "a = 1",
        "(" * 300 + "a" + ")" * 300 + " > 1",
        "-" * 1500 + "a > 1",
        "a\0 > 1",
        "a > 1" + " or a > 1" * 300,
        "not" * 3,
        "a > 1" + "0" * 1900,
        "a ** 9 > 1",
        "f'{a}'",
    ],
)
def test_all_else_is_refused(condition):
    with pytest.raises(InputError):
        where(condition, TABLE)


def test_a_column_that_does_not_exist_is_answered_by_those_that_do():
    with pytest.raises(InputError, match="no column motion1; there are a, b, state"):
        where("a > 1 and motion1 > 2", TABLE)
