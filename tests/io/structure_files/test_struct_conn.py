import warnings

import gemmi
import pytest

from atomdrgn.structure.atoms import read_structure
from atomdrgn.structure.bonds.declared_pairs import declared_links
from molecules import atom_line, helix

ATOMS = [
    *helix("A", 3),
    atom_line(60, "SG", "CYS", "A", 9, (9, 0, 0), element="S"),
    atom_line(61, "SG", "CYS", "A", 10, (9, 2, 0), element="S"),
    atom_line(62, "SG", "CYS", "A", 11, (30, 2, 0), element="S"),
    *[
        atom_line(70 + k, "C1", "NAG", "T", 1 + k, (20 + 2 * k, 9, 9), record="HETATM")
        for k in range(3)
    ],
    *[
        atom_line(80 + k, "O", "HOH", "W", 2 + k, (20 + 2 * k, 19, 9), record="HETATM")
        for k in range(3)
    ],
]
# of each link: label chain, label number, author's chain and number, residue, atom
LINKS = {
    "disulf1": [("A", "4", "A", "9", "CYS", "SG"), ("A", "5", "A", "10", "CYS", "SG")],
    "covale1": [("T", ".", "T", "1", "NAG", "C1"), ("T", ".", "T", "2", "NAG", "C1")],
    "covale2": [("W", ".", "W", "3", "HOH", "O"), ("W", ".", "W", "4", "HOH", "O")],
}
SAID = (
    "label_asym_id",
    "label_seq_id",
    "auth_asym_id",
    "auth_seq_id",
    "label_comp_id",
    "label_atom_id",
)


def write(path, *, atoms=(), links=(), only=tuple(LINKS)):
    """A file whose tables of atoms and of links lack these columns."""
    structure = gemmi.read_pdb_string("\n".join(ATOMS))
    structure.setup_entities()
    for chain in structure[0]:
        for place, residue in enumerate(chain, 1):
            residue.subchain, residue.label_seq = chain.name, place if chain.name == "A" else None
    block = structure.make_mmcif_document()[0]
    table = block.get_mmcif_category("_atom_site.", raw=True)
    block.set_mmcif_category(
        "_atom_site.", {tag: column for tag, column in table.items() if tag not in atoms}, raw=True
    )
    columns = {"id": list(only), "conn_type_id": [name[:6] for name in only]}
    columns |= {
        f"ptnr{end + 1}_{tag}": [LINKS[name][end][place] for name in only]
        for end in (0, 1)
        for place, tag in enumerate(SAID)
        if tag not in links
    }
    block.set_mmcif_category("_struct_conn.", columns, raw=True)
    path.write_text(block.as_string())
    return path


def read(path):
    """Coordinates of the ends of what is linked."""
    structure = read_structure(path)
    return sorted(structure.position[list(pair)].tolist() for pair in declared_links(structure))


def places(*names):
    """Coordinates where :data:`LINKS` has the ends."""
    ends = {
        (line[21], int(line[22:26]), line[12:16].strip()): [
            float(line[k : k + 8]) for k in (30, 38, 46)
        ]
        for line in ATOMS
    }
    return sorted([ends[end[2], int(end[3]), end[5]] for end in LINKS[name]] for name in names)


AUTHORS, LABELS = ("auth_asym_id", "auth_seq_id"), ("label_asym_id", "label_seq_id")


@pytest.mark.parametrize(
    "atoms, links",
    [
        ((), ()),
        ((), LABELS),
        ((), ("label_seq_id",)),
        (("label_seq_id",), ()),
        (LABELS, LABELS),
        (("label_asym_id",), ()),
    ],
)
def test_links_by_the_authors_names(tmp_path, atoms, links):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(write(tmp_path / "a.cif", atoms=atoms, links=links)) == places(*LINKS)


@pytest.mark.parametrize("atoms", [AUTHORS, ("auth_seq_id",)])
def test_links_where_atoms_have_label_numbers_alone(tmp_path, atoms):
    """Waters are counted anew, so that an author's number would be another water's."""
    with pytest.warns(
        UserWarning,
        match=r"1 links of _struct_conn name no atom of the file, or several \(covale2\)",
    ):
        assert read(write(tmp_path / "a.cif", atoms=atoms)) == places("disulf1", "covale1")


@pytest.mark.parametrize("atoms", [(), AUTHORS])
def test_links_that_have_label_numbers_alone(tmp_path, atoms):
    path = write(tmp_path / "a.cif", atoms=atoms, links=AUTHORS)
    with pytest.warns(UserWarning, match=r"2 links .* \(covale1\): they are left out"):
        assert read(path) == places("disulf1")


def test_copies_of_a_chain_keep_theirs(tmp_path):
    path = write(tmp_path / "a.cif", links=LABELS, only=["disulf1"])
    block = gemmi.cif.read(str(path))[0]
    table = block.get_mmcif_category("_atom_site.")
    far = {tag: list(column) for tag, column in table.items()}
    far["Cartn_x"] = [str(float(x) + 60) for x in far["Cartn_x"]]
    far["label_asym_id"] = [f"{name}2" for name in far["label_asym_id"]]
    block.set_mmcif_category("_atom_site.", {tag: [*table[tag], *far[tag]] for tag in table})
    path.write_text(block.as_string())
    with pytest.warns(UserWarning, match="3 chains stand in it more than once"):
        assert len(read(path)) == 2
