"""Residues that are known by their names, or by the names of their atoms.

They are water, and what stands in a file and is no molecule.
"""

import re

WATER_NAMES = {
    "HOH",
    "DOD",
    "WAT",
    "H2O",
    "TIP",
    "TIP2",
    "TIP3",
    "TIP4",
    "TIP5",
    "SOL",
    "SPC",
    "SPCE",
    "T3P",
    "T4P",
    "OPC",
}

# What programs write as atoms though no atom is there. A name alone may be a ligand's in another
# file, so the names of the atoms have to fit too. DUM has no other meaning: it is the membrane of
# OPM and PPM, and the dummy atom of the chemical dictionary.
PSEUDO_ATOMS = {
    "DUM": ".*",
    "PSD": r"PS\d+",  # PyMOL's pseudoatom
    "STP": "APOL|POL",  # the spheres of fpocket
    "ANI": "OO|X|Y|Z",  # axes of tensors: CNS, HADDOCK, CYANA
    "AXS": "OO|X|Y|Z",  # the same
    "MEM": "THKN|CNTR|NORM",  # Rosetta's membrane
    "VRT": "ORIG|X|Y",  # Rosetta's virtual root
    # CYANA's linkers
    "PL": r"Q\d*",
    "LL": r"Q\d*",
    "LL2": r"Q\d*",
    "LL5": r"Q\d*",
    "LP": r"Q\d*",
}
_PATTERNS = {name: re.compile(f"(?:{pattern})") for name, pattern in PSEUDO_ATOMS.items()}


def is_pseudo_atom(residue_name: str, atom_name: str) -> bool:
    """Whether a record of a file is a mark of some program and no atom.

    Parameters
    ----------
    residue_name, atom_name : str
        As the file has them.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_pseudo_atom("DUM", "N"), is_pseudo_atom("ALA", "CA")
    (True, False)
    """
    return residue_name in _PATTERNS and _PATTERNS[residue_name].fullmatch(atom_name) is not None


def describe_pseudo_atoms(residue_names: list[str]) -> list[str]:
    """What is left out, one phrase a residue name.

    Parameters
    ----------
    residue_names : list of str
        One an atom.

    Returns
    -------
    list of str

    Examples
    --------
    >>> describe_pseudo_atoms(["DUM", "DUM"])
    ['2 dummy atoms (DUM): left out']
    """
    return [
        f"{residue_names.count(name)} dummy atoms ({name}): left out"
        for name in dict.fromkeys(residue_names)
    ]
