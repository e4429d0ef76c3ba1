import gemmi
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from atomdrgn.errors import FileFormatError, InputError, MissingFileError
from atomdrgn.io.star import read_star
from atomdrgn.particles.reading import read_particles
from atomdrgn.particles.subsets import open_particle_file
from atomdrgn.particles.tables.relion import particle_table
from atomdrgn.particles.tomogram_positions import read_places
from tilt_set import MIRROR, SIZE, TILTS, matrix_columns, write_images
from tiny_particles import star_text, write_stack


def identity(images):
    """Which particle and tilt each image was written for."""
    value = images[:, 8, 8].round().long() - 1
    return (value // 10).tolist(), (value % 10).tolist()


def test_one_row_is_one_particle_with_its_tilts(tilted):
    stack = tilted.read()
    assert (len(stack), stack.n_particles, stack.n_tilts) == (12, 3, 4)
    assert stack.particle.tolist() == stack.row.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert stack.tilt[:4].tolist() == [3, 0, 1, 2] and stack.premultiplied.all()
    assert identity(stack.read()) == (stack.particle.tolist(), [0, 1, 2, 3] * 3)
    assert stack.half.tolist() == [1] * 4 + [2] * 4 + [1] * 4


def test_the_pose_is_that_of_the_mirrored_frame(tilted):
    stack = tilted.read()
    angles = np.stack(
        [tilted.particles[name] for name in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")], 1
    )
    molecule = Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix()
    projection = Rotation.from_euler("yz", [[tilt, 85] for tilt in TILTS], degrees=True).as_matrix()
    expected = np.stack([MIRROR @ t @ a @ MIRROR for a in molecule for t in projection])
    np.testing.assert_allclose(stack.pose.rotation, expected, atol=1e-6)


def test_angles_of_relion_5_and_matrices_of_relion_4_say_the_same(tilted):
    matrices = tilted.read()
    for axis in "XYZ":
        tilted.tilts.pop(f"rlnTomoProj{axis}")
    tilted.tilts |= {"rlnTomoXTilt": [0.0] * 4, "rlnTomoYTilt": TILTS, "rlnTomoZRot": [85.0] * 4}
    torch.testing.assert_close(
        tilted.read().pose.rotation, matrices.pose.rotation, atol=1e-6, rtol=0
    )
    del tilted.tilts["rlnTomoXTilt"]  # RELION takes 0
    torch.testing.assert_close(
        tilted.read().pose.rotation, matrices.pose.rotation, atol=1e-6, rtol=0
    )
    del tilted.tilts["rlnTomoYTilt"]
    with pytest.raises(InputError, match="no rlnTomoYTilt in data_ts.tomostar"):
        tilted.read()


def test_stretched_matrices_give_rotations(tilted):
    exact = tilted.read().pose.rotation
    projection = Rotation.from_euler("yz", [[tilt, 85] for tilt in TILTS], degrees=True).as_matrix()
    tilted.tilts |= matrix_columns((1.02 * projection).round(4))
    with pytest.warns(
        UserWarning,
        match="projection matrices stretch or shorten by up to 2.0 % .tomogram ts.tomostar.",
    ):
        rotation = tilted.read().pose.rotation
    torch.testing.assert_close(
        rotation @ rotation.mT, torch.eye(3).expand(12, 3, 3), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(rotation, exact, atol=2e-4, rtol=0)


@pytest.mark.parametrize("stack_holds_all", [True, False])
def test_hidden_tilts_leave_image_dose_pose_and_ctf_together(tilted, stack_holds_all):
    whole = tilted.read()
    tilted.particles["rlnTomoVisibleFrames"] = ["[1,0,1,1]"] * 3
    if not stack_holds_all:
        write_images(tilted.folder, [0, 2, 3])
    kept = torch.tensor([0, 2, 3, 4, 6, 7, 8, 10, 11])
    stack = tilted.read()
    assert (
        (stack.read() == whole.read(kept)).all()
        if stack_holds_all
        else identity(stack.read())[1] == [0, 2, 3] * 3
    )
    assert (stack.pose.rotation == whole.pose.rotation[kept]).all()
    assert (stack.ctf.dose == whole.ctf.dose[kept]).all() and (
        stack.ctf.defocus_u == whole.ctf.defocus_u[kept]
    ).all()
    assert stack.tilt[:3].tolist() == [2, 0, 1] and stack.n_tilts == 3


def test_excluded_tilts_are_left_out_and_counted(tilted):
    tilted.tilts["rlnCtfScalefactor"][0] = 0
    with pytest.warns(UserWarning, match="3 of 12 tilt images"):
        stack = tilted.read()
    assert identity(stack.read())[1] == [1, 2, 3] * 3 and stack.tilt.tolist() == [0, 1, 2] * 3


@pytest.mark.parametrize("hand", [1, -1])
def test_depth_changes_the_defocus_by_the_hand(tilted, hand):
    tilted.tomogram["rlnTomoHand"] = [hand]
    defocus = tilted.read().ctf.defocus_u.reshape(3, 4)
    # at no tilt depth is z from the centre: coordinates are in pixels of 10 A, the section is 1,800
    # A thick
    np.testing.assert_allclose(defocus[:, 1] - 30100, hand * np.array([0.0, 300.0, 0.0]), atol=0.01)
    # turned about y by 40 degrees (then about z, which leaves depth alone), z' = -x sin + z cos
    x = np.array([300, 320, 200]) * 10 - SIZE[0] * 1.5 / 2
    depth = -x * np.sin(np.radians(40)) + np.array([0, 300, 0]) * np.cos(np.radians(40))
    np.testing.assert_allclose(defocus[:, 3] - 30300, hand * depth, atol=0.01)


def test_the_three_units_of_coordinates_mean_one_place(tilted):
    warp = tilted.read()
    corner = {axis: np.array(tilted.particles.pop(f"rlnCoordinate{axis}")) * 10.0 for axis in "XYZ"}
    tilted.particles["rlnTomoName"], tilted.tomogram["rlnTomoName"] = ["ts"] * 3, ["ts"]
    tilted.particles |= {f"rlnCoordinate{axis}": corner[axis] / 1.5 for axis in "XYZ"}
    relion_4 = tilted.read()
    for axis, size in zip("XYZ", SIZE, strict=True):
        tilted.particles.pop(f"rlnCoordinate{axis}")
        tilted.particles[f"rlnCenteredCoordinate{axis}Angst"] = corner[axis] - size * 1.5 / 2
    relion_5 = tilted.read()
    for stack in (relion_4, relion_5):
        torch.testing.assert_close(stack.ctf.defocus_u, warp.ctf.defocus_u)
        torch.testing.assert_close(stack.pose.rotation, warp.pose.rotation)
    for axis in "XYZ":
        tilted.particles.pop(f"rlnCenteredCoordinate{axis}Angst")
    with pytest.raises(InputError, match="coordinates are needed"):
        tilted.read()


def test_coordinates_of_another_unit_are_warned_of(tilted):
    # so pixels of 1.5 A are expected
    tilted.particles["rlnTomoName"], tilted.tomogram["rlnTomoName"] = ["ts"] * 3, ["ts"]
    tilted.particles["rlnCoordinateX"][1] = 40000
    with pytest.warns(UserWarning, match="1 of 3 particles stand outside their tomogram"):
        tilted.read()


def test_an_origin_in_space_moves_each_tilt_by_its_projection(tilted):
    """Moving the coordinate by minus the origin, in the subtomogram's frame, leaves image and
    defocus as they are.
    """
    turned = Rotation.from_euler("ZYZ", [[30, 70, -20]] * 3, degrees=True).inv().as_matrix()
    origin = np.array([[4.0, -2.0, 7.0]] * 3)
    tilted.particles |= {
        "rlnTomoSubtomogramRot": [30] * 3,
        "rlnTomoSubtomogramTilt": [70] * 3,
        "rlnTomoSubtomogramPsi": [-20] * 3,
        **{f"rlnOrigin{axis}Angst": origin[:, i] for i, axis in enumerate("XYZ")},
    }
    moved = tilted.read()
    in_tomogram = np.einsum("nij,nj->ni", turned, origin)
    projection = Rotation.from_euler("yz", [[tilt, 85] for tilt in TILTS], degrees=True).as_matrix()
    expected = -np.einsum("tij,nj->nti", projection, in_tomogram).reshape(12, 3)
    np.testing.assert_allclose(moved.pose.shift, expected[:, :2], atol=1e-5)
    for i, axis in enumerate("XYZ"):
        tilted.particles.pop(f"rlnOrigin{axis}Angst")
        tilted.particles[f"rlnCoordinate{axis}"] = (
            np.array(tilted.particles[f"rlnCoordinate{axis}"]) - in_tomogram[:, i] / 10
        )
    extracted_again = tilted.read()
    assert not extracted_again.pose.shift.any()
    torch.testing.assert_close(extracted_again.ctf.defocus_u, moved.ctf.defocus_u)


def test_the_angles_of_the_subtomogram_come_after_those_of_the_particle(tilted):
    whole = tilted.read().pose.rotation
    angles = np.stack(
        [tilted.particles[name] for name in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")], 1
    )
    turned = Rotation.from_euler("ZYZ", [30, 70, -20], degrees=True)
    # the subtomogram is already turned, so that what is left for the particle is the rest
    rest = (
        turned.inv().as_matrix().T
        @ Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix()
    )
    left = Rotation.from_matrix(rest).inv().as_euler("ZYZ", degrees=True)
    tilted.particles |= {
        "rlnTomoSubtomogramRot": [30] * 3,
        "rlnTomoSubtomogramTilt": [70] * 3,
        "rlnTomoSubtomogramPsi": [-20] * 3,
        **{
            name: left[:, i].tolist()
            for i, name in enumerate(("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"))
        },
    }
    torch.testing.assert_close(tilted.read().pose.rotation, whole, atol=1e-5, rtol=0)


def test_tilts_in_files_of_their_own(tilted):
    whole, text = tilted.read(), tilted.tilts
    tilted.tomogram["rlnTomoTiltSeriesStarFile"] = ["series/ts.star"]
    (tilted.folder / "tomograms.star").write_text(star_text("global", tilted.tomogram))
    with pytest.raises(MissingFileError, match="series/ts.star"):
        read_particles(tilted.star, tomograms=tilted.folder / "tomograms.star")
    (tilted.folder / "series").mkdir()
    (tilted.folder / "series" / "ts.star").write_text(star_text("ts.tomostar", text))
    stack = read_particles(tilted.star, tomograms=tilted.folder / "tomograms.star")
    assert (stack.pose.rotation == whole.pose.rotation).all() and (
        stack.ctf.defocus_u == whole.ctf.defocus_u
    ).all()


def test_an_optimisation_set_leads_to_both_files(tilted):
    path = tilted.folder / "optimisation_set.star"
    path.write_text(
        f"data_\n\n_rlnTomoParticlesFile {tilted.star.name}\n_rlnTomoTomogramsFile "
        f"{tilted.tomograms.name}\n"
    )
    stack = read_particles(path)
    assert len(stack) == 12 and stack.source == tilted.star


@pytest.mark.parametrize("names, count", [(["particles.star", "other.star"], 2), ([], 0)])
def test_an_optimisation_set_names_one_particle_file(tilted, names, count):
    """The second of two would be left out without a word."""
    path = tilted.star.with_name("optimisation_set.star")
    rows = star_text(
        "optimisation_set",
        {"rlnTomoParticlesFile": names, "rlnTomoTomogramsFile": [tilted.tomograms] * count},
    )
    path.write_text(rows)
    for read in (read_particles, open_particle_file):
        with pytest.raises(
            FileFormatError, match=f"an optimisation set of {count} rows, expected one"
        ):
            read(path)


def test_names_of_an_optimisation_set_may_start_at_the_project(tilted, tmp_path):
    """RELION's names do, at every step: of particles, tomograms, files of tilts, and stacks; those
    with blanks are quoted.
    """
    whole = tilted.read()
    project, job = tmp_path / "my project", "Extract/job 071"
    for folder in (job, f"{job}/Subtomograms/ts", "Tomograms/job006/tilt_series"):
        (project / folder).mkdir(parents=True)
    for number in range(3):
        (tilted.folder / f"p{number}.mrcs").rename(
            project / job / f"Subtomograms/ts/{number}_stack2d.mrcs"
        )
    tilted.particles["rlnImageName"] = [
        f"'{job}/Subtomograms/ts/{number}_stack2d.mrcs'" for number in range(3)
    ]
    tilted.tomogram["rlnTomoTiltSeriesStarFile"] = ["Tomograms/job006/tilt_series/ts.star"]
    (project / "Tomograms/job006/tilt_series/ts.star").write_text(
        star_text("ts.tomostar", tilted.tilts)
    )
    (project / "Tomograms/job006/tomograms.star").write_text(star_text("global", tilted.tomogram))
    tilted.star.rename(project / job / "particles.star")
    path = project / job / "optimisation_set.star"
    path.write_text(
        f'data_\n\n_rlnTomoParticlesFile "{job}/particles.star"\n'
        "_rlnTomoTomogramsFile Tomograms/job006/tomograms.star\n_rlnTomoTrajectoriesFile "
        "motion.star\n"
    )
    stack = read_particles(path, data_folder=project)
    assert (stack.pose.rotation == whole.pose.rotation).all() and (
        stack.ctf.defocus_u == whole.ctf.defocus_u
    ).all()
    assert identity(stack.read()) == (whole.particle.tolist(), [0, 1, 2, 3] * 3)


def test_what_the_particles_lack_of_the_microscope_is_the_tomograms(tilted):
    tilted.optics.pop("rlnAmplitudeContrast")  # RELION 4 leaves it out
    np.testing.assert_allclose(tilted.read().ctf.amplitude_contrast, 0.07)
    tilted.tomogram.pop("rlnAmplitudeContrast")
    with pytest.raises(InputError, match="no rlnAmplitudeContrast"):
        tilted.read()


def test_faults_are_named(tilted):
    with pytest.raises(InputError, match=r"tomograms.star; pass it as tomograms \(--tomograms\)"):
        read_particles(tilted.star)
    tilted.particles["rlnTomoVisibleFrames"][1] = "[1,1,0]"
    with pytest.raises(
        FileFormatError, match="row 2 of rlnTomoVisibleFrames has 3 entries, but its tomogram has 4"
    ):
        tilted.read()
    tilted.particles["rlnTomoVisibleFrames"][1] = "[1,0,0,0]"
    write_images(tilted.folder, range(3))
    with pytest.raises(
        FileFormatError, match="stack of row 1 holds 3 images, .* 4 tilts, of which 4 are visible"
    ):
        tilted.read()
    tilted.particles["rlnTomoName"][2] = "other"
    with pytest.raises(InputError, match="no tomogram other, which the particles name"):
        tilted.read()
    tilted.particles["rlnTomoName"][2] = "ts.tomostar"
    tilted.tilts.pop("rlnMicrographPreExposure")
    with pytest.raises(InputError, match="no rlnMicrographPreExposure in data_ts.tomostar"):
        tilted.read()


def test_a_series_without_a_visible_tilt_is_refused(tilted):
    tilted.particles["rlnTomoVisibleFrames"] = ["[0,0,0,0]"] * 3
    with pytest.raises(InputError, match="no images: .*hidden .rlnTomoVisibleFrames.*excluded"):
        tilted.read()
    tilted.particles["rlnTomoVisibleFrames"] = ["[1,1,1,1]"] * 3
    tilted.tilts["rlnCtfScalefactor"] = [0] * 4
    with pytest.raises(InputError, match="no images: .*excluded"):
        tilted.read()


def test_particles_without_a_visible_tilt_are_counted(tilted):
    """The others stay as they were, numbered without it."""
    whole = tilted.read()
    tilted.particles["rlnTomoVisibleFrames"] = ["[1,1,1,1]", "[0,0,0,0]", "[1,1,1,1]"]
    with pytest.warns(UserWarning, match="1 of 3 particles have no tilt that may be used"):
        stack = tilted.read()
    assert (stack.n_particles, stack.row.tolist()) == (
        2,
        [0] * 4 + [2] * 4,
    ) and "1 of 3 particles" in stack.warnings[0]
    assert (stack.read() == whole.read(whole.row != 1)).all()


def test_one_tilt_a_particle_is_said(tilted):
    tilted.particles["rlnTomoVisibleFrames"] = ["[0,1,0,0]"] * 3
    with pytest.warns(
        UserWarning, match="tilt series of one tilt each: they are used as single images"
    ):
        assert tilted.read().n_tilts == 1


def test_missing_dose_is_named_and_no_dose_is_said(tilted):
    tilted.tilts["rlnMicrographPreExposure"] = [0] * 4
    with pytest.warns(UserWarning, match="no tilt has a dose.*weighted as undamaged"):
        tilted.read()
    del tilted.tilts["rlnMicrographPreExposure"]
    with pytest.raises((FileFormatError, InputError), match="rlnMicrographPreExposure"):
        tilted.read()


def test_a_dose_that_all_tilts_share_is_said(tilted):
    """No two exposures have one dose: with one row an image the same is said."""
    tilted.tilts["rlnMicrographPreExposure"] = [3] * 4
    with pytest.warns(
        UserWarning, match="in 3 of 3 particles all tilts have one dose.*weighted alike"
    ):
        tilted.read()


@pytest.mark.parametrize(
    "break_it",
    [
        lambda tilted: tilted.optics.update(rlnImageDimensionality=[3]),
        lambda tilted: tilted.particles.update(rlnCtfImage=["ctf.mrc"] * 3),
        lambda tilted: tilted.general.update(rlnTomoSubTomosAre2DStacks=[0]),
        lambda tilted: [
            write_stack(tilted.folder / f"p{i}.mrcs", np.ones((16, 16, 16), np.float32))
            for i in range(3)
        ],
    ],
)
def test_pseudo_subtomograms_are_refused_with_the_commands_that_make_stacks(tilted, break_it):
    break_it(tilted)
    with pytest.raises(
        InputError,
        match="subtomogram volumes, and 2D images are needed.*relion_tomo_subtomo .*--stack2d"
        ".*ts_export_particles .*--2d",
    ):
        tilted.read()


def test_a_table_without_rows_says_nothing(tilted):
    tilted.general = {"rlnTomoSubTomosAre2DStacks": []}
    assert tilted.read().n_particles == 3


def test_an_at_sign_may_be_part_of_a_name(tilted):
    """NUMBER@STACK is digits before the first @; folders of tomograms may have one too, and blanks."""
    whole = tilted.read()
    (tilted.folder / "TS@01 a").mkdir()
    for number in range(3):
        (tilted.folder / f"p{number}.mrcs").rename(tilted.folder / f"TS@01 a/{number}_stack2d.mrcs")
    tilted.particles["rlnImageName"] = [f'"TS@01 a/{number}_stack2d.mrcs"' for number in range(3)]
    assert identity(tilted.read().read()) == (whole.particle.tolist(), [0, 1, 2, 3] * 3)
    tilted.particles["rlnImageName"][2] = "000002@other.mrcs"
    with pytest.raises(
        FileFormatError, match="row 3 of rlnImageName names one image .* but row 1 a whole stack"
    ):
        tilted.read()


ORIGIN = np.array([[4.0, -2.0, 7.0], [-1.0, 0.5, 3.0], [0.0, 6.0, -5.0]])  # A


@pytest.mark.parametrize(
    "names, unit",
    [
        (["rlnOriginX", "rlnOriginY", "rlnOriginZ"], 10.0),
        (["rlnOriginXAngst", "rlnOriginYAngst", None], 1.0),
        (["rlnOriginX", "rlnOriginY", None], 10.0),
        ([None, "rlnOriginYAngst", None], 1.0),
        (["rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZ"], [1.0, 1.0, 10.0]),
    ],
)
def test_an_origin_is_used_in_whatever_columns_it_stands(tilted, names, unit):
    """In pixels of the images, or without one axis, which is then 0: as all three columns in A say
    it.
    """
    there = np.array([name is not None for name in names])
    tilted.particles |= {
        f"rlnOrigin{axis}Angst": ORIGIN[:, i] * there[i] for i, axis in enumerate("XYZ")
    }
    expected, place = (
        tilted.read(),
        read_places(read_star(tilted.star), tomograms=tilted.tomograms).position,
    )
    assert expected.pose.shift.abs().max() > 1
    for axis in "XYZ":
        del tilted.particles[f"rlnOrigin{axis}Angst"]
    units = np.broadcast_to(unit, 3)
    tilted.particles |= {name: ORIGIN[:, i] / units[i] for i, name in enumerate(names) if name}
    stack = tilted.read()
    torch.testing.assert_close(stack.pose.shift, expected.pose.shift, atol=1e-5, rtol=0)
    torch.testing.assert_close(stack.ctf.defocus_u, expected.ctf.defocus_u)
    np.testing.assert_allclose(
        read_places(read_star(tilted.star), tomograms=tilted.tomograms).position, place
    )


def test_an_origin_in_angstrom_goes_before_one_in_pixels(tilted):
    tilted.particles |= {f"rlnOrigin{axis}Angst": ORIGIN[:, i] for i, axis in enumerate("XYZ")}
    expected = tilted.read()
    tilted.particles |= {f"rlnOrigin{axis}": [99.0] * 3 for axis in "XYZ"}
    assert (tilted.read().pose.shift == expected.pose.shift).all()


@pytest.mark.filterwarnings("ignore")
def test_real_images_tell_the_hand(shared):
    """A model that stands in the set's frame shows in the images with our pose, and not with the
    mirrored one.
    """
    folder = shared / "data" / "particles" / "warptools_dev"
    stack = read_particles(folder / "particles_dev.star", tomograms=folder / "tomograms.star")
    assert (len(stack), stack.n_particles, stack.n_tilts) == (
        720,
        20,
        37,
    ) and stack.premultiplied.all()
    atoms = gemmi.read_structure(str(folder / "model_50S_placed.cif.gz"))[0].all()
    position = np.array([site.atom.pos.tolist() for site in atoms])[::6]
    images, rotation = stack.read().numpy(), stack.pose.rotation.numpy().astype(float)
    kx, ky = stack.grid.frequencies()
    k = torch.hypot(kx, ky) * stack.grid.pixel_size
    weight = stack.ctf.evaluate(stack.grid) ** 2 * ((k > 0.06) & (k < 0.35))
    edges = (np.arange(33) - 16.5) * 12

    def mean_correlation(rotations):
        model = np.stack(
            [np.histogram2d(*(position @ r[1::-1].T).T, bins=edges)[0] for r in rotations]
        )
        model = torch.fft.irfft2(
            torch.fft.rfft2(torch.from_numpy(model)) * weight, s=(32, 32)
        ).numpy()
        return np.mean(
            [np.corrcoef(m.ravel(), i.ravel())[0, 1] for m, i in zip(model, images, strict=True)]
        )

    assert mean_correlation(rotation) > 0.008  # four standard errors above none
    assert mean_correlation(MIRROR @ rotation @ MIRROR) < 0.006


def test_real_particles_and_tilts_of_relion_5(shared, tmp_path):
    """The tutorial's tables, with stacks of the visible tilts made for them."""
    zoo = shared / "data" / "star_zoo"
    (tmp_path / "Extract/job071/Subtomograms/TS_01").mkdir(parents=True)
    (tmp_path / "Tomograms/job006/tilt_series").mkdir(parents=True)
    (tmp_path / "Tomograms/job006/tilt_series/TS_01.star").write_text(
        (zoo / "relion5_TS_01_tilt.star").read_text()
    )
    particles = particle_table(read_star(zoo / "relion5_tutorial_run_data_head.star"))
    for name in particles.texts("rlnImageName"):
        write_stack(
            tmp_path / name, np.arange(17 * 192 * 192, dtype=np.float32).reshape(17, 192, 192)
        )
    stack = read_particles(
        zoo / "relion5_tutorial_run_data_head.star",
        tomograms=zoo / "R5_tutorial_run_tomograms.star",
        data_folder=tmp_path,
        box=64,
    )
    assert (len(stack), stack.n_particles, stack.n_tilts) == (12 * 17, 12, 17)
    assert stack.images.section.tolist() == list(range(17)) * 12 and not stack.warnings
    assert (
        stack.half.tolist()
        == np.repeat(particles.numbers("rlnRandomSubset").astype(int), 17).tolist()
    )
    # the first 17 exposures are the lowest tilts
    assert sorted(stack.ctf.dose[:17].tolist()) == [3.0 * i for i in range(17)]
    assert stack.pose.shift.abs().max() < 3
