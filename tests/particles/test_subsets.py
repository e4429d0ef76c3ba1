"""Cut down to some particles, a file keeps every token of the rows that stay, and is read as those
particles.
"""

import warnings

import numpy as np
import pytest

from atomdrgn.errors import FileFormatError, InputError
from atomdrgn.io.star import read_star
from atomdrgn.particles.reading import read_particles
from atomdrgn.particles.subsets import open_particle_file
from tilt_set import tilted  # noqa: F401 - a fixture
from tiny_particles import star_text

ZOO = [
    "star_zoo/FinalRefinement-OriginalParticles-PfCRT.star",
    "star_zoo/relion31.6opticsgroups.star",
    "star_zoo/relion5.star",
    "star_zoo/relion5_tutorial_run_data_head.star",
    "star_zoo/relion4_tomo_head.star",
    "star_zoo/relion_3.0.star",
    "star_zoo/sta_testing_bin8.star",
    "particles/warptools_dev/particles_dev.star",
    "particles/tomodrgn_10076_two_states/10076_both_32_sim.star",
]
CS = [
    "star_zoo/cryosparc_J2_particles_exported.cs",
    "star_zoo/cryosparc_P12_J24_001_particles.cs",
    "particles/empiar_10076_7/empiar_10076_7.cs",
]


def some(count):
    """Some of the particles, both ends among them."""
    return sorted(
        {
            0,
            count - 1,
            *np.random.default_rng(1).choice(count, max(1, count // 3), replace=False).tolist(),
        }
    )


def parts(token_lines):
    return [line.split() for line in token_lines if line.strip()]


@pytest.mark.parametrize("name", ZOO)
def test_kept_rows_are_the_same_tokens(shared, tmp_path, name):
    """Compared word by word as text: what is written is the original without some of its lines."""
    path = shared / "data" / name
    whole = open_particle_file(path)
    chosen = some(whole.n_particles)
    subset = whole.of_particles(chosen)
    subset.write(tmp_path / "subset.star")
    before, after = (
        parts(path.read_text().splitlines()),
        parts((tmp_path / "subset.star").read_text().splitlines()),
    )
    rows = [table for table in read_star(path) if "rlnImageName" in table][0]
    lines = [[tokens[i] for tokens in rows.columns.values()] for i in range(len(rows))]
    kept = whole.rows_of(chosen).tolist()
    dropped = [lines[i] for i in range(len(lines)) if i not in kept]
    assert 0 < len(kept) <= len(lines) and after.count(lines[kept[-1]]) == before.count(
        lines[kept[-1]]
    )

    def named(words):  # column names may or may not be followed by their number
        return (
            words[:1]
            if words[0].startswith("_rln") and words[1:2] and words[1].startswith("#")
            else words
        )

    assert [named(words) for words in before if words not in dropped] == [
        named(words) for words in after
    ]
    again = open_particle_file(
        tmp_path / "subset.star", tilt_series=subset.n_particles < len(subset.particle)
    )
    assert again.particle.tolist() == subset.particle.tolist() and again.n_particles == len(chosen)
    assert again.tables == subset.tables


@pytest.mark.parametrize("name", CS)
def test_kept_rows_of_cryosparc_are_the_same_bytes(shared, tmp_path, name):
    path = shared / "data" / name
    whole = open_particle_file(path)
    chosen = some(whole.n_particles)
    whole.of_particles(chosen).write(tmp_path / "subset.cs")
    original, kept = np.load(path), np.load(tmp_path / "subset.cs")
    assert kept.dtype == original.dtype and kept.tobytes() == original[chosen].tobytes()
    assert open_particle_file(tmp_path / "subset.cs").n_particles == len(chosen)


def test_reading_the_subset_gives_the_subset_of_real_tilt_stacks(shared, tmp_path):
    folder = shared / "data" / "particles" / "warptools_dev"
    whole = open_particle_file(folder / "particles_dev.star")
    whole.of_particles([1, 4, 12]).write(tmp_path / "subset.star")
    reading = {"tomograms": folder / "tomograms.star", "data_folder": folder}
    expected = read_particles(folder / "particles_dev.star", **reading).of_particles([1, 4, 12])
    read = read_particles(tmp_path / "subset.star", **reading)
    assert read.n_particles == 3 and (read.read() == expected.read()).all()
    assert (read.pose.rotation == expected.pose.rotation).all() and (
        read.ctf.defocus_u == expected.ctf.defocus_u
    ).all()


def test_tilt_images_go_by_particle_as_the_reader_counts_them(tiny, tmp_path):
    """Rows of particles are mixed, one tilt is excluded, and one particle has excluded tilts only:
    it has no number.
    """
    tiny.columns |= {
        "rlnGroupName": ["x", "b", "c", "b", "c", "x"],
        "rlnCtfScalefactor": [0, 1, 1, 0.8, 0, 0],
        "rlnCtfBfactor": [-4, 0, 0, -8, -8, -8],
    }
    star = tiny.star
    with pytest.warns(UserWarning, match="excluded"):
        stack = read_particles(star)
    file = open_particle_file(star)
    assert file.particle.tolist() == [-1, 0, 1, 0, 1, -1] and file.n_particles == stack.n_particles
    assert (file.particle[stack.row.numpy()] == stack.particle.numpy()).all()
    # excluded tilts stay with their particle
    assert file.rows_of([0]).tolist() == [1, 3] and file.rows_of([1]).tolist() == [2, 4]
    assert open_particle_file(star, first_row=[1, 2]).particle.tolist() == file.particle.tolist()
    file.of_particles([1]).write(tmp_path / "subset.star")
    assert read_star(tmp_path / "subset.star")[1].columns["rlnImageName"] == [
        "000003@stack.mrcs",
        "000005@stack.mrcs",
    ]


@pytest.mark.parametrize("forced", [False, True])
def test_groups_that_are_parted_are_parted_as_by_the_reader(tiny, forced):
    """Groups of two micrographs are numbered alike; what cannot be parted is refused here too."""
    tiny.columns |= {
        "rlnGroupName": ["a"] * 6,
        "rlnMicrographName": ["1", "2", "1", "2", "1", "2"],
        "rlnCtfScalefactor": [1, 1, 0.9, 0.9, 0.7, 0.7],
        "rlnCtfBfactor": [0, 0, -8, -8, -16, -16],
    }
    with pytest.warns(UserWarning, match="parted"):
        stack = read_particles(tiny.star, tilt_series=forced)
    assert (
        open_particle_file(tiny.star, tilt_series=forced).particle.tolist()
        == stack.particle.tolist()
        == [0, 1, 0, 1, 0, 1]
    )
    assert stack.half.tolist() == [1, 2, 1, 2, 1, 2]
    del tiny.columns["rlnMicrographName"]
    for read in (read_particles, open_particle_file):
        with pytest.raises(
            InputError, match="rows 1 and 2 are of one group .a, rlnGroupName. and have one dose"
        ):
            read(tiny.star, tilt_series=forced)


def test_stacks_without_a_visible_tilt_have_no_number(tmp_path):
    columns = {
        "rlnTomoName": ["a", "a", "a"],
        "rlnImageName": ["0.mrcs", "1.mrcs", "2.mrcs"],
        "rlnTomoVisibleFrames": ["[1,1]", "[0,0]", "[0,1]"],
    }
    (tmp_path / "p.star").write_text(star_text("particles", columns))
    assert open_particle_file(tmp_path / "p.star").particle.tolist() == [0, -1, 1]


def hide_and_exclude(tilted, *, hidden, excluded):  # noqa: F811
    """Particle 0 sees but these tilts, and tomograms.star excludes those."""
    tilted.particles["rlnTomoVisibleFrames"][0] = (
        "[" + ",".join("0" if tilt in hidden else "1" for tilt in range(4)) + "]"
    )
    for tilt in excluded:
        tilted.tilts["rlnCtfScalefactor"][tilt] = 0


@pytest.mark.parametrize(
    "hidden, excluded, numbers",
    [
        ([1, 2, 3], [0], [-1, 0, 1]),
        ([1, 2], [0], [0, 1, 2]),
        ([0, 1, 2, 3], [], [-1, 0, 1]),
        ([], [0, 1], [0, 1, 2]),
        ([0, 1], [2, 3], [-1, 0, 1]),
    ],
)
def test_stacks_are_numbered_as_the_reader_numbers_them(tilted, hidden, excluded, numbers):  # noqa: F811
    hide_and_exclude(tilted, hidden=hidden, excluded=excluded)
    stack = tilted.read()
    file = open_particle_file(tilted.star, tomograms=tilted.tomograms)
    assert file.particle.tolist() == numbers and file.n_particles == stack.n_particles
    assert (file.particle[stack.row.numpy()] == stack.particle.numpy()).all()
    both = tilted.folder / "set.star"
    both.write_text(
        f"data_\n\n_rlnTomoParticlesFile {tilted.star.name}\n_rlnTomoTomogramsFile "
        f"{tilted.tomograms.name}\n"
    )
    assert open_particle_file(both).particle.tolist() == numbers
    del tilted.particles["rlnTomoVisibleFrames"]
    assert open_particle_file(tilted.star, tomograms=tilted.tomograms).particle.tolist() == [
        0,
        1,
        2,
    ]


def test_numbers_that_excluded_tilts_may_change_are_told(tilted):  # noqa: F811
    """Without tomograms.star; where no particle hides a tilt there is nothing to tell, nor where a
    run says the numbers.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_particle_file(tilted.star)
        hide_and_exclude(tilted, hidden=[1, 2, 3], excluded=[0])
        open_particle_file(tilted.star, tomograms=tilted.tomograms)
        open_particle_file(tilted.star, first_row=[1, 2])
    with pytest.warns(UserWarning, match="1 particles have hidden tilts.*--tomograms"):
        assert open_particle_file(tilted.star).particle.tolist() == [0, 1, 2]


def test_tomograms_of_single_images_are_refused(tiny, sparc, tilted):  # noqa: F811
    for path in (tiny.star, sparc / "p.cs"):
        with pytest.raises(InputError, match="has one row an image"):
            open_particle_file(path, tomograms=tilted.tomograms)


def test_optics_groups_without_a_row_stay(tiny, tmp_path):
    tiny.optics = {name: [values[0]] * 2 for name, values in tiny.optics.items()} | {
        "rlnOpticsGroup": [1, 2]
    }
    tiny.columns["rlnOpticsGroup"] = [1, 1, 1, 2, 2, 2]
    file = open_particle_file(tiny.star)
    file.of_particles([4]).write(tiny.folder / "subset.star")
    assert read_star(tiny.folder / "subset.star")[0] == read_star(tiny.star)[0]
    subset = read_particles(tiny.folder / "subset.star")
    assert len(subset) == 1 and (subset.read() == read_particles(tiny.star).read()[4]).all()


def test_classes_take_the_place_of_a_column_or_come_last(tiny):
    tiny.columns["rlnClassNumber"] = ["007"] * 6
    file = open_particle_file(tiny.star)
    new = file.with_class("rlnClassNumber", [1, 2, 3, 1, 2, 3]).table
    assert new.columns["rlnClassNumber"] == ["1", "2", "3", "1", "2", "3"] and list(
        new.columns
    ) == list(file.table.columns)
    assert list(file.with_class("mine", [1] * 6).table.columns)[-1] == "mine"


def test_copies_of_an_image_are_in_one_half_set(tiny):
    """Symmetry expansion: each image three times under another pose, its number written with and
    without zeros.
    """
    tiny.columns["rlnImageName"] = [
        f"{number}@stack.mrcs" for number in ("1", "000001", "2", "000001", "2", "3")
    ]
    file, stack = open_particle_file(tiny.star), read_particles(tiny.star)
    assert file.n_images == 3 and file.half.tolist() == [1, 1, 2, 1, 2, 1] == stack.half.tolist()
    assert file.parted_images == 0


def test_half_sets_that_part_copies_are_told(tiny):
    tiny.columns["rlnImageName"] = [f"{i // 2 + 1}@stack.mrcs" for i in range(6)]
    tiny.columns["rlnRandomSubset"] = [1, 1, 2, 1, 2, 2]
    assert open_particle_file(tiny.star).parted_images == 1
    with pytest.warns(UserWarning, match="1 images have copies .* in both half-sets"):
        read_particles(tiny.star)


@pytest.fixture
def sparc(tmp_path):
    """Five particles in a .cs file, and their passthrough rows in another order with more."""
    rows = np.zeros(
        5,
        dtype=[
            ("uid", "<u8"),
            ("blob/path", "S12"),
            ("blob/idx", "<u4"),
            ("alignments3D/split", "<u4"),
            ("alignments3D/class", "<u4"),
            ("alignments3D/pose", "<f4", (3,)),
        ],
    )
    rows["uid"] = [2**63 + 11, 5, 9, 3, 7]
    rows["blob/path"], rows["blob/idx"] = b">J1/a.mrc", [0, 1, 0, 1, 2]
    through = np.zeros(7, dtype=[("uid", "<u8"), ("location/center_x_frac", "<f4")])
    through["uid"] = [7, 4, 2**63 + 11, 3, 1, 5, 9]
    through["location/center_x_frac"] = np.linspace(0, 1, 7)
    for name, array in (("p.cs", rows), ("through.cs", through)):
        with open(tmp_path / name, "wb") as file:
            np.save(file, array)
    return tmp_path


def test_passthrough_rows_are_joined_by_uid(sparc):
    file = open_particle_file(sparc / "p.cs", passthrough=sparc / "through.cs")
    subset = file.of_particles([4, 0, 2])
    assert subset.write_beside(sparc / "subset.cs") == [sparc / "subset_passthrough.cs"]
    through, kept = np.load(sparc / "through.cs"), np.load(sparc / "subset_passthrough.cs")
    assert kept["uid"].tolist() == subset.rows["uid"].tolist() == [2**63 + 11, 9, 7]
    assert kept.tobytes() == through[[2, 6, 0]].tobytes()


def test_what_is_no_passthrough_file_is_refused(sparc, tiny):
    through = np.load(sparc / "through.cs")
    with open(sparc / "less.cs", "wb") as file:
        np.save(file, through[:5])
    with pytest.raises(InputError, match=r"2 of the 5 particles of .*p.cs are not in it"):
        open_particle_file(sparc / "p.cs", passthrough=sparc / "less.cs")
    with open(sparc / "none.cs", "wb") as file:
        np.save(file, through[["location/center_x_frac"]].copy())
    with pytest.raises(FileFormatError, match="no field uid"):
        open_particle_file(sparc / "p.cs", passthrough=sparc / "none.cs")
    with pytest.raises(InputError, match="only .cs files have a passthrough"):
        open_particle_file(tiny.star, passthrough=sparc / "through.cs")


def test_classes_of_cryosparc_count_from_zero_in_a_field_that_is_there(sparc):
    file = open_particle_file(sparc / "p.cs")
    assert file.with_class("alignments3D/class", [1, 2, 3, 4, 5]).rows[
        "alignments3D/class"
    ].tolist() == [0, 1, 2, 3, 4]
    assert file.rows["alignments3D/class"].tolist() == [0] * 5 and file.n_images == 3
    with pytest.raises(
        InputError, match="no field 'rlnClassNumber' of whole numbers.*alignments3D/class"
    ):
        file.with_class("rlnClassNumber", [1] * 5)


def test_rows_that_are_not_the_runs_are_refused(tiny):
    with pytest.raises(InputError, match="begins in row 7: it is not the file"):
        open_particle_file(tiny.star, first_row=[0, 6])
