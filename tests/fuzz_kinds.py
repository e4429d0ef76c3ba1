"""Small wholes of each kind of file, and what commands do with a file of the kind; of a mutant, or
of the whole itself.

Each function takes a folder and returns one that reads a mutant by ``random.Random``, and with None
the whole.
"""

import re
import shutil
from pathlib import Path

import gemmi
import mrcfile
import numpy as np
import torch

import mutants
from atomdrgn import coarse_grain, open_volume_run, read_structure
from atomdrgn.analysis.particle_files.conditions import where
from atomdrgn.analysis.particle_files.selecting import read_particle_list, select_particles
from atomdrgn.analysis.volumes.field_volumes import volumes_at
from atomdrgn.inspection import inspect
from atomdrgn.io.mrc import read_header
from atomdrgn.io.numbers import read_numbers
from atomdrgn.io.star import read_star
from atomdrgn.io.trajectories import read_trajectory, write_trajectory
from atomdrgn.particles.reading import read_particles
from atomdrgn.particles.subsets import open_particle_file
from atomdrgn.particles.tables.relion import particle_table
from atomdrgn.particles.tomogram_positions import read_places
from atomdrgn.simulate.conformations import read_molecule
from atomdrgn.structure.atoms import write_structure
from atomdrgn.structure.bonds.bonding import find_bonds
from atomdrgn.structure.density_map import read_density_map
from atomdrgn.structure.placement import centre_of_map, grid_of_map
from atomdrgn.structure.segmentation import make_segments
from atomdrgn.structure.selection import describe_chains, describe_residues, select
from hinged import hinged_run, two_helices
from molecules import atom_line, helix
from runs import write_run
from tiny_particles import star_text, write_stack
from volume_runs import write_volume_run

COUNT, BOX = 6, 16
TEXT = (mutants.of_text, mutants.of_text, mutants.of_bytes)


def _mutant(content, chance, ways):
    return content if chance is None else chance.choice(ways)(content, chance)


def _fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


# ---- particles
# ---------------------------------------------------------------------------------------------------------------


def _columns(rng):
    optics = {
        "rlnOpticsGroup": [1],
        "rlnOpticsGroupName": ["one"],
        "rlnVoltage": [300.0],
        "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1],
        "rlnImagePixelSize": [4.0],
        "rlnImageSize": [BOX],
        "rlnImageDimensionality": [2],
    }
    columns = {
        "rlnImageName": [f"{i + 1:06d}@stack.mrcs" for i in range(COUNT)],
        **{
            f"rlnAngle{name}": rng.uniform(0, 180, COUNT).round(3).tolist()
            for name in ("Rot", "Tilt", "Psi")
        },
        **{f"rlnOrigin{name}Angst": rng.normal(size=COUNT).round(3).tolist() for name in "XY"},
        "rlnDefocusU": [15000.0 + 100 * i for i in range(COUNT)],
        "rlnDefocusV": [14000.0] * COUNT,
        "rlnDefocusAngle": [30.0] * COUNT,
        "rlnRandomSubset": [1, 2] * (COUNT // 2),
        "rlnClassNumber": [1] * COUNT,
        "rlnMicrographName": ["'a b.mrc'"] * COUNT,
        "rlnOpticsGroup": [1] * COUNT,
    }
    return optics, columns


def _old(optics, columns):
    """As RELION 3.0 writes them."""
    old = {
        name: values
        for name, values in columns.items()
        if "Angst" not in name and name != "rlnOpticsGroup"
    }
    old |= {f"rlnOrigin{name}": [0.5] * COUNT for name in "XY"} | {
        "rlnDetectorPixelSize": [5.0] * COUNT,
        "rlnMagnification": [12500.0] * COUNT,
    }
    return star_text(
        "",
        old
        | {
            name: optics[name] * COUNT
            for name in ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
        },
    )


def _tilt_rows(optics, columns):
    tilts = {
        "rlnGroupName": ["t_b", "t_a", "t_b", "t_b", "t_a", "t_a"],
        "rlnCtfScalefactor": [0.9, 1.0, 0.95, 1.0, 0.9, 0.95],
        "rlnCtfBfactor": [-24, -4, -12, -4, -24, -12],
        "rlnRandomSubset": [1, 2, 1, 1, 2, 2],
    }
    return star_text("optics", optics) + star_text("particles", columns | tilts)


def use_particles(path, out, chance, **options):
    """All that `inspect`, `select` and the reading of images ask of a particle file."""
    stack = read_particles(path, **options)
    assert torch.isfinite(stack.read()).all()
    assert (
        torch.isfinite(stack.ctf.evaluate(stack.grid)).all()
        and torch.isfinite(stack.pose.rotation).all()
    )
    inspect(stack).lines()
    if chance is not None and chance.random() < 0.3:
        read_particles(path, box=8, invert_contrast=True, **options).read([0])
    listed = open_particle_file(
        path, **{name: options[name] for name in options if name in ("passthrough", "tomograms")}
    )
    ending = path.suffix
    subset = listed.of_particles(range(0, listed.n_particles, 2))
    subset.write(out / f"subset{ending}")
    if ending == ".star":
        subset.with_class("rlnClassNumber", np.arange(subset.n_particles)).write(
            out / "classes.star"
        )
    select_particles(
        path,
        out / f"selected{ending}",
        particles=[0],
        half_sets=ending == ".star" or "passthrough" in options,
        **{name: options[name] for name in options if name in ("passthrough", "tomograms")},
    )


def star(scratch: Path):
    """Single images and tilts one row an image, of RELION 3.0, 3.1 and later."""
    rng = np.random.default_rng(0)
    write_stack(scratch / "stack.mrcs", rng.normal(size=(COUNT, BOX, BOX)).astype(np.float32))
    optics, columns = _columns(rng)
    wholes = [
        _old(optics, columns),
        star_text("optics", optics) + star_text("particles", columns),
        _tilt_rows(optics, columns),
    ]

    def read(chance):
        for text in wholes if chance is None else [chance.choice(wholes)]:
            path = scratch / "mutant.star"
            content = _mutant(text.encode(), chance, TEXT)
            path.write_bytes(
                mutants.packed(content, chance)
                if chance is not None and chance.random() < 0.02
                else content
            )
            use_particles(path, _fresh(scratch / "out"), chance)

    return read


def tilts(scratch: Path):
    """2D stacks of tilts: particles, tomograms, an optimisation set that names both, and motion;
    one of them is changed.
    """
    for i in range(3):
        write_stack(
            scratch / f"p{i}.mrcs",
            np.random.default_rng(i).normal(size=(4, BOX, BOX)).astype(np.float16),
        )
    angle = np.radians([-40.0, 0.0, 20.0, 40.0])
    turn = np.zeros((4, 3, 3))
    turn[:, 0, 0], turn[:, 0, 2], turn[:, 1, 1] = np.cos(angle), np.sin(angle), 1
    turn[:, 2, 0], turn[:, 2, 2] = -np.sin(angle), np.cos(angle)
    of_particles = {
        "rlnTomoName": ["ts.tomostar"] * 3,
        "rlnTomoParticleName": [f"ts/{i}" for i in range(3)],
        "rlnImageName": [f"p{i}.mrcs" for i in range(3)],
        "rlnCoordinateX": [300, 320, 200],
        "rlnCoordinateY": [330, 300, 310],
        "rlnCoordinateZ": [90, 120, 90],
        "rlnAngleRot": [10, -40, 100],
        "rlnAngleTilt": [80, 60, 0],
        "rlnAnglePsi": [-70, 20, 5],
        "rlnOriginXAngst": [1, 0, 2],
        "rlnOriginYAngst": [0, 1, 0],
        "rlnOriginZAngst": [0, 0, 1],
        "rlnOpticsGroup": [1] * 3,
        "rlnTomoVisibleFrames": ["[1,1,1,1]", "[1,0,1,1]", "[1,1,1,1]"],
    }
    optics = {
        "rlnOpticsGroup": [1],
        "rlnOpticsGroupName": ["one"],
        "rlnVoltage": [300],
        "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.07],
        "rlnImagePixelSize": [10.0],
        "rlnImageSize": [BOX],
        "rlnImageDimensionality": [2],
        "rlnTomoTiltSeriesPixelSize": [1.5],
        "rlnCtfDataAreCtfPremultiplied": [1],
    }
    tomogram = {
        "rlnTomoName": ["ts.tomostar"],
        "rlnTomoHand": [-1],
        "rlnTomoSizeX": [4000],
        "rlnTomoSizeY": [4400],
        "rlnTomoSizeZ": [1200],
        "rlnTomoTiltSeriesPixelSize": [1.5],
        "rlnVoltage": [300],
        "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.07],
    }
    ctf = {
        "rlnDefocusU": [30000, 30100, 30200, 30300],
        "rlnDefocusV": [29000] * 4,
        "rlnDefocusAngle": [20] * 4,
        "rlnCtfScalefactor": [0.766, 1, 0.94, 0.766],
        "rlnMicrographPreExposure": [9, 0, 3, 6],
    }
    matrices = {
        f"rlnTomoProj{axis}": ["[" + ",".join(f"{x:.6f}" for x in [*m[i], 5]) + "]" for m in turn]
        for i, axis in enumerate("XYZ")
    }
    angles = {
        "rlnTomoXTilt": [0.1] * 4,
        "rlnTomoYTilt": [-40, 0, 20, 40],
        "rlnTomoZRot": [85.0] * 4,
        "rlnTomoXShiftAngst": [1.0] * 4,
        "rlnTomoYShiftAngst": [2.0] * 4,
    }
    motion = star_text("general", {"rlnParticleNbr": [3]}) + "".join(
        star_text(f"ts/{i}", {f"rlnOrigin{axis}Angst": [0, 0, 0, 0] for axis in "XYZ"})
        for i in range(3)
    )
    entry = {
        "rlnTomoParticlesFile": ["particles.star"],
        "rlnTomoTomogramsFile": ["tomograms.star"],
        "rlnTomoTrajectoriesFile": ["motion.star"],
    }
    wholes = [
        {
            "particles.star": star_text("general", {"rlnTomoSubTomosAre2DStacks": [1]})
            + star_text("optics", optics)
            + star_text("particles", of_particles),
            "tomograms.star": star_text("global", tomogram)
            + star_text("ts.tomostar", of_tilts | ctf),
            "motion.star": motion,
            "set.star": star_text("", entry),
        }
        for of_tilts in (matrices, angles)
    ]
    wholes.append(
        wholes[1]
        | {
            "tomograms.star": star_text(
                "global", tomogram | {"rlnTomoTiltSeriesStarFile": ["tilts.star"]}
            ),
            "tilts.star": star_text("ts.tomostar", angles | ctf),
        }
    )

    def read(chance):
        for whole in wholes if chance is None else [chance.choice(wholes)]:
            changed = None if chance is None else chance.choice(list(whole))
            for name, text in whole.items():
                (scratch / name).write_bytes(
                    _mutant(text.encode(), chance if name == changed else None, TEXT)
                )
            use_particles(scratch / "set.star", _fresh(scratch / "out"), chance)
            tables = read_star(scratch / "particles.star")
            particle_table(tables)
            read_places(tables, tomograms=scratch / "tomograms.star")

    return read


def cs(scratch: Path):
    """cryoSPARC's particles with all fields, and with a passthrough file; one of the files is
    changed.
    """
    rng = np.random.default_rng(0)
    write_stack(scratch / "stack.mrcs", rng.normal(size=(COUNT, BOX, BOX)).astype(np.float32))
    one = np.ones(COUNT, np.float32)
    fields = {
        "uid": np.arange(COUNT, dtype=np.uint64) + 2**63,
        "blob/path": np.array([b">stack.mrcs"] * COUNT),
        "blob/idx": np.arange(COUNT, dtype=np.uint32),
        "blob/shape": np.full((COUNT, 2), BOX, np.uint32),
        "blob/psize_A": 4 * one,
        "blob/sign": -one,
        "ctf/accel_kv": 300 * one,
        "ctf/cs_mm": 2.7 * one,
        "ctf/amp_contrast": one / 10,
        "ctf/phase_shift_rad": 0 * one,
        "ctf/df1_A": 15000 * one,
        "ctf/df2_A": 14000 * one,
        "ctf/df_angle_rad": one,
        "ctf/exp_group_id": np.ones(COUNT, np.uint32),
        "ctf/tilt_A": np.zeros((COUNT, 2), np.float32),
        "ctf/scale": one,
        "alignments3D/pose": rng.normal(size=(COUNT, 3)).astype(np.float32),
        "alignments3D/class": np.zeros(COUNT, np.uint32),
        "alignments3D/shift": rng.normal(size=(COUNT, 2)).astype(np.float32),
        "alignments3D/psize_A": 4 * one,
        "alignments3D/split": np.array([0, 1] * (COUNT // 2), np.uint32),
    }
    classes = {
        name.replace("alignments3D", f"alignments_class_{k}"): value
        for k in (0, 1)
        for name, value in fields.items()
        if name.startswith("alignments3D")
    } | {f"alignments_class_{k}/class_posterior": one / 2 for k in (0, 1)}
    own = ("uid", "alignments3D")
    parts = [
        {"a.cs": fields},
        {"a.cs": {n: v for n, v in fields.items() if not n.startswith("alignments3D")} | classes},
        {
            "a.cs": {n: v for n, v in fields.items() if n.startswith(own)},
            "b.cs": {n: v[::-1] for n, v in fields.items() if n == "uid" or not n.startswith(own)},
        },
    ]

    def packed(fields):
        rows = np.zeros(
            COUNT, dtype=[(name, values.dtype, values.shape[1:]) for name, values in fields.items()]
        )
        for name, values in fields.items():
            rows[name] = values
        with open(scratch / "whole.cs", "wb") as file:
            np.save(file, rows)
        return (scratch / "whole.cs").read_bytes()

    wholes = [{name: packed(each) for name, each in part.items()} for part in parts]

    def read(chance):
        for whole in wholes if chance is None else [chance.choice(wholes)]:
            changed = None if chance is None else chance.choice(list(whole))
            for name, content in whole.items():
                ways = (mutants.of_npy, mutants.of_bytes)
                (scratch / name).write_bytes(
                    _mutant(content, chance if name == changed else None, ways)
                )
            use_particles(
                scratch / "a.cs",
                _fresh(scratch / "out"),
                chance,
                **({"passthrough": scratch / "b.cs"} if "b.cs" in whole else {}),
            )

    return read


def mrc(scratch: Path):
    """Maps and stacks of all modes, maps also compressed."""
    rng, wholes = np.random.default_rng(0), []
    optics, columns = _columns(rng)
    (scratch / "particles.star").write_text(
        star_text("optics", optics) + star_text("particles", columns)
    )
    for kind in (np.int8, np.int16, np.float32, np.uint16, np.float16):
        for shape in ((COUNT, BOX, BOX), (8, 9, 10)):
            with mrcfile.new(
                scratch / "whole.mrc", rng.uniform(0, 100, shape).astype(kind), overwrite=True
            ) as file:
                file.voxel_size = 4.0
                if kind is np.float32:
                    file.set_extended_header(np.zeros(80, dtype="V1"))
            wholes.append((shape[0] == COUNT, (scratch / "whole.mrc").read_bytes()))

    def read(chance):
        for stack, content in wholes if chance is None else [chance.choice(wholes)]:
            content = _mutant(content, chance, (mutants.of_mrc, mutants.of_mrc, mutants.of_bytes))
            if stack:
                (scratch / "stack.mrcs").write_bytes(content)
                use_particles(scratch / "particles.star", _fresh(scratch / "out"), chance)
                continue
            path = scratch / "mutant.map"
            path.write_bytes(
                mutants.packed(content, chance)
                if chance is not None and chance.random() < 0.3
                else content
            )
            header = read_header(path)
            assert np.isfinite(centre_of_map(header)).all()
            grid_of_map(header)
            found = read_density_map(
                path, voxel_size=None if chance is None or chance.random() < 0.8 else 2.0
            )
            assert (
                torch.isfinite(found.density).all()
                and np.isfinite(found.centre).all()
                and found.voxel_size > 0
            )

    return read


# ---- structures
# --------------------------------------------------------------------------------------------------------------


def _molecule(scratch):
    """Two chains with a disulfide, a ligand and its bonds, a metal, water, and an atom in two
    places.
    """
    lines = (
        helix("A", 6, names=("ALA", "CYS", "GLY"))
        + ["TER"]
        + helix("B", 4, start=(12, 0, 0), serial=200)
        + ["TER"]
    )
    ligand = [
        atom_line(300 + i, name, "LIG", "A", 101, (8 + 1.4 * i, 8, 0), record="HETATM")
        for i, name in enumerate(("C1", "C2", "O1"))
    ]
    others = [
        atom_line(310, "ZN", "ZN", "A", 102, (0, 14, 0), element="ZN", record="HETATM"),
        atom_line(311, "O", "HOH", "A", 201, (20, 20, 20), record="HETATM"),
        atom_line(312, "CA", "SER", "C", 5, (30, 0, 0), altloc="A", occupancy=0.5),
        atom_line(313, "CA", "SER", "C", 5, (30.5, 0, 0), altloc="B", occupancy=0.5, icode="A"),
    ]
    serials = [int(line[6:11]) for line in ligand]
    heading = [
        "HEADER    A MOLECULE",
        "CRYST1   50.000   50.000   50.000  90.00  90.00  90.00 P 1           1",
        "SSBOND   1 CYS A    2    CYS A    5",
        "LINK        ZN    ZN A 102                 O   HOH A 201     1555   1555  2.10",
    ]
    bonds = [
        f"CONECT{serials[0]:5d}{serials[1]:5d}",
        f"CONECT{serials[1]:5d}{serials[2]:5d}{serials[2]:5d}",
    ]
    path = scratch / "whole.pdb"
    path.write_text("\n".join([*heading, *lines, *ligand, *others, *bonds, "END", ""]))
    return path


def use_structure(path, out, chance):
    """All that commands ask of a structure before a fit, and all ways in which it is written."""
    structure = read_structure(path)
    assert torch.isfinite(structure.position).all()
    beads = coarse_grain(structure)
    find_bonds(structure)
    describe_chains(beads)
    for selection in (str(beads.chain[0]), f"{beads.chain[0]}:1-5", "A:1-3,5"):
        select(beads, selection)
    if chance is None or chance.random() < 0.2:
        read_molecule([path])
    for ending in (
        [".cif", ".bcif", ".cif.gz"]
        if chance is None
        else [chance.choice([".pdb", ".cif", ".bcif", ".bcif.gz"])]
    ):
        write_structure(structure, out / f"again{ending}")
        assert len(read_structure(out / f"again{ending}")) == len(structure)


def _structures(ending, ways):
    def kind(scratch: Path):
        whole = read_structure(_molecule(scratch))
        write_structure(whole, scratch / f"whole{ending}")
        wholes = [(scratch / f"whole{ending}").read_bytes()]
        if ending == ".pdb":
            text = _molecule(scratch).read_text()
            model = [line for line in text.split("\n") if line[:4] in ("ATOM", "HETA", "TER")]
            models = [
                "MODEL        1",
                *model,
                "ENDMDL",
                "MODEL        2",
                *model,
                "ENDMDL",
                "END",
                "",
            ]
            wholes += [text.encode(), "\n".join(models).encode()]
        if ending == ".cif":
            block = gemmi.cif.read_string(wholes[0].decode()).sole_block()
            atoms = block.get_mmcif_category("_atom_site.", raw=True)
            for kept in ("auth", "label"):
                other = {"auth": "label", "label": "auth"}[kept]
                block.set_mmcif_category(
                    "_atom_site.",
                    {
                        tag: column
                        for tag, column in atoms.items()
                        if not (tag.startswith(other) and tag.replace(other, kept) in atoms)
                    },
                    raw=True,
                )
                wholes.append(block.as_string().encode())

        def read(chance):
            for content in wholes if chance is None else [chance.choice(wholes)]:
                content = _mutant(content, chance, ways)
                path = scratch / f"mutant{ending}"
                path.write_bytes(
                    mutants.packed(content, chance)
                    if chance is not None and chance.random() < 0.1
                    else content
                )
                use_structure(path, _fresh(scratch / "out"), chance)

        return read

    return kind


def trajectories(scratch: Path):
    """.xtc and .dcd, alone and with the structure that they are frames of."""
    structure = read_structure(_molecule(scratch))
    write_structure(structure, scratch / "structure.cif")
    wholes = []
    for ending in (".xtc", ".dcd"):
        for atoms in (5, 300, len(structure)):
            path = scratch / f"whole{ending}"
            write_trajectory(path, np.random.default_rng(0).normal(0, 20, (4, atoms, 3)))
            wholes.append((ending, atoms == len(structure), path.read_bytes()))

    def read(chance):
        for ending, whole, content in wholes if chance is None else [chance.choice(wholes)]:
            path = scratch / f"mutant{ending}"
            path.write_bytes(_mutant(content, chance, (mutants.of_bytes,)))
            read_trajectory(path)
            if whole:
                read_molecule([scratch / "structure.cif", path])

    return read


# ---- words, lists and tables
# -------------------------------------------------------------------------------------------------

CONDITIONS = [
    "motion1 > 10 and sd1 < 4",
    "state in (2, 3) or not motion1 <= 0",
    "0 < motion1 <= 2",
    "state not in [1, 2]",
    "(motion1 > 1e3) != (sd1 == -2)",
    "not (state == 1)",
    "motion1 * 2 > 1",
    "__import__('os').system('x')",
]
SELECTIONS = [
    "A:1-226,B",
    "B:82-82B",
    "A:-5--1",
    "A:1-50,60-80",
    ":1-20",
    "A",
    "A:3,B:2-4",
    "A:1-6",
]
WORDS = [
    "motion1",
    "sd1",
    "state",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    "<",
    "<=",
    "==",
    "!=",
    ">",
    "not",
    "and",
    "or",
    "in",
    "is",
    "~",
    "-",
    "+",
    "*",
    "**",
    "/",
    "lambda",
    ":",
    ":=",
    "if",
    "else",
    "for",
    "await",
    "f''",
    "b'1'",
    "None",
    "True",
    "1j",
    "...",
    "9" * 400,
    "1e999",
    "0x1f",
    "\\",
    "\n",
    ";",
    "@",
    "(" * 300,
    "not " * 900,
    "A:",
    "-" * 900,
    "1-2",
    "A:1-999999999",
]


def words(scratch: Path):
    """Conditions and selections."""
    beads = coarse_grain(read_structure(_molecule(scratch)))
    columns = {
        "motion1": np.array([0.0, 20.0, np.nan]),
        "sd1": np.array([1.0, 2.0, 3.0]),
        "state": np.array([1.0, 2.0, 3.0]),
    }

    def read(chance):
        condition = chance is None or chance.random() < 0.5
        if chance is None:
            assert (
                where(CONDITIONS[0], columns).tolist() == [False, True, False]
                and select(beads, "A:1-6").any()
            )
            return
        parts = re.findall(r"\w+|\W", chance.choice(CONDITIONS if condition else SELECTIONS))
        for _ in range(chance.choice([1, 1, 2, 4])):
            place, mild = (
                chance.randrange(len(parts)),
                ["1", "-1", "2", "5", "0.5", "A", "B", "state", ",", " "],
            )
            word = chance.choice(mild if chance.random() < 0.75 else [*WORDS, *mutants.HOSTILE])
            parts[place : place + chance.choice([0, 1, 1])] = [word]
        text = "".join(parts)
        if condition:
            assert where(text, columns).dtype == bool
        else:
            describe_residues(beads, select(beads, text))
            make_segments(beads, parts=[text]) if chance.random() < 0.3 else None

    return read


def tables(scratch: Path):
    """Lists of particles and of numbers, and tables that are joined to those of a run."""
    star(scratch)
    optics, columns = _columns(np.random.default_rng(0))
    particles, structure = scratch / "particles.star", two_helices(scratch)
    particles.write_text(star_text("optics", optics) + star_text("particles", columns))
    run = write_run(
        scratch / "particles.fit",
        structure,
        particles,
        part=np.arange(len(structure)) >= len(structure) // 2,
        rotation=np.tile([1.0, 0, 0, 0], (COUNT, 1)),
        translation=np.zeros((COUNT, 3)),
    )
    table = "# by another program\nparticle,angle,kind\n" + "".join(
        f"{i},{i / 3:.3f},{i % 2}\n" for i in range(COUNT)
    )
    wholes = [
        ("list", b"# chosen\n3\n4 # four\n\n5\n"),
        ("numbers", b"1\n0.5\n1e3\n"),
        ("classes", table.encode()),
        ("table", b'"particle","angle","kind"\n"0","1.5","1"\n"5","","1"\n'),
    ]

    def read(chance):
        for kind, content in wholes if chance is None else [chance.choice(wholes)]:
            path = scratch / "mutant.csv"
            path.write_bytes(_mutant(content, chance, TEXT))
            if kind == "numbers":
                assert np.isfinite(read_numbers(path)).all()
                continue
            chosen = (
                {"particles": read_particle_list(path)}
                if kind == "list"
                else {"tables": [path], "where": "kind == 1"}
            )
            if kind == "classes":
                chosen |= {"class_column": "rlnClassNumber", "classes": "kind"}
            select_particles(run, _fresh(scratch / "out") / "chosen.star", **chosen)

    return read


# ---- runs
# --------------------------------------------------------------------------------------------------------------------


def runs(scratch: Path):
    """A run with one file changed; structures are the matter of their readers."""
    from test_damaged_runs import use

    whole = hinged_run(scratch, two_helices(scratch), np.linspace(-4, 4, 12)).folder
    names = sorted(path.name for path in whole.iterdir() if path.suffix != ".cif")

    def read(chance):
        folder = scratch / "run"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        if chance is not None:
            path = folder / chance.choice(names)
            ways = TEXT if path.suffix in (".json", ".csv") else (mutants.of_bytes,)
            path.write_bytes(_mutant(path.read_bytes(), chance, ways))
        use(folder, _fresh(scratch / "out"), thoroughly=chance is None or chance.random() < 0.05)

    return read


def volume_runs(scratch: Path):
    """A run of volumes with one file changed."""
    latent = np.random.default_rng(0).normal(size=(6, 2))
    whole = write_volume_run(scratch / "whole", latent, gain=[0.1, 0.2], change=[1, 0.5]).folder
    names = sorted(path.name for path in whole.iterdir())

    def read(chance):
        folder = scratch / "run"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        if chance is not None:
            path = folder / chance.choice(names)
            ways = {".json": TEXT, ".csv": TEXT, ".mrc": (mutants.of_mrc, mutants.of_bytes)}.get(
                path.suffix, (mutants.of_bytes,)
            )
            path.write_bytes(_mutant(path.read_bytes(), chance, ways))
        run = open_volume_run(folder)
        _ = run.latent, run.latent_sd, run.table
        assert all(torch.isfinite(volume).all() for volume in volumes_at(run, run.latent[:1]))

    return read


KINDS = {
    "star": star,
    "tilts": tilts,
    "cs": cs,
    "mrc": mrc,
    "pdb": _structures(".pdb", TEXT),
    "mmcif": _structures(".cif", TEXT),
    "bcif": _structures(".bcif", (mutants.of_msgpack, mutants.of_msgpack, mutants.of_bytes)),
    "trajectories": trajectories,
    "words": words,
    "tables": tables,
    "runs": runs,
    "volume_runs": volume_runs,
}
