"""What five common programs read of a structure file: names of atoms, residues, chains, and bonds
between atoms.

An atom is (chain, number, insertion code, atom name); alternative locations of it are one atom,
because OpenMM keeps one of them only.
"""

import json
import os
import shutil
import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path

import gemmi
import pytest

MOLSTAR = Path(os.environ.get("MOLSTAR_MODULES", Path(__file__).parent / "node_modules"))
SCRIPT = Path(__file__).parent / "molstar_reads.js"


@dataclass(frozen=True)
class Reading:
    """What one program found in the first model of one file."""

    atoms: set[tuple[str, int, str, str]]
    bonds: set[frozenset]
    polymer_residues: int | None = None

    @property
    def residues(self) -> set[tuple[str, int, str]]:
        return {atom[:3] for atom in self.atoms}

    @property
    def chains(self) -> set[str]:
        return {atom[0] for atom in self.atoms}

    @property
    def counts(self) -> tuple[int, int, int]:
        """Of atoms, residues and chains."""
        return len(self.atoms), len(self.residues), len(self.chains)


def reading_of_gemmi(path) -> Reading:
    structure = gemmi.read_structure(str(path))
    model = structure[0]
    serials = {}
    atoms = {
        (c.name, r.seqid.num, r.seqid.icode.strip(), a.name): serials.setdefault(
            a.serial, (c.name, r.seqid.num, r.seqid.icode.strip(), a.name)
        )
        for c in model
        for r in c
        for a in r
    }
    ends = [
        (
            model.find_cra(one.partner1, ignore_segment=True),
            model.find_cra(one.partner2, ignore_segment=True),
        )
        for one in structure.connections
    ]
    bonds = {
        frozenset(
            (c.chain.name, c.residue.seqid.num, c.residue.seqid.icode.strip(), c.atom.name)
            for c in pair
        )
        for pair in ends
        if all(c.atom for c in pair)
    }
    bonds |= {
        frozenset((serials[i], serials[j]))
        for i, others in structure.conect_map.items()
        for j in others
    }
    return Reading(set(atoms), bonds)


def reading_of_biotite(path) -> Reading:
    from biotite.structure.io import pdb, pdbx

    def read(**settings):
        if path.suffix == ".pdb":
            return pdb.PDBFile.read(path).get_structure(model=1, **settings)
        kind = pdbx.BinaryCIFFile if path.suffix == ".bcif" else pdbx.CIFFile
        return pdbx.get_structure(kind.read(path), model=1, **settings)

    def named(array):
        columns = (array.chain_id, array.res_id, array.ins_code, array.atom_name)
        return list(zip(*(column.tolist() for column in columns), strict=True))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        atoms, bonded = read(altloc="all"), read(altloc="first", include_bonds=True)
    names = named(bonded)
    return Reading(
        set(named(atoms)),
        {frozenset((names[i], names[j])) for i, j, _ in bonded.bonds.as_array().tolist()},
    )


def reading_of_mdanalysis(path) -> Reading:
    """Of PDB and mmCIF; it reads no bonds from mmCIF."""
    import MDAnalysis

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        atoms = MDAnalysis.Universe(str(path)).atoms
    names = list(
        zip(
            atoms.chainIDs.tolist(),
            atoms.resids.tolist(),
            atoms.icodes.tolist(),
            atoms.names.tolist(),
            strict=True,
        )
    )
    bonds = (
        {frozenset((names[i], names[j])) for i, j in atoms.bonds.indices.tolist()}
        if hasattr(atoms, "bonds")
        else set()
    )
    return Reading(set(names), bonds)


def reading_of_openmm(path) -> Reading:
    """Of PDB and mmCIF, where it names chains by label_asym_id if there are more of those than of
    the author's names.
    """
    app = pytest.importorskip("openmm.app")
    topology = (app.PDBFile if path.suffix == ".pdb" else app.PDBxFile)(str(path)).topology
    chains = {}
    if path.suffix != ".pdb":
        table = gemmi.cif.read(str(path))[0].find("_atom_site.", ["label_asym_id", "auth_asym_id"])
        chains = {row.str(0): row.str(1) for row in table}
        if len(chains) <= len(set(chains.values())):
            chains = {}

    def name(atom):
        residue = atom.residue
        chain = residue.chain.id.strip()
        return chains.get(chain, chain), int(residue.id), residue.insertionCode.strip(), atom.name

    return Reading(
        {name(atom) for atom in topology.atoms()},
        {frozenset((name(i), name(j))) for i, j in topology.bonds()},
    )


def why_no_molstar() -> str | None:
    """Why Mol* cannot be asked, if it cannot."""
    if shutil.which("node") is None:
        return "there is no node"
    if not (MOLSTAR / "molstar").is_dir():
        return f"Mol* is not in {MOLSTAR}: npm install --prefix tests molstar@5.6.1, or say with MOLSTAR_MODULES where it is"
    return None


def readings_of_molstar(*paths) -> list[Reading]:
    """Of PDB, mmCIF and BinaryCIF; skips the test where there is no Mol*."""
    if why_no_molstar():
        pytest.skip(why_no_molstar())
    run = subprocess.run(
        ["node", SCRIPT, *paths],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"NODE_PATH": str(MOLSTAR)},
    )
    read = [json.loads(line) for line in run.stdout.splitlines()]
    return [
        Reading(
            {tuple(atom) for atom in one["atoms"]},
            {frozenset(map(tuple, bond)) for bond in one["bonds"]},
            one["polymerResidues"],
        )
        for one in read
    ]
