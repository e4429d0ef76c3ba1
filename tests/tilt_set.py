"""A tilt series of three particles that tests write, and what went into it."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from atomdrgn.particles.reading import read_particles
from tiny_particles import star_text, write_stack

TILTS = [-40.0, 0.0, 20.0, 40.0]
SIZE = (4000, 4400, 1200)  # of the tomogram, unbinned pixels of 1.5 A
MIRROR = np.diag([1.0, 1, -1])


@dataclass
class TiltSet:
    """Three particles of a tomogram with four tilts; pixel value of every image tells particle and
    tilt.
    """

    folder: Path
    particles: dict
    optics: dict
    tomogram: dict
    tilts: dict
    general: dict = field(default_factory=dict)

    @property
    def star(self):
        path = self.folder / "particles.star"
        tables = {"general": self.general, "optics": self.optics, "particles": self.particles}
        path.write_text("".join(star_text(block, columns) for block, columns in tables.items()))
        return path

    @property
    def tomograms(self):
        path = self.folder / "tomograms.star"
        path.write_text(
            star_text("global", self.tomogram)
            + star_text(self.tomogram["rlnTomoName"][0], self.tilts)
        )
        return path

    def read(self, **options):
        return read_particles(self.star, tomograms=self.tomograms, **options)


def matrix_columns(matrices):
    return {
        f"rlnTomoProj{axis}": ["[" + ",".join(map(str, [*m[i], 5])) + "]" for m in matrices]
        for i, axis in enumerate("XYZ")
    }


def write_images(folder, tilts):
    for number in range(3):
        images = np.zeros((len(tilts), 16, 16), np.float16)
        images[:, 8, 8] = [10 * number + tilt + 1 for tilt in tilts]
        write_stack(folder / f"p{number}.mrcs", images)


@pytest.fixture
def tilted(tmp_path) -> TiltSet:
    return tilt_set(tmp_path)


def tilt_set(folder) -> TiltSet:
    write_images(folder, range(4))
    # about fixed axes
    projection = Rotation.from_euler("yz", [[tilt, 85] for tilt in TILTS], degrees=True).as_matrix()
    return TiltSet(
        folder=folder,
        particles={
            "rlnTomoName": ["ts.tomostar"] * 3,
            "rlnImageName": [f"p{i}.mrcs" for i in range(3)],
            "rlnCoordinateX": [300, 320, 200],
            "rlnCoordinateY": [330, 300, 310],
            "rlnCoordinateZ": [90, 120, 90],
            "rlnAngleRot": [10, -40, 100],
            "rlnAngleTilt": [80, 60, 0],
            "rlnAnglePsi": [-70, 20, 5],
            "rlnOpticsGroup": [1] * 3,
            "rlnTomoVisibleFrames": ["[1,1,1,1]"] * 3,
        },
        optics={
            "rlnOpticsGroup": [1],
            "rlnOpticsGroupName": ["one"],
            "rlnVoltage": [300],
            "rlnSphericalAberration": [2.7],
            "rlnAmplitudeContrast": [0.07],
            "rlnImagePixelSize": [10.0],
            "rlnImageSize": [16],
            "rlnImageDimensionality": [2],
            "rlnTomoTiltSeriesPixelSize": [1.5],
            "rlnCtfDataAreCtfPremultiplied": [1],
        },
        tomogram={
            "rlnTomoName": ["ts.tomostar"],
            "rlnTomoHand": [-1],
            "rlnTomoSizeX": [SIZE[0]],
            "rlnTomoSizeY": [SIZE[1]],
            "rlnTomoSizeZ": [SIZE[2]],
            "rlnTomoTiltSeriesPixelSize": [1.5],
            "rlnVoltage": [300],
            "rlnSphericalAberration": [2.7],
            "rlnAmplitudeContrast": [0.07],
        },
        tilts={
            **matrix_columns(projection),
            "rlnDefocusU": [30000, 30100, 30200, 30300],
            "rlnDefocusV": [29000] * 4,
            "rlnDefocusAngle": [20] * 4,
            "rlnCtfScalefactor": [0.766, 1, 0.94, 0.766],
            "rlnMicrographPreExposure": [9, 0, 3, 6],
        },
    )
