import warnings

import numpy as np
import pytest
import torch

from atomdrgn.errors import FileFormatError, InputError
from atomdrgn.io.star import read_star
from atomdrgn.particles.reading import read_particles
from atomdrgn.particles.subsets import open_particle_file
from atomdrgn.particles.tables.relion import particle_table
from atomdrgn.particles.tables.tilt_series import are_tilt_rows, read_tilt_rows
from tiny_particles import write_stack


@pytest.fixture
def series(tiny):
    """Two particles of three tilts, their rows mixed."""
    tiny.columns |= {
        "rlnGroupName": ["t_b", "t_a", "t_b", "t_b", "t_a", "t_a"],
        "rlnCtfScalefactor": [0.9, 1.0, 0.95, 1.0, 0.9, 0.95],
        "rlnCtfBfactor": [-24, -4, -12, -4, -24, -12],
    }
    return tiny


def test_rows_of_a_group_are_tilts_of_a_particle(series):
    stack = read_particles(series.star)
    assert (len(stack), stack.n_particles, stack.n_tilts) == (6, 2, 3)
    assert stack.particle.tolist() == [0, 1, 0, 0, 1, 1]  # by first row
    assert stack.tilt.tolist() == [2, 0, 1, 0, 2, 1]  # by dose
    assert stack.ctf.dose.tolist() == [6, 1, 3, 1, 6, 3] and not stack.ctf.b_factor.any()
    torch.testing.assert_close(stack.ctf.scale, torch.tensor([0.9, 1.0, 0.95, 1.0, 0.9, 0.95]))
    assert stack.half.tolist() == [1, 2, 1, 1, 2, 2]


def test_a_noise_group_is_no_particle(series):
    series.columns |= {"rlnCtfScalefactor": [1.0] * 6, "rlnCtfBfactor": [0.0] * 6}
    stack = read_particles(series.star)
    assert stack.n_particles == 6 and stack.n_tilts == 1 and not stack.tilt.any()
    assert read_particles(series.star, tilt_series=True).n_particles == 2


@pytest.mark.parametrize(
    "column, values",
    [
        ("rlnCtfBfactor", [60] * 6),
        ("rlnCtfScalefactor", [1.0] * 6),
        ("rlnCtfScalefactor", [1.7] * 6),
        ("rlnGroupName", list("abcdef")),
    ],
)
def test_only_columns_that_show_tilts_make_them(series, column, values):
    series.columns[column] = values
    assert not are_tilt_rows(particle_table(read_star(series.star)))


@pytest.mark.parametrize("scale", [None, [1.0] * 6])
def test_doses_of_tilts_without_their_scales_are_said(series, scale):
    """They may be tilts, which would be parted over half-sets."""
    series.columns.pop("rlnCtfScalefactor")
    series.columns |= {} if scale is None else {"rlnCtfScalefactor": scale}
    with pytest.warns(
        UserWarning,
        match="as tilts do by their dose, but rlnCtfScalefactor is .*read as single particles",
    ):
        assert read_particles(series.star).n_particles == 6
    series.columns["rlnCtfBfactor"] = [-10] * 6  # one for all says nothing
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_particles(series.star)


def test_excluded_tilts_are_left_out_and_counted(series):
    series.columns["rlnCtfScalefactor"][2] = 0.0
    with pytest.warns(UserWarning, match="1 of 6 tilt images have rlnCtfScalefactor 0"):
        stack = read_particles(series.star)
    assert stack.row.tolist() == [0, 1, 3, 4, 5] and stack.particle.tolist() == [0, 1, 0, 1, 1]
    assert stack.tilt.tolist() == [1, 0, 0, 2, 1]
    assert (
        stack.read() == read_particles(series.star.rename(series.folder / "again.star")).read()
    ).all()


def test_what_tilt_series_need_is_named(series):
    series.columns["rlnCtfBfactor"][1] = 50
    with pytest.raises(InputError, match="row 2 has a positive rlnCtfBfactor"):
        read_particles(series.star, tilt_series=True)
    series.columns.pop("rlnCtfBfactor")
    with pytest.raises(InputError, match="no rlnCtfBfactor, which tilt series"):
        read_particles(series.star, tilt_series=True)


def many(
    series,
    n_particles=4,
    tilts=((0.7, 36), (0.9, 12), (1.0, 0), (0.9, 24), (0.7, 48)),
    group="{particle}",
):
    """The columns of several particles with all their tilts: rows go particle by particle, each
    names an image of its own.
    """
    rows = [
        (particle, number, *tilt)
        for particle in range(n_particles)
        for number, tilt in enumerate(tilts)
    ]
    one = {name: values[0] for name, values in series.columns.items()}
    series.columns |= {name: [value] * len(rows) for name, value in one.items()}
    series.columns |= {
        "rlnImageName": [f"{i + 1:06d}@stack.mrcs" for i in range(len(rows))],
        "rlnGroupName": [group.format(particle=particle) for particle, *_ in rows],
        "rlnCtfScalefactor": [scale for *_, scale, _ in rows],
        "rlnCtfBfactor": [-4 * dose for *_, dose in rows],
    }
    return series, np.array([particle for particle, *_ in rows]), [number for _, number, *_ in rows]


def tilts_of(series, **options):
    """Whose tilts the rows are; None where they are single particles."""
    particles = particle_table(read_star(series.star))
    return read_tilt_rows(particles, **options) if are_tilt_rows(particles, **options) else None


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("doses_differ", [False, True])
def test_groups_numbered_alike_are_parted_by_micrograph(series, forced, doses_differ):
    """Two molecules are never one particle, whether their doses are the same or differ by chance."""
    series, particle, _ = many(series)
    series.columns["rlnGroupName"] = (particle % 2).tolist()
    series.columns["rlnMicrographName"] = [f"TS_{p // 2}.mrc" for p in particle]
    if doses_differ:
        series.columns["rlnCtfBfactor"] = [
            b - p // 2 for b, p in zip(series.columns["rlnCtfBfactor"], particle, strict=True)
        ]
    tilts = tilts_of(series, tilt_series=forced)
    assert tilts.particle.tolist() == particle.tolist()
    (warning,) = map(str, tilts.warnings)
    assert (
        "several micrographs (rlnMicrographName)" in warning
        and "4 particles in place of 2" in warning
    )


def test_micrographs_of_single_tilts_part_nothing(series):
    """M names the movie of each tilt: these are the same in all particles of a tomogram."""
    series, particle, number = many(series)
    series.columns["rlnMicrographName"] = [f"TS_{n}.mrc" for n in number]
    tilts = tilts_of(series)
    assert tilts.particle.tolist() == particle.tolist() and not tilts.warnings
    # two species of one tomogram whose groups are numbered alike: no micrograph tells them apart,
    # so that they are refused
    series.columns["rlnGroupName"] = (particle % 2).tolist()
    for forced in (False, True):
        with pytest.raises(
            InputError,
            match=r"rows 3 and 13 are of one group \(0, rlnGroupName\) and have one dose \(0 e/A",
        ):
            tilts_of(series, tilt_series=forced)
    series.columns["rlnImageName"] = [
        f"{n + 1}@species_{p // 2}.mrcs" for n, p in zip(number, particle, strict=True)
    ]
    tilts = tilts_of(series)
    assert tilts.particle.tolist() == particle.tolist() and "several stacks (rlnImageName)" in str(
        tilts.warnings[0]
    )


@pytest.mark.parametrize("forced", [False, True])
def test_a_doubled_row_is_named(series, forced):
    series, *_ = many(series)
    for values in series.columns.values():
        values.append(values[6])
    with pytest.raises(
        InputError, match="rows 7 and 21 name one image .000007@stack.mrcs. and are of one group"
    ):
        tilts_of(series, tilt_series=forced)


def test_a_file_joined_to_itself_is_refused(series):
    series, *_ = many(series)
    series.columns = {name: values * 2 for name, values in series.columns.items()}
    with pytest.raises(InputError, match="20 images stand more than once"):
        tilts_of(series)


@pytest.mark.parametrize("dose", [0.0, 3.0])
def test_tilts_of_one_dose_are_no_single_particles_in_silence(series, dose):
    series, particle, _ = many(series)
    series.columns["rlnCtfBfactor"] = [-4 * dose] * len(particle)
    with pytest.raises(
        InputError,
        match="looks like the cosine of a tilt, but all rows of group 0 have one "
        "dose.*--tilt-series",
    ):
        tilts_of(series)
    write_stack(
        series.folder / "stack.mrcs", np.arange(20 * 32 * 32, dtype=np.float32).reshape(20, 32, 32)
    )
    with pytest.warns(
        UserWarning,
        match="no tilt has a dose" if dose == 0 else "in 4 of 4 particles all tilts have one dose",
    ):
        assert read_particles(series.star, tilt_series=True).particle.tolist() == particle.tolist()
    series.columns["rlnGroupName"] = (particle % 2).tolist()
    with pytest.raises(
        InputError,
        match="are of one group .* one rlnCtfScalefactor .*a tilt and its opposite at the most",
    ):
        tilts_of(series, tilt_series=True)


def test_tilts_without_a_column_of_doses_are_refused(series):
    """Unless they are images without a CTF, which are simulated: that is warned of."""
    series, particle, _ = many(series)
    write_stack(
        series.folder / "stack.mrcs", np.arange(20 * 32 * 32, dtype=np.float32).reshape(20, 32, 32)
    )
    del series.columns["rlnCtfBfactor"]
    for read in (read_particles, open_particle_file):
        with pytest.raises(
            InputError,
            match="looks like the cosine of a tilt, but there is no rlnCtfBfactor.*--tilt-series",
        ):
            read(series.star)
    for name in ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"):
        del series.columns[name]
    with pytest.warns(UserWarning, match="no rlnCtfBfactor .*they are read as single particles"):
        assert read_particles(series.star, allow_missing_ctf=True).n_particles == len(particle)


def test_tilts_without_groups_are_warned_of(series):
    """Be there no column, or a name for each row."""
    series, particle, _ = many(series)
    write_stack(
        series.folder / "stack.mrcs", np.arange(20 * 32 * 32, dtype=np.float32).reshape(20, 32, 32)
    )
    series.columns["rlnGroupName"] = list(range(len(particle)))
    for _ in range(2):
        with pytest.warns(
            UserWarning,
            match="look like those of tilts, but no two rows share an rlnGroupName.*single "
            "particles",
        ):
            assert read_particles(series.star).n_particles == len(particle)
        series.columns.pop("rlnGroupName", None)


@pytest.mark.parametrize(
    "column, value, message",
    [
        ("rlnCtfBfactor", 20, r"row 4 has a positive rlnCtfBfactor \(20\)"),
        (
            "rlnCtfScalefactor",
            1.4,
            "row 4 has an rlnCtfScalefactor of 1.4, but the others look like cosines",
        ),
        (
            "rlnCtfBfactor",
            -48,
            "rows 2 and 4 are of one group .0, rlnGroupName. and have one dose .12 e/A",
        ),
    ],
)
def test_one_wrong_row_does_not_make_single_particles_of_tilts(series, column, value, message):
    series, *_ = many(series)
    series.columns[column][3] = value
    with pytest.raises(InputError, match=message):
        tilts_of(series)


def test_b_factors_fitted_to_micrographs_are_no_tilts(series):
    """As CTF refinement of single particles writes them: a scale and a B factor a micrograph; a
    noise group has several.
    """
    series, particle, _ = many(series, n_particles=6)
    series.columns["rlnMicrographName"] = [f"{p}.mrc" for p in particle]
    series.columns["rlnGroupName"] = (particle % 2).tolist()
    series.columns["rlnCtfScalefactor"] = [0.9 + 0.01 * p for p in particle]
    for b_factors in (
        [-10 - p for p in particle],
        [20 - 9 * p for p in particle],
        [0] * len(particle),
    ):
        series.columns["rlnCtfBfactor"] = b_factors
        assert tilts_of(series) is None


@pytest.mark.parametrize("copies", [1, 6])
def test_b_factors_fitted_to_particles_are_no_tilts(series, copies):
    """A scale and a B factor of each particle's own, be it with the copies of an expanded symmetry."""
    rng = np.random.default_rng(4)
    series, particle, _ = many(series, n_particles=30)
    count = len(particle) // copies
    series.columns["rlnMicrographName"] = [f"{p}.mrc" for p in particle]
    series.columns["rlnCtfScalefactor"] = np.repeat(
        rng.uniform(0.6, 1, count).round(6), copies
    ).tolist()
    series.columns["rlnCtfBfactor"] = np.repeat(rng.uniform(10, 80, count), copies).tolist()
    assert tilts_of(series) is None


def test_doses_that_are_all_negative_are_named(series):
    """An offset that was subtracted twice."""
    series, *_ = many(series)
    series.columns["rlnCtfBfactor"] = [b + 400 for b in series.columns["rlnCtfBfactor"]]
    with pytest.raises(InputError, match=r"row 1 has a positive rlnCtfBfactor \(256\)"):
        tilts_of(series)


def test_halves_may_not_split_a_particle(series):
    series.columns["rlnRandomSubset"] = [2, 1, 2, 2, 1, 1]
    assert read_particles(series.star).half.tolist() == [2, 1, 2, 2, 1, 1]
    series.columns["rlnRandomSubset"][2] = 1
    with pytest.raises(FileFormatError, match="row 3 is of another half-set"):
        read_particles(series.star)
    series.columns["rlnRandomSubset"][2] = 0
    with pytest.raises(FileFormatError, match="row 3 is of half-set 0"):
        read_particles(series.star)


def test_real_tilt_rows_and_real_single_particles(shared):
    zoo = shared / "data" / "star_zoo"
    warp = particle_table(read_star(zoo / "sta_testing_bin8.star"))
    assert are_tilt_rows(warp) and len(set(warp.texts("rlnGroupName"))) < len(warp)
    dose = -warp.numbers("rlnCtfBfactor") / 4
    np.testing.assert_allclose(dose[:3], [3.25, 6.5, 9.75])
    for name in (
        "relion5.star",
        "relion31.6opticsgroups.star",
        "FinalRefinement-OriginalParticles-PfCRT.star",
    ):
        assert not are_tilt_rows(particle_table(read_star(zoo / name)))
