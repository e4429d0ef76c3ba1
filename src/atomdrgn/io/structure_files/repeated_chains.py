"""Chains and residues of a file that bear one name, told apart.

Each copy of a chain gets a name of its own.
"""

import math
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, product
from os import PathLike

import gemmi

from ...errors import InputError
from .residue_names import WATER_NAMES

LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits
LISTED = 6  # names in a message
# A, between atoms that a file declares bonded: a bond to a metal and what a model may be off by
LONGEST_LINK = 3.5


@dataclass
class AtomNames:
    """What a file calls each of its atoms, in file order.

    Parameters
    ----------
    model : list of str
        Atoms of different models are never compared.
    chain, icode, residue_name, atom_name, altloc : list of str
        "" where there is none.
    number : list of int
        Of the residue.
    segment : list of str
        What else the file says of the molecule: the segid of a PDB file, the label_asym_id of an
        mmCIF file.
    ended : list of int
        How many chains have ended in front of the atom (TER).
    foreign : list of bool
        A HETATM.

    Examples
    --------
    >>> names = AtomNames(chain=["A"], number=[82], icode=["B"], residue_name=["ALA"])
    >>> len(names), names.label(0)
    (1, 'A:82B ALA')
    """

    model: list[str] = field(default_factory=list)
    chain: list[str] = field(default_factory=list)
    number: list[int] = field(default_factory=list)
    icode: list[str] = field(default_factory=list)
    residue_name: list[str] = field(default_factory=list)
    atom_name: list[str] = field(default_factory=list)
    altloc: list[str] = field(default_factory=list)
    segment: list[str] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    foreign: list[bool] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.chain)

    def label(self, atom: int) -> str:
        """The residue of an atom for a message, such as "A:82B ALA"."""
        return f"{self.chain[atom]}:{self.number[atom]}{self.icode[atom]} {self.residue_name[atom]}"


@dataclass
class ToldApart:
    """Names under which every residue is found once.

    Parameters
    ----------
    chain, segment : list of str
        Of each atom, in the order of the file.
    order : list of int, or None
        The atoms with those of one residue side by side; None where the file has them so.
    copies : dict
        The names of a chain that stands in the file several times, its own first: {"P": ["P",
        "A"]}.
    said : list of str
        What was done, as sentences that begin with the file's name.

    Examples
    --------
    >>> ToldApart(["P", "A"], ["", ""], order=None, copies={"P": ["P", "A"]}, said=[]).copies
    {'P': ['P', 'A']}
    """

    chain: list[str]
    segment: list[str]
    order: list[int] | None
    copies: dict[str, list[str]]
    said: list[str]


@dataclass
class _Run:
    """Atoms of one residue that stand side by side."""

    atoms: range
    model: str
    chain: str
    place: tuple[int, str]
    residue_name: str
    segment: str
    ended: int
    names: frozenset
    foreign: bool

    @property
    def letters(self) -> set[str]:
        return {altloc for _, altloc in self.names}

    def is_another_residue_than(self, other: "_Run") -> bool:
        """Whether this is neither the rest of the same residue nor an alternative to it.

        The file letters alternatives as such.
        """
        if self.residue_name == other.residue_name:
            return not self.names.isdisjoint(other.names)
        return bool(self.letters & other.letters)


def tell_apart(
    names: AtomNames,
    *,
    path: str | PathLike[str],
    longest: int | None = None,
    segment_word: str = "segid",
) -> ToldApart:
    """A name for each copy of a chain, and the atoms of each residue side by side.

    A place (chain, number, insertion code) holds one residue, or alternatives that bear different
    letters. Where a place is taken, the part of the file that would take it again is a copy of the
    chain: what stands between two TER records, changes of segid or of chain, or steps back in the
    numbering. It gets the first name that the file does not use. Atoms of one residue that stand
    apart, and have other names than those before, are put together.

    Parameters
    ----------
    names : AtomNames
        Of all atoms of the file.
    path : path
        For messages.
    longest : int, optional
        Characters that a chain's name may have.
    segment_word : str
        What the file's format calls `segment`.

    Returns
    -------
    ToldApart

    Raises
    ------
    InputError
        There are more copies than names.

    Examples
    --------
    >>> twice = AtomNames(["0"] * 2, ["A"] * 2, [1] * 2, [""] * 2, ["ALA"] * 2, ["CA"] * 2)
    >>> twice.altloc, twice.segment = [""] * 2, [""] * 2
    >>> twice.ended, twice.foreign = [0, 1], [False] * 2
    >>> tell_apart(twice, path="model.pdb").chain
    ['A', 'B']
    """
    taken, chain, segment = set(names.chain), list(names.chain), list(names.segment)
    free: dict[tuple[str, int], str] = {}
    named: dict[str, dict[str, None]] = {}
    segments: dict[tuple[str, str], str] = {}
    together = []
    for _, runs in groupby(_runs(names), key=lambda run: run.model):
        naming = _Naming(_free_names(taken, path=path, longest=longest), free)
        for part in _parts(runs):
            name = naming.name(part)
            if name != part[0].chain:
                named.setdefault(part[0].chain, {})[name] = None
            segments.setdefault((part[0].chain, name), part[0].segment)
            for run in part:
                for atom in run.atoms:
                    chain[atom] = name
        for there in naming.places():
            together.append(there)
            first = {run.residue_name: run.segment for run in reversed(there)}
            for run in there:
                for atom in run.atoms:
                    segment[atom] = first[run.residue_name]
    order, moved = _order(together)
    copies = {original: [original, *new] for original, new in named.items()}
    said = [_say_copies(path, copies, segments, segment_word)] if copies else []
    if moved:
        said.append(
            f"{path}: the atoms of {len(moved)} residues stand apart in it "
            f"({names.label(moved[0])}): they are put together, so that atoms are not in the order "
            "of the file"
        )
    said += _say_doubled(path, names, together)
    return ToldApart(chain, segment, order if moved else None, copies, said)


def _runs(names: AtomNames) -> Iterator[_Run]:
    keys = zip(
        names.model,
        names.chain,
        names.number,
        names.icode,
        names.residue_name,
        names.segment,
        names.ended,
        strict=True,
    )
    start = 0
    for key, members in groupby(keys):
        end = start + sum(1 for _ in members)
        model, chain, number, icode, residue_name, segment, ended = key
        for atoms in _repeats(names, range(start, end)):
            called = frozenset(
                zip(
                    names.atom_name[atoms.start : atoms.stop],
                    names.altloc[atoms.start : atoms.stop],
                    strict=True,
                )
            )
            yield _Run(
                atoms,
                model,
                chain,
                (number, icode),
                residue_name,
                segment,
                ended,
                called,
                names.foreign[atoms.start],
            )
        start = end


def _repeats(names: AtomNames, atoms: range) -> list[range]:
    """The residues in one run: several where the names of a whole residue come again and again.

    Lipids of one number are such.
    """
    called = list(
        zip(
            names.atom_name[atoms.start : atoms.stop],
            names.altloc[atoms.start : atoms.stop],
            strict=True,
        )
    )
    unit = len(set(called))
    residue_name = names.residue_name[atoms.start]
    # a ligand may have many atoms that are called "C"; an ion or a water of one atom has not
    alone = unit == 1 and (residue_name in WATER_NAMES or called[0][0] == residue_name)
    if (
        unit == len(called)
        or not (unit > 2 or alone)
        or called != called[:unit] * (len(called) // unit)
    ):
        return [atoms]
    return [atoms[i : i + unit] for i in range(0, len(atoms), unit)]


def _parts(runs: Iterable[_Run]) -> Iterator[list[_Run]]:
    """Runs that belong together, one chain each: cut at every sign of another molecule."""
    part: list[_Run] = []
    places: dict[tuple[int, str], list[_Run]] = {}
    alone = False
    for run in runs:
        before = part[-1] if part else run
        again = any(run.is_another_residue_than(other) for other in places.get(run.place, ()))
        if part and (
            alone
            or again
            or (run.chain, run.segment, run.ended) != (before.chain, before.segment, before.ended)
            or run.place[0] < before.place[0]
        ):
            yield part
            # a residue whose number is that of the one before is no start of a longer copy
            alone = again and run.place[0] >= before.place[0]
            part, places = [], {}
        part.append(run)
        places.setdefault(run.place, []).append(run)
    if part:
        yield part


class _Naming:
    """The names of the chains of one model."""

    def __init__(self, fresh: Iterator[str], free: dict[tuple[str, int], str]) -> None:
        # `free`: names that other models have for the same copies
        self.fresh, self.free = fresh, free
        self.taken: dict[str, dict] = {}
        self.family: dict[str, list[str]] = {}
        self.of_segment: dict[tuple[str, str], str] = {}
        self.last: dict[str, tuple[_Run, str]] = {}

    def name(self, part: list[_Run]) -> str:
        """The name of a part of a chain, which is kept in mind."""
        chain, first = part[0].chain, part[0]
        name = next((c for c in self._candidates(part) if not self._is_taken(c, part)), None)
        name = self._new(chain) if name is None else name
        for run in part:
            self.taken.setdefault(name, {}).setdefault(run.place, []).append(run)
        self.of_segment[chain, first.segment] = name
        self.last[chain] = part[-1], name
        return name

    def places(self) -> Iterator[list[_Run]]:
        """The runs of each place."""
        return (runs for there in self.taken.values() for runs in there.values())

    def _candidates(self, part: list[_Run]) -> Iterator[str]:
        chain, first = part[0].chain, part[0]
        before, name = self.last.get(chain, (None, chain))
        if first.segment and (chain, first.segment) in self.of_segment:
            yield self.of_segment[chain, first.segment]
        if (
            before is not None
            and (before.segment, before.ended) == (first.segment, first.ended)
            and first.place[0] < before.place[0]
        ):
            yield name  # a step back in the numbering, and no other sign of another molecule
        yield chain
        if all(run.foreign for run in part):
            yield from self.family.get(chain, ())

    def _is_taken(self, name: str, part: list[_Run]) -> bool:
        there = self.taken.get(name, {})
        return any(
            run.is_another_residue_than(other) for run in part for other in there.get(run.place, ())
        )

    def _new(self, chain: str) -> str:
        family = self.family.setdefault(chain, [])
        key = chain, len(family)
        if key not in self.free:
            self.free[key] = next(self.fresh)
        family.append(self.free[key])
        return family[-1]


def _free_names(
    taken: set[str], *, path: str | PathLike[str], longest: int | None
) -> Iterator[str]:
    for length in range(1, (longest or 4) + 1):
        for letters in product(LETTERS, repeat=length):
            name = "".join(letters)
            if name not in taken:
                taken.add(name)
                yield name
    raise InputError(
        f"{path}: more residues share their chain, number and insertion code than there are names "
        "for chains: number the residues anew, or leave out those that the images do not show "
        "(water, ions, lipids)"
    )


def _order(together: list[list[_Run]]) -> tuple[list[int], list[int]]:
    """All atoms with those of a place side by side, and the first atom of each place in pieces."""
    order, moved = [], []
    for runs in sorted(together, key=lambda runs: runs[0].atoms.start):
        order += [atom for run in runs for atom in run.atoms]
        if any(
            after.atoms.start != run.atoms.stop for run, after in zip(runs, runs[1:], strict=False)
        ):
            moved.append(runs[0].atoms.start)
    return order, moved


def _say_copies(
    path: str | PathLike[str],
    copies: dict[str, list[str]],
    segments: dict[tuple[str, str], str],
    segment_word: str,
) -> str:
    if len(copies) > 1:
        new = _listed(
            [
                f"{' and '.join(_listed(names[1:]))} for {_called(chain)}"
                for chain, names in copies.items()
            ]
        )
        return (
            f"{path}: {len(copies)} chains stand in it more than once: the copies are read as "
            f"chains {', '.join(new)}"
        )
    ((chain, (_, *new)),) = copies.items()
    times = "twice" if len(new) == 1 else f"{len(new) + 1} times"
    marks = [segments[chain, name] for name in (chain, *new)]
    marked = (
        f" ({segment_word}s {', '.join(_listed(marks))})"
        if all(marks) and len(set(marks)) == len(marks)
        else ""
    )
    later = (
        f"the second is read as chain {new[0]}"
        if len(new) == 1
        else f"the others as chains {', '.join(_listed(new))}"
    )
    what = f"chain {chain}" if chain else "the chain without a name"
    return f"{path}: {what} stands in it {times}{marked}: {later}"


def _called(chain: str) -> str:
    return chain or "the one without a name"


def _say_doubled(
    path: str | PathLike[str], names: AtomNames, together: list[list[_Run]]
) -> list[str]:
    doubled = []
    for runs in together:
        atoms = [atom for run in runs for atom in run.atoms]
        called = [(names.residue_name[a], names.atom_name[a], names.altloc[a]) for a in atoms]
        if len(set(called)) < len(called):
            doubled.append(next(atom for i, atom in enumerate(atoms) if called[i] in called[:i]))
    if not doubled:
        return []
    atom = doubled[0]
    return [
        f"{path}: {len(doubled)} residues hold several atoms of one name and no letters of "
        f"alternative locations ({names.label(atom)}, {names.atom_name[atom]}): each counts as an "
        "atom"
    ]


def _listed(names: list[str]) -> list[str]:
    return names[:LISTED] + ([f"... ({len(names)} names)"] if len(names) > LISTED else [])


def keep_links(structure: gemmi.Structure, copies: dict[str, list[str]]) -> None:
    """Let bonds between residues that a file declares hold for the copies of a chain too.

    They are LINK, SSBOND and _struct_conn.

    The file knows one name for all copies; what it means is every pair of atoms of these names that
    are near each other.

    Parameters
    ----------
    structure : gemmi.Structure
        Its connections are changed.
    copies : dict
        As :class:`ToldApart` has them.

    Examples
    --------
    >>> structure = gemmi.read_structure("model.pdb")
    >>> keep_links(structure, {"A": ["A", "C"]})
    >>> len(structure.connections)
    0
    """
    if not copies:
        return
    declared = list(structure.connections)
    structure.connections.clear()
    for link in declared:
        ends = [
            copies.get(partner.chain_name, [partner.chain_name])
            for partner in (link.partner1, link.partner2)
        ]
        pairs = list(product(*ends))
        near = (
            [pair for pair in pairs if _distance(structure[0], link, pair) <= LONGEST_LINK]
            if len(pairs) > 1
            else pairs
        )
        for one, other in near or pairs[:1]:
            copy = _between(link, one, other)
            structure.connections.append(copy)


def _between(link: gemmi.Connection, one: str, other: str) -> gemmi.Connection:
    copy = gemmi.Connection()
    for name in ("name", "link_id", "type", "asu", "partner1", "partner2", "reported_distance"):
        setattr(copy, name, getattr(link, name))
    copy.partner1.chain_name, copy.partner2.chain_name = one, other
    return copy


def _distance(model: gemmi.Model, link: gemmi.Connection, chains: tuple[str, ...]) -> float:
    there = _between(link, *chains)
    one, other = (model.find_cra(partner).atom for partner in (there.partner1, there.partner2))
    return math.inf if one is None or other is None else one.pos.dist(other.pos)
