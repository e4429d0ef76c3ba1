"""Heterogeneous cryo-EM reconstruction that ends in atomic structures: one for every particle.

Public names load when they are first used, so that ``import atomdrgn`` is quick and changes nothing
global.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "AtomdrgnError": "errors",
    "UnmodelledWarning": "errors",
    "Reporter": "reporting",
    "ImageGrid": "physics.grid",
    "Pose": "physics.pose",
    "CTF": "physics.ctf",
    "project_beads": "physics.projection.project",
    "normalized_cross_correlation": "physics.correlation",
    "Structure": "structure.atoms",
    "read_structure": "structure.atoms",
    "write_structure": "structure.atoms",
    "place": "structure.placement",
    "BeadModel": "structure.beads",
    "coarse_grain": "structure.beads",
    "Segmentation": "structure.segmentation",
    "make_segments": "structure.segmentation",
    "ParticleStack": "particles.stack.stack",
    "read_particles": "particles.reading",
    "inspect": "inspection",
    "fit": "inference.fit",
    "fit_more": "inference.more_particles",
    "FitOptions": "inference.fit_options",
    "refine": "inference.base_model.refinement",
    "Refinement": "inference.base_model.refinement",
    "Run": "runs.run",
    "open_run": "runs.run",
    "export": "analysis.structure_files.export",
    "place_in_tomogram": "analysis.particle_files.placing",
    "select_particles": "analysis.particle_files.selecting",
    "fit_volume": "volume.volume_fit",
    "fit_subspace": "subspace.subspace_fit",
    "VolumeRun": "runs.volume_run",
    "open_volume_run": "runs.volume_run",
    "backproject": "backprojection.backprojection",
    "dock": "docking.docking",
    "Docking": "docking.docking",
    "debias": "debiasing.debias",
    "DensityMap": "structure.density_map",
    "read_density_map": "structure.density_map",
    "write_density_map": "structure.density_map",
    "analyze": "analysis.analyze",
    "analyze_volumes": "analysis.volumes.analyze_volumes",
    "simulate_particles": "simulate",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("atomdrgn")
    if name not in _HOME:
        raise AttributeError(f"module 'atomdrgn' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"Any", "import_module"})
