"""Derivatives by an image's pose, and the pose taken out of the equations."""

import math
from dataclasses import replace

import pytest
import torch

from atomdrgn.likelihood.image_model import ImageModel
from atomdrgn.likelihood.normal_equations import (
    POSE_NUMBERS,
    NormalEquations,
    Unknowns,
    image_products,
    pose_images,
    pose_products,
    predict,
)
from atomdrgn.likelihood.pose_equations import eliminate_pose, integrate_pose
from atomdrgn.physics.disc import make_disc
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.maps.still_density import StillDensity
from atomdrgn.physics.pose import Pose
from atomdrgn.physics.rotations import matrix_from_vector
from atomdrgn.structure.atoms import read_structure
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.motion.segment_deformation import SegmentDeformation
from atomdrgn.structure.segmentation import make_segments
from molecules import helix, write_pdb

DISC = make_disc(ImageGrid(40, 2.5), 8.0)
TRANSFER = torch.rand(4, len(DISC), generator=torch.Generator().manual_seed(2)) - 0.3


@pytest.fixture(
    params=[(None, False, False), ("B", True, False), (None, False, True)],
    ids=["free", "occupancies, one segment fixed", "gain by shell, and density that stands still"],
)
def scene(request, tmp_path):
    """A deformed molecule, not centred, seen from four sides."""
    fixed, composition, sum_of_parts = request.param
    path = write_pdb(
        tmp_path / "two.pdb",
        helix("A", 20, start=(-4.0, 0.0, -20.0)),
        helix("B", 15, start=(8.0, 3.0, -15.0), serial=500),
    )
    beads = coarse_grain(read_structure(path))
    deformation = SegmentDeformation(
        beads, make_segments(beads, 3, fixed=fixed), composition=composition
    )
    generator = torch.Generator().manual_seed(0)
    latent = 3 * torch.randn(4, deformation.n_latent, generator=generator)
    pose = Pose(
        matrix_from_vector(2 * torch.randn(4, 3, generator=generator)),
        4 * torch.randn(4, 2, generator=generator),
    )
    return {
        "deformation": deformation,
        "seen": image_model(beads) if sum_of_parts else ImageModel(beads),
        "latent": latent,
        "pose": pose,
        "disc": DISC,
    }


def image_model(beads):
    """Beads with a gain that is not 1, and a density beside them, as heavy."""
    along = 5.0 * (torch.arange(20) - 10)
    z, y, x = torch.meshgrid(along, along, along, indexing="ij")
    distance2 = (x - 15) ** 2 + (y + 12) ** 2 + (z - 5) ** 2
    ball = torch.exp(-distance2 / (2 * 8.0**2))
    ball = ball * beads.amplitude.sum() / (ball.sum() * 5.0**3)
    gain = 1 + 0.5 * torch.sin(torch.arange(10.0))
    return ImageModel(beads, gain, (StillDensity(ball, 5.0),))


def moved(pose, step):
    """By shift (A) and rotation vector (rad) in the camera's frame."""
    return Pose(matrix_from_vector(step[..., 2:]) @ pose.rotation, pose.shift + step[..., :2])


def test_derivatives_by_the_pose_are_derivatives(scene):
    prediction, derivative = pose_images(**scene, transfer=TRANSFER)
    torch.testing.assert_close(
        prediction, predict(**scene) * TRANSFER[:, None], rtol=1e-3, atol=1e-3
    )
    for number, step in enumerate((0.02, 0.02, 0.002, 0.002, 0.002)):
        by = torch.zeros(4, POSE_NUMBERS)
        by[:, number] = step
        ahead, behind = (
            predict(**scene | {"pose": moved(scene["pose"], sign * by)}) for sign in (1, -1)
        )
        expected = (ahead - behind) / (2 * step) * TRANSFER[:, None]
        # slices are interpolated between frequencies: their own slope is that of a polygon
        most = 0.1 if scene["seen"].still else 0.01
        assert (derivative[:, number] - expected).norm() < most * expected.norm()


def test_loops_and_tensor_operations_agree(scene):
    """Where a gradient is wanted tensor operations do it, of beads."""
    scene["seen"] = replace(scene["seen"], still=())
    by_loops = pose_images(**scene, transfer=TRANSFER)
    by_tensors = pose_images(
        **scene
        | {"pose": replace(scene["pose"], shift=scene["pose"].shift.clone().requires_grad_())},
        transfer=TRANSFER,
    )
    for fast, slow in zip(by_loops, by_tensors, strict=True):
        torch.testing.assert_close(
            fast, slow.detach(), rtol=1e-3, atol=1e-4 * float(slow.detach().abs().max())
        )


def test_the_pose_stands_behind_the_latent_in_the_products(scene):
    data = predict(**scene) * TRANSFER[:, None] + 0.1 * torch.randn(
        4, 2, len(DISC), generator=torch.Generator().manual_seed(1)
    )
    of_both = image_products(**scene, transfer=TRANSFER, data=data, unknowns=Unknowns(pose=True))
    of_latent, of_pose = (
        call(**scene, transfer=TRANSFER, data=data) for call in (image_products, pose_products)
    )
    n = scene["deformation"].n_latent
    torch.testing.assert_close(of_both.matrix[:, :n, :n], of_latent.matrix)
    torch.testing.assert_close(of_both.matrix[:, n:, n:], of_pose.matrix)
    for name in ("with_prediction", "with_data"):
        torch.testing.assert_close(
            getattr(of_both, name), torch.cat([getattr(of_latent, name), getattr(of_pose, name)], 1)
        )
    torch.testing.assert_close(of_both.matrix, of_both.matrix.mT)


def test_a_known_pose_changes_nothing(scene):
    data = predict(**scene) * TRANSFER[:, None]
    # without noise the gradient would be rounding alone
    random = torch.randn(data.shape, generator=torch.Generator().manual_seed(4))
    data = 1.1 * data + 0.5 * data.std() * random
    without, wide = (
        image_products(
            **scene, transfer=TRANSFER, data=data, unknowns=Unknowns(pose=by_pose)
        ).normal_equations(0.2, torch.zeros(4))
        for by_pose in (False, True)
    )
    reduced, _ = eliminate_pose(
        wide, torch.zeros(4, POSE_NUMBERS), torch.full((POSE_NUMBERS,), 1e-6)
    )
    for name in ("matrix", "gradient", "chi2"):
        expected = getattr(without, name)
        torch.testing.assert_close(
            getattr(reduced, name), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max())
        )


def random_equations(latents, seed=0):
    rows = torch.randn(3, 40, latents + POSE_NUMBERS, generator=torch.Generator().manual_seed(seed))
    data = torch.randn(3, 40, 1, generator=torch.Generator().manual_seed(seed + 1))
    return NormalEquations(rows.mT @ rows, (rows.mT @ data)[..., 0], data.square().sum((1, 2)))


def test_what_is_left_is_the_marginal_of_the_joint_gaussian():
    """Of latent and pose, with a population of latents: means and covariances by inverting the
    whole.
    """
    equations, latents = random_equations(6), 6
    correction = 0.3 * torch.randn(3, POSE_NUMBERS, generator=torch.Generator().manual_seed(7))
    prior_sd = torch.tensor([0.5, 0.6, 0.7, 0.8, 0.9])
    precision = torch.eye(latents)  # a population about where the latents stand
    whole = equations.matrix.clone()
    whole[:, :latents, :latents] += precision
    whole[:, latents:, latents:] += torch.diag(prior_sd**-2)
    gradient = equations.gradient.clone()
    gradient[:, latents:] -= correction / prior_sd**2
    covariance = torch.linalg.inv(whole)
    mean = (covariance @ gradient[..., None])[..., 0]

    reduced, given = eliminate_pose(equations, correction, prior_sd)
    of_latent = torch.linalg.inv(reduced.matrix + precision)
    step = (of_latent @ reduced.gradient[..., None])[..., 0]
    torch.testing.assert_close(of_latent, covariance[:, :latents, :latents], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(step, mean[:, :latents], rtol=1e-3, atol=1e-4)
    of_pose, sd = given.posterior(
        step, of_latent, seen=torch.eye(latents), unseen=torch.zeros(latents, 0)
    )
    torch.testing.assert_close(of_pose, mean[:, latents:], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        sd**2, covariance.diagonal(dim1=1, dim2=2)[:, latents:], rtol=1e-3, atol=1e-5
    )
    # what lies along directions that images do not see counts as much as along those that they see
    root = torch.linalg.cholesky(of_latent[:1])
    halves = given[:1].posterior(
        step[:1], torch.eye(3)[None], seen=root[0, :, :3], unseen=root[0, :, 3:]
    )
    torch.testing.assert_close(halves[1], sd[:1])


def test_the_misfit_is_the_least_over_all_poses():
    equations = random_equations(0)
    prior_sd = torch.full((POSE_NUMBERS,), 0.4)
    correction = 0.2 * torch.ones(3, POSE_NUMBERS)

    def misfit(step):
        curved = (step * (equations.matrix @ step[..., None])[..., 0]).sum(1)
        return (
            equations.chi2
            - 2 * (equations.gradient * step).sum(1)
            + curved
            + ((correction + step) / prior_sd).square().sum(1)
        )

    reduced, given = eliminate_pose(equations, correction, prior_sd)
    torch.testing.assert_close(reduced.chi2, misfit(given.step), rtol=1e-4, atol=1e-3)
    generator = torch.Generator().manual_seed(3)
    for _ in range(5):
        assert (
            misfit(given.step + 0.05 * torch.randn(3, POSE_NUMBERS, generator=generator))
            > reduced.chi2
        ).all()


def test_a_wrong_pose_is_put_right_by_one_step(scene):
    """Without noise, a degree and an A off.

    Turns that change nothing, such as about a chain's own axis, stay as they are.
    """
    generator = torch.Generator().manual_seed(5)
    error = torch.randn(4, POSE_NUMBERS, generator=generator) * torch.tensor(
        [1.0, 1.0] + [math.radians(1)] * 3
    )
    data = 100 * predict(**scene)
    wrong = scene | {"pose": moved(scene["pose"], error)}
    products = pose_products(**wrong, transfer=torch.full((4, len(DISC)), 100.0), data=data)
    equations = products.normal_equations(0.01, torch.zeros(4))
    _, given = eliminate_pose(
        equations, torch.zeros(4, POSE_NUMBERS), torch.tensor([2.0, 2.0] + [math.radians(2)] * 3)
    )
    before, after = (
        100 * predict(**scene | {"pose": pose}) - data
        for pose in (wrong["pose"], moved(wrong["pose"], given.step))
    )
    assert (after.square().sum((1, 2)) < 0.05 * before.square().sum((1, 2))).all()


def gaussian_at(equations):
    """Equations of the pose alone at any correction, of likelihoods that are Gaussian in it."""

    def at(step):
        along = (equations.matrix @ step[..., None])[..., 0]
        chi2 = equations.chi2 - 2 * (equations.gradient * step).sum(1) + (along * step).sum(1)
        return NormalEquations(equations.matrix, equations.gradient - along, chi2)

    return at


@pytest.mark.parametrize("steps", [1, 3])
def test_a_gaussian_is_integrated_exactly(steps):
    """Minus twice the log of the mean likelihood under the prior, by the whole determinant."""
    equations, prior_sd = random_equations(0), torch.tensor([0.5, 0.6, 0.7, 0.8, 0.9])
    precision = torch.diag(prior_sd**-2)
    inside = equations.matrix + precision
    best = torch.linalg.solve(inside, equations.gradient[..., None])[..., 0]
    start = best + 0.1
    expected = (
        equations.chi2
        - (best * equations.gradient).sum(1)
        + (torch.logdet(inside) - torch.logdet(precision))
    )
    found = integrate_pose(gaussian_at(equations), start, prior_sd, steps=steps)
    torch.testing.assert_close(found.chi2, expected, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(found.covariance, torch.linalg.inv(inside), rtol=1e-2, atol=1e-4)
    torch.testing.assert_close(found.mode, best, rtol=1e-3, atol=1e-3)


def test_a_step_that_overshoots_is_taken_back():
    """The slope of a narrow well far away, whose curvature promises a much longer step."""

    def at(step):
        out = step[:, :1]
        slope = 100 * torch.nn.functional.pad(out.tanh(), (0, POSE_NUMBERS - 1))
        matrix = torch.eye(POSE_NUMBERS).expand(len(step), -1, -1).clone()
        matrix[:, 0, 0] = 100 * (1 - out[:, 0].tanh().square()) + 1e-3
        return NormalEquations(matrix, -slope, 200 * out[:, 0].cosh().log())

    start = torch.zeros(2, POSE_NUMBERS)
    start[:, 0] = torch.tensor([2.0, -2.0])
    found = integrate_pose(at, start, torch.full((POSE_NUMBERS,), 50.0), steps=8)
    assert (at(found.mode).chi2 < 0.01 * at(start).chi2).all()


def test_the_integral_over_poses_is_what_draws_make_of_it(scene):
    """Importance sampling with thousands of poses, of noisy images, at two conformations each:
    what one is likelier than the other by.
    """
    generator = torch.Generator().manual_seed(8)
    transfer = torch.full((4, len(DISC)), 0.6)
    data = 0.6 * predict(**scene) + torch.randn(4, 2, len(DISC), generator=generator)
    prior_sd = torch.tensor([4.0, 4.0, 0.2, 0.2, 0.2])

    def equations_at(latent):
        def at(step):
            pose = moved(scene["pose"], step)
            products = pose_products(
                **scene | {"pose": pose, "latent": latent}, transfer=transfer, data=data
            )
            return products.normal_equations(0.2, torch.zeros(4))

        return at

    other = scene["latent"] + 0.3 * torch.randn(scene["latent"].shape, generator=generator)
    by_laplace, by_draws = [], []
    for latent in (scene["latent"], other):
        at = equations_at(latent)
        found = integrate_pose(at, torch.zeros(4, POSE_NUMBERS), prior_sd, steps=6)
        by_laplace.append(-0.5 * found.chi2)
        root = 1.2 * torch.linalg.cholesky(found.covariance)
        log = []
        for _ in range(1500):
            normal = torch.randn(4, POSE_NUMBERS, generator=generator)
            step = found.mode + (root @ normal[..., None])[..., 0]
            chi2 = at(step).chi2 + (step / prior_sd).square().sum(1)
            volume = root.diagonal(dim1=1, dim2=2).log().sum(1) - prior_sd.log().sum()
            log.append(-0.5 * chi2 + 0.5 * normal.square().sum(1) + volume)
        by_draws.append(torch.stack(log).logsumexp(0) - math.log(len(log)))
    torch.testing.assert_close(
        by_laplace[1] - by_laplace[0], by_draws[1] - by_draws[0], atol=0.3, rtol=0.05
    )
