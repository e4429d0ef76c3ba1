"""Likelihoods between nodes are those of images at the places themselves."""

from dataclasses import replace

import pytest
import torch

from atomdrgn.inference.placing.coarse_to_fine import CLOSELY
from atomdrgn.inference.placing.likelihood_between import (
    Comparison,
    as_seen,
    shared_poses,
)
from atomdrgn.inference.placing.nodes import Boxes, Nodes
from atomdrgn.inference.population.pose_corrections import corrected, no_corrections
from atomdrgn.inference.posterior.poses_along_motions import PosesAlong
from atomdrgn.inference.problem.calibration import calibrate
from atomdrgn.inference.problem.misfit import misfits, misfits_and_poses
from atomdrgn.likelihood.normal_equations import NormalEquations, pose_products
from atomdrgn.physics.maps.still_density import StillDensity
from atomdrgn.structure.motion.surface import straight_surface

SOME = 24  # particles
PLACES = [0, 37, 90, 128, 255]  # of those of a box with two axes


@pytest.fixture(scope="module")
def scene(begin):
    """A fit of a few particles, a surface of two motions, and boxes about places on it."""
    model, state = begin(10.0)
    state = calibrate(model, state, model.images.disc, torch.Generator().manual_seed(301))
    some = torch.arange(SOME)
    images = model.images.part(some)
    images.load()
    model = replace(
        model,
        images=images,
        particle=model.particle[some],
        portion=torch.zeros(SOME, dtype=torch.long),
        my_particles=some,
    )
    state = replace(
        state,
        latent=state.latent[some],
        latent_sd=state.latent_sd[some],
        freedom=state.freedom[some],
        contrast=state.contrast[some],
    )
    generator = torch.Generator().manual_seed(302)
    n_latent = model.deformation.n_latent
    direction = torch.linalg.qr(torch.randn(n_latent, 2, generator=generator))[0]
    surface = straight_surface(torch.zeros(n_latent), 1.5 * direction, torch.tensor([2.0, 1.0]))
    centre = torch.randn(SOME, 2, generator=generator)
    turn = torch.randn(SOME, 2, 2, generator=generator)
    return model, state, surface, Boxes(centre, 0.7 * turn)


def besides(model, state):
    """The state with a density that is still, and a gain that falls off."""
    box = model.images.stack.grid.box_size
    axis = (torch.arange(24) - 12.0) / 4
    blob = torch.exp(-((axis[:, None, None] - 1) ** 2 + (axis[:, None]) ** 2 + (axis + 1) ** 2))
    still = StillDensity(3e-3 * blob, box * model.images.stack.grid.pixel_size / 24)
    rings = int(model.images.disc.shell.max()) + 1
    return replace(state, residual=still, gain=torch.linspace(1.0, 0.6, rings))


def between(comparison, counts, boxes):
    """Minus twice the log-likelihood of all particles at all places of their boxes."""
    nodes, everyone = Nodes.of_box(counts), torch.arange(len(boxes.centre))
    left = torch.zeros(len(nodes.place), len(boxes.centre))
    for block, found in comparison.between(nodes, boxes, everyone):
        left[:, block.particle] = found.left
    return left, boxes.at(nodes.place)


@pytest.mark.parametrize("more", [False, True])
def test_where_poses_are_exact(scene, more):
    """A residual density and a gain ring by ring included."""
    model, state, surface, boxes = scene
    state = besides(model, state) if more else state
    disc = model.images.disc
    comparison = Comparison(model, state, surface, disc)
    left, place = between(comparison, [10, 10], boxes)
    of_data, count, of_base = comparison.of_base()
    dense, numbers = misfits(model, state, disc, [surface(place[at]) for at in PLACES])
    assert (of_data + left[PLACES] - dense).abs().max() < 2 * CLOSELY
    assert left.std(0).median() > 5  # places are told apart
    torch.testing.assert_close(count, numbers)
    (base,), _ = misfits(model, state, disc, [torch.zeros_like(state.latent)])
    assert (of_data + of_base - base).abs().max() < 0.02


def test_the_error_falls_with_the_number_of_nodes(scene):
    model, state, surface, boxes = scene
    comparison = Comparison(model, state, surface, model.images.disc)
    many, _ = between(comparison, [12, 12], boxes)
    error = [
        float((between(comparison, [count, count], boxes)[0] - many).square().mean().sqrt())
        for count in (3, 5, 8)
    ]
    assert error[0] > 5 * error[1] > 25 * error[2] and error[2] < CLOSELY


@pytest.mark.parametrize("more", [False, True])
def test_where_poses_are_integrated_out(scene, more):
    """From the poses of the file in one step, as the dense evaluation takes it."""
    model, state, surface, boxes = scene
    model = replace(model, unknown_poses=True)
    state = replace(
        besides(model, state) if more else state,
        poses=no_corrections(SOME, model.pose_prior_sd),
    )
    disc = model.images.disc
    comparison = Comparison(model, state, surface, disc, model.pose_prior_sd)
    left, place = between(comparison, [10, 10], boxes)
    of_data, *_ = comparison.of_base()
    dense, *_ = misfits_and_poses(
        model, state, disc, [surface(place[at]) for at in PLACES], steps=[1] * len(PLACES)
    )
    assert (of_data + left[PLACES] - dense).abs().max() < 2 * CLOSELY


def test_about_where_poses_are_along_the_motions(scene):
    """Which is another place for each image at each node."""
    model, state, surface, boxes = scene
    model = replace(model, unknown_poses=True)
    generator, sd = torch.Generator().manual_seed(303), model.pose_prior_sd
    along = PosesAlong(
        0.3 * sd * torch.randn(SOME, 5, generator=generator),
        boxes.centre,
        0.1 * sd[:, None] * torch.randn(SOME, 5, 2, generator=generator),
    )
    state, disc = replace(state, poses=no_corrections(SOME, sd)), model.images.disc
    comparison = Comparison(model, state, surface, disc, sd, along)
    left, place = between(comparison, [10, 10], boxes)
    of_data, *_ = comparison.of_base()
    dense, *_ = misfits_and_poses(
        model,
        state,
        disc,
        [surface(place[at]) for at in PLACES],
        starts=[along.at(place[at]) for at in PLACES],
        steps=[1] * len(PLACES),
    )
    assert (of_data + left[PLACES] - dense).abs().max() < 2 * CLOSELY


# ---- tilt series, whose images share what is not known of the pose


@pytest.fixture(scope="module")
def series(scene):
    """The same images, three a particle."""
    model, state, surface, boxes = scene
    few = SOME // 3
    model = replace(
        model,
        particle=model.particle // 3,
        portion=torch.zeros(few, dtype=torch.long),
        my_particles=torch.arange(few),
    )
    state = replace(
        state,
        latent=state.latent[:few],
        latent_sd=state.latent_sd[:few],
        freedom=state.freedom[:few],
    )
    return model, state, surface, boxes[:few]


def test_of_series_with_exact_poses(series):
    model, state, surface, boxes = series
    comparison = Comparison(model, state, surface, model.images.disc)
    left, place = between(comparison, [10, 10], boxes)
    of_data, count, _ = comparison.of_base()
    dense, numbers = misfits(model, state, model.images.disc, [surface(place[at]) for at in PLACES])
    assert (of_data + left[PLACES] - dense).abs().max() < 3 * CLOSELY
    torch.testing.assert_close(count, numbers)


def linear_gaussian(matrix, gradient, chi2, scale, start):
    """Minus twice the log of the integral over x of a Gaussian prior of s.d. `scale` and of
    exp(-chi2(x) / 2), which is chi2 - 2 gradient (x - start) + (x - start) matrix (x - start); and
    the likeliest x.
    """
    matrix, gradient, scale, start = (each.double() for each in (matrix, gradient, scale, start))
    whole = matrix + scale.square().reciprocal().diag()
    right = gradient + matrix @ start
    constant = chi2.double() + 2 * gradient @ start + start @ matrix @ start
    mode = torch.linalg.solve(whole, right)
    volume = torch.logdet(scale.diag() @ whole @ scale.diag())
    return constant - right @ mode + volume, mode


def test_shared_poses_are_integrated_as_a_gaussian_formula_says():
    """Of three particles of 1, 2 and 4 images, at two places each."""
    generator = torch.Generator().manual_seed(304)
    row = torch.tensor([0, 1, 1, 2, 2, 2, 2])
    rotation = torch.linalg.qr(torch.randn(7, 3, 3, generator=generator))[0]
    root = torch.randn(7, 2, 5, 5, generator=generator) * torch.tensor([1.0, 1, 30, 30, 30])
    equations = NormalEquations(
        root.mT @ root,
        torch.randn(7, 2, 5, generator=generator) * torch.tensor([2.0, 2, 60, 60, 60]),
        torch.randn(7, 2, generator=generator),
    )
    sd = torch.tensor([0.7, 0.7, 0.03, 0.03, 0.03])
    start = torch.randn(3, 2, 6, generator=generator) * torch.tensor([0.5] * 3 + [0.02] * 3)
    seen = as_seen(rotation)
    left, mode = shared_poses(equations, seen, row, start=start, prior_sd=sd)
    scale = torch.tensor([0.7] * 3 + [0.03] * 3)
    for particle in range(3):
        mine = row == particle
        for place in range(2):
            expected, at = linear_gaussian(
                (seen[mine].mT @ equations.matrix[mine, place] @ seen[mine]).sum(0),
                (seen[mine].mT @ equations.gradient[mine, place, :, None]).sum(0)[:, 0],
                equations.chi2[mine, place].sum(),
                scale,
                start[particle, place],
            )
            assert float(left[place, particle]) == pytest.approx(
                float(expected), rel=1e-4, abs=1e-3
            )
            torch.testing.assert_close(mode[place, particle].double(), at, rtol=1e-3, atol=1e-4)


def exact_equations(model, state, latent, pose, disc):
    """Equations of the poses of all images, at their particles' latents."""
    index = torch.arange(len(model.images))
    transfer, data = model.whitened(index, disc, model.noise(state.spectrum))
    products = pose_products(
        model.deformation,
        model.image_model(state),
        latent[model.particle],
        pose=pose,
        disc=disc,
        transfer=transfer,
        data=data,
    )
    found = products.normal_equations(state.contrast_sd, torch.zeros(len(index)))
    return replace(found, chi2=found.chi2 - data.square().sum((1, 2)))


def test_of_series_whose_poses_are_shared(series):
    """About the poses of the file, and about poses that follow the motions."""
    model, state, surface, boxes = series
    disc, few = model.images.disc, len(boxes.centre)
    sd = torch.tensor([0.5, 0.5, 0.02, 0.02, 0.02])
    scale = torch.tensor([0.5] * 3 + [0.02] * 3)
    generator = torch.Generator().manual_seed(305)
    along = PosesAlong(
        0.5 * scale * torch.randn(few, 6, generator=generator),
        boxes.centre,
        0.1 * scale[:, None] * torch.randn(few, 6, 2, generator=generator),
    )
    seen = as_seen(model.images.stack.pose.rotation)
    for poses in (None, along):
        comparison = Comparison(model, state, surface, disc, sd, poses)
        assert comparison.shares_poses
        left, place = between(comparison, [10, 10], boxes)
        for at in PLACES[::2]:
            start = torch.zeros(few, 6) if poses is None else along.at(place[at])
            step = (seen @ start[model.particle, :, None])[..., 0]
            pose = corrected(model.images.stack.pose, step)
            found = exact_equations(model, state, surface(place[at]), pose, disc)
            for particle in range(few):
                mine = model.particle == particle
                expected, _ = linear_gaussian(
                    (seen[mine].mT @ found.matrix[mine] @ seen[mine]).sum(0),
                    (seen[mine].mT @ found.gradient[mine, :, None]).sum(0)[:, 0],
                    found.chi2[mine].sum(),
                    scale,
                    start[particle],
                )
                assert abs(float(left[at, particle]) - float(expected)) < 3 * CLOSELY


def test_a_shared_pose_of_one_image_is_that_images_own(scene):
    """What the camera does not see of a step changes nothing."""
    model, state, surface, boxes = scene
    sd, disc = torch.tensor([0.5, 0.5, 0.02, 0.02, 0.02]), model.images.disc
    rotation = model.images.stack.pose.rotation
    found = exact_equations(model, state, surface(boxes.centre), model.images.stack.pose, disc)
    single = NormalEquations(found.matrix[:, None], found.gradient[:, None], found.chi2[:, None])
    left, _ = shared_poses(
        single, as_seen(rotation), torch.arange(SOME), start=torch.zeros(SOME, 1, 6), prior_sd=sd
    )
    own = [
        linear_gaussian(found.matrix[n], found.gradient[n], found.chi2[n], sd, torch.zeros(5))[0]
        for n in range(SOME)
    ]
    torch.testing.assert_close(left[0].double(), torch.stack(own), rtol=1e-4, atol=0.02)


def test_a_step_of_the_molecule_is_what_the_camera_sees_of_it(scene):
    """Images of a molecule that is shifted and turned as a whole are those of corrected poses."""
    model, _, _, _ = scene
    pose = model.images.stack.pose
    step = torch.tensor([0.8, -0.5, 0.3, 0.02, -0.01, 0.03])
    seen = corrected(pose, as_seen(pose.rotation) @ step)
    point = torch.tensor([[10.0, -20.0, 30.0], [-5.0, 15.0, 25.0]])
    angle = step[3:]
    moved = point + torch.linalg.cross(angle.expand_as(point), point) + step[:3]
    here = torch.einsum("iab,pb->ipa", pose.rotation, moved)[..., :2] + pose.shift[:, None]
    there = torch.einsum("iab,pb->ipa", seen.rotation, point)[..., :2] + seen.shift[:, None]
    assert (here - there).abs().max() < 0.05  # of second order in the turn
