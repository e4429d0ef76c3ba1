"""Small molecules for tests, written as PDB text."""

import math


def atom_line(serial, name, residue_name, chain, residue, xyz, *, element=None, icode=" ", altloc=" ", occupancy=1.0,
              b_factor=20.0, record="ATOM"):
    """One ATOM or HETATM record; names of one-letter elements start in column 14, and `element=""` leaves the column out."""
    element = name[0] if element is None else element
    column = f" {name:<3}" if len(element) < 2 and len(name) < 4 else f"{name:<4}"
    x, y, z = xyz
    return (f"{record:<6}{serial % 100000:5d} {column}{altloc}{residue_name:>3}{chain:>2}{residue:4d}{icode}   "
            f"{x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}{b_factor:6.2f}" + (f"          {element:>2}" if element else ""))


def helix(chain, length, *, first=1, start=(0.0, 0.0, 0.0), names=("ALA",), serial=1, element=None):
    """Lines of an alpha helix along z: N, CA, C, O, and CB but for GLY."""
    lines = []
    for i in range(length):
        name = names[i % len(names)]
        places = {"N": (1.6, -28, -0.9), "CA": (2.3, 0, 0.0), "C": (1.6, 27, 1.1), "O": (2.0, 25, 2.3), "CB": (3.3, -19, -0.9)}
        for atom, (radius, angle, height) in places.items():
            if atom == "CB" and name == "GLY":
                continue
            turn = math.radians(100 * i + angle)
            xyz = (start[0] + radius * math.cos(turn), start[1] + radius * math.sin(turn), start[2] + 1.5 * i + height)
            lines.append(atom_line(serial + len(lines), atom, name, chain, first + i, xyz, element=element))
    return lines


def write_pdb(path, *groups):
    """A PDB file of groups of lines with a TER behind each."""
    path.write_text("\n".join(line for group in groups for line in [*group, "TER"]) + "\nEND\n")
    return path
