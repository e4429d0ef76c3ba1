"""A deformation that is defined here alone, with one more line in the table: a whole fit is of it,
its equations and gradient are right, and a run of it is written, opened, exported and analysed.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from atomdrgn import (
    ImageGrid,
    analyze,
    coarse_grain,
    export,
    fit,
    open_run,
    read_particles,
    read_structure,
    simulate_particles,
)
from atomdrgn.errors import FileFormatError, InputError
from atomdrgn.inference.amortised.gradient import minus_log_posterior, whitened_images
from atomdrgn.inference.population.elastic_prior import start_and_prior
from atomdrgn.io.run_formats.arrays import FINITE, SIZE
from atomdrgn.likelihood.image_model import ImageModel
from atomdrgn.likelihood.noise import Noise, noise_groups
from atomdrgn.likelihood.normal_equations import Unknowns, image_products, power_along, predict
from atomdrgn.likelihood.restraints.restraint_equations import restraint_equations
from atomdrgn.likelihood.restraints.segment_restraints import OF_SEGMENTS, make_restraints
from atomdrgn.physics.disc import make_disc
from atomdrgn.physics.record import Record
from atomdrgn.physics.rotations import (
    matrix_from_quaternion,
    matrix_from_vector,
    quaternion_from_vector,
)
from atomdrgn.runs.run import MODEL, MOTIONS, read_arrays, write_arrays
from atomdrgn.structure.motion.deformation import Deformation, Held
from atomdrgn.structure.motion.kinds import KINDS, to_arrays
from atomdrgn.structure.motion.lifting import lift
from atomdrgn.structure.motion.motion import RigidMotion
from atomdrgn.structure.motion.segment_deformation import SegmentDeformation, centres
from atomdrgn.structure.segmentation import make_segments
from hinged import AXIS, DEGREES_PER_UNIT, hinge_of, hinged_run, two_helices

CONTRAST_SD = 0.2


@final
@dataclass(frozen=True, eq=False)
class Hinge(Deformation):
    """Two segments, of which the second turns about an axis: a latent is one angle."""

    kind: ClassVar[str] = "hinge"
    ARRAYS: ClassVar[Held] = {
        "centroid": ("segment 3", FINITE),
        "weight": ("bead segment", SIZE),
        "axis": ("3", FINITE),
        "point": ("3", FINITE),
    }

    position: Float[Tensor, "bead 3"]
    bead_of_atom: Tensor
    centroid: Float[Tensor, "2 3"]
    weight: Float[Tensor, "bead 2"]
    axis: Float[Tensor, "3"]
    point: Float[Tensor, "3"]

    @property
    def n_latent(self):
        return 1

    def motion(self, latent):
        turn = math.radians(DEGREES_PER_UNIT) * latent[..., None] * self.axis
        rotation = quaternion_from_vector(torch.cat([torch.zeros_like(turn), turn], -2))
        arm = self.centroid - self.point
        turned = (matrix_from_quaternion(rotation) @ arm[..., None])[..., 0]
        return RigidMotion(rotation, turned - arm)

    def beads(self, motion):
        return motion.apply(self.position, self.centroid, weight=self.weight)

    def atoms(self, motion, atom):
        return lift(
            motion,
            atom,
            bead=self.position,
            bead_of_atom=self.bead_of_atom,
            centroid=self.centroid,
            weight=self.weight,
        )

    def arrays(self):
        return {name: getattr(self, name).numpy() for name in self.ARRAYS}

    @property
    def membership(self):
        return self.weight

    @classmethod
    def of_beads(cls, beads, segmentation):
        point = beads.position[int((beads.residue == 21).argmax())]
        centroid, _ = centres(beads.position, segmentation.weight)
        axis = torch.from_numpy(AXIS).float()
        atoms = torch.from_numpy(beads.bead_of_atom)
        return cls(beads.position, atoms, centroid, segmentation.weight, axis, point)

    @classmethod
    def from_arrays(cls, arrays, beads):
        held = (arrays[name] for name in cls.ARRAYS)
        return cls(arrays["bead"], arrays["bead_of_atom"], *held)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(KINDS, Hinge.kind, Hinge)


@pytest.fixture(scope="module")
def structure(tmp_path_factory):
    return two_helices(tmp_path_factory.mktemp("model"))


def two_segments(structure):
    beads = coarse_grain(structure)
    return beads, SegmentDeformation(beads, make_segments(beads, parts=["A:1-20", "A:21-40"]))


def hinge(structure, centroid, weight):
    beads = coarse_grain(structure)
    return Hinge(
        beads.position,
        torch.from_numpy(beads.bead_of_atom),
        centroid,
        weight,
        torch.from_numpy(AXIS).float(),
        torch.from_numpy(hinge_of(structure)).float(),
    )


class Images:
    """Of the hinge at angles that are known, as a fit sees them."""

    def __init__(self, structure, folder, *, count=16, widest=3.0):
        generator = torch.Generator().manual_seed(0)
        self.place = widest * (2 * torch.rand(count, generator=generator) - 1)
        turn = matrix_from_vector(
            math.radians(DEGREES_PER_UNIT) * self.place[:, None] * torch.from_numpy(AXIS).float()
        )
        point = torch.from_numpy(hinge_of(structure)).float()
        turned = torch.einsum("pij,aj->pai", turn, structure.position - point) + point
        second = torch.from_numpy(structure.residue > 20)
        self.conformation = torch.where(second[:, None], turned, structure.position)
        self.stack = read_particles(
            simulate_particles(
                structure,
                self.conformation,
                folder,
                grid=ImageGrid(32, 3.0),
                snr=1.0,
                generator=generator,
            )
        )
        self.disc, index = make_disc(self.stack.grid, 9.0), torch.arange(count)
        noise = Noise(
            (self.stack.read().var((-2, -1)).mean() / 2).expand(1, int(self.disc.shell.max()) + 1),
            noise_groups(self.stack.optics_group, self.stack.tilt),
            self.stack.premultiplied,
        )
        self.whitened = whitened_images(self.stack, noise, self.disc, index)
        data = torch.view_as_real(self.whitened.data).movedim(-1, 1).contiguous()
        self.seen = {"transfer": self.whitened.transfer, "data": data}
        self.where = {"pose": self.whitened.pose, "disc": self.disc}


@pytest.fixture(scope="module")
def images(structure, tmp_path_factory):
    return Images(structure, tmp_path_factory.mktemp("images"))


@pytest.mark.seconds
def test_its_equations_are_those_of_segments_that_can_do_no_more(structure, images):
    """A turn about a hinge is a line of twists: the equations of segments, along that line."""
    beads, segments = two_segments(structure)
    moving = hinge(structure, segments.centroid, segments.weight)
    restraints = make_restraints(beads)
    vector = math.radians(DEGREES_PER_UNIT) * moving.axis
    speed = torch.linalg.cross(vector, segments.centroid[1] - moving.point)
    line = torch.cat([torch.zeros(6), speed, vector * segments.radius[1]])[:, None]
    latent = images.place[:, None] + 1
    twists = latent @ line.T
    torch.testing.assert_close(
        moving.conformation(latent).position, segments.conformation(twists).position
    )
    torch.testing.assert_close(
        moving.trace_metric(beads.trace_index, latent[0]),
        line.T @ segments.trace_metric(beads.trace_index, twists[0]) @ line,
        rtol=1e-3,
        atol=0,
    )
    for by_pose in (False, True):
        one, other = (
            image_products(
                each,
                ImageModel(beads),
                z,
                **images.where,
                **images.seen,
                unknowns=Unknowns(pose=by_pose),
            )
            for each, z in ((moving, latent), (segments, twists))
        )
        change = torch.block_diag(line, torch.eye(5)) if by_pose else line
        for name, expected in (
            ("matrix", change.T @ other.matrix @ change),
            ("with_data", other.with_data @ change),
            ("with_prediction", other.with_prediction @ change),
            ("prediction2", other.prediction2),
            ("prediction_data", other.prediction_data),
        ):
            found = getattr(one, name)
            assert (found - expected).abs().max() < 2e-3 * expected.abs().max(), name
    i, j = torch.tensor([[3, 8, 30], [25, 35, 33]])
    direction = torch.nn.functional.normalize(torch.ones(len(latent), 3, 3), dim=-1)
    one, other = (
        each.pair_rows(z, i, j, direction=direction)
        for each, z in ((moving, latent), (segments, twists))
    )
    assert (one - other @ line).abs().max() < 1e-3 * one.abs().max()
    one, other = (
        restraint_equations(restraints, each, z)
        for each, z in ((moving, latent), (segments, twists))
    )
    assert float(other.chi2.max()) > 1
    for found, expected in (
        (one.matrix, line.T @ other.matrix @ line),
        (one.gradient, other.gradient @ line),
        (one.chi2, other.chi2),
    ):
        assert (found - expected).abs().max() < 1e-3 * expected.abs().max()
    transfer = images.seen["transfer"]
    one = power_along(
        moving, ImageModel(beads), latent, 2 * torch.eye(1), **images.where, transfer=transfer
    )
    other = power_along(
        segments, ImageModel(beads), twists, 2 * line, **images.where, transfer=transfer
    )
    assert (one - other).abs().max() < 2e-3 * other.max()
    one, other = (
        predict(each, ImageModel(beads), z, **images.where)
        for each, z in ((moving, latent), (segments, twists))
    )
    assert (one - other).abs().max() < 1e-3 * other.abs().max()


@pytest.mark.seconds
def test_gauss_newton_steps_find_the_angles(structure, images):
    """From images and restraints, with a prior as wide as the angles are."""
    beads, segments = two_segments(structure)
    moving = hinge(structure, segments.centroid, segments.weight)
    restraints = make_restraints(beads, terms=OF_SEGMENTS)
    latent = torch.zeros(len(images.place), 1)
    for _ in range(5):
        products = image_products(moving, ImageModel(beads), latent, **images.where, **images.seen)
        seen = products.normal_equations(CONTRAST_SD, torch.zeros(len(latent)))
        held = restraint_equations(restraints, moving, latent)
        matrix, gradient = seen.matrix + held.matrix, seen.gradient + held.gradient
        step = (gradient - latent / 2**2) / (matrix[:, 0] + 1 / 2**2)
        latent = latent + step
    assert float(step.abs().max()) < 0.1
    assert np.corrcoef(latent[:, 0], images.place)[0, 1] > 0.9
    off = moving.conformation(latent).position - moving.conformation(images.place[:, None]).position
    still = beads.position - moving.conformation(images.place[:, None]).position
    assert off.square().mean().sqrt() < 0.4 * still.square().mean().sqrt()


@pytest.mark.seconds
def test_its_gradient_is_that_of_the_normal_equations(structure, images):
    """Two routes to one number, as for segments."""
    beads, segments = two_segments(structure)
    moving = hinge(structure, segments.centroid, segments.weight)
    restraints, latent = make_restraints(beads), images.place[:, None] + 2
    place = latent.clone().requires_grad_()
    loss = minus_log_posterior(
        place,
        images.whitened,
        torch.arange(len(latent)),
        deformation=moving,
        beads=beads,
        disc=images.disc,
        contrast_sd=CONTRAST_SD,
        restraints=restraints,
    )
    (slope,) = torch.autograd.grad(loss.sum(), place)
    products = image_products(moving, ImageModel(beads), latent, **images.where, **images.seen)
    seen = products.normal_equations(CONTRAST_SD, torch.zeros(len(latent)))
    held = restraint_equations(restraints, moving, latent)
    assert held.gradient.norm() > 0.01 * seen.gradient.norm()
    assert (slope + seen.gradient + held.gradient).norm() < 5e-3 * seen.gradient.norm()


CHOICES = {
    "deformation": "hinge",
    "segments": 2,
    "parts": ["A:1-20", "A:21-40"],
    "temperature": 1e4,  # a sharp border, as that of the truth
    "resolution": 9.0,
}


@pytest.fixture(scope="module")
def bent(structure, tmp_path_factory):
    """Images of the hinge at 80 angles, and a whole fit of them that was asked for it by name."""
    folder = tmp_path_factory.mktemp("bent")
    images = Images(structure, folder, count=80, widest=6.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, Hinge.kind, Hinge)
        return images, fit(structure, images.stack, folder / "run", **CHOICES)


@pytest.mark.seconds
def test_a_whole_fit_finds_the_angles(bent):
    """The one supported motion is the angle, and conformations are nearer to the truth by far."""
    images, run = bent
    assert (run.kind, run.settings["fit"]["deformation"]) == ("hinge", "hinge")
    assert run.summary["motions_supported"] == run.latent.shape[1] == 1
    assert abs(np.corrcoef(run.latent[:, 0], images.place)[0, 1]) > 0.97
    angle = read_arrays(run.folder / MOTIONS)["feature"][:, 0]
    assert np.corrcoef(angle, images.place)[0, 1] > 0.97
    assert np.abs(angle - images.place.numpy()).mean() < 0.5
    truth = images.conformation
    off, still = (
        (position - truth).square().sum(-1).mean().sqrt()
        for position in (run.atoms(range(80)), run.base_atoms)
    )
    assert off < 0.25 * still
    assert [row["selection"] for row in run.summary["groups"]] == ["A:1-20", "A:21-40"]


@pytest.mark.seconds
def test_its_fit_is_opened_exported_and_analysed(bent, structure, tmp_path):
    images, run = bent
    again = open_run(run.folder)
    assert isinstance(again.deformation, Hinge) and again.deformation.n_latent == 1
    export(again, tmp_path / "out", particles=[0, 79], format="pdb")
    for particle in (0, 79):
        written = read_structure(tmp_path / "out" / f"{particle:06d}.pdb").position
        off, still = (
            (each - images.conformation[particle]).square().sum(-1).mean().sqrt()
            for each in (written, structure.position)
        )
        assert off < max(1.0, 0.3 * still)
    found = analyze(again, tmp_path / "analysis", clusters=3, frames=5, seed=0).found
    (turn,) = found.turns
    np.testing.assert_allclose(np.abs(turn.axis), np.abs(AXIS), atol=0.02)


@pytest.mark.seconds
def test_its_fit_goes_on_as_it_began(bent, structure):
    """What it is of is a setting that a run keeps; a run of segments is none of a hinge."""
    images, run = bent
    (run.folder / "summary.json").unlink()
    other = {name: CHOICES[name] for name in CHOICES if name != "deformation"}
    with pytest.raises(InputError, match="deformation was 'hinge' and is 'segments'"):
        fit(structure, images.stack, run.folder, resume=True, **other)
    again = fit(structure, images.stack, run.folder, resume=True, **CHOICES)
    np.testing.assert_array_equal(again.latent, run.latent)
    np.testing.assert_array_equal(again.draws, run.draws)


def test_a_fit_of_what_is_not_known_or_not_made_is_refused(structure, images, tmp_path):
    for choices, says in (
        ({"deformation": "hinges"}, "a deformation of 'hinges': choose segments or beads or hinge"),
        ({"deformation": "beads"}, "no fit is of the kind 'beads'"),
        ({"deformation": "hinge", "composition": True}, "no part may be absent in fits of .*hinge"),
    ):
        with pytest.raises(InputError, match=says):
            fit(structure, images.stack, tmp_path / "run", segments=2, resolution=9.0, **choices)
        assert not (tmp_path / "run").exists()


PLACE = np.linspace(-6, 6, 24)


@pytest.fixture
def runs(structure, tmp_path):
    """A run of segments, and one of the same conformations whose file holds a hinge."""
    of_segments = hinged_run(tmp_path, structure, PLACE, name="segments")
    run = hinged_run(tmp_path, structure, PLACE, name="hinge")
    shared = "bead", "sigma", "amplitude", "bead_of_atom", "trace", "half_error", "surface_scale"
    model = {name: run.model[name] for name in shared}
    segments = (torch.from_numpy(run.model[name]) for name in ("centroid", "weight"))
    held = to_arrays(hinge(structure, *segments))
    assert held["kind"] == "hinge"
    along = np.array([[0.0], [1.0], [0.0]], np.float32)
    write_arrays(run.folder / MODEL, **model, **held, surface_coefficient=along)
    write_arrays(run.folder / MOTIONS, feature=PLACE[:, None].astype(np.float32))
    return of_segments, open_run(run.folder)


def test_a_run_of_it_is_opened(runs):
    of_segments, run = runs
    assert (of_segments.kind, run.kind) == ("segments", "hinge")
    assert isinstance(run.deformation, Hinge) and run.deformation.n_latent == 1
    for found, expected in (
        (run.atoms([0, 5, 23]), of_segments.atoms([0, 5, 23])),
        (run.beads([3]), of_segments.beads([3])),
        (
            run.atoms_of(run.motion_at(np.array([[2.5]]))),
            of_segments.atoms_of(of_segments.motion_at(np.array([[2.5]]))),
        ),
        (run.b_factors([0, 9]), of_segments.b_factors([0, 9])),
        (run.motion.translation, of_segments.motion.translation),
    ):
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)


def test_its_structures_are_exported(runs, tmp_path):
    of_segments, run = runs
    for each in runs:
        export(each, tmp_path / each.kind, particles=[0, 23], format="pdb", geometry=True)
        export(each, tmp_path / f"{each.kind}_draws", particles=[7], format="mmcif", samples=3)
    for name in ("segments/000000.pdb", "segments/000023.pdb", "segments_draws/000007_02.cif"):
        expected, found = (
            read_structure(tmp_path / path) for path in (name, name.replace("segments", "hinge"))
        )
        torch.testing.assert_close(found.position, expected.position, atol=3e-3, rtol=0)


def test_it_is_analysed(runs, tmp_path):
    found = {
        run.kind: analyze(run, tmp_path / run.kind, clusters=3, frames=5, seed=0) for run in runs
    }
    for analysis in found.values():
        assert (analysis.folder / "motion1.cif").exists() and analysis.report.stat().st_size > 1e5
    turns = [found[kind].found.turns for kind in ("segments", "hinge")]
    assert len(turns[0]) == len(turns[1]) == 1
    (one,), (other,) = turns
    assert other.sd == pytest.approx(one.sd, rel=1e-3)
    np.testing.assert_allclose(np.abs(other.axis), np.abs(one.axis), atol=1e-3)


def test_what_is_not_registered_or_not_whole_is_refused(runs, monkeypatch):
    _, run = runs
    model = read_arrays(run.folder / MODEL)
    write_arrays(run.folder / MODEL, **{name: model[name] for name in model if name != "axis"})
    with pytest.raises(FileFormatError, match="there is no array axis"):
        _ = open_run(run.folder).model
    write_arrays(run.folder / MODEL, **model | {"axis": np.zeros(2, np.float32)})
    with pytest.raises(FileFormatError, match=r"axis has the shape \(2\)"):
        _ = open_run(run.folder).model
    write_arrays(run.folder / MODEL, **model | {"axis": np.full(3, np.nan, np.float32)})
    with pytest.raises(FileFormatError, match="axis holds nan"):
        _ = open_run(run.folder).model
    write_arrays(run.folder / MODEL, **model)
    assert open_run(run.folder).kind == "hinge"
    monkeypatch.delitem(KINDS, "hinge")
    with pytest.raises(FileFormatError, match="of the kind 'hinge', and segments, beads are known"):
        _ = open_run(run.folder).model


@final
@dataclass(frozen=True, eq=False)
class Breathing(Deformation):
    """Everything goes away from the middle; there are no segments."""

    kind: ClassVar[str] = "breathing"
    percent: ClassVar[float] = 1.0  # of a unit

    position: Float[Tensor, "bead 3"]

    @property
    def n_latent(self):
        return 1

    def motion(self, latent):
        return Grown(1 + 0.01 * self.percent * latent)

    def beads(self, motion):
        return motion.size[..., None] * self.position

    def atoms(self, motion, atom):
        return motion.size[..., None] * atom

    def arrays(self):
        return {}

    @classmethod
    def of_beads(cls, beads, segmentation):
        return cls(beads.position)

    @classmethod
    def from_arrays(cls, arrays, beads):
        return cls(arrays["bead"])


@dataclass(frozen=True)
class Grown(Record):
    """How large the molecule is."""

    size: Float[Tensor, "*batch 1"]


def test_what_needs_segments_says_so_of_another_kind(runs, structure, tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, Breathing.kind, Breathing)
    _, run = runs
    model = {name: run.model[name] for name in run.model if name not in Hinge.ARRAYS}
    moving = Breathing(torch.from_numpy(model["bead"]))
    write_arrays(run.folder / MODEL, **model | to_arrays(moving))
    run = open_run(run.folder)
    torch.testing.assert_close(run.atoms([23])[0], 1.06 * structure.position, atol=1e-3, rtol=0)
    export(run, tmp_path / "out", particles=[0], format="pdb")
    with pytest.raises(InputError, match="of the kind 'breathing', and analyze needs segments"):
        analyze(run, tmp_path / "analysis")


@pytest.mark.seconds
def test_a_fit_needs_no_segments(structure, tmp_path, monkeypatch):
    """All of the molecule is one group, which no pose error is looked for in."""
    monkeypatch.setitem(KINDS, Breathing.kind, Breathing)
    monkeypatch.setattr(Breathing, "percent", 5.0)
    grown = torch.linspace(0.8, 1.2, 40)
    stack = read_particles(
        simulate_particles(
            structure,
            grown[:, None, None] * structure.position,
            tmp_path,
            grid=ImageGrid(32, 3.0),
            snr=1.0,
            generator=torch.Generator().manual_seed(0),
        )
    )
    run = fit(structure, stack, tmp_path / "run", deformation="breathing", resolution=9.0)
    assert run.summary["motions_supported"] == 1 and run.summary["segments"] == 1
    assert [row["selection"] for row in run.summary["groups"]] == ["A:1-40"]
    size = read_arrays(run.folder / MOTIONS)["feature"][:, 0]
    assert np.corrcoef(size, grown)[0, 1] > 0.97
    export(run, tmp_path / "out", particles=[0, 39], format="pdb")


def test_what_is_likely_before_any_image_does_not_depend_on_units(structure, monkeypatch):
    beads = coarse_grain(structure)
    moving, sd = Breathing(beads.position), []
    for percent in (1.0, 0.1):
        monkeypatch.setattr(Breathing, "percent", percent)
        population, prior = start_and_prior(moving, beads)
        sd.append(percent * torch.stack([population.root, prior.covariance.sqrt()]))
    torch.testing.assert_close(sd[0], sd[1], rtol=1e-3, atol=0)
    assert (sd[0] > 0).all()
