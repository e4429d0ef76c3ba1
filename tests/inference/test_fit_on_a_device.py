"""Every step of a fit on another device: the same result to rounding, and no two devices meet."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields, is_dataclass, replace
from typing import Any, final

import numpy as np
import pytest
import torch
from torch import Tensor

from atomdrgn.backprojection.backprojection import backproject
from atomdrgn.debiasing.debias import debias
from atomdrgn.devices import PROCESSOR
from atomdrgn.inference.base_model.refinement import refine
from atomdrgn.inference.findings.junk import measure_signals
from atomdrgn.inference.fit import fit
from atomdrgn.inference.placing.likelihood_between import Comparison
from atomdrgn.inference.placing.nodes import Boxes, Nodes
from atomdrgn.inference.population.pose_corrections import no_corrections
from atomdrgn.inference.posterior.gauss_newton_pass import run_pass
from atomdrgn.inference.posterior.importance_sampling import working_disc
from atomdrgn.inference.problem.calibration import measure
from atomdrgn.inference.problem.fit_problem import FitModel
from atomdrgn.inference.problem.fit_state import FitState
from atomdrgn.inference.problem.linearisation import linearise
from atomdrgn.inference.problem.misfit import misfits, poses_at
from atomdrgn.inference.problem.principal_motions import motions_of
from atomdrgn.inference.residual.residual_density import sum_images
from atomdrgn.physics.disc import FourierDisc
from atomdrgn.physics.maps.still_density import StillDensity
from atomdrgn.runs.run import SUMMARY
from atomdrgn.structure.beads import BeadModel
from atomdrgn.structure.motion.deformation import Deformation
from atomdrgn.structure.motion.motion import BeadMotion
from atomdrgn.structure.motion.surface import straight_surface
from hinge import make_hinged
from pretended_device import DEVICE, pretended_device

Step = Callable[[FitModel, FitState, FourierDisc], Any]
SOME = torch.arange(24)
# the pretended one, and a GPU where there is one
ELSEWHERE = [DEVICE, *([torch.device("cuda", 0)] if torch.cuda.is_available() else [])]
elsewhere = pytest.mark.parametrize("device", ELSEWHERE, ids=str)


def _linearised(model: FitModel, state: FitState, disc: FourierDisc) -> Any:
    return list(linearise(model, state, disc, SOME))


def _misfits(model: FitModel, state: FitState, disc: FourierDisc) -> Any:
    return misfits(model, state, disc, [state.latent, state.latent + 1])


def _poses(model: FitModel, state: FitState, disc: FourierDisc) -> Any:
    poses = no_corrections(len(model.images), model.pose_prior_sd)
    return poses_at(model, state, disc, state.latent, poses.value)


def _scales(model: FitModel, state: FitState, disc: FourierDisc) -> Any:
    return measure(model, replace(state, step=1), disc, torch.Generator().manual_seed(0))


def _signals(model: FitModel, state: FitState, disc: FourierDisc) -> Any:
    finest = torch.ones(1, int(model.images.disc.shell.max()) + 1)
    return measure_signals(model, replace(state, spectrum=finest))


def _working_disc(model: FitModel, state: FitState, disc: FourierDisc) -> Any:
    finest = torch.ones(1, int(model.images.disc.shell.max()) + 1)
    motions = motions_of(model, state.population)
    return len(working_disc(model, replace(state, spectrum=finest), motions))


def _residual(model: FitModel, state: FitState, disc: FourierDisc) -> Any:
    return sum_images(model, state, disc)


def _pass(model: FitModel, state: FitState, disc: FourierDisc) -> Any:
    found, _ = run_pass(model, replace(state, residual=None), disc, last=True)
    return found.latent, found.contrast, found.spectrum


def _placed(model: FitModel, state: FitState, disc: FourierDisc) -> Any:
    motions = motions_of(model, state.population).first(3)
    spread = motions.variance.sqrt()
    surface = straight_surface(motions.mean, motions.direction, spread)
    eye = torch.eye(3)[:, :1]
    along = surface.reparametrised(torch.zeros(3), eye)
    poses = model.pose_prior_sd if model.finds_poses else None
    comparison = Comparison(model, replace(state, poses=None), along, disc, poses)
    boxes = Boxes(
        torch.zeros(model.n_particles, 1), spread[:1].diag().expand(model.n_particles, -1, -1)
    )
    found = [each for _, each in comparison.between(Nodes.of_box([4]), boxes, SOME)]
    others = comparison.along_others(surface, torch.zeros(model.n_particles, 1))
    return found, others, comparison.of_base()


STEPS: dict[str, Step] = {
    "normal equations": _linearised,
    "misfits": _misfits,
    "poses": _poses,
    "brightness, width and noise": _scales,
    "signals": _signals,
    "the frequencies that tell": _working_disc,
    "what the beads leave": _residual,
    "a pass": _pass,
    "placing": _placed,
}


@pytest.fixture(scope="module")
def start(begin: Any) -> tuple[FitModel, FitState, FourierDisc]:
    """A fit after nothing but noise was measured, with a residual density and a gain."""
    model, state = begin(14.0)
    disc = model.images.disc.coarser(20.0)
    shells = int(disc.shell.max()) + 1
    box = disc.coarse_grid()
    blob = torch.zeros((box.box_size,) * 3)
    blob[2:4, 3:5, 4:6] = 1e-3
    state = replace(
        state,
        latent=state.latent + 0.3,
        spectrum=torch.linspace(2, 1, shells)[None],
        uncertainty=0.2 * state.population.root,
        gain=torch.linspace(0.8, 1.0, shells),
        residual=StillDensity(blob, box.pixel_size),
    )
    return model, state, disc


def _with_poses(model: FitModel, state: FitState, kind: str) -> tuple[FitModel, FitState]:
    if kind == "exact":
        return model, state
    model = replace(model, refine_poses=kind == "refined", unknown_poses=kind == "integrated")
    return model, replace(state, poses=no_corrections(len(model.images), model.pose_prior_sd))


@contextmanager
def _where(device: torch.device) -> Iterator[None]:
    with pretended_device() if device == DEVICE else nullcontext():
        yield


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors that a result holds."""
    if isinstance(value, Tensor):
        yield value
    elif is_dataclass(value):
        for each in fields(value):
            yield from _tensors(getattr(value, each.name))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)
    elif isinstance(value, int):
        yield torch.tensor(value)


@pytest.mark.seconds
@elsewhere
@pytest.mark.parametrize("kind", ["exact", "refined", "integrated"])
@pytest.mark.parametrize("name", list(STEPS))
def test_a_step_is_the_same_on_another_device(
    name: str, kind: str, device: torch.device, start: Any
) -> None:
    _compare(name, *_with_poses(*start[:2], kind), start[2], device)


def _compare(
    name: str, model: FitModel, state: FitState, disc: FourierDisc, device: torch.device
) -> None:
    """A step on the processor and elsewhere."""
    found = {}
    for where in (PROCESSOR, device):
        with _where(where):
            made = STEPS[name](replace(model, device=where), state, disc)
            found[where] = list(_tensors(made))
    assert found[PROCESSOR] and len(found[PROCESSOR]) == len(found[device])
    for here, there in zip(found[PROCESSOR], found[device], strict=True):
        assert there.device == PROCESSOR
        scale = float(here.double().abs().max())
        torch.testing.assert_close(there.double(), here.double(), rtol=0, atol=2e-3 * scale)


@final
class Stretch(Deformation):
    """A deformation of one's own: a number that moves beads along one direction each."""

    kind = "stretch"

    def __init__(self, position: Tensor, along: Tensor) -> None:
        self.position, self.along = position, along

    @property
    def n_latent(self) -> int:
        return 1

    def motion(self, latent: Tensor) -> BeadMotion:
        return BeadMotion(latent[..., None] * self.along)

    def beads(self, motion: BeadMotion) -> Tensor:
        return self.position + motion.offset

    def atoms(self, motion: BeadMotion, atom: Tensor) -> Tensor:
        raise NotImplementedError

    def arrays(self) -> dict[str, np.ndarray]:
        return {"along": self.along.numpy()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Tensor], beads: Callable[[], BeadModel]) -> "Stretch":
        return cls(arrays["bead"], arrays["along"])


@pytest.mark.seconds
@elsewhere
# its normal equations are derivatives of forward mode, which no dispatch mode of torch survives
@pytest.mark.parametrize("name", ["misfits", "what the beads leave"])
def test_a_deformation_of_ones_own_goes_along(name: str, device: torch.device, start: Any) -> None:
    model, state, disc = start
    base = model.beads.position
    model = replace(model, deformation=Stretch(base, 0.02 * base.flip(1)))
    state = replace(state, latent=state.latent[:, :1], uncertainty=torch.eye(1))
    _compare(name, model, state, disc, device)


@pytest.mark.seconds
@elsewhere
@pytest.mark.parametrize(
    "name", ["normal equations", "misfits", "brightness, width and noise", "what the beads leave"]
)
def test_images_of_a_series_share_their_particle(
    name: str, device: torch.device, start: Any
) -> None:
    model, state, disc = start
    half = model.n_particles // 2
    model = replace(
        model,
        particle=model.particle // 2,
        portion=model.portion[:half],
        my_particles=model.my_particles[:half],
    )
    halved = {name: getattr(state, name)[:half] for name in ("latent", "latent_sd", "freedom")}
    state = replace(state, **halved)
    _compare(name, model, state, disc, device)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """As few particles as have half-sets: on the pretended device every operation takes long."""
    return make_hinged(tmp_path_factory.mktemp("few"), count=44)


@pytest.mark.long
@elsewhere
class TestWholeCommands:
    """Commands from beginning to end on a device that refuses tensors of the processor."""

    @pytest.mark.parametrize(
        "choices",
        [
            {},
            {"poses": "refined"},
            {"composition": True, "refine_poses": True},
            {"learn_on": 100},
        ],
        ids=str,
    )
    def test_fit(
        self, choices: dict[str, Any], device: torch.device, few: Any, tmp_path: Any
    ) -> None:
        structure, particles, _ = few
        settings = {"segments": 2, "resolution": 20.0, **choices}
        here = fit(structure, particles, tmp_path / "here", **settings)
        with _where(device):
            there = fit(structure, particles, tmp_path / "there", device=device, **settings)
        assert len(here.summary["motions"]) == len(there.summary["motions"]) > 0
        # with poses integrated out, rounding chooses between places that are as good
        difference = abs(here.latent[:, 0] - there.latent[:, 0])
        if choices.get("poses") == "refined":
            # steps of the poses magnify what rounding leaves: of 44 images by up to a third of the
            # standard deviation
            assert difference.mean() < 0.5 * here.latent_sd[:, 0].mean()
            return
        assert difference.mean() < 0.1 * here.latent_sd[:, 0].mean()
        assert difference.max() < 0.5 * here.latent_sd[:, 0].mean()

    def test_a_stopped_fit_goes_on_elsewhere(
        self, device: torch.device, few: Any, tmp_path: Any
    ) -> None:
        structure, particles, _ = few
        settings = {"segments": 2, "resolution": 20.0}
        run = fit(structure, particles, tmp_path / "run", **settings)
        (tmp_path / "run" / SUMMARY).unlink()
        with _where(device):
            again = fit(
                structure, particles, tmp_path / "run", device=device, resume=True, **settings
            )
        assert abs(run.latent - again.latent).max() < 0.1 * run.latent_sd.mean()

    def test_backproject(self, device: torch.device, few: Any) -> None:
        _, particles, _ = few
        here = backproject(particles)
        with _where(device):
            there = backproject(particles, device=device)
        scale = float(here.map.density.abs().max())
        torch.testing.assert_close(there.map.density, here.map.density, rtol=0, atol=1e-3 * scale)
        assert there.summary["device"] == str(device) and here.summary["device"] == "cpu"

    def test_refine(self, device: torch.device, few: Any, tmp_path: Any) -> None:
        structure, particles, _ = few
        settings: dict[str, Any] = {"beads": 1, "resolution": 20.0}
        here = refine(structure, particles, tmp_path / "here", **settings)
        with _where(device):
            there = refine(structure, particles, tmp_path / "there", device=device, **settings)
        assert here.summary["refine"]["weight"] == there.summary["refine"]["weight"]
        apart = (here.structure.position - there.structure.position).norm(dim=1)
        assert float(apart.max()) < 0.05

    def test_debias(self, device: torch.device, few: Any, tmp_path: Any) -> None:
        structure, particles, _ = few
        run = fit(structure, particles, tmp_path / "run", segments=2, resolution=20.0)
        here = debias(run, particles, tmp_path / "here")
        with _where(device):
            there = debias(run, particles, tmp_path / "there", device=device)
        assert here.summary["verdict"] == there.summary["verdict"]
