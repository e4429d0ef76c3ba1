import pytest
import torch

from atomdrgn.inference.far_start.far_start import find_far_start
from atomdrgn.inference.fit import fit
from atomdrgn.inference.fit_assembly import assemble, first_state
from atomdrgn.inference.fit_options import FitOptions
from hinge import make_hinged

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    """Particles whose second bundle has turned by 80 to 120 degrees."""
    return make_hinged(tmp_path_factory.mktemp("far"), middle=100.0, largest=20.0)


def found(structure, particles, **options):
    model = assemble(structure, particles, FitOptions(segments=6, resolution=12.0, **options))
    model.images.load()
    return model, find_far_start(model, first_state(model), near=20.0)


def test_a_part_that_all_particles_have_turned_far_is_found(far):
    structure, particles, _ = far
    model, start = found(structure, particles)
    assert start.selection == "B:1-120"
    assert start.turn == pytest.approx(100, abs=15)
    moved = model.deformation.conformation(start.latent).position - model.beads.position
    still = torch.from_numpy(model.beads.chain == "A")
    assert moved[still].norm(dim=-1).median() < 0.5 < 20 < moved[~still].norm(dim=-1).mean()


def test_parts_may_be_absent_too(far):
    structure, particles, _ = far
    assert found(structure, particles, composition=True)[1].selection == "B:1-120"


def test_small_turns_begin_at_the_base_model(hinged):
    structure, particles, _ = hinged
    assert found(structure, particles)[1] is None


def test_nothing_to_turn(hinged):
    structure, particles, _ = hinged
    model = assemble(structure, particles, FitOptions(segments=1, resolution=12.0))
    model.images.load()
    assert find_far_start(model, first_state(model), near=20.0) is None


def test_a_fit_follows_particles_that_are_far(far, tmp_path):
    structure, particles, angle = far
    # it is exact
    run = fit(structure, particles, tmp_path / "run", segments=6, resolution=9.0, keep_base=True)
    assert run.summary["far_start"]["selection"] == "B:1-120"
    turn = run.atoms(range(150))[:, torch.from_numpy(structure.chain == "B")]
    arm = turn[:, -40:].mean(1) - turn[:, :40].mean(1)
    assert (
        abs(
            torch.corrcoef(
                torch.stack([torch.atan2(-arm[:, 1], arm[:, 2]).remainder(2 * torch.pi), angle])
            )[0, 1]
        )
        > 0.95
    )
    assert run.summary["motions_supported"] >= 1
