"""Conditions on the columns of a table, such as "motion1 > 10 and sd1 < 4".

They are read as an expression and never executed.
"""

import ast
import operator
from collections.abc import Mapping

import numpy as np

from ...errors import InputError

LONGEST = 2000  # characters: the parser is not made for more
COMPARISONS = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
GRAMMAR = (
    "columns, numbers, < <= > >= == !=, in (1, 2), and, or, not and parentheses, as in "
    '"motion1 > 10 and state in (2, 3)"'
)


def where(condition: str, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """(row,) bool: the rows of a table that meet a condition.

    Comparisons with what is no number (an empty cell) are not met, except by ``!=`` and ``not in``.

    Parameters
    ----------
    condition : str
        Comparisons of columns and numbers (``0 < motion1 <= 2`` too), ``in`` and ``not in`` with
        numbers in parentheses or brackets, ``and``, ``or``, ``not`` and parentheses.
    columns : mapping of (row,) arrays of numbers
        By name.

    Raises
    ------
    InputError
        The condition has something else in it, is none, or names a column that does not exist;
        those that do are listed.
    """
    if len(condition) > LONGEST:
        raise InputError(
            f"a condition of {len(condition):,} characters: write at most {LONGEST:,}, or give a "
            "list of particles"
        )
    try:
        return _Condition(condition, columns).met(ast.parse(condition.strip(), mode="eval").body)
    except SyntaxError as error:
        raise InputError(
            f"{condition!r} cannot be read ({error.msg}); a condition holds {GRAMMAR}"
        ) from None
    except (ValueError, OverflowError, RecursionError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{condition!r} cannot be read ({error}); a condition holds {GRAMMAR}"
        ) from None


class _Condition:
    """The walk through one condition: what is not listed here is refused."""

    def __init__(self, text: str, columns: Mapping[str, np.ndarray]) -> None:
        self.text, self.columns = text, columns

    def met(self, node: ast.expr) -> np.ndarray:
        """(row,) bool of what is true or false."""
        if isinstance(node, ast.BoolOp):
            join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return join.reduce([self.met(part) for part in node.values])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.met(node.operand)
        if isinstance(node, ast.Compare):
            return self._compared(node)
        if isinstance(node, ast.Name):
            self.value(node)  # a name that does not exist is the likelier fault
        raise self._refusal(node, "is no condition")

    def value(self, node: ast.expr) -> float | np.ndarray:
        """The numbers of a column, or one number."""
        if isinstance(node, ast.Name):
            if node.id not in self.columns:
                raise InputError(
                    f"{self.text!r}: there is no column {node.id}; there are "
                    f"{', '.join(self.columns)}"
                )
            return np.asarray(self.columns[node.id])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            number = self.value(node.operand)
            return -number if isinstance(node.op, ast.USub) else number
        if isinstance(node, ast.Constant) and not isinstance(node.value, bool):
            if isinstance(node.value, int | float):
                return float(node.value)
        raise self._refusal(node, "is neither a column nor a number")

    def _compared(self, node: ast.Compare) -> np.ndarray:
        result, left = np.ones(self._rows(), dtype=bool), node.left
        for kind, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(kind, ast.In | ast.NotIn):
                inside = np.isin(self.value(left), self._members(right))
                result &= inside if isinstance(kind, ast.In) else ~inside
            elif type(kind) in COMPARISONS:
                result &= COMPARISONS[type(kind)](self.value(left), self.value(right))
            else:
                raise self._refusal(node, "compares by identity")
            left = right
        return result

    def _members(self, node: ast.expr) -> list[float]:
        if not isinstance(node, ast.Tuple | ast.List | ast.Set):
            raise self._refusal(node, "is no list of numbers, such as (1, 2)")
        members = [self.value(each) for each in node.elts]
        numbers = [member for member in members if not isinstance(member, np.ndarray)]
        if len(numbers) < len(members):
            raise self._refusal(node, "holds a column, where numbers are expected")
        return numbers

    def _rows(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def _refusal(self, node: ast.expr, why: str) -> InputError:
        part = ast.get_source_segment(self.text.strip(), node) or self.text
        return InputError(f"{self.text!r}: {part!r} {why}; a condition holds {GRAMMAR}")
