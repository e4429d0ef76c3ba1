"""The dense projection that speed is measured against: the one beside the repository, else the
package's own.
"""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from atomdrgn.physics.projection.project import project_beads_dense

REFERENCE = Path(__file__).parents[2] / "shared" / "benchmark" / "dense_projection.py"


def dense_projection(path: Path = REFERENCE):
    """A function with the arguments of ``project_beads``, one amplitude and sigma for all images,
    and its name.
    """
    if not path.is_file():
        return project_beads_dense, f"project_beads_dense ({path} is not there)"
    spec = spec_from_file_location(path.stem, path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)

    def project(position, amplitude, sigma, grid):
        return module.project_dense(position, amplitude, sigma, grid.box_size, grid.pixel_size)

    return project, path.name
