import numpy as np
import pytest
import torch

from atomdrgn.errors import FileFormatError, InputError
from atomdrgn.io.star import read_star
from atomdrgn.particles.reading import read_particles
from atomdrgn.particles.relion import particle_table
from atomdrgn.particles.tilt_series import are_tilt_series


@pytest.fixture
def series(tiny):
    """Two particles of three tilts, their rows mixed."""
    tiny.columns |= {"rlnGroupName": ["t_b", "t_a", "t_b", "t_b", "t_a", "t_a"],
                     "rlnCtfScalefactor": [0.9, 1.0, 0.95, 1.0, 0.9, 0.95], "rlnCtfBfactor": [-24, -4, -12, -4, -24, -12]}
    return tiny


def test_rows_of_a_group_are_tilts_of_a_particle(series):
    stack = read_particles(series.star)
    assert (len(stack), stack.n_particles, stack.n_tilts) == (6, 2, 3)
    assert stack.particle.tolist() == [0, 1, 0, 0, 1, 1]   # by first row
    assert stack.tilt.tolist() == [2, 0, 1, 0, 2, 1]       # by dose
    assert stack.ctf.dose.tolist() == [6, 1, 3, 1, 6, 3] and not stack.ctf.b_factor.any()
    torch.testing.assert_close(stack.ctf.scale, torch.tensor([0.9, 1.0, 0.95, 1.0, 0.9, 0.95]))
    assert stack.half.tolist() == [1, 2, 1, 1, 2, 2]


def test_a_noise_group_is_no_particle(series):
    series.columns |= {"rlnCtfScalefactor": [1.0] * 6, "rlnCtfBfactor": [0.0] * 6}
    stack = read_particles(series.star)
    assert stack.n_particles == 6 and stack.n_tilts == 1 and not stack.tilt.any()
    assert read_particles(series.star, tilt_series=True).n_particles == 2


@pytest.mark.parametrize("column, values", [
    ("rlnCtfBfactor", [60] * 6), ("rlnCtfBfactor", [-4] * 6), ("rlnCtfScalefactor", [1.0] * 6), ("rlnCtfScalefactor", [1.7] * 6),
    ("rlnGroupName", list("abcdef"))])
def test_only_columns_that_show_tilts_make_them(series, column, values):
    series.columns[column] = values
    assert not are_tilt_series(particle_table(read_star(series.star)))


def test_excluded_tilts_are_left_out_and_counted(series):
    series.columns["rlnCtfScalefactor"][2] = 0.0
    with pytest.warns(UserWarning, match="1 of 6 tilt images have rlnCtfScalefactor 0"):
        stack = read_particles(series.star)
    assert stack.row.tolist() == [0, 1, 3, 4, 5] and stack.particle.tolist() == [0, 1, 0, 1, 1]
    assert stack.tilt.tolist() == [1, 0, 0, 2, 1]
    assert (stack.read() == read_particles(series.star.rename(series.folder / "again.star")).read()).all()


def test_what_tilt_series_need_is_named(series):
    series.columns["rlnCtfBfactor"][1] = 50
    with pytest.raises(InputError, match="row 2 has a positive rlnCtfBfactor"):
        read_particles(series.star, tilt_series=True)
    series.columns.pop("rlnCtfBfactor")
    with pytest.raises(InputError, match="no rlnCtfBfactor, which tilt series"):
        read_particles(series.star, tilt_series=True)


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
    assert are_tilt_series(warp) and len(set(warp.texts("rlnGroupName"))) < len(warp)
    dose = -warp.numbers("rlnCtfBfactor") / 4
    np.testing.assert_allclose(dose[:3], [3.25, 6.5, 9.75])
    for name in ("relion5.star", "relion31.6opticsgroups.star", "FinalRefinement-OriginalParticles-PfCRT.star"):
        assert not are_tilt_series(particle_table(read_star(zoo / name)))
