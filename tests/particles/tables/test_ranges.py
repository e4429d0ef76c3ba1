"""Values that no experiment has are refused with file, row, column and value; what is only rare is
read.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from atomdrgn.errors import FileFormatError, InputError
from atomdrgn.particles.reading import read_particles
from atomdrgn.particles.tables.ranges import QUANTITIES, refuse_micrometres, require_in_range

PATH = Path("x.star")


@pytest.mark.parametrize(
    "name, value, says",
    [
        ("rlnVoltage", 0, "expected 60 to 1000 kV"),
        ("rlnVoltage", -300, "expected 60"),
        (
            "rlnVoltage",
            300000,
            "is 300000, expected 60 to 1000 kV; it may be in volts, and would be 300 kV",
        ),
        ("rlnVoltage", "nan", "is nan"),
        ("rlnVoltage", "inf", "is inf"),
        ("rlnSphericalAberration", 2.7e7, "it may be in angstrom, and would be 2.7 mm"),
        ("rlnSphericalAberration", 2700, "it may be in micrometres, and would be 2.7 mm"),
        ("rlnSphericalAberration", 2.7e6, "it may be in nanometres, and would be 2.7 mm"),
        ("rlnSphericalAberration", -2.7, "is -2.7, expected -0.1 to 20 mm"),
        ("rlnSphericalAberration", "nan", "is nan"),
        ("rlnAmplitudeContrast", 10, "it may be in percent, and would be 0.1"),
        ("rlnAmplitudeContrast", -0.1, "expected 0 to 1"),
        ("rlnAmplitudeContrast", 1000, "is 1000, expected 0 to 1 .a fraction.; mend"),
        ("rlnAmplitudeContrast", "nan", "is nan"),
        ("rlnImagePixelSize", 0, "expected 0.1 to 100 A"),
        ("rlnImagePixelSize", -1, "is -1"),
        ("rlnImagePixelSize", "nan", "is nan"),
        ("rlnImagePixelSize", 0.083, "it may be in nanometres, and would be 0.83 A"),
        ("rlnImagePixelSize", 1.5e-10, "it may be in metres, and would be 1.5 A"),
        ("rlnImagePixelSize", 1e30, r"is 1e\+30"),
        ("rlnImageSize", "nan", "expected 2 to 65536 pixels"),
        ("rlnImageSize", 0, "is 0"),
    ],
)
def test_optics_out_of_range_name_file_row_column_and_value(tiny, name, value, says):
    tiny.optics[name] = [value]
    with pytest.raises(
        FileFormatError, match=f"particles.star: row 1 of {name} in data_optics .*{says}"
    ):
        read_particles(tiny.star)


@pytest.mark.parametrize(
    "name, value, says",
    [
        ("rlnDefocusU", 1e9, "expected -300000 to 300000 A"),
        ("rlnDefocusV", -1e9, "expected"),
        ("rlnDefocusU", "nan", "expected"),
        ("rlnDefocusAngle", "inf", "degrees"),
        ("rlnAngleRot", 1e20, "degrees"),
        ("rlnAngleTilt", "nan", "degrees"),
        ("rlnOriginXAngst", 1e6, "expected -100000 to 100000 A"),
        ("rlnOriginYAngst", "nan", "expected"),
        ("rlnPhaseShift", "nan", "degrees"),
        ("rlnPhaseShift", 1e5, "degrees"),
        ("rlnCtfScalefactor", -1, "expected 0 to 10"),
        ("rlnCtfScalefactor", 90, "it may be in percent, and would be 0.9"),
        ("rlnCtfBfactor", 1e6, "expected -10000 to 10000 A.2"),
        ("rlnCtfBfactor", "nan", "expected"),
    ],
)
def test_particles_out_of_range_name_file_row_column_and_value(tiny, name, value, says):
    tiny.columns.setdefault(name, [1.0] * 6)
    tiny.columns[name] = list(tiny.columns[name])
    tiny.columns[name][3] = value
    token = re.escape(str(value))
    with pytest.raises(
        FileFormatError,
        match=f"particles.star: row 4 of {name} in data_particles is {token}, .*{says}",
    ):
        read_particles(tiny.star)


def test_columns_of_relion_30_are_checked_too(tiny):
    tiny.optics = {}
    tiny.columns.pop("rlnOpticsGroup")
    tiny.columns |= {
        "rlnVoltage": [300] * 6,
        "rlnSphericalAberration": [2.7] * 6,
        "rlnAmplitudeContrast": [0.1] * 5 + [7],
        "rlnMagnification": [25000] * 6,
        "rlnDetectorPixelSize": [5] * 6,
    }
    with pytest.raises(
        FileFormatError, match="row 6 of rlnAmplitudeContrast in data_particles is 7, .* percent"
    ):
        read_particles(tiny.star)
    tiny.columns |= {"rlnAmplitudeContrast": [0.1] * 6, "rlnMagnification": [25] * 6}
    with pytest.raises(
        FileFormatError,
        match="row 1 of rlnDetectorPixelSize .micrometres. over rlnMagnification is 2000",
    ):
        read_particles(tiny.star)
    tiny.columns |= {"rlnMagnification": [0] * 6}
    with pytest.raises(
        FileFormatError, match="row 1 of rlnMagnification in data_particles is 0 .and 5 more rows"
    ):
        read_particles(tiny.star)


def test_images_without_a_ctf_need_no_microscope(tiny):
    for name in ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"):
        tiny.columns.pop(name)
    tiny.optics["rlnVoltage"] = [0]
    assert len(read_particles(tiny.star, allow_missing_ctf=True)) == 6


@pytest.mark.parametrize("factor", [1e-4, -1e-4])
def test_a_defocus_in_micrometres_is_refused(tiny, factor):
    tiny.columns |= {
        name: [factor * value for value in tiny.columns[name]]
        for name in ("rlnDefocusU", "rlnDefocusV")
    }
    with pytest.raises(
        FileFormatError,
        match=r"row 1 of rlnDefocusU and rlnDefocusV is -?1.5 and -?1.4 .and 5 more rows are "
        "as small.*may be in micrometres: multiply it by 10,000",
    ):
        read_particles(tiny.star)


def test_one_row_in_micrometres_is_refused(tiny):
    tiny.columns["rlnDefocusU"][2], tiny.columns["rlnDefocusV"][2] = 1.52, 1.4
    with pytest.raises(
        FileFormatError,
        match="row 3 of rlnDefocusU and rlnDefocusV is 1.52 and 1.4, expected angstrom",
    ):
        read_particles(tiny.star)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "defocus",
    [
        np.linspace(-2000, 4000, 1201),
        np.random.default_rng(0).normal(500, 600, 4000),
        [150.0, 300.0],
        [120000.0, 90000.0],
        [-800.0, 15000.0],
    ],
    ids=["in focus", "phase plate", "near focus", "far", "one overfocus"],
)
def test_what_is_rare_but_real_is_no_fault(defocus):
    defocus = np.asarray(defocus)
    refuse_micrometres(defocus, defocus - 40, "defocus", path=PATH)
    require_in_range(defocus, "rlnDefocusU", path=PATH)


@pytest.mark.parametrize(
    "name, value",
    [
        ("rlnSphericalAberration", 0.0),
        ("rlnSphericalAberration", -0.013),
        ("rlnVoltage", 100.0),
        ("rlnVoltage", 1000.0),
        ("rlnAmplitudeContrast", 0.0),
        ("rlnAmplitudeContrast", 1.0),
        ("rlnImagePixelSize", 0.3),
        ("rlnImagePixelSize", 20.0),
        ("rlnCtfBfactor", -480.0),
        ("rlnAngleRot", -540.0),
    ],
)
def test_settings_of_real_microscopes_are_in_range(name, value):
    require_in_range([value], name, path=PATH)


def test_overfocus_throughout_is_said(tiny):
    tiny.columns |= {
        name: [-value for value in tiny.columns[name]] for name in ("rlnDefocusU", "rlnDefocusV")
    }
    with pytest.warns(UserWarning, match="defocus of all images is negative, which is overfocus"):
        read_particles(tiny.star)


def test_an_origin_far_outside_of_the_image_is_refused(tiny):
    tiny.columns["rlnOriginXAngst"] = [0] * 4 + [200, 0]
    with pytest.raises(
        FileFormatError,
        match="rlnOriginXAngst or YAngst of row 5 moves the molecule by 200 A, and its image "
        "has an edge of 64 A",
    ):
        read_particles(tiny.star)
    tiny.columns["rlnOriginXAngst"] = [0] * 4 + [40, -33]
    with pytest.warns(
        UserWarning, match="rlnOriginXAngst or YAngst puts .* outside of its image in 2 of 6 images"
    ):
        read_particles(tiny.star)


def test_a_phase_shift_that_looks_like_radians_is_said(tiny):
    many = {name: [values[0]] * 24 for name, values in tiny.columns.items()}
    tiny.columns = many | {"rlnPhaseShift": np.linspace(0.9, 1.6, 24)}
    with pytest.warns(
        UserWarning,
        match="rlnPhaseShift is between 0.9 and 1.6 in all rows: it is taken as degrees",
    ):
        read_particles(tiny.star)
    for plate in (np.linspace(0.9, 90, 24), np.zeros(24)):
        tiny.columns["rlnPhaseShift"] = plate
        assert not [text for text in read_particles(tiny.star).warnings if "rlnPhaseShift" in text]


def test_angles_that_look_like_radians_are_said(tiny):
    rng, names = np.random.default_rng(1), ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
    tiny.columns = {name: list(values) * 5 for name, values in tiny.columns.items()}
    tiny.columns |= {name: rng.uniform(-np.pi, np.pi, 30) for name in names}
    with pytest.warns(
        UserWarning,
        match="rlnAnglePsi are between -3.* and 3.* in all rows: they are taken as degrees",
    ):
        read_particles(tiny.star)


def test_a_defocus_of_zero_is_still_what_was_not_estimated(tiny):
    tiny.columns["rlnDefocusU"][2] = tiny.columns["rlnDefocusV"][2] = 0
    with pytest.raises(InputError, match="defocus of row 3 is 0"):
        read_particles(tiny.star)


def test_every_quantity_has_sound_bounds():
    for name, quantity in QUANTITIES.items():
        assert (
            np.isfinite([quantity.least, quantity.most]).all() and quantity.least < quantity.most
        ), name
        assert not quantity.holds(np.array([np.nan, np.inf, -np.inf])).any(), name
