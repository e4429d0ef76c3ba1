"""The chemical components of a structure: types of residues, and declared bonds."""

from collections.abc import Iterator
from functools import lru_cache
from typing import TypeGuard

import gemmi

NON_POLYMER, SACCHARIDE = "non-polymer", "saccharide"

# The dictionary's spelling of types that chemical components have in capitals.
SPELLING = {
    name.upper(): name
    for name in (
        "L-peptide linking",
        "D-peptide linking",
        "peptide linking",
        "RNA linking",
        "DNA linking",
        "L-RNA linking",
        "L-DNA linking",
        "non-polymer",
    )
}
# of a declared bond in another copy of the residue; beyond it the copy does not have that bond
LARGEST_STRETCH = 1.5
SLACK = 0.5  # A: over the covalent radii, in bonds as the dictionary has them
ORDERS = {1: "sing", 2: "doub", 3: "trip"}


def linking_type(residue: gemmi.Residue) -> str | None:
    """The type of a residue that its atoms show to be a link of a polymer, whatever its name.

    Parameters
    ----------
    residue : gemmi.Residue
        Any.

    Returns
    -------
    str or None
        None for others.

    Examples
    --------
    >>> linking_type(gemmi.read_structure("model.pdb")[0]["A"][0])
    'L-peptide linking'
    """
    names = {atom.name.replace("*", "'") for atom in residue if atom.element.name != "Ca"}
    if {"N", "CA", "C"} <= names:
        return "L-peptide linking"
    if "C1'" in names and names & {"P", "O3'"}:
        return "RNA linking" if "O2'" in names else "DNA linking"
    return None


@lru_cache(maxsize=4096)
def type_by_name(name: str) -> str | None:
    """The type that the chemical component dictionary has under a name.

    Parameters
    ----------
    name : str
        Of a residue.

    Returns
    -------
    str or None
        None for names that are not in it.

    Examples
    --------
    >>> type_by_name("ALA")
    'L-peptide linking'
    """
    from biotite.structure.info import link_type

    found = link_type(name)
    return None if found is None else SPELLING.get(found.upper(), found)


@lru_cache(maxsize=4096)
def is_known_link(name: str) -> bool:
    """Whether a name is that of an amino acid or a nucleotide, standard or modified.

    Parameters
    ----------
    name : str
        Of a residue.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_known_link("ALA"), is_known_link("HOH")
    (True, False)
    """
    info = gemmi.find_tabulated_residue(name)
    return info.is_amino_acid() or info.is_nucleic_acid()


@lru_cache(maxsize=4096)
def bonds_by_name(name: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Bonds that the chemical component dictionary has under a name.

    Parameters
    ----------
    name : str
        Of a residue.

    Returns
    -------
    dict
        ``value_order`` and ``pdbx_aromatic_flag`` by atom names.

    Examples
    --------
    >>> bonds_by_name("HOH")
    {('O', 'H1'): ('sing', 'N'), ('O', 'H2'): ('sing', 'N')}
    """
    from biotite.structure.info import bonds_in_residue

    return {
        names: _order_and_aromatic(kind.name)
        for names, kind in sorted(bonds_in_residue(name).items())
    }


def _order_and_aromatic(kind: str) -> tuple[str, str]:
    order = next((word for word in ("SINGLE", "DOUBLE", "TRIPLE") if kind.endswith(word)), "SINGLE")
    return order[:4].lower(), "Y" if kind.startswith("AROMATIC") else "N"


@lru_cache(maxsize=4096)
def standard_bonds(name: str) -> frozenset[frozenset[str]]:
    """Pairs of atom names that are bonded in a standard amino acid or nucleotide, or in water.

    Parameters
    ----------
    name : str
        Of a residue.

    Returns
    -------
    frozenset of frozenset of str
        Empty for other names.

    Examples
    --------
    >>> frozenset({"CA", "CB"}) in standard_bonds("ALA"), len(standard_bonds("LIG"))
    (True, 0)
    """
    info = gemmi.find_tabulated_residue(name)
    return (
        frozenset(map(frozenset, bonds_by_name(name)))
        if info.is_standard() or info.is_water()
        else frozenset()
    )


def component_types(structure: gemmi.Structure) -> dict[str, str]:
    """``_chem_comp.type`` of each residue name of the first model.

    A name may stand for something else in the chemical component dictionary: LIG, HSD and DA5 are
    in it as other molecules. Its type is therefore believed only where place and atoms of the
    residue allow it.

    Parameters
    ----------
    structure : gemmi.Structure
        With entity types.

    Returns
    -------
    dict
        {residue name: type}

    Examples
    --------
    >>> structure = gemmi.read_structure("model.pdb")
    >>> structure.setup_entities()
    >>> component_types(structure)
    {'ALA': 'L-peptide linking'}
    """
    seen: dict[str, gemmi.Residue] = {}  # in a polymer where it stands in one anywhere
    for chain in structure[0]:
        for residue in chain:
            before = seen.get(residue.name)
            if (
                before is None
                or before.entity_type != gemmi.EntityType.Polymer == residue.entity_type
            ):
                seen[residue.name] = residue
    return {name: _type_of(residue) for name, residue in seen.items()}


def _type_of(residue: gemmi.Residue) -> str:
    if residue.entity_type == gemmi.EntityType.Water:
        return NON_POLYMER
    named, by_atoms = type_by_name(residue.name), linking_type(residue)
    if residue.entity_type == gemmi.EntityType.Polymer:
        alike = (
            by_atoms is None
            or named is not None
            and by_atoms.split()[0][-3:].upper() in named.upper()
        )
        if alike and _links(named):
            return named
        return by_atoms or _of_lone_atom(residue) or NON_POLYMER  # caps of chains are no links
    if not _is_of_dictionary(residue):
        named = None
    if residue.entity_type == gemmi.EntityType.Branched:
        return named if named and "saccharide" in named.lower() else SACCHARIDE
    return NON_POLYMER if named is None or _links(named) and by_atoms is None else named


def _is_of_dictionary(residue: gemmi.Residue) -> bool:
    """Whether the dictionary has all atoms of a residue, hydrogens apart, under its name."""
    names = {name for names in bonds_by_name(residue.name) for name in names}
    return all(atom.name in names for atom in residue if not atom.is_hydrogen())


def _links(named: str | None) -> TypeGuard[str]:
    return named is not None and "LINKING" in named.upper() and "SACCHARIDE" not in named.upper()


def _of_lone_atom(residue: gemmi.Residue) -> str | None:
    """The type of a residue of which the trace atom alone is there."""
    if len(residue) != 1:
        return None
    return {"CA": "L-peptide linking", "P": "RNA linking"}.get(residue[0].name)


class DeclaredBonds:
    """The bonds of the first model that a structure declares beside its connections.

    Bonds that every program knows are left out: those within standard amino acids, nucleotides and
    water, and from one of them to the next along a chain.

    Parameters
    ----------
    structure : gemmi.Structure
        `conect_map` holds the serial numbers of bonded atoms, twice or thrice for double and triple
        bonds.

    Attributes
    ----------
    within, between : dict
        The order of each bond within a residue, and between two, under both serial numbers, the
        smaller one first.

    Examples
    --------
    >>> DeclaredBonds(gemmi.read_structure("model.pdb")).between
    {}
    """

    def __init__(self, structure: gemmi.Structure) -> None:
        self.within: dict[tuple[int, int], int] = {}
        self.between: dict[tuple[int, int], int] = {}
        self._model = structure[0]
        self._places: dict[int, gemmi.CRA] = {}
        bonded = structure.conect_map
        if bonded:
            for place in structure[0].all():
                self._places.setdefault(place.atom.serial, place)
        for one, others in sorted(bonded.items()):
            for other in sorted(set(others)):
                if one in self._places and other in self._places and one != other:
                    self._take((min(one, other), max(one, other)), others.count(other))

    def _take(self, pair: tuple[int, int], order: int) -> None:
        first, second = self.atoms(pair)
        same = first.residue is second.residue
        if not (_is_known(first, second) if same else _goes_on(first, second)):
            kind = self.within if same else self.between
            kind[pair] = max(order, kind.get(pair, 0))

    def atoms(self, pair: tuple[int, int]) -> tuple[gemmi.CRA, gemmi.CRA]:
        """Chain, residue and atom of both ends of a bond."""
        return self._places[pair[0]], self._places[pair[1]]

    def templates(
        self,
    ) -> tuple[dict[str, dict[tuple[str, str], tuple[str, str]]], list[tuple[int, int]]]:
        """Bonds that hold for every residue of a name, and bonds of some copies only.

        The first are order and aromatic flag by atom names.

        Where any bond is declared, other residues have the bonds that the chemical component
        dictionary knows of them, for programs take such a list for a whole one.
        """
        if not self.within:
            return {}, []
        copies: dict[str, list[gemmi.Residue]] = {}
        for chain in self._model:
            for residue in chain:
                copies.setdefault(residue.name, []).append(residue)
        templates: dict[str, dict[tuple[str, str], tuple[str, str]]] = {}
        exceptions = []
        for pair, order in self.within.items():
            first, second = self.atoms(pair)
            names = first.atom.name, second.atom.name
            if _holds_for(copies[first.residue.name], first.atom, second.atom):
                template = templates.setdefault(first.residue.name, {})
                if names[::-1] not in template:
                    template[names] = ORDERS.get(order, ORDERS[1]), "N"
            else:
                exceptions.append(pair)
        for name, residues in copies.items() if templates else ():
            if name not in templates or standard_bonds(name):
                templates[name] = _bonds_of_dictionary(residues) | templates.get(name, {})
        return templates, exceptions


def _is_known(first: gemmi.CRA, second: gemmi.CRA) -> bool:
    return frozenset((first.atom.name, second.atom.name)) in standard_bonds(first.residue.name)


def _goes_on(first: gemmi.CRA, second: gemmi.CRA) -> bool:
    standard = standard_bonds(first.residue.name) and standard_bonds(second.residue.name)
    return (
        bool(standard)
        and first.chain.name == second.chain.name
        and ((first.atom.name, second.atom.name) in (("C", "N"), ("O3'", "P")))
    )


def _holds_for(residues: list[gemmi.Residue], one: gemmi.Atom, other: gemmi.Atom) -> bool:
    """Whether all residues of a name have the bond, by its length, where they have both atoms."""
    longest = LARGEST_STRETCH * one.pos.dist(other.pos)
    copies = (_ends(residue, one.name, other.name) for residue in residues)
    return len(residues) == 1 or all(
        first.pos.dist(second.pos) <= longest for first, second in copies if first and second
    )


def _bonds_of_dictionary(residues: list[gemmi.Residue]) -> dict[tuple[str, str], tuple[str, str]]:
    """Bonds of the dictionary between atoms that are there.

    There are none where residues of the name are of another molecule.
    """
    name = residues[0].name
    there = {atom.name for residue in residues for atom in residue}
    found = {names: kind for names, kind in bonds_by_name(name).items() if there.issuperset(names)}
    ends = (_ends(residue, *names) for residue in residues for names in found)
    if not standard_bonds(name) and any(
        first and second and _are_apart(first, second) for first, second in ends
    ):
        return {}
    left = there - {name for names in found for name in names}
    return found | (_bonds_of_hydrogens(residues, left) if left else {})


def _bonds_of_hydrogens(
    residues: list[gemmi.Residue], left: set[str]
) -> dict[tuple[str, str], tuple[str, str]]:
    """Bonds of hydrogens that the dictionary names otherwise, or not at all.

    Those of a chain's first residue are of the second kind.
    """
    found = {}
    for residue in residues:
        for atom in residue:
            if atom.name in left and atom.is_hydrogen():
                near = [
                    (other.pos.dist(atom.pos), number)
                    for number, other in enumerate(residue)
                    if not other.is_hydrogen()
                ]
                heavy = residue[min(near)[1]] if near else None
                if heavy is not None and not _are_apart(atom, heavy):
                    found[heavy.name, atom.name] = ORDERS[1], "N"
    return found


def _are_apart(one: gemmi.Atom, other: gemmi.Atom) -> bool:
    return one.pos.dist(other.pos) > one.element.covalent_r + other.element.covalent_r + SLACK


def _ends(
    residue: gemmi.Residue, one: str, other: str
) -> tuple[gemmi.Atom | None, gemmi.Atom | None]:
    return residue.find_atom(one, "*"), residue.find_atom(other, "*")


def connected_serials(structure: gemmi.Structure) -> Iterator[tuple[int, int]]:
    """Serial numbers of both ends of the bonds that are named as connections.

    They are covalent bonds, disulfides and metal bonds.

    Parameters
    ----------
    structure : gemmi.Structure
        Its first model is meant.

    Yields
    ------
    (int, int)

    Examples
    --------
    >>> list(connected_serials(gemmi.read_structure("model.pdb")))
    []
    """
    for connection in structure.connections:
        if connection.type == gemmi.ConnectionType.Hydrog or connection.asu == gemmi.Asu.Different:
            continue
        ends = [
            structure[0].find_cra(partner, ignore_segment=True)
            for partner in (connection.partner1, connection.partner2)
        ]
        if all(end.atom for end in ends):
            yield ends[0].atom.serial, ends[1].atom.serial
