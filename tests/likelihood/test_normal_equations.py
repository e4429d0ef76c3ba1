import pytest
import torch

from atomdrgn.likelihood.image_model import ImageModel
from atomdrgn.likelihood.normal_equations import (
    Unknowns,
    camera_motion,
    derivative_images,
    image_products,
    pose_images,
    power_along,
    predict,
)
from atomdrgn.physics.disc import make_disc
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.pose import Pose
from atomdrgn.physics.projection import rigid_slices
from atomdrgn.physics.projection.project import project_beads
from atomdrgn.physics.rotations import matrix_from_vector
from atomdrgn.structure.atoms import read_structure
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.motion.camera import slice_segments
from atomdrgn.structure.motion.segment_deformation import SegmentDeformation
from atomdrgn.structure.segmentation import make_segments
from molecules import helix, write_pdb

GRID = ImageGrid(40, 2.5)
DISC = make_disc(GRID, 8.0)


@pytest.fixture(
    params=[(None, False), ("B", False), (None, True), ("B", True)],
    ids=["free", "one segment fixed", "occupancies", "occupancies, one segment fixed"],
)
def scene(request, tmp_path):
    """A deformed molecule seen from four sides."""
    second = helix("B", 20, start=(6.0, 0.0, -15.0), serial=500)
    path = write_pdb(tmp_path / "two.pdb", helix("A", 30, start=(-6.0, 0.0, -20.0)), second)
    beads = coarse_grain(read_structure(path))
    deformation = SegmentDeformation(
        beads, make_segments(beads, 4, fixed=request.param[0]), composition=request.param[1]
    )
    generator = torch.Generator().manual_seed(0)
    latent = 3 * torch.randn(4, deformation.n_latent, generator=generator)
    pose = Pose(
        matrix_from_vector(2 * torch.randn(4, 3, generator=generator)),
        4 * torch.randn(4, 2, generator=generator),
    )
    return {
        "deformation": deformation,
        "beads": beads,
        "latent": latent,
        "pose": pose,
        "disc": DISC,
    }


def test_prediction_is_the_transform_of_the_projection(scene):
    beads = scene["beads"]
    conformation = scene["deformation"].conformation(scene["latent"])
    image = project_beads(
        scene["pose"].apply(conformation.position),
        beads.amplitude * conformation.occupancy,
        beads.sigma,
        GRID,
    )
    by_pixels = torch.view_as_real(DISC.coefficients(image)).movedim(-1, -2)
    # narrow beads ring: in the periodic box of sums the ringing goes round, in an image it is cut
    # off at the edge
    assert (predict(**scene_args(scene)) - by_pixels).norm() < 5e-3 * by_pixels.norm()


def scene_args(scene, **changes):
    """With what images show: the beads alone."""
    scene = scene | changes
    return {"seen": ImageModel(scene["beads"])} | {k: v for k, v in scene.items() if k != "beads"}


def test_derivative_images_are_derivatives(scene):
    """Along a random direction of the latent, against finite differences of predictions, at turns
    of a radian.
    """
    deformation, latent = scene["deformation"], scene["latent"]
    transfer = torch.rand(4, len(DISC), generator=torch.Generator().manual_seed(2)) - 0.3
    prediction, derivative = derivative_images(**scene, transfer=transfer)
    torch.testing.assert_close(
        prediction, predict(**scene_args(scene)) * transfer[:, None], rtol=1e-3, atol=1e-3
    )
    step = torch.randn(deformation.n_latent, generator=torch.Generator().manual_seed(3))
    ahead, behind = (
        predict(**scene_args(scene, latent=latent + sign * 0.01 * step)) for sign in (1, -1)
    )
    change = (
        camera_motion(deformation, latent, scene["pose"]) @ deformation.by_segment(step)[..., None]
    )
    along = torch.einsum("bfk,bfkcp->bcp", change[..., 0], derivative)
    expected = (ahead - behind) / 0.02 * transfer[:, None]
    assert (along - expected).norm() < 0.01 * expected.norm()


def test_power_along_directions_is_that_of_steps_along_each(scene):
    """Against finite differences of predictions."""
    n = scene["deformation"].n_latent
    transfer = torch.rand(4, len(DISC), generator=torch.Generator().manual_seed(2)) - 0.3
    steps = torch.randn(n, 3, generator=torch.Generator().manual_seed(3))
    expected = torch.zeros(4, len(DISC))
    for step in steps.T:
        ahead, behind = (
            predict(**scene_args(scene, latent=scene["latent"] + sign * 0.01 * step))
            for sign in (1, -1)
        )
        expected += ((ahead - behind) / 0.02 * transfer[:, None]).square().sum(1)
    power = power_along(**scene_args(scene), direction=steps, transfer=transfer)
    assert (power - expected).norm() < 0.02 * expected.norm()


def test_products_and_their_expansion(scene):
    """The matrix is that of the derivative images, and one step on noise-free data from nearby
    finds the right conformation.
    """
    deformation, latent = scene["deformation"], scene["latent"]
    transfer = torch.ones(4, len(DISC))
    data = predict(**scene_args(scene))
    near = latent + 0.02 * torch.randn(latent.shape, generator=torch.Generator().manual_seed(4))
    products = image_products(**scene_args(scene, latent=near), transfer=transfer, data=data)
    skew = products.matrix - products.matrix.transpose(1, 2)
    assert skew.abs().max() < 1e-5 * products.matrix.max()
    equations = products.normal_equations(1e-3, torch.zeros(4))
    ridge = (
        1e-4
        * equations.matrix.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
        * torch.eye(deformation.n_latent)
    )
    step = torch.linalg.solve(equations.matrix + ridge, equations.gradient)
    before, after = (data - predict(**scene_args(scene, latent=q)) for q in (near, near + step))
    assert (after.square().sum((1, 2)) < 0.01 * before.square().sum((1, 2))).all()
    torch.testing.assert_close(equations.chi2, before.square().sum((1, 2)), rtol=0.02, atol=1e-2)


@pytest.mark.parametrize("by_pose", [False, True])
def test_products_along_steps_are_those_of_the_numbers_turned(scene, by_pose):
    """Each image has its own steps, and the pose stands behind them."""
    generator = torch.Generator().manual_seed(5)
    batch, n = scene["latent"].shape
    along = torch.randn(batch, n, 3, generator=generator)
    seen = {
        "transfer": torch.rand(batch, len(DISC), generator=generator),
        "data": torch.randn(batch, 2, len(DISC), generator=generator),
    }
    whole, few = (
        image_products(**scene_args(scene), **seen, unknowns=Unknowns(steps, by_pose))
        for steps in (None, along)
    )
    turn = torch.stack(
        [torch.block_diag(each, torch.eye(5)) if by_pose else each for each in along]
    )
    for found, expected in (
        (few.matrix, turn.mT @ whole.matrix @ turn),
        (few.with_data, (turn.mT @ whole.with_data[..., None])[..., 0]),
        (few.with_prediction, (turn.mT @ whole.with_prediction[..., None])[..., 0]),
        (few.prediction_data, whole.prediction_data),
    ):
        assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_contrast_is_found_and_its_uncertainty_leaves_the_equations(scene):
    transfer = torch.ones(4, len(DISC))
    data = 1.3 * predict(**scene_args(scene))
    products = image_products(**scene_args(scene), transfer=transfer, data=data)
    contrast, sd = products.contrast(10.0, torch.zeros(4))
    torch.testing.assert_close(contrast, torch.full((4,), 1.3), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(sd, products.prediction2**-0.5, rtol=1e-3, atol=1e-6)
    free, known = (
        products.normal_equations(10.0, torch.zeros(4)),
        products.normal_equations(1e-4, torch.zeros(4)),
    )
    # knowing less can only lower the information, in every direction
    assert torch.linalg.eigvalsh(
        (1.3**2 * known.matrix - free.matrix).double()
    ).min() > -1e-3 * float(known.matrix.max())
    assert free.gradient.norm() < 1e-2 * known.gradient.norm()


def test_uncertainty_of_the_conformation_lowers_the_contrast():
    from atomdrgn.likelihood.normal_equations import ImageProducts

    one = torch.ones(1)
    products = ImageProducts(
        torch.zeros(1, 1, 1), torch.zeros(1, 1), torch.zeros(1, 1), 100 * one, 100 * one, 100 * one
    )
    assert products.contrast(10.0, 0 * one)[0] > 0.99 > 0.7 > products.contrast(10.0, 50 * one)[0]


def test_loops_and_tensor_operations_agree(scene):
    """The compiled loops and their slow twin."""
    generator = torch.Generator().manual_seed(2)
    transfer, data = (
        torch.rand(4, len(DISC), generator=generator) - 0.3,
        torch.randn(4, 2, len(DISC), generator=generator),
    )
    tracked = transfer.clone().requires_grad_()
    images = (derivative_images(**scene, transfer=each) for each in (transfer, tracked))
    for one, other in zip(*images, strict=True):
        assert other.requires_grad and (one - other).norm() < 1e-5 * one.norm()
    quick, slow = (
        image_products(**scene_args(scene), transfer=t, data=data) for t in (transfer, tracked)
    )
    for name in (
        "matrix",
        "with_prediction",
        "with_data",
        "prediction2",
        "prediction_data",
        "data2",
    ):
        one, other = getattr(quick, name), getattr(slow, name)
        assert other.requires_grad and (one - other).norm() < 1e-5 * one.norm()


def test_segments_cut_from_grids_are_their_sums(scene, monkeypatch):
    """Borders between segments, which no grid holds, and occupancies included."""
    args = scene_args(scene)
    transfer = torch.rand(4, len(DISC), generator=torch.Generator().manual_seed(3)) - 0.3
    beads = scene["beads"].bright(1.3, 2.0)

    def images():
        seen = {**args, "seen": ImageModel(beads)}
        deformation = scene["deformation"]
        deformation.__dict__.pop("rigid_parts", None)
        moved = derivative_images(
            deformation,
            beads,
            scene["latent"],
            pose=scene["pose"],
            disc=DISC,
            transfer=transfer,
        )
        return [predict(**seen), *moved, *pose_images(**seen, transfer=transfer)]

    summed = images()
    monkeypatch.setattr(rigid_slices, "slices_are_quicker", lambda *asked: True)
    cut = images()
    assert (
        0
        < len(
            slice_segments(
                scene["deformation"],
                beads,
                scene["latent"],
                fields=4,
                pose=scene["pose"],
                disc=DISC,
            ).left
        )
        < len(scene["deformation"].members.bead)
    )
    for a, b in zip(cut, summed, strict=True):
        rest, power = (each.square().sum((-2, -1)) for each in (a - b, b))
        assert float((rest / power).max()) < 1e-3**2
        assert not torch.equal(a, b)


def test_a_segment_that_leaves_the_box_is_summed(scene, monkeypatch):
    monkeypatch.setattr(rigid_slices, "slices_are_quicker", lambda *asked: True)
    deformation, pose = scene["deformation"], scene["pose"]
    away = Pose(pose.rotation, pose.shift + torch.tensor([0.4 * GRID.extent, 0.0]))
    where = {"disc": DISC, "fields": 4}
    latent = torch.zeros_like(scene["latent"])
    here = slice_segments(deformation, scene["beads"], latent, pose=pose, **where)
    there = slice_segments(deformation, scene["beads"], latent, pose=away, **where)
    assert len(here.slices) > len(there.slices)
