"""Polynomials between nodes of a box."""

import math

import pytest
import torch

from atomdrgn.inference.placing.nodes import (
    PLACES,
    Boxes,
    Nodes,
    chebyshev_nodes,
    lagrange_weights,
)


@pytest.mark.parametrize("counts", [[1], [3], [12], [4, 3], [3, 5, 4]])
def test_polynomials_are_exact(counts):
    """Of degrees below the number of nodes along each axis, mixed terms included."""
    nodes = Nodes.of_box(counts)
    axes = len(counts)
    assert nodes.unit.shape == (math.prod(counts), axes)
    assert nodes.place.shape == (PLACES[axes] ** axes, axes)
    assert nodes.place.abs().max() < 1

    def product(at):
        """Each axis to the highest power that it may have, and a lower one."""
        value = torch.ones(len(at))
        for axis, count in enumerate(counts):
            value = value * (at[:, axis] ** (count - 1) - 0.3 * at[:, axis] ** ((count - 1) // 2))
        return value

    torch.testing.assert_close(
        nodes.weight @ product(nodes.unit), product(nodes.place), atol=2e-5, rtol=1e-4
    )
    torch.testing.assert_close(nodes.weight.sum(1), torch.ones(len(nodes.place)))


def test_a_polynomial_of_a_higher_degree_is_not():
    nodes = Nodes.of_box([3])
    cube = nodes.weight @ nodes.unit[:, 0] ** 3 - nodes.place[:, 0] ** 3
    assert cube.abs().max() > 0.1


def test_a_box_without_axes_is_a_point():
    nodes = Nodes.of_box([])
    assert nodes.unit.shape == nodes.place.shape == (1, 0) and nodes.weight.tolist() == [[1.0]]
    boxes = Boxes(torch.zeros(4, 0), torch.zeros(4, 0, 0))
    assert boxes.at(nodes.place).shape == (1, 4, 0)
    assert boxes.log_volume.tolist() == [0.0] * 4


def test_places_are_along_the_axes_of_a_box():
    """Turned axes: columns lead to the middles of faces. What the box holds is their determinant."""
    axes = torch.tensor([[[3.0, -1.0], [1.0, 2.0]]])
    boxes = Boxes(torch.tensor([[10.0, 20.0]]), axes)
    faces = boxes.at(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]))[:, 0]
    torch.testing.assert_close(faces, torch.tensor([[13.0, 21.0], [9.0, 22.0], [8.0, 17.0]]))
    assert boxes.log_volume.item() == pytest.approx(math.log(4 * 7))
    nodes = Nodes.of_box([1, 1])
    covered = boxes.at(nodes.place)[:, 0].sub(boxes.centre).T.cov(correction=0)
    torch.testing.assert_close(covered, axes[0] @ axes[0].T / 3, rtol=0.01, atol=0.01)


def test_nodes_are_zeros_of_chebyshevs_polynomial():
    node = chebyshev_nodes(7)
    assert node.diff().min() > 0
    assert torch.cos(7 * torch.arccos(node)).abs().max() < 1e-12


def test_weights_at_a_node_are_of_this_node_alone():
    node = chebyshev_nodes(5)
    torch.testing.assert_close(lagrange_weights(node, node), torch.eye(5, dtype=torch.float64))
