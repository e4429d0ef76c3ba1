import torch
from torch.testing import assert_close

from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.projection import dense as projection_dense
from atomdrgn.physics.projection.dense import project_beads_dense


def test_chunks_of_beads_change_nothing(monkeypatch):
    generator = torch.Generator().manual_seed(3)
    position = (
        6.0 * torch.randn(2, 12, 3, generator=generator, dtype=torch.float64).clamp(-2, 2)
    ).requires_grad_()
    amplitude, sigma = (
        0.5 + torch.rand(12, generator=generator, dtype=torch.float64),
        torch.full((12,), 1.4).double(),
    )
    grid = ImageGrid(32, 1.7)
    whole = project_beads_dense(position, amplitude, sigma, grid)
    (whole_gradient,) = torch.autograd.grad(whole.square().sum(), position)
    monkeypatch.setattr(projection_dense, "CHUNK_VALUES", 5 * 2 * 32)
    chunked = project_beads_dense(position, amplitude, sigma, grid)
    assert_close(chunked, whole)
    assert_close(torch.autograd.grad(chunked.square().sum(), position)[0], whole_gradient)
