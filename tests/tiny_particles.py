"""Tiny particle sets that tests write: one Gaussian bead a particle, imaged where its pose puts it."""

from dataclasses import dataclass, field
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

BEAD = np.array([9.0, -6.0, 4.0])  # A, in the molecule's frame
SIGMA = 4.0  # A


@dataclass
class TinySet:
    """A folder with a particle set, and what went into it: angles (degrees), origin (A) as RELION
    means them.
    """

    folder: Path
    angles: np.ndarray
    origin: np.ndarray
    columns: dict = field(default_factory=dict)
    optics: dict = field(default_factory=dict)

    @property
    def star(self) -> Path:
        """The particle file, written from the columns as they stand now."""
        path = self.folder / "particles.star"
        path.write_text(star_text("optics", self.optics) + star_text("particles", self.columns))
        return path


def star_text(block, columns):
    if not columns:
        return ""
    names = "".join(f"_{name} #{i}\n" for i, name in enumerate(columns, 1))
    rows = "".join(" ".join(map(str, row)) + "\n" for row in zip(*columns.values(), strict=True))
    return f"\n# version 30001\n\ndata_{block}\n\nloop_\n{names}{rows}\n"


def bead_image(centre, box, pixel_size):
    """A Gaussian at `centre` (x, y; A) from pixel box // 2."""
    x = (np.arange(box) - box // 2) * pixel_size
    return np.exp(
        -((x[None, :] - centre[0]) ** 2 + (x[:, None] - centre[1]) ** 2) / (2 * SIGMA**2)
    ).astype(np.float32)


def bead_centre(angles, origin):
    """Where the bead stands in the image by SciPy's Euler angles, not ours: A (particle, 2)."""
    camera = Rotation.from_euler("ZYZ", angles, degrees=True).inv().apply(BEAD)
    return camera[:, :2] - origin


def write_stack(path, images):
    with mrcfile.new(path, np.asarray(images), overwrite=True):
        pass


@pytest.fixture
def tiny(tmp_path) -> TinySet:
    """Six particles in RELION 3.1's layout, 32 pixels of 2 A."""
    rng = np.random.default_rng(3)
    angles = np.stack(
        [rng.uniform(-180, 180, 6), rng.uniform(0, 180, 6), rng.uniform(-180, 180, 6)], 1
    )
    origin = rng.normal(size=(6, 2)) * 3
    write_stack(
        tmp_path / "stack.mrcs", [bead_image(c, 32, 2.0) for c in bead_centre(angles, origin)]
    )
    columns = {
        "rlnImageName": [f"{i + 1:06d}@stack.mrcs" for i in range(6)],
        "rlnAngleRot": angles[:, 0].tolist(),
        "rlnAngleTilt": angles[:, 1].tolist(),
        "rlnAnglePsi": angles[:, 2].tolist(),
        "rlnOriginXAngst": origin[:, 0].tolist(),
        "rlnOriginYAngst": origin[:, 1].tolist(),
        "rlnDefocusU": [15000.0 + 100 * i for i in range(6)],
        "rlnDefocusV": [14000.0] * 6,
        "rlnDefocusAngle": [30.0] * 6,
        "rlnOpticsGroup": [1] * 6,
    }
    optics = {
        "rlnOpticsGroup": [1],
        "rlnOpticsGroupName": ["one"],
        "rlnVoltage": [300.0],
        "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1],
        "rlnImagePixelSize": [2.0],
        "rlnImageSize": [32],
        "rlnImageDimensionality": [2],
    }
    return TinySet(tmp_path, angles, origin, columns, optics)
