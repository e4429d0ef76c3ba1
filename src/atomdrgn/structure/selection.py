"""Selections of residues in words: "A:1-226,B"."""

import re

import numpy as np

from ..errors import InputError
from .beads import BeadModel

# longer numbers are those of no residue
RANGE = re.compile(r"(-?\d{1,9})([A-Za-z]?)(?:-(-?\d{1,9})([A-Za-z]?))?")


def select(beads: BeadModel, selection: str) -> np.ndarray:
    """(bead,) bool: the beads of the residues that a selection names.

    Parameters
    ----------
    beads : BeadModel
        Whose author numbering is meant.
    selection : str
        Chains and ranges of residues, separated by commas: "A:1-226,B" is residues 1 to 226 of
        chain A and all of B. Both ends belong to a range; "B:82-82B" goes to the insertion 82B,
        "A:-5--1" uses negative numbers, "A:1-50,60-80" are two ranges of A (unless a chain is named
        "60-80"), ":1-20" is of the chain without a name. Ligands are found under their own chain
        and number.

    Returns
    -------
    (bead,) bool

    Raises
    ------
    InputError
        A part that cannot be read, or that names nothing which exists; the message lists what does.

    Examples
    --------
    >>> from atomdrgn import coarse_grain, read_structure
    >>> beads = coarse_grain(read_structure("model.pdb"))
    >>> np.flatnonzero(select(beads, "A:2-4,B:1"))
    array([ 1,  2,  3, 12])
    """
    chosen = np.zeros(len(beads), dtype=bool)
    chain = None
    for item in (item.strip() for item in selection.split(",")):
        name, colon, span = item.partition(":")
        if not colon and chain is not None and name not in beads.chain and RANGE.fullmatch(name):
            name, span = chain, name
        members = beads.chain == name
        if not members.any() or not (item or "" in beads.chain):
            raise InputError(
                f"selection {selection!r}: there is no chain {name!r}; the chains are "
                f"{describe_chains(beads)}"
            )
        found = members & _in_range(beads, span, selection) if span else members
        if not found.any():
            raise InputError(
                f"selection {selection!r}: {item!r} holds no residue; what exists is "
                f"{describe_chains(beads, name)}"
            )
        chosen |= found
        chain = name
    return chosen


def describe_chains(beads: BeadModel, chain: str | None = None) -> str:
    """The chains, or one of them, with their ranges: "A:1-226, B:-2-82B".

    Gaps in the numbering of a chain are not listed.

    Parameters
    ----------
    beads : BeadModel
        Whose author numbering is meant.
    chain : str, optional
        The one chain; all of them by default.

    Returns
    -------
    str

    Examples
    --------
    >>> from atomdrgn import coarse_grain, read_structure
    >>> describe_chains(coarse_grain(read_structure("model.pdb")))
    'A:1-12, B:1-12'
    """
    names = [chain] if chain is not None else list(dict.fromkeys(beads.chain.tolist()))
    ends = []
    for name in names:
        members = np.flatnonzero(beads.chain == name)
        order = members[
            np.argsort(_rank(beads.residue[members], beads.icode[members]), kind="stable")
        ]
        first, last = beads.label(order[0]), beads.label(order[-1]).removeprefix(f"{name}:")
        ends.append(first if first.removeprefix(f"{name}:") == last else f"{first}-{last}")
    return ", ".join(ends)


def describe_residues(beads: BeadModel, chosen: np.ndarray) -> str:
    """The residues of some beads as a selection, run by run along the chains.

    What is no polymer is named where there is nothing else.

    Parameters
    ----------
    beads : BeadModel
        Whose author numbering is meant.
    chosen : (bead,) bool
        The beads.

    Returns
    -------
    str

    Examples
    --------
    >>> from atomdrgn import coarse_grain, read_structure
    >>> beads = coarse_grain(read_structure("model.pdb"))
    >>> describe_residues(beads, select(beads, "A:2-4,A:5,B:1"))
    'A:2-5,B:1'
    """
    among = beads.trace if (chosen & beads.trace).any() else ~beads.trace
    runs = []
    for name in dict.fromkeys(beads.chain[chosen & among].tolist()):
        members = np.flatnonzero((beads.chain == name) & among)
        ends = np.flatnonzero(np.diff(chosen[members].astype(int), prepend=0, append=0))
        for first, after in ends.reshape(-1, 2):
            start, end = beads.label(members[first]), beads.label(members[after - 1])
            runs.append(start if start == end else f"{start}-{end.removeprefix(f'{name}:')}")
    return ",".join(runs)


def _in_range(beads: BeadModel, span: str, selection: str) -> np.ndarray:
    match = RANGE.fullmatch(span.strip())
    if match is None:
        raise InputError(
            f"selection {selection!r}: {span!r} is no range of residues; write one as 1-226, "
            "82-82B or 15"
        )
    first = int(match[1]), match[2]
    last = (int(match[3]), match[4]) if match[3] else first
    rank = _rank(beads.residue, beads.icode)
    low, high = (_rank(np.array([number]), np.array([icode]))[0] for number, icode in (first, last))
    if low > high:
        raise InputError(f"selection {selection!r}: {span!r} ends before it begins")
    return (rank >= low) & (rank <= high)


def _rank(residue: np.ndarray, icode: np.ndarray) -> np.ndarray:
    """Residue numbers as integers that also order the insertions behind them: 82, 82A, 82B, 83."""
    letter = np.array(
        [ord(i[0].upper()) - ord("A") + 1 if i else 0 for i in icode.tolist()], dtype=np.int64
    )
    return residue.astype(np.int64) * 64 + letter
