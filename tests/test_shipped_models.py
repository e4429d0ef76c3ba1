"""The fitted runs that the project carries open and are analysed without their particles, and are
small.
"""

from pathlib import Path

import pytest

from atomdrgn import analyze, open_run

MODELS = sorted(path.parent for path in (Path(__file__).parents[1] / "models").glob("*/run.json"))


def test_there_are_models():
    assert [model.name for model in MODELS] == ["adk", "antibody"]


@pytest.mark.seconds
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_model_has_a_card_is_small_and_is_analysed(model, tmp_path):
    run = open_run(model)
    card = (model / "MODEL.md").read_text()
    assert (
        f"atomdrgn analyze models/{model.name}" in card
        and f"{run.summary['half_set_error']:.2f} A" in card
    )
    assert sum(path.stat().st_size for path in model.iterdir()) < 2e6
    written = analyze(run, tmp_path, frames=3)
    assert (
        f"{run.summary['motions_supported']} motion" in written.report.read_text()
        and written.report.stat().st_size < 2e6
    )
