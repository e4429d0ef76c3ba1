"""Written structures are right in the programs that open them."""

import gzip
from pathlib import Path

import gemmi
import numpy as np
import pytest
import torch

from atomdrgn.errors import InputError
from atomdrgn.io.structure_files.structures import read_gemmi
from atomdrgn.io.structure_writing.structure_writing import write_gemmi
from atomdrgn.structure.atoms import read_structure, why_no_pdb, write_pdb_or_mmcif, write_structure
from molecules import atom_line, helix, write_pdb
from readers import (
    Reading,
    reading_of_biotite,
    reading_of_gemmi,
    reading_of_mdanalysis,
    reading_of_openmm,
    readings_of_molstar,
    why_no_molstar,
)

COLUMNS = (
    "element",
    "atom_name",
    "residue",
    "insertion_code",
    "residue_name",
    "chain",
    "altloc",
    "occupancy",
    "b_factor",
    "residue_index",
)
REAL = [
    "structures/1ake_chainA.pdb",
    "structures/1ake_chimerax.cif",
    "structures/1aon.pdb.gz",
    "structures/1igy.cif",
    "structures/2dhb.cif",
    "structures/2dhb.pdb",
    "structures/4ake_chainA_H.pdb",
    "structures/4v8r_h36.pdb.gz",
    "structures/pdb7pbl.pdb",
    "ensembles/1gya.cif",
    "ensembles/adk_closed.pdb",
    "ensembles/pdb2k39_ca.pdb",
    "particles/warptools_dev/model_50S_placed.cif.gz",
]


@pytest.fixture
def awkward(tmp_path):
    """Insertion codes, two conformers, a ligand behind the chain of its name, an ion, water."""
    chain = helix("A", 6)
    chain += [
        atom_line(40, "CA", "SER", "A", 6, (9, 9, 9), icode="A"),
        atom_line(41, "OG", "SER", "A", 6, (9, 10, 9), icode="A"),
        atom_line(42, "CA", "SER", "A", 6, (12, 9, 9), icode="B"),
        atom_line(43, "OG", "SER", "A", 6, (12, 10, 9), icode="B", altloc="A", occupancy=0.4),
        atom_line(44, "OG", "SER", "A", 6, (12, 8, 9), icode="B", altloc="B", occupancy=0.6),
    ]
    other = helix("B", 4, first=-2, start=(20, 0, 0))
    rest = [
        atom_line(90, "C1", "LIG", "A", 101, (5, 5, 5), record="HETATM"),
        atom_line(91, "CA", "CA", "A", 102, (7, 5, 5), element="CA", record="HETATM"),
        atom_line(92, "O", "HOH", "A", 201, (0, 8, 8), record="HETATM"),
    ]
    return write_pdb(tmp_path / "awkward.pdb", chain, other, rest)


def assert_same_atoms(one, other):
    assert len(one) == len(other)
    for column in COLUMNS:
        assert np.array_equal(getattr(one, column), getattr(other, column)), column
    torch.testing.assert_close(one.position, other.position, rtol=0, atol=6e-4)


@pytest.mark.parametrize("ending", [".pdb", ".cif", ".bcif", ".pdb.gz", ".cif.gz", ".bcif.gz"])
def test_no_atom_is_lost_on_the_way_through_a_format(awkward, tmp_path, ending):
    structure = read_structure(awkward)
    assert len(structure) == len(
        [line for line in awkward.read_text().splitlines() if line.startswith(("ATOM", "HETATM"))]
    )
    assert structure.insertion_code[structure.residue == 6].tolist()[-4:] == ["A", "B", "B", "B"]
    write_structure(structure, tmp_path / f"out{ending}")
    assert_same_atoms(structure, read_structure(tmp_path / f"out{ending}"))


@pytest.mark.seconds
@pytest.mark.filterwarnings("ignore::atomdrgn.errors.UnmodelledWarning")
@pytest.mark.parametrize("ending", [".pdb", ".cif", ".bcif"])
@pytest.mark.parametrize("name", REAL)
def test_no_atom_of_real_files_is_lost(shared, tmp_path, name, ending):
    structure = read_structure(shared / "data" / name)
    if ending == ".pdb" and why_no_pdb(structure):
        with pytest.raises(InputError, match="chain names of one character"):
            write_structure(structure, tmp_path / "out.pdb")
        return
    write_structure(structure, tmp_path / f"out{ending}")
    assert_same_atoms(structure, read_structure(tmp_path / f"out{ending}"))


def test_new_coordinates_and_b_factors_are_written(awkward, tmp_path):
    structure = read_structure(awkward)
    b_factor = torch.arange(len(structure)) / 4
    position = structure.position + torch.tensor([100.0, 0, -3])
    write_structure(structure, tmp_path / "out.bcif", position=position, b_factor=b_factor)
    back = read_structure(tmp_path / "out.bcif")
    torch.testing.assert_close(back.position, position, rtol=0, atol=6e-4)
    np.testing.assert_allclose(back.b_factor, np.round(b_factor.numpy(), 2), atol=0.005)
    assert np.array_equal(back.atom_name, structure.atom_name)


def test_wrong_number_of_coordinates_is_said(awkward, tmp_path):
    structure = read_structure(awkward)
    with pytest.raises(InputError, match=rf"\(3, 3\) for {len(structure)} atoms"):
        write_structure(structure, tmp_path / "out.pdb", position=torch.zeros(3, 3))
    with pytest.raises(InputError, match="not finite"):
        write_structure(
            structure, tmp_path / "out.pdb", b_factor=torch.full((len(structure),), torch.nan)
        )


def test_a_failed_write_leaves_what_was_there(awkward, tmp_path):
    structure = read_structure(awkward)
    target = tmp_path / "out.pdb"
    target.write_text("precious")
    with pytest.raises(InputError, match="write mmCIF"):
        write_structure(structure, target, position=structure.position + 20_000)
    assert target.read_text() == "precious"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.filterwarnings("ignore:Attribute .auth_:UserWarning")
def test_another_library_reads_and_writes_the_same_binarycif(awkward, tmp_path):
    from biotite.structure.io import pdbx

    structure = read_structure(awkward)
    write_structure(structure, tmp_path / "ours.bcif")
    theirs = pdbx.get_structure(
        pdbx.BinaryCIFFile.read(tmp_path / "ours.bcif"), model=1, altloc="all"
    )
    assert np.array_equal(theirs.atom_name, structure.atom_name) and np.array_equal(
        theirs.chain_id, structure.chain
    )
    assert np.array_equal(theirs.res_id, structure.residue) and np.array_equal(
        theirs.ins_code, structure.insertion_code
    )
    np.testing.assert_allclose(theirs.coord, structure.position.numpy(), atol=1e-3)
    file = pdbx.BinaryCIFFile()
    pdbx.set_structure(file, theirs)
    file.write(tmp_path / "theirs.bcif")
    back = read_structure(tmp_path / "theirs.bcif")
    assert np.array_equal(back.element, structure.element) and np.array_equal(
        back.residue, structure.residue
    )


def test_large_b_factors_keep_the_columns_of_a_pdb_file(awkward, tmp_path):
    structure = read_structure(awkward)
    write_structure(structure, tmp_path / "out.pdb", b_factor=np.full(len(structure), 12_345.0))
    back = read_structure(tmp_path / "out.pdb")
    assert np.array_equal(back.element, structure.element) and (back.b_factor > 900).all()


def test_a_pdb_file_refuses_what_it_cannot_hold(awkward, tmp_path):
    source = read_gemmi(awkward)
    source[0][0].name = "LONG"
    with pytest.raises(InputError, match="of one character, not 'LONG'.*write mmCIF"):
        write_gemmi(source, tmp_path / "out.pdb")
    write_gemmi(source, tmp_path / "out.cif")
    assert read_gemmi(tmp_path / "out.cif")[0][0].name == "LONG"


def test_the_same_bytes_come_out_twice(awkward, tmp_path):
    for name in ("one.cif.gz", "two.cif.gz"):
        write_gemmi(read_gemmi(awkward), tmp_path / name)
    assert gzip.decompress((tmp_path / "one.cif.gz").read_bytes()) == gzip.decompress(
        (tmp_path / "two.cif.gz").read_bytes()
    )


# ---- five programs ------------------------------------------------------------------------------


def nucleotides(chain, names, *, start=(0.0, 0.0, 0.0), serial=1, ribose=True):
    """Lines of a strand stretched along x: atoms of the backbone a bond apart, C1' and the first of
    the base beside it.
    """
    lines = []
    for i, name in enumerate(names):
        places = {
            "P": (0, 0),
            "O5'": (1.5, 0),
            "C5'": (3, 0),
            "C4'": (4.5, 0),
            "C3'": (6, 0),
            "O3'": (7.4, 0),
            "C2'": (6.3, 1.5),
            "C1'": (4.8, 1.5),
            "N1": (4.8, 3.0),
        } | ({"O2'": (7.5, 2.2)} if ribose else {})
        lines += [
            atom_line(
                serial + len(lines) + k,
                atom,
                name,
                chain,
                i + 1,
                (start[0] + 9 * i + x, start[1] + y, start[2]),
            )
            for k, (atom, (x, y)) in enumerate(places.items())
        ]
    return lines


def disulfide(chain, *, start=(0.0, 0.0, 0.0)):
    """Two cysteines, 2.05 A apart at their sulfur, in a chain of six; and the SSBOND record."""
    lines = helix(chain, 6, names=("CYS", "ALA", "ALA", "CYS", "ALA", "ALA"), start=start)
    x, y, z = start
    lines += [
        atom_line(80 + i, "SG", "CYS", chain, 1 + 3 * i, (x + 4.5 + 2.05 * i, y, z + 2))
        for i in (0, 1)
    ]
    lines.sort(key=lambda line: int(line[22:26]))
    return (
        f"SSBOND   1 CYS {chain}    1    CYS {chain}    4                          1555   1555  "
        "2.05  ",
        lines,
    )


RING = [(30, 0, 0), (31.2, 0.7, 0), (32.4, 0, 0), (32.4, -1.4, 0), (31.2, -2.1, 0), (30, -1.4, 0)]


def ligand(name, chain, number, *, serial, shift=0.0):
    """A ring of six with its bonds: lines, and CONECT records, one bond double."""
    lines = [
        atom_line(serial + i, f"C{i + 1}", name, chain, number, (x + shift, y, z), record="HETATM")
        for i, (x, y, z) in enumerate(RING)
    ]
    records = []
    for i in range(6):
        bonded = [serial + (i + 1) % 6, serial + (i - 1) % 6] + ([serial + 1 - i] if i < 2 else [])
        records.append(f"CONECT{serial + i:5d}" + "".join(f"{one:5d}" for one in sorted(bonded)))
    return lines, records


def write_with_records(path, head, groups, tail):
    write_pdb(path, *groups)
    path.write_text(
        "\n".join([*head, path.read_text().removesuffix("END\n").rstrip(), *tail, "END"]) + "\n"
    )
    return path


def zoo(folder):
    """Path of each molecule, by what is odd in it."""
    water = [
        atom_line(900 + i, "O", "HOH", "A", 301 + i, (40, 4 * i, 9), record="HETATM")
        for i in range(3)
    ]
    drug, conect = ligand("LIG", "L", 1, serial=500)
    ssbond, cysteines = disulfide("A")
    sugars = [
        atom_line(600, "C1", "NAG", "A", 401, (2.0, 2.2, 2.0), record="HETATM"),
        atom_line(601, "O4", "NAG", "A", 401, (3.4, 2.2, 2.0), record="HETATM"),
        atom_line(602, "C1", "NAG", "A", 402, (4.7, 2.2, 2.0), record="HETATM"),
    ]
    glycosidic = "LINK         O4  NAG A 401                 C1  NAG A 402     1555   1555  1.30  "
    altlocs = helix("A", 4) + [
        atom_line(90, "OG", "ALA", "A", 4, (9, 9, 9), altloc="A", occupancy=0.5),
        atom_line(91, "OG", "ALA", "A", 4, (9, 10, 9), altloc="B", occupancy=0.5),
    ]
    inserted = (
        helix("H", 3)
        + [
            line[:22] + f"{3:4d}{icode}" + line[27:]
            for icode, i in (("A", 3), ("B", 4))
            for line in helix("H", 5)[5 * i : 5 * i + 5]
        ]
        + helix("H", 6, first=-1)[25:]
    )
    amber = helix("A", 8, names=("ALA", "HIE", "CYX", "HSD", "ASH", "GLY", "HIP", "LYN"))
    hetero = [line.replace("ATOM  ", "HETATM") if "HIE" in line else line for line in amber]
    within = helix("A", 3) + ligand("LIG", "A", 90, serial=500)[0] + helix("A", 6)[15:]
    nameless = [helix(" ", 4), [atom_line(90, "O", "HOH", " ", 200, (40, 9, 9), record="HETATM")]]
    fused = nucleotides("R", ("RA5", "RU", "RG3"))
    files = {
        "two chains": write_pdb(
            folder / "two.pdb", helix("A", 5), helix("b", 4, start=(20, 0, 0), serial=200)
        ),
        "ligand": write_with_records(folder / "ligand.pdb", [], [helix("A", 5), drug], conect),
        "disulfide": write_with_records(folder / "disulfide.pdb", [ssbond], [cysteines], []),
        "rna and dna": write_pdb(
            folder / "nucleic.pdb",
            nucleotides("R", ("A", "C", "G")),
            nucleotides("D", ("DA", "DC", "DT"), start=(0, 30, 0), serial=200, ribose=False),
        ),
        "amber rna": write_pdb(folder / "amber_rna.pdb", fused),
        "glycan": write_with_records(
            folder / "glycan.pdb", [glycosidic], [helix("A", 5), sugars], []
        ),
        "water": write_pdb(folder / "water.pdb", helix("A", 5), water),
        "alternative locations": write_pdb(folder / "altlocs.pdb", altlocs),
        "insertion codes": write_pdb(folder / "inserted.pdb", inserted),
        "amber names": write_pdb(folder / "amber.pdb", amber),
        "amber names as ligands": write_pdb(folder / "hetero.pdb", hetero, water),
        "ligand within": write_pdb(folder / "within.pdb", within),
        "no chain name": write_pdb(folder / "nameless.pdb", *nameless),
        "no chain name beside one": write_pdb(
            folder / "beside.pdb", helix(" ", 4), helix("A", 3, start=(20, 0, 0), serial=90)
        ),
        "negative numbers": write_pdb(folder / "negative.pdb", helix("A", 6, first=-3)),
    }
    for what, chain, first in (
        ("chain of two letters", "AA", 1),
        ("large numbers", "A", 9998),
        ("odd chain", "A '#;\"", 1),
    ):
        source = read_gemmi(files["two chains"])
        source[0][0].name = chain
        for i, residue in enumerate(source[0][0]):
            residue.seqid.num = first + i
        files[what] = folder / f"{what.replace(' ', '_')}.cif"
        write_gemmi(source, files[what])
    return files


POLYMER = {
    "two chains": 9,
    "ligand": 5,
    "disulfide": 6,
    "rna and dna": 6,
    "amber rna": 3,
    "glycan": 5,
    "water": 5,
    "alternative locations": 4,
    "insertion codes": 6,
    "amber names": 8,
    "amber names as ligands": 8,
    "ligand within": 6,
    "no chain name": 4,
    "no chain name beside one": 7,
    "negative numbers": 6,
    "chain of two letters": 9,
    "large numbers": 9,
    "odd chain": 9,
}
NO_PDB = {
    "chain of two letters": "'AA'",
    "large numbers": "not 10000",
    "odd chain": "of one character",
}
RING_BONDS = {
    frozenset((("L", 1, "", f"C{i + 1}"), ("L", 1, "", f"C{(i + 1) % 6 + 1}"))) for i in range(6)
}
DECLARED = {
    "ligand": RING_BONDS,
    "disulfide": {frozenset((("A", 1, "", "SG"), ("A", 4, "", "SG")))},
    "glycan": {frozenset((("A", 401, "", "O4"), ("A", 402, "", "C1")))},
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Of each molecule of the zoo, its structure and the files that it was written to."""
    folder = tmp_path_factory.mktemp("zoo")
    found = {}
    for what, path in zoo(folder).items():
        structure = read_structure(path)
        endings = ("cif", "bcif") if what in NO_PDB else ("pdb", "cif", "bcif")
        files = {ending: folder / f"{path.stem}_out.{ending}" for ending in endings}
        for file in files.values():
            write_structure(structure, file)
        found[what] = structure, files
    return found


@pytest.fixture(scope="module")
def in_molstar(written):
    """What Mol* reads of every file."""
    paths = [path for _, files in written.values() for path in files.values()]
    return dict(zip(paths, readings_of_molstar(*paths), strict=True))


def atoms_of(structure):
    return set(
        zip(
            structure.chain.tolist(),
            structure.residue.tolist(),
            structure.insertion_code.tolist(),
            structure.atom_name.tolist(),
            strict=True,
        )
    )


@pytest.mark.parametrize("what", POLYMER)
def test_four_programs_read_the_same_atoms_residues_and_chains(written, what):
    structure, files = written[what]
    expected = Reading(atoms_of(structure), set())
    readers = {
        "pdb": (reading_of_gemmi, reading_of_biotite, reading_of_mdanalysis, reading_of_openmm),
        "cif": (reading_of_gemmi, reading_of_biotite, reading_of_mdanalysis, reading_of_openmm),
        "bcif": (reading_of_biotite,),
    }
    for ending, path in files.items():
        for read in readers[ending]:
            found = read(path)
            assert found.counts == expected.counts, (ending, read.__name__)
            if read is not reading_of_openmm:  # which gives some residues and atoms other names
                assert found.atoms == expected.atoms, (ending, read.__name__)


@pytest.mark.parametrize("what", POLYMER)
def test_molstar_reads_the_same_and_has_every_residue_in_a_polymer(written, in_molstar, what):
    structure, files = written[what]
    expected = Reading(atoms_of(structure), set())
    for ending, path in files.items():
        found = in_molstar[path]
        assert found.counts[:2] == expected.counts[:2], ending
        if ending != "pdb":
            assert found.polymer_residues == POLYMER[what], ending
        if "" not in expected.chains:  # for which it takes a blank or label_asym_id
            assert found.atoms == expected.atoms, ending


@pytest.mark.parametrize("what", DECLARED)
def test_declared_bonds_are_found_by_every_program_that_reads_bonds(written, in_molstar, what):
    _, files = written[what]
    readings = [reading_of_gemmi(files["pdb"]), reading_of_mdanalysis(files["pdb"])]
    readings += [
        read(files[ending])
        for ending in ("pdb", "cif")
        for read in (reading_of_biotite, reading_of_openmm)
    ]
    readings += [reading_of_biotite(files["bcif"]), *(in_molstar[path] for path in files.values())]
    for found in readings:
        assert DECLARED[what] <= found.bonds


@pytest.mark.parametrize("what", ["ligand", "glycan", "rna and dna", "amber names"])
def test_bonds_of_the_polymer_stay_known_beside_declared_ones(written, in_molstar, what):
    """A list of bonds of components is taken for a whole one: one that leaves out amino acids takes
    their bonds away.
    """
    _, files = written[what]
    counts = {len(reading_of_biotite(files[ending]).bonds) for ending in files}
    assert len(counts) == 1 and counts.pop() >= (0 if what == "amber names" else 10)
    assert len({frozenset(in_molstar[path].bonds) for path in files.values()}) == 1


def declare_like(source, other):
    """The same declared bonds for the same atoms of another structure."""
    serials = zip(
        *([place.atom.serial for place in one[0].all()] for one in (source, other)), strict=True
    )
    number = dict(serials)
    other.clear_conect()
    for one, others in source.conect_map.items():
        for end in {end for end in others if end > one}:
            other.add_conect(number[one], number[end], others.count(end))


@pytest.mark.parametrize("what", POLYMER)
def test_the_way_through_mmcif_keeps_atoms_links_and_bytes(written, tmp_path, what):
    structure, files = written[what]
    for ending in ("cif", "bcif"):
        back = read_structure(files[ending])
        assert_same_atoms(structure, back)
        assert len(back.source.connections) == len(structure.source.connections)
        declare_like(structure.source, back.source)
        write_structure(back, tmp_path / f"again.{ending}")
        assert (tmp_path / f"again.{ending}").read_bytes() == files[ending].read_bytes()


# ---- what a PDB file can hold -------------------------------------------------------------------


def renamed(source, **changes):
    for what, value in changes.items():
        chain, residue = source[0][0], source[0][0][1]
        if what == "chain":
            chain.name = value
        elif what == "residue":
            residue.name = value
        elif what == "atom":
            residue[0].name = value
        elif what == "number":
            residue.seqid.num = value
        else:
            residue[0].pos = gemmi.Position(value, 0, 0)
    return source


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"chain": "AA"}, "chain names of one character, not 'AA'"),
        ({"chain": "é"}, "chain names of one character"),
        ({"residue": "TIP3"}, "residue names of at most 3 characters, not 'TIP3'"),
        ({"residue": "A1BCD"}, "residue names"),
        ({"atom": "HB111"}, "atom names of at most 4 characters, not 'HB111'"),
        ({"number": 10_000}, "from -999 to 9999, not 10000"),
        ({"number": -1000}, "not -1000"),
        ({"number": 9000}, "residue 3 follows 9000"),
    ],
)
def test_a_pdb_file_is_not_written_where_programs_would_not_agree(awkward, tmp_path, changes, said):
    structure = read_structure(awkward)
    assert why_no_pdb(structure) is None
    renamed(structure.source, **changes)
    assert said in why_no_pdb(structure)
    with pytest.raises(InputError, match="write mmCIF instead"):
        write_structure(structure, tmp_path / "out.pdb")
    told = []
    assert write_pdb_or_mmcif(structure, tmp_path / "base", say=told.append).name == "base.cif"
    assert len(told) == 1 and said in told[0] and "base.cif is written" in told[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"chain": "a"},
        {"chain": "1"},
        {"chain": ""},
        {"number": 4000},
        {"number": -999},
        {"atom": "HB11"},
        {"residue": "U"},
    ],
)
def test_a_pdb_file_is_written_where_they_agree(awkward, tmp_path, changes):
    structure = read_structure(awkward)
    renamed(structure.source, **changes)
    path = write_pdb_or_mmcif(structure, tmp_path / "base", say=pytest.fail)
    sets = [
        read(path).atoms for read in (reading_of_gemmi, reading_of_biotite, reading_of_mdanalysis)
    ]
    assert sets[0] == sets[1] == sets[2]


def test_coordinates_decide_too(awkward):
    structure = read_structure(awkward)
    assert "9999.999 A, not 2" in why_no_pdb(structure, structure.position + 20_000)
    assert "not -1" in why_no_pdb(structure, structure.position - 1500)


def test_more_atoms_than_serial_numbers_are_mmcif(tmp_path):
    source = read_gemmi(write_pdb(tmp_path / "a.pdb", helix("A", 5)))
    residue = source[0][0][4]
    atom = residue[0].clone()
    for _ in range(99_999 - 25):
        residue.add_atom(atom)
    with pytest.raises(InputError, match="99,999 atoms and ends of chains, not 100,000"):
        write_gemmi(source, tmp_path / "out.pdb")


# ---- bonds --------------------------------------------------------------------------------------


def category(path, name):
    return gemmi.cif.read(str(path))[0].get_mmcif_category(f"_{name}.")


def test_conect_records_have_the_numbers_of_the_new_file(tmp_path):
    """Ends of chains have numbers, too, and the base's own may be any."""
    drug, conect = ligand("LIG", "L", 1, serial=777)
    chains = [helix("A", 5), helix("B", 5, start=(20, 0, 0)), drug]
    structure = read_structure(write_with_records(tmp_path / "base.pdb", [], chains, conect))
    write_structure(structure, tmp_path / "out.pdb", position=structure.position + 1)
    lines = (tmp_path / "out.pdb").read_text().splitlines()
    name = {int(line[6:11]): line[12:16].strip() for line in lines if line.startswith("HETATM")}
    bonds = [
        [name[int(number)] for number in line.split()[1:]]
        for line in lines
        if line.startswith("CONECT")
    ]
    assert bonds == [
        ["C1", "C2", "C2", "C6"],
        ["C2", "C1", "C1", "C3"],
        ["C3", "C2", "C4"],
        ["C4", "C3", "C5"],
        ["C5", "C4", "C6"],
        ["C6", "C1", "C5"],
    ]
    assert [int(line[6:11]) for line in lines if line.startswith("TER")][:2] == [26, 52] and min(
        name
    ) == 53


def test_components_have_their_bonds_and_orders(tmp_path):
    drug, conect = ligand("LIG", "L", 1, serial=500)
    write_structure(
        read_structure(write_with_records(tmp_path / "a.pdb", [], [helix("A", 3), drug], conect)),
        tmp_path / "a.cif",
    )
    table = category(tmp_path / "a.cif", "chem_comp_bond")
    rows = set(
        zip(
            table["comp_id"],
            table["atom_id_1"],
            table["atom_id_2"],
            table["value_order"],
            strict=True,
        )
    )
    assert {
        ("LIG", "C1", "C2", "doub"),
        ("LIG", "C2", "C3", "sing"),
        ("ALA", "C", "O", "doub"),
    } <= rows
    assert len([row for row in rows if row[0] == "LIG"]) == 6 and "HA" not in {
        row[2] for row in rows
    }


def test_a_bond_that_one_copy_of_a_residue_lacks_is_said_of_the_others_alone(tmp_path):
    """Two molecules of one name: a table of components would give both the bonds of either."""
    one, conect = ligand("UNL", "L", 1, serial=500)
    other = [
        atom_line(600 + i, f"C{i + 1}", "UNL", "L", 2, (60 + 5 * i, 0, 0), record="HETATM")
        for i in range(6)
    ]
    structure = read_structure(
        write_with_records(tmp_path / "a.pdb", [], [helix("A", 3), one, other], conect)
    )
    write_structure(structure, tmp_path / "a.cif")
    table = category(tmp_path / "a.cif", "chem_comp_bond")
    assert "UNL" not in table.get("comp_id", [])
    links = category(tmp_path / "a.cif", "struct_conn")
    assert links["conn_type_id"] == ["covale"] * 6 and set(links["ptnr1_auth_seq_id"]) == {"1"}


def test_bonds_between_residues_are_connections_with_these_distances(tmp_path):
    metal = [
        atom_line(500, "ZN", "ZN", "Z", 1, (30, 0, 0), element="ZN", record="HETATM"),
        atom_line(501, "C1", "LIG", "Z", 2, (32, 0, 0), record="HETATM"),
        atom_line(502, "O1", "LIG", "Z", 2, (33.4, 0, 0), record="HETATM"),
    ]
    conect = ["CONECT  500  501", "CONECT  501  500  502    5", "CONECT    5  501"]
    structure = read_structure(
        write_with_records(tmp_path / "a.pdb", [], [helix("A", 3), metal], conect)
    )
    moved = structure.position.clone()
    moved[15:] += torch.tensor([0.0, 3.0, 0.0])
    write_structure(structure, tmp_path / "a.cif", position=moved)
    links = category(tmp_path / "a.cif", "struct_conn")
    assert links["id"] == ["covale1", "metalc1"] and links["conn_type_id"] == ["covale", "metalc"]
    apart = float((moved[4] - moved[16]).norm())
    assert float(links["pdbx_dist_value"][0]) == pytest.approx(apart, abs=1e-3)
    assert float(links["pdbx_dist_value"][1]) == pytest.approx(2.0, abs=1e-3)


def test_links_are_in_conect_records_too(tmp_path):
    """OpenMM, MDAnalysis and biotite read no LINK and SSBOND records."""
    record, lines = disulfide("A")
    structure = read_structure(write_with_records(tmp_path / "a.pdb", [record], [lines], []))
    write_structure(structure, tmp_path / "out.pdb")
    text = (tmp_path / "out.pdb").read_text()
    assert text.count("\nCONECT") == 2 and text.count("SSBOND") == 1


def test_bonds_that_every_program_knows_are_not_said(tmp_path):
    """Some programs write CONECT records of everything."""
    records = [
        f"CONECT{5 * i + a:5d}{5 * i + b:5d}"
        for i in range(5)
        for a, b in ((1, 2), (2, 3), (3, 4), (2, 5))
    ]
    records += [f"CONECT{5 * i + 3:5d}{5 * i + 6:5d}" for i in range(4)]
    structure = read_structure(write_with_records(tmp_path / "a.pdb", [], [helix("A", 5)], records))
    write_structure(structure, tmp_path / "out.pdb")
    write_structure(structure, tmp_path / "out.cif")
    assert "CONECT" not in (tmp_path / "out.pdb").read_text()
    assert not category(tmp_path / "out.cif", "chem_comp_bond") and not category(
        tmp_path / "out.cif", "struct_conn"
    )


# ---- polymers -----------------------------------------------------------------------------------


def label_numbers(path):
    table = category(path, "atom_site")
    rows = zip(
        table["label_asym_id"],
        table["label_seq_id"],
        table["auth_seq_id"],
        table["label_comp_id"],
        strict=True,
    )
    return list(dict.fromkeys(rows))


def test_label_numbers_count_along_each_polymer_and_are_of_nothing_else(tmp_path):
    water = [atom_line(90, "O", "HOH", "A", 201, (40, 9, 9), record="HETATM")]
    path = write_pdb(
        tmp_path / "a.pdb", helix("A", 3, first=7), helix("B", 2, first=-1, start=(20, 0, 0)), water
    )
    write_structure(read_structure(path), tmp_path / "a.cif")
    assert label_numbers(tmp_path / "a.cif") == [
        ("A", "1", "7", "ALA"),
        ("A", "2", "8", "ALA"),
        ("A", "3", "9", "ALA"),
        ("B", "1", "-1", "ALA"),
        ("B", "2", "0", "ALA"),
        ("Axw", False, "201", "HOH"),
    ]
    scheme = category(tmp_path / "a.cif", "pdbx_poly_seq_scheme")
    assert scheme["asym_id"] == list("AAABB") and scheme["auth_seq_num"] == [
        "7",
        "8",
        "9",
        "-1",
        "0",
    ]
    assert category(tmp_path / "a.cif", "entity_poly_seq")["num"] == ["1", "2", "3", "1", "2"]


def test_labels_of_long_chain_names_are_short(tmp_path):
    drug, _ = ligand("LIG", "A", 101, serial=500)
    source = read_gemmi(write_pdb(tmp_path / "a.pdb", helix("A", 3), drug))
    for chain in source[0]:
        chain.name = "ABCDEF"
    source.assign_subchains(force=True)
    write_gemmi(source, tmp_path / "a.cif")
    assert {row[0] for row in label_numbers(tmp_path / "a.cif")} == {"ABCDEF", "x1"}
    assert reading_of_mdanalysis(tmp_path / "a.cif").counts == (21, 4, 1)


def seqres(chain, *names):
    return f"SEQRES   1 {chain}{len(names):5d}  {' '.join(names)}"


def test_a_sequence_that_the_residues_fit_numbers_them(tmp_path):
    lines = helix("A", 3, names=("GLY", "ALA", "SER"), first=2)
    path = write_with_records(
        tmp_path / "a.pdb", [seqres("A", "MET", "GLY", "ALA", "SER", "LYS")], [lines], []
    )
    write_structure(read_structure(path), tmp_path / "a.cif")
    assert [row[1] for row in label_numbers(tmp_path / "a.cif")] == ["2", "3", "4"]
    scheme = category(tmp_path / "a.cif", "pdbx_poly_seq_scheme")
    assert scheme["mon_id"] == ["MET", "GLY", "ALA", "SER", "LYS"] and scheme["auth_seq_num"] == [
        None,
        "2",
        "3",
        "4",
        None,
    ]


def test_a_sequence_that_they_do_not_fit_is_left_out(tmp_path):
    lines = helix("A", 4, names=("GLY", "TRP", "SER", "TRP"))
    path = write_with_records(tmp_path / "a.pdb", [seqres("A", "MET", "GLY", "ALA")], [lines], [])
    write_structure(read_structure(path), tmp_path / "a.cif")
    assert [row[1] for row in label_numbers(tmp_path / "a.cif")] == ["1", "2", "3", "4"]
    assert category(tmp_path / "a.cif", "entity_poly_seq")["mon_id"] == ["GLY", "TRP", "SER", "TRP"]


def test_equal_chains_are_one_entity_and_conformers_share_a_number(tmp_path):
    lines = helix("A", 3)
    for name, letter, i in (("SER", "A", 0), ("THR", "B", 1)):
        lines += [
            atom_line(
                90 + 3 * i + k, atom, name, "A", 4, (9 + k, 9 + i, 9), altloc=letter, occupancy=0.5
            )
            for k, atom in enumerate(("N", "CA", "C"))
        ]
    path = write_pdb(
        tmp_path / "a.pdb",
        lines,
        helix("B", 5, start=(20, 0, 0), serial=200),
        helix("C", 5, start=(40, 0, 0), serial=300),
    )
    write_structure(read_structure(path), tmp_path / "a.cif")
    assert category(tmp_path / "a.cif", "entity_poly")["pdbx_strand_id"] == ["A", "B,C"]
    assert [row[1] for row in label_numbers(tmp_path / "a.cif")][:5] == ["1", "2", "3", "4", "4"]
    sequence = category(tmp_path / "a.cif", "entity_poly_seq")
    assert sequence["hetero"][:5] == ["n", "n", "n", "y", "y"] and sequence["num"][:5] == [
        "1",
        "2",
        "3",
        "4",
        "4",
    ]


@pytest.mark.parametrize(
    "name, lines, expected",
    [
        ("ALA", helix("A", 3), "L-peptide linking"),
        ("HSD", helix("A", 3, names=("HSD",)), "L-peptide linking"),
        ("GLY", helix("A", 3, names=("GLY",)), "peptide linking"),
        ("DAL", helix("A", 3, names=("DAL",)), "D-peptide linking"),
        ("RG5", nucleotides("A", ("RG5", "U")), "RNA linking"),
        ("DA5", nucleotides("A", ("DA5", "DC"), ribose=False), "DNA linking"),
        ("LIG", helix("B", 3) + ligand("LIG", "A", 9, serial=90)[0], "non-polymer"),
        (
            "GLU",
            [atom_line(90, "C1", "GLU", "A", 9, (40, 0, 0), record="HETATM"), *helix("B", 3)],
            "non-polymer",
        ),
        (
            "SOL",
            [atom_line(90, "OW", "SOL", "A", 9, (40, 0, 0), record="HETATM"), *helix("B", 3)],
            "non-polymer",
        ),
    ],
)
def test_types_of_components_follow_from_atoms_and_place(tmp_path, name, lines, expected):
    write_structure(read_structure(write_pdb(tmp_path / "a.pdb", lines)), tmp_path / "a.cif")
    table = category(tmp_path / "a.cif", "chem_comp")
    assert dict(zip(table["id"], table["type"], strict=True))[name] == expected


@pytest.mark.parametrize("ending", ["cif", "bcif"])
@pytest.mark.parametrize(
    "name",
    ["A'b", 'A"b', "a b", "#1", "_x", "data_x", "loop_", ";x", "a;b", "a\nb", "?", ".", "[a]", "é"],
)
def test_every_chain_name_comes_back(tmp_path, name, ending):
    source = read_gemmi(
        write_pdb(tmp_path / "a.pdb", helix("A", 2), helix("B", 2, start=(20, 0, 0)))
    )
    source[0][0].name = name
    write_gemmi(source, tmp_path / f"out.{ending}")
    assert [chain.name for chain in read_gemmi(tmp_path / f"out.{ending}")[0]] == [name, "B"]


@pytest.mark.parametrize(
    "name", ["'", '"', "$", ";", "_", "?", "data_1", "loop_", "A B", "A'", "é"]
)
def test_labels_need_no_quotes_whatever_the_name_of_the_chain(tmp_path, name):
    """gemmi writes them as they are."""
    source = read_gemmi(
        write_pdb(tmp_path / "a.pdb", helix("A", 2), helix("B", 2, start=(20, 0, 0)))
    )
    source[0][0].name = name
    source.assign_subchains(force=True)
    write_gemmi(source, tmp_path / "out.cif")
    assert [chain.name for chain in read_gemmi(tmp_path / "out.cif")[0]] == [name, "B"]
    assert list(dict.fromkeys(row[0] for row in label_numbers(tmp_path / "out.cif"))) == ["x1", "B"]


@pytest.mark.parametrize("ending", ["cif", "bcif"])
@pytest.mark.parametrize("letter", ["'", '"', "#", "$", "_", ";", "1", "a"])
def test_every_letter_of_locations_and_insertions_comes_back(tmp_path, letter, ending):
    lines = [line[:16] + letter + line[17:26] + letter + line[27:] for line in helix("A", 3)]
    structure = read_structure(write_pdb(tmp_path / "a.pdb", lines))
    write_structure(structure, tmp_path / f"out.{ending}")
    back = read_structure(tmp_path / f"out.{ending}")
    assert set(back.altloc.tolist()) == set(back.insertion_code.tolist()) == {letter}
    assert np.array_equal(back.residue, structure.residue)


def test_many_ions_are_one_entity(tmp_path):
    ions = [
        atom_line(
            100 + i, "NA", "NA", "A", 100 + i, (9 + 4 * i, 9, 9), record="HETATM", element="NA"
        )
        for i in range(5)
    ]
    source = read_gemmi(write_pdb(tmp_path / "a.pdb", helix("A", 3), ions))
    source.entities.clear()
    write_gemmi(source, tmp_path / "a.cif")
    assert category(tmp_path / "a.cif", "struct_asym")["entity_id"] == [
        "1",
        "2",
        "2",
        "2",
        "2",
        "2",
    ]


@pytest.mark.parametrize("ending", ["pdb", "cif", "bcif", "cif.gz"])
def test_paths_need_not_be_ascii(awkward, tmp_path, ending):
    (tmp_path / "é").mkdir()
    write_structure(read_structure(awkward), tmp_path / "é" / f"Müller.{ending}")
    assert len(read_structure(tmp_path / "é" / f"Müller.{ending}")) == 58


# ---- real files ---------------------------------------------------------------------------------

MODELS = Path(__file__).parents[3] / "models"
LARGE = (
    "structures/1aon.pdb.gz",
    "structures/4v8r_h36.pdb.gz",
    "particles/warptools_dev/model_50S_placed.cif.gz",
    "structures/pdb7pbl.pdb",
)


def in_five_programs(structure, folder):
    """Whether all programs read the same numbers of atoms, residues and chains of each file, and
    residues in polymers by Mol*.
    """
    expected = Reading(atoms_of(structure), set()).counts
    files = [
        folder / f"out.{ending}"
        for ending in ("pdb", "cif", "bcif")
        if ending != "pdb" or why_no_pdb(structure) is None
    ]
    for path in files:
        write_structure(structure, path)
        readers = (
            (reading_of_biotite,)
            if path.suffix == ".bcif"
            else (reading_of_gemmi, reading_of_biotite, reading_of_mdanalysis, reading_of_openmm)
        )
        assert {read.__name__: read(path).counts for read in readers} == {
            read.__name__: expected for read in readers
        }, path.name
    if why_no_molstar():
        return None
    read = readings_of_molstar(*files)
    assert {one.counts for one in read} == {expected}
    return {one.polymer_residues for one in read}


@pytest.mark.filterwarnings("ignore::atomdrgn.errors.UnmodelledWarning")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in REAL]
)
def test_five_programs_agree_on_real_files(shared, tmp_path, name):
    in_five_programs(read_structure(shared / "data" / name), tmp_path)


@pytest.mark.seconds
@pytest.mark.parametrize("name, residues", [("adk", 214), ("antibody", 1294)])
def test_shipped_models_open_with_every_residue_in_a_polymer(tmp_path, name, residues):
    assert in_five_programs(read_structure(MODELS / name / "base.cif"), tmp_path) in (
        {residues},
        None,
    )


@pytest.mark.parametrize("length", range(56, 62))
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_title_is_cut_between_letters(awkward, tmp_path, length, encoding):
    """A line of a PDB file ends within a letter of two bytes, for some of these lengths."""
    write_structure(read_structure(awkward), tmp_path / "model.cif")
    text = (tmp_path / "model.cif").read_text(
        encoding="utf-8"
    ) + f"_struct.title '{'x' * length}éüñéüñ'\n"
    (tmp_path / "model.cif").write_bytes(text.encode(encoding))
    model = read_gemmi(tmp_path / "model.cif")
    write_gemmi(model, tmp_path / "model.pdb")
    assert read_gemmi(tmp_path / "model.pdb")[0].count_atom_sites() == model[0].count_atom_sites()
    title = "".join(
        line[10:].rstrip()
        for line in (tmp_path / "model.pdb").read_text("utf-8").splitlines()
        if "TITLE" in line
    )
    assert title.startswith("X" * length) and set(title[length:]) <= set("éüñ ")
