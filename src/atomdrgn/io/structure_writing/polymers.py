"""Polymers of a structure: entities, label_asym_id and label_seq_id of an mmCIF file."""

from collections.abc import Callable, Iterable
from itertools import count, groupby

import gemmi

from .components import is_known_link, linking_type

# bytes of a label_asym_id: gemmi's tables, which MDAnalysis reads, hold no more
LONGEST_LABEL = 7
# A: longer than any bond between the residues of a polymer, shorter than any contact
BOND = 2.0
# A: between the trace atoms of residues that follow each other
TRACE_STEP = {"CA": 4.2, "P": 7.5}


def describe_polymers(structure: gemmi.Structure) -> None:
    """Make entity types, entities, label_asym_id and label_seq_id whole, in place.

    They agree with the residues afterwards.

    Parameters
    ----------
    structure : gemmi.Structure
        With entity types as far as the file, or gemmi, knows them.

    Examples
    --------
    >>> structure = gemmi.read_structure("model.pdb")
    >>> structure.setup_entities()
    >>> describe_polymers(structure)
    >>> [residue.label_seq for residue in structure[0]["A"]][:3], structure[0]["B"][0].subchain
    ([1, 2, 3], 'B')
    """
    mended = [
        _mend_types(residues, from_pdb=structure.input_format == gemmi.CoorFormat.Pdb)
        for model in structure
        for residues in _by(lambda chain, residue: chain.name, model).values()
    ]
    if any(mended) or not _is_whole(structure):
        _name_anew(structure)
    _name_after_chains(structure)
    _number(structure)


def _by(
    key: Callable[[gemmi.Chain, gemmi.Residue], str], model: gemmi.Model
) -> dict[str, list[gemmi.Residue]]:
    """Residues of a model in file order, under each key."""
    found: dict[str, list[gemmi.Residue]] = {}
    for chain in model:
        for residue in chain:
            found.setdefault(key(chain, residue), []).append(residue)
    return found


# ---- what is a polymer --------------------------------------------------------------------------


def _mend_types(residues: list[gemmi.Residue], *, from_pdb: bool) -> bool:
    """Whether entity types of a chain had to be put right.

    Links of a chain are a polymer, ligands within it are not.
    """
    polymer = [residue.entity_type == gemmi.EntityType.Polymer for residue in residues]
    links = [
        not inside and residue.entity_type != gemmi.EntityType.Water and _may_link(residue)
        for residue, inside in zip(residues, polymer, strict=True)
    ]
    mended = False
    for i, residue in enumerate(residues):
        around = [j for j in (i - 1, i + 1) if 0 <= j < len(residues)]
        if links[i]:
            becomes = any(
                (polymer[j] or links[j]) and _are_joined(residues[min(i, j)], residues[max(i, j)])
                for j in around
            )
        elif polymer[i] and from_pdb and not is_known_link(residue.name):
            becomes = (
                linking_type(residue) is not None
                or _is_trace(residue)
                or any(_touch(residue, residues[j]) for j in around)
            )
        else:
            continue
        if becomes != polymer[i]:
            residue.entity_type = (
                gemmi.EntityType.Polymer if becomes else gemmi.EntityType.NonPolymer
            )
            mended = True
    return mended


def _may_link(residue: gemmi.Residue) -> bool:
    return linking_type(residue) is not None or is_known_link(residue.name) and _is_trace(residue)


def _is_trace(residue: gemmi.Residue) -> bool:
    return (
        len(residue) == 1
        and residue[0].name in TRACE_STEP
        and residue[0].element.name in ("C", "P")
    )


def _are_joined(one: gemmi.Residue, other: gemmi.Residue) -> bool:
    if any(
        _near(one, end, other, start, BOND)
        for end, start in (("C", "N"), ("O3'", "P"), ("O3*", "P"))
    ):
        return True
    return (
        _is_trace(one)
        and _is_trace(other)
        and _near(one, one[0].name, other, one[0].name, TRACE_STEP[one[0].name])
    )


def _near(
    one: gemmi.Residue, name: str, other: gemmi.Residue, other_name: str, most: float
) -> bool:
    first, second = one.find_atom(name, "*"), other.find_atom(other_name, "*")
    return bool(first and second) and first.pos.dist(second.pos) < most


def _touch(one: gemmi.Residue, other: gemmi.Residue) -> bool:
    return any(first.pos.dist(second.pos) < BOND for first in one for second in other)


# ---- entities and label_asym_id -----------------------------------------------------------------


def _is_whole(structure: gemmi.Structure) -> bool:
    """Whether every residue has a label_asym_id, whose entity is of the residue's type."""
    types = {
        subchain: entity.entity_type
        for entity in structure.entities
        for subchain in entity.subchains
    }
    chains: dict[str, str] = {}  # a label_asym_id is of one chain
    for model in structure:
        for chain in model:
            for residue in chain:
                if (
                    types.get(residue.subchain) != residue.entity_type
                    or not residue.subchain
                    or (chains.setdefault(residue.subchain, chain.name) != chain.name)
                ):
                    return False
    return True


def _name_anew(structure: gemmi.Structure) -> None:
    """Make entities and label_asym_id anew from entity types.

    Sequences that the file gives stay with their chains.
    """
    of_subchain = {
        subchain: entity for entity in structure.entities for subchain in entity.subchains
    }
    sequences: dict[str, list[str]] = {}
    for chain in structure[0]:
        for residue in chain:
            if residue.entity_type == gemmi.EntityType.Unknown:
                residue.entity_type = gemmi.EntityType.NonPolymer
            if residue.entity_type == gemmi.EntityType.Polymer and residue.subchain in of_subchain:
                sequences.setdefault(chain.name, of_subchain[residue.subchain].full_sequence)
    structure.assign_subchains(force=True, fail_if_unknown=False)
    entities: dict[tuple[gemmi.EntityType, str], gemmi.Entity] = {}
    subchains: dict[tuple[gemmi.EntityType, str], dict[str, None]] = {}
    for chain in structure[0]:
        for residue in chain:
            kind = residue.entity_type
            key = {gemmi.EntityType.NonPolymer: residue.name, gemmi.EntityType.Water: ""}.get(
                kind, residue.subchain
            )
            entity = entities.get((kind, key))
            if entity is None:
                entity = entities[kind, key] = gemmi.Entity(str(len(entities) + 1))
                entity.entity_type = kind
                if kind == gemmi.EntityType.Polymer:
                    entity.full_sequence = sequences.get(chain.name, [])
            # handed over at the end: a list of gemmi's is copied each time, and each ion has a name
            subchains.setdefault((kind, key), {})[residue.subchain] = None
    for kind_and_key, entity in entities.items():
        entity.subchains = list(subchains[kind_and_key])
    structure.entities = gemmi.EntityList(list(entities.values()))


def _name_after_chains(structure: gemmi.Structure) -> None:
    """Give the first part of each chain the author's name as label_asym_id.

    It takes the place of a name that gemmi made up ("Axp").

    gemmi makes up "Axp".

    Some programs (OpenMM) look up bonds by one kind of name and atoms by the other where a file has
    as many of both. Names that would need quotes are replaced, because gemmi writes a label_asym_id
    without.
    """
    chain_of: dict[str, str] = {}
    for chain in (chain for model in structure for chain in model):
        for residue in chain:
            chain_of.setdefault(residue.subchain, chain.name)
    used, new, fresh = set(chain_of), {}, (f"x{i}" for i in count(1))
    named: set[str] = set()
    for subchain, author in chain_of.items():
        name, made_up = subchain, subchain.startswith(f"{author}x")
        if made_up and author and author not in named | used:
            name = author
        if made_up and len(name.encode()) > LONGEST_LABEL or _needs_quotes(name):
            name = next(short for short in fresh if short not in used)
        if name != subchain:
            new[subchain] = name
            used.add(name)
        named.add(author)
    if not new:
        return
    for model in structure:
        for chain in model:
            for residue in chain:
                residue.subchain = new.get(residue.subchain, residue.subchain)
    for entity in structure.entities:
        entity.subchains = [new.get(name, name) for name in entity.subchains]
    for assembly in structure.assemblies:
        for generator in assembly.generators:
            generator.subchains = [new.get(name, name) for name in generator.subchains]


def _needs_quotes(name: str) -> bool:
    return bool(name) and (not name.isascii() or gemmi.cif.quote(name) != name)


# ---- sequences and label_seq_id -----------------------------------------------------------------


def _number(structure: gemmi.Structure) -> None:
    """Write label_seq_id 1, 2, 3, ... along each polymer.

    They go by the file's sequence where all residues fit it, else by the residues themselves.
    """
    structure.assign_label_seq_id()
    chains = _by(lambda chain, residue: residue.subchain, structure[0])
    changed = False
    for entity in list(structure.entities):
        if entity.entity_type != gemmi.EntityType.Polymer:
            continue
        subchains = list(dict.fromkeys(entity.subchains))
        fitting = [
            name
            for name in subchains
            if name not in chains or _fits(chains[name], entity.full_sequence)
        ]
        others: dict[tuple[str, ...], list[str]] = {}  # names of chains by what they hold
        for name in subchains:
            if name not in fitting:
                others.setdefault(tuple(_number_along(chains[name])), []).append(name)
        for number, (sequence, names) in enumerate(others.items()):
            changed = True
            one = entity
            if fitting or number:
                one = gemmi.Entity(_free_name(structure))
                one.entity_type = gemmi.EntityType.Polymer
                one.polymer_type = entity.polymer_type
                structure.entities.append(one)
                one = structure.entities[-1]
            one.full_sequence, one.subchains = list(sequence), names
        if fitting and others:
            entity.subchains = fitting
    for entity in structure.entities:
        if (
            entity.polymer_type == gemmi.PolymerType.Unknown
            and entity.entity_type == gemmi.EntityType.Polymer
        ):
            entity.polymer_type = _polymer_type(chains, entity.subchains)
    structure.add_microhetero_to_sequences(False)
    if changed:
        structure.deduplicate_entities()
    for residues in chains.values():
        if residues[0].entity_type != gemmi.EntityType.Polymer:
            for residue in residues:
                residue.label_seq = None
    _number_other_models(structure, chains)


def _fits(residues: list[gemmi.Residue], sequence: list[str]) -> bool:
    places = set()
    for residue in residues:
        place = residue.label_seq
        if (
            place is None
            or not 1 <= place <= len(sequence)
            or residue.name not in sequence[place - 1].split(",")
        ):
            return False
        if (place, residue.name) in places:
            return False
        places.add((place, residue.name))
    return True


def _number_along(residues: Iterable[gemmi.Residue]) -> list[str]:
    """The sequence of a chain by its residues, which are numbered along.

    Conformers of other names share a place.
    """
    sequence: list[str] = []
    for _, run in groupby(residues, key=lambda residue: residue.seqid):
        names: list[str] = []
        for residue in run:
            if not names or residue.name in names:
                names = []
                sequence.append("")
            names.append(residue.name)
            sequence[-1] = ",".join(names)
            residue.label_seq = len(sequence)
    return sequence


def _number_other_models(
    structure: gemmi.Structure, chains: dict[str, list[gemmi.Residue]]
) -> None:
    for model in list(structure)[1:]:
        for name, residues in _by(lambda chain, residue: residue.subchain, model).items():
            first = chains.get(name, [])
            if [residue.name for residue in first] == [residue.name for residue in residues]:
                for residue, like in zip(residues, first, strict=True):
                    residue.label_seq = like.label_seq
            elif residues[0].entity_type != gemmi.EntityType.Polymer:
                for residue in residues:
                    residue.label_seq = None
            elif any(residue.label_seq is None for residue in residues):
                _number_along(residues)


def _polymer_type(
    chains: dict[str, list[gemmi.Residue]], names: Iterable[str]
) -> gemmi.PolymerType:
    types = (linking_type(residue) for name in names for residue in chains.get(name, []))
    return {
        frozenset({"L-peptide linking"}): gemmi.PolymerType.PeptideL,
        frozenset({"RNA linking"}): gemmi.PolymerType.Rna,
        frozenset({"DNA linking"}): gemmi.PolymerType.Dna,
        frozenset({"RNA linking", "DNA linking"}): gemmi.PolymerType.DnaRnaHybrid,
    }.get(frozenset(kind for kind in types if kind is not None), gemmi.PolymerType.Unknown)


def _free_name(structure: gemmi.Structure) -> str:
    names = {entity.name for entity in structure.entities}
    return next(str(number) for number in range(1, len(names) + 2) if str(number) not in names)
