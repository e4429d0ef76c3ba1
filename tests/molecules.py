"""Small molecules for tests, written as PDB text."""

import math

import numpy as np


def atom_line(
    serial,
    name,
    residue_name,
    chain,
    residue,
    xyz,
    *,
    element=None,
    icode=" ",
    altloc=" ",
    occupancy=1.0,
    b_factor=20.0,
    record="ATOM",
):
    """One ATOM or HETATM record; names of one-letter elements start in column 14, and `element=""`
    leaves the column out.
    """
    element = name[0] if element is None else element
    column = f" {name:<3}" if len(element) < 2 and len(name) < 4 else f"{name:<4}"
    x, y, z = xyz
    return (
        f"{record:<6}{serial % 100000:5d} "
        f"{column}{altloc}{residue_name:>3}{chain:>2}{residue:4d}{icode}   "
        f"{x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}{b_factor:6.2f}"
        + (f"          {element:>2}" if element else "")
    )


def helix(chain, length, *, first=1, start=(0.0, 0.0, 0.0), names=("ALA",), serial=1, element=None):
    """Lines of an alpha helix along z: N, CA, C, O, and CB but for GLY."""
    lines = []
    for i in range(length):
        name = names[i % len(names)]
        places = {
            "N": (1.6, -28, -0.9),
            "CA": (2.3, 0, 0.0),
            "C": (1.6, 27, 1.1),
            "O": (2.0, 25, 2.3),
            "CB": (3.3, -19, -0.9),
        }
        for atom, (radius, angle, height) in places.items():
            if atom == "CB" and name == "GLY":
                continue
            turn = math.radians(100 * i + angle)
            xyz = (
                start[0] + radius * math.cos(turn),
                start[1] + radius * math.sin(turn),
                start[2] + 1.5 * i + height,
            )
            lines.append(
                atom_line(serial + len(lines), atom, name, chain, first + i, xyz, element=element)
            )
    return lines


def write_pdb(path, *groups):
    """A PDB file of groups of lines with a TER behind each."""
    path.write_text("\n".join(line for group in groups for line in [*group, "TER"]) + "\nEND\n")
    return path


def peptide(chain, length, *, start=(0.0, 0.0, 0.0), phi=-62.0, psi=-42.0, omega=180.0):
    """Lines of a chain of alanines with the bonds, angles and hands of real ones, along z where phi
    and psi are a helix's.
    """
    atoms = [np.zeros(3), np.array([1.46, 0.0, 0.0]), np.array([2.0, 1.42, 0.0])]  # N, CA, C
    for _ in range(length):
        atoms.append(_placed(*atoms[-3:], length=1.33, angle=116.5, torsion=psi))
        atoms.append(_placed(*atoms[-3:], length=1.46, angle=121.5, torsion=omega))
        atoms.append(_placed(*atoms[-3:], length=1.52, angle=111.0, torsion=phi))
    residues = []
    for i in range(length):
        n, ca, c = atoms[3 * i : 3 * i + 3]
        oxygen = _placed(n, ca, c, length=1.23, angle=120.5, torsion=psi + 180)
        beta = _placed(c, n, ca, length=1.53, angle=110.5, torsion=-122.5)
        residues.append([("N", n), ("CA", ca), ("C", c), ("O", oxygen), ("CB", beta)])
    every = np.array([xyz for residue in residues for _, xyz in residue])
    axes = np.linalg.svd(every - every.mean(0))[2][[2, 1, 0]]
    axes[2] *= np.sign(axes[2] @ (every[-1] - every[0]))
    axes[0] *= np.linalg.det(axes)  # turned, not mirrored
    turned = iter((every - every.mean(0)) @ axes.T + np.array(start))
    return [
        atom_line(5 * i + k + 1, name, "ALA", chain, i + 1, next(turned))
        for i, residue in enumerate(residues)
        for k, (name, _) in enumerate(residue)
    ]


def _placed(a, b, c, *, length, angle, torsion):
    """Where the atom behind a, b and c stands: its distance from c, A, its angle at c and torsion
    about b-c, degrees.
    """
    angle, torsion = math.radians(angle), math.radians(torsion)
    along = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, along)
    normal /= np.linalg.norm(normal)
    side = np.cross(normal, along)
    return c + length * (
        -math.cos(angle) * along
        + math.sin(angle) * (math.cos(torsion) * side + math.sin(torsion) * normal)
    )
