"""Volumes of a field on a fit's latents, as `atomdrgn debias` asks for them."""

from types import SimpleNamespace

import pytest
import torch

from atomdrgn import ImageGrid, read_particles, read_structure, simulate_particles
from atomdrgn.debiasing import debias
from atomdrgn.reporting import Reporter
from molecules import helix, write_pdb


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Twenty-four particles of a helix that does not move."""
    folder = tmp_path_factory.mktemp("still")
    structure = read_structure(write_pdb(folder / "base.pdb", helix("A", 24, start=(0, 0, -18))))
    return read_particles(
        simulate_particles(
            structure,
            structure.position.expand(24, -1, -1),
            folder,
            grid=ImageGrid(20, 4.0),
            snr=2.0,
        )
    )


@pytest.mark.parametrize("motions, count", [(0, 1), (2, 3)])
def test_there_is_a_volume_with_its_halves_at_each_latent(stack, monkeypatch, motions, count):
    monkeypatch.setattr(debias, "FIELD_EPOCHS", 1)
    monkeypatch.setattr(debias, "_conformation", lambda material, at: torch.zeros(1, 3))
    place = torch.randn(24, motions, generator=torch.Generator().manual_seed(0))
    material = object.__new__(debias.Material)  # of what a run has only this is looked at
    material.__dict__.update(
        stack=stack,
        own_place=place,
        at=None,
        centres=3,
        seed=0,
        reporter=Reporter(),
        run=SimpleNamespace(n_particles=24),
        density=lambda position: torch.zeros(20, 20, 20),
    )
    shown = debias.maps_of_field(material)
    assert [each.name for each in shown] == [f"field{i + 1}" for i in range(count)]
    for each in shown:
        maps = each.maps
        torch.testing.assert_close(maps.whole, (maps.first + maps.second) / 2)
        assert (
            torch.corrcoef(torch.stack([maps.first.flatten(), maps.second.flatten()]))[0, 1] > 0.5
        )
        assert len(each.details["at"]) == motions
    assert debias.METHODS["field"] is debias.maps_of_field and "field" not in debias.DEFAULT_METHODS
