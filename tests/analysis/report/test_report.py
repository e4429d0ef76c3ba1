"""The report asks for nothing from a network, shows the motion, and its map, charts and structures
answer each other.
"""

import base64
import json
import re
import shutil
import time
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from browser import CHROMIUM, DRIVER, Browser

from atomdrgn.analysis.examination.examination import examine
from atomdrgn.analysis.report import report
from atomdrgn.analysis.report.report import page_data, report_page
from atomdrgn.runs.run import Run
from atomdrgn.structure.density_map import DensityMap, write_density_map
from atomdrgn.structure.motion.motion import RigidMotion
from hinged import hinged_run

pytestmark = pytest.mark.seconds


def page_of(run, path, **settings):
    path.write_text(report_page(examine(run, clusters=3, frames=7, **settings)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def page(hinge_run, tmp_path_factory):
    return page_of(
        hinge_run, tmp_path_factory.mktemp("page") / "report.html", distances=["A:1-20 and A:21-40"]
    )


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("there is no chromium with its chromedriver here")
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def shown(browser, page):
    """The page in a browser, its motion stopped."""
    browser.open(page)
    browser.resize(1280, 900)
    browser.log("performance"), browser.log("browser")
    browser.open(page)
    browser.wait("return window.atomdrgn && atomdrgn.player.time > 0.02")
    return browser


# ---- the file -----------------------------------------------------------------------------------


def test_the_page_names_no_other_file(page):
    text = page.read_text()
    # without 3Dmol.js
    own = re.sub(r"(?s)<script>\n/\*! For license.*?</script>", "", text.replace("\r", ""))
    assert not re.findall(r"<(?:script|img|link|iframe)[^>]*(?:src|href)\s*=\s*[\"'](?!data:)", own)
    # the browser itself refuses every request
    assert "default-src 'none'" in text and "connect-src" not in text
    assert "{{" not in re.sub(r"(?s)<script>.*?</script>", "", text)
    assert page.stat().st_size < 2e6


def test_names_in_a_run_cannot_end_a_script_or_start_an_element(tmp_path, hinge_structure):
    run = hinged_run(tmp_path, hinge_structure, np.linspace(-4, 4, 30), name="a<b>&c.fit")
    run.settings["command"] = "atomdrgn fit '</script><b>x</b>.pdb'"
    text = report_page(examine(run, clusters=2, frames=3))
    assert "</script><b>" not in text and "<title>a&lt;b>&amp;c.fit" in text


# ---- in a browser -------------------------------------------------------------------------------


def test_no_request_leaves_and_nothing_is_complained_of(shown, page):
    asked = [address for address in shown.requests() if not address.startswith(("data:", "blob:"))]
    assert asked == [page.resolve().as_uri()]
    assert shown.log("browser") == []


def test_the_structure_moves_by_itself(shown):
    shown.run("atomdrgn.player.playing || document.getElementById('play').click()")
    before = shown.run("return atomdrgn.player.time")
    shown.wait(f"return Math.abs(atomdrgn.player.time - {before}) > 0.05")
    shown.run("document.getElementById('play').click()")
    assert shown.run("return atomdrgn.player.playing") is False


def canvas_pixels(browser):
    """Share of the stage's pixels that are not white."""
    return browser.run("""
        const stage = atomdrgn.stage.viewer; stage.render();
        const gl = document.querySelector('#viewer canvas'), copy = document.createElement('canvas');
        copy.width = gl.width; copy.height = gl.height;
        const context = copy.getContext('2d'); context.fillStyle = '#fff'; context.fillRect(0, 0, copy.width, copy.height);
        context.drawImage(gl, 0, 0);
        const values = context.getImageData(0, 0, copy.width, copy.height).data;
        let count = 0;
        for (let i = 0; i < values.length; i += 4) if (values[i] + values[i + 1] + values[i + 2] < 740) count++;
        return count / (values.length / 4);""")


def test_the_stage_is_not_blank(shown):
    assert 0.01 < canvas_pixels(shown) < 0.6


def test_the_page_decodes_places_as_python_does(shown, hinge_run):
    """The same coordinates, atom by atom, from the numbers that are packed into the page."""
    data = shown.run(
        "return [atomdrgn.data.molecule.names, "
        "Array.from(atomdrgn.decoder.positions([arguments[0]]))]",
        -6.5,
    )
    positions = np.array(data[1]).reshape(-1, 3)
    import torch

    expected = hinge_run.atoms_of(hinge_run.motion_at(np.array([[-6.5]], np.float32)))[0].numpy()
    drawn = np.isin(hinge_run.structure.atom_name, ["CA", "O"])
    assert data[0] == hinge_run.structure.atom_name[drawn].tolist() and torch.is_tensor(
        hinge_run.structure.position
    )
    np.testing.assert_allclose(positions, expected[drawn], atol=0.01)


def point_of_particle(browser, index):
    """Where a particle is in the window, on the map."""
    return browser.run(
        """
        const map = atomdrgn.map;
        map.canvas.scrollIntoView({ block: 'center' });
        const now = map.canvas.getBoundingClientRect(), value = select => map.column(select.value)[arguments[0]];
        return [now.left + map.px(value(map.xSelect)), now.top + map.py(value(map.ySelect))];
        """,
        index,
    )


def first_atom_and_last(browser):
    return browser.run(
        "const a = atomdrgn.stage.atoms; return [a[0], a[a.length - 1]].map(atom => [atom.x, "
        "atom.y, atom.z])"
    )


def test_a_click_on_the_map_shows_that_particles_structure(shown, hinge_run):
    shown.run(
        "const s = atomdrgn.map.ySelect; s.value = 'log_likelihood_gain'; s.dispatchEvent(new "
        "Event('change'))"
    )
    drawn = np.flatnonzero(np.isin(hinge_run.structure.atom_name, ["CA", "O"]))
    ends = [int(hinge_run.latent[:, 0].argmin()), int(hinge_run.latent[:, 0].argmax())]
    seen = []
    for index in ends:
        shown.click(*point_of_particle(shown, index))
        says = shown.run("return document.getElementById('now').textContent")
        number = int(re.match(r"particle (\d+)", says)[1])
        expected = hinge_run.atoms([number])[0].numpy()[drawn[[0, -1]]]
        np.testing.assert_allclose(first_atom_and_last(shown), expected, atol=0.02)
        assert number == index and f"{hinge_run.latent[index, 0]:.1f} ± 0.2" in says
        seen.append(np.array(first_atom_and_last(shown))[1])
    assert np.linalg.norm(seen[0] - seen[1]) > 10


def test_a_lasso_lists_the_particles_in_it_one_a_line(shown, hinge_run):
    shown.run(
        "const s = atomdrgn.map.ySelect; s.value = 'log_likelihood_gain'; s.dispatchEvent(new "
        "Event('change'))"
    )
    left, top, width, height = shown.run("""
        const box = atomdrgn.map.canvas.getBoundingClientRect(), b = atomdrgn.map.box;
        return [box.left + b.left, box.top + b.top, b.width, b.height];""")
    limit = shown.run("const [a, b] = atomdrgn.map.xEnds; return 0.5 * (a + b)")
    corners = [
        (left + x * width, top + y * height)
        for x, y in ((0.5, 0), (1, 0), (1, 1), (0.5, 1), (0.5, 0.5))
    ]
    shown.drag(corners)
    listed = [int(number) for number in shown.run("return atomdrgn.map.list()").splitlines()]
    expected = np.flatnonzero(hinge_run.latent[:, 0] > limit)
    assert len(set(listed) ^ set(expected.tolist())) <= 0.02 * len(expected) and len(listed) > 100
    assert f"{len(listed)} particles" in shown.run(
        "return document.querySelector('.chosen.there').textContent"
    )


def test_a_click_on_the_landscape_goes_there(shown):
    shown.run("""
        const area = document.querySelector('#sections svg rect.clickable'), box = area.getBoundingClientRect();
        area.dispatchEvent(new MouseEvent('click', { clientX: box.left + 0.9 * box.width, clientY: box.top + 20 }));""")
    place, (low, high) = shown.run(
        "return [atomdrgn.player.place[0], [atomdrgn.data.landscapes[0].edges[0].at(0), "
        "atomdrgn.data.landscapes[0].edges[0].at(-1)]]"
    )
    assert abs(place - (low + 0.9 * (high - low))) < 0.3


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(shown, width):
    shown.resize(width, 800)
    assert shown.run("return document.documentElement.scrollWidth") <= width
    shown.resize(1280, 900)


def test_without_density_beyond_the_model_nothing_is_said_of_it(shown):
    assert shown.run(
        "return document.getElementById('besides').hidden && !document.getElementById('lacks').textContent"
    )


def test_a_run_in_which_nothing_moves_is_shown_at_rest(browser, still_run, tmp_path):
    browser.open(page_of(still_run, tmp_path / "still.html"))
    browser.wait("return !!window.atomdrgn")
    assert browser.run("return document.getElementById('verdict').textContent").startswith(
        "Nothing moves"
    )
    assert (
        browser.run("return document.getElementById('play').hidden")
        and canvas_pixels(browser) > 0.01
    )
    assert [entry for entry in browser.log("browser") if entry["level"] == "SEVERE"] == []


def with_ball(run, folder):
    """The run, and a ball of density beside its structure."""
    shutil.copytree(run.folder, folder)
    along = (torch.arange(80) - 40) * 2.0
    z, y, x = torch.meshgrid(along, along, along, indexing="ij")
    place = run.structure.position.mean(0) + torch.tensor([30.0, 0.0, 0.0])
    distance = ((x - place[0]) ** 2 + (y - place[1]) ** 2 + (z - place[2]) ** 2).sqrt()
    write_density_map(folder / "residual.mrc", DensityMap((12 - distance).clamp_min(0), 2.0))
    said = {"residual": {"said": "a fifth of the density is not in base.pdb", "blobs": 1}}
    return replace(run, folder=folder, summary=run.summary | said), place


def test_what_the_base_model_lacks_is_a_surface_about_the_structure(browser, hinge_run, tmp_path):
    run, place = with_ball(hinge_run, tmp_path / "ball.fit")
    page = page_of(run, tmp_path / "ball.html")
    held = page_data(examine(run, clusters=3, frames=7))["residual"]
    values = np.frombuffer(base64.b64decode(held["values"]), np.uint8).reshape(held["size"])
    assert max(held["size"]) <= 16 and values.max() >= 250
    grid = np.stack(np.meshgrid(*map(np.arange, held["size"]), indexing="ij"), -1)
    centre = (values[..., None] * grid).sum((0, 1, 2)) / values.sum() * held["voxel"]
    np.testing.assert_allclose(centre + held["first"], place.numpy(), atol=0.5)
    browser.open(page)
    browser.wait("return !!window.atomdrgn && !!atomdrgn.stage.besides")
    browser.run("pause()")
    middle = browser.run("""
        const points = atomdrgn.stage.besides.geo.geometryGroups.flatMap(group =>
            Array.from(group.vertexArray.slice(0, 3 * group.vertices)));
        const mean = axis => points.filter((_, i) => i % 3 === axis).reduce((a, b) => a + b) / (points.length / 3);
        return [mean(0), mean(1), mean(2)];
    """)
    np.testing.assert_allclose(middle, place.numpy(), atol=1.5)
    assert "a fifth of the density" in browser.run(
        "return document.getElementById('lacks').textContent"
    )
    drawn = canvas_pixels(browser)
    browser.run("document.getElementById('surround').click()")
    assert browser.run("return atomdrgn.stage.besides === null") and canvas_pixels(browser) < drawn
    assert [entry for entry in browser.log("browser") if entry["level"] == "SEVERE"] == []


def test_absent_parts_are_not_drawn(browser, hinge_structure, tmp_path):
    present = np.stack([np.ones(40), np.arange(40) % 2], 1)
    run = hinged_run(tmp_path, hinge_structure, np.linspace(-4, 4, 40), present=present)
    browser.open(page_of(run, tmp_path / "absent.html"))
    browser.wait("return !!window.atomdrgn")
    browser.run("atomdrgn.player.playing = false; atomdrgn.map.pick(20)")
    half = browser.run(
        "return atomdrgn.stage.atoms.filter(atom => !atom.style.cartoon).length / "
        "atomdrgn.stage.atoms.length"
    )
    browser.run("atomdrgn.map.pick(21)")
    whole = browser.run("return atomdrgn.stage.atoms.filter(atom => !atom.style.cartoon).length")
    assert half == 0.5 and whole == 0


def test_support_and_geometry_of_other_folders_are_shown(hinge_run, tmp_path):
    (tmp_path / "support.csv").write_text("chain,residue,icode,support\nA,1,,0.9\nA,40,,0.25\n")
    (tmp_path / "geometry.json").write_text(
        '{"structures": 3, "columns": {"gaps": "breaks"}, "base": {"gaps": 0}, '
        '"median": {"gaps": 1}, "largest": {"gaps": 2}}'
    )
    data = page_data(examine(hinge_run, clusters=2, frames=3), [tmp_path])
    support = data["residues"]["support"]["support"]
    assert support[0] == 0.9 and support[-1] == 0.25 and support[1] is None
    assert data["geometry"] == {"structures": 3, "rows": [["breaks", 0, 1, 2]]}
    assert page_data(examine(hinge_run, clusters=2, frames=3))["geometry"] is None


def test_residues_move_within_their_segments_on_the_page_too(browser, flexed_run, tmp_path):
    browser.open(page_of(flexed_run, tmp_path / "report.html"))
    browser.wait("return window.atomdrgn && atomdrgn.player.time > 0.02")
    found = browser.run("return Array.from(atomdrgn.decoder.positions([arguments[0]]))", -6.5)
    motion = flexed_run.motion_at(np.array([[-6.5]], np.float32))
    drawn = np.isin(flexed_run.structure.atom_name, ["CA", "O"])
    rigid = RigidMotion(motion.rotation, motion.translation)
    expected, rigid = (flexed_run.atoms_of(each)[0].numpy()[drawn] for each in (motion, rigid))
    np.testing.assert_allclose(np.reshape(found, (-1, 3)), expected, atol=0.01)
    assert np.abs(expected - rigid).max() > 0.5


@pytest.mark.parametrize("answer", ["return null", "throw new Error('blocked')"])
def test_without_webgl_all_but_the_structure_is_shown(browser, page, answer):
    source = (
        "const all = HTMLCanvasElement.prototype, get = all.getContext; all.getContext = function "
        "(kind, ...more) "
        f"{{ if (/webgl/.test(kind)) {{ {answer} }} return get.call(this, kind, ...more); }}"
    )
    browser.command("Page.enable")
    without = browser.command("Page.addScriptToEvaluateOnNewDocument", source=source)
    try:
        browser.log("browser")
        browser.open(page)
        # the map's mark moves on
        browser.wait("return window.atomdrgn && atomdrgn.player.time > 0.02")
        assert [entry for entry in browser.log("browser") if entry["level"] == "SEVERE"] == []
    finally:
        browser.command("Page.removeScriptToEvaluateOnNewDocument", **without)
    assert "cannot be drawn" in browser.run("return document.getElementById('viewer').innerText")
    assert browser.run(
        "return document.getElementById('name').textContent && "
        "document.getElementById('verdict').textContent"
    )
    titles = browser.run(
        "return [...document.querySelectorAll('h2, h3')].map(title => title.textContent)"
    )
    charts = browser.run("return document.querySelectorAll('#sections svg').length")
    browser.open(page)
    browser.wait("return window.atomdrgn && atomdrgn.player.time > 0.02")
    assert "cannot be drawn" not in browser.run(
        "return document.getElementById('viewer').innerText"
    )
    assert titles == browser.run(
        "return [...document.querySelectorAll('h2, h3')].map(title => title.textContent)"
    )
    assert charts == browser.run("return document.querySelectorAll('#sections svg').length") > 3


# ---- only what exists ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_states(hinge_structure, tmp_path_factory):
    """A page of 300 particles in two states, none between them."""
    rng, folder = np.random.default_rng(302), tmp_path_factory.mktemp("states")
    place = np.concatenate([rng.normal(-6, 0.4, 200), rng.normal(6, 0.4, 100)])
    return page_of(hinged_run(folder, hinge_structure, place), folder / "report.html")


def opened(browser, page):
    browser.open(page)
    browser.wait("return !!window.atomdrgn")
    browser.run("atomdrgn.player.playing && document.getElementById('play').click()")


def slid_to(browser, share):
    """What is said where the slider is."""
    return browser.run(
        "const step = document.getElementById('step'); step.value = 1000 * arguments[0]; "
        "step.dispatchEvent(new Event('input')); return document.getElementById('now').textContent",
        share,
    )


def test_where_no_particle_is_the_structure_pales_and_the_caption_says_so(browser, two_states):
    opened(browser, two_states)
    opacity = "getComputedStyle(document.querySelector('#viewer canvas')).opacity"
    assert "no particles here" in slid_to(browser, 0.5)
    browser.wait(f"return {opacity} < 0.5")  # it fades
    assert "no particles here" not in slid_to(browser, 0.02)
    browser.wait(f"return {opacity} > 0.99")


def test_a_strip_under_the_slider_shows_how_many_particles_are_where(browser, two_states):
    opened(browser, two_states)
    left, middle, right = browser.run("""
        const strip = document.getElementById('strip'), context = strip.getContext('2d');
        const high = share => { const column = context.getImageData(share * strip.width, 0, 1, strip.height).data; let count = 0; for (let i = 3; i < column.length; i += 4) if (column[i]) count++; return count; };
        return [high(0.05), high(0.5), high(0.95)];""")
    assert left > right > 0 == middle


def test_with_one_motion_the_first_chart_is_the_distribution(browser, two_states):
    opened(browser, two_states)
    assert browser.run("return [atomdrgn.map.xSelect.value, atomdrgn.map.ySelect.value]") == [
        "motion1",
        "",
    ]


# ---- selections ---------------------------------------------------------------------------------


def over_map(browser, low, high, *, modifiers=0):
    """Draw a lasso over all heights from one share of the map's width to another."""
    left, top, width, height = browser.run("""
        atomdrgn.map.canvas.scrollIntoView({ block: 'center' });
        const box = atomdrgn.map.canvas.getBoundingClientRect(), b = atomdrgn.map.box;
        return [box.left + b.left, box.top + b.top, b.width, b.height];""")
    corners = [(low, 0.02), (high, 0.02), (high, 0.98), (low, 0.98), (low, 0.5)]
    browser.drag([(left + x * width, top + y * height) for x, y in corners], modifiers=modifiers)
    return [int(number) for number in browser.run("return atomdrgn.map.list()").splitlines()]


def test_lassos_add_and_take_away_and_give_commands(browser, two_states):
    opened(browser, two_states)
    first = over_map(browser, 0.0, 0.3)
    assert first == list(range(200))
    both = over_map(browser, 0.7, 1.0, modifiers=8)
    assert both == list(range(300))
    assert over_map(browser, 0.0, 0.3, modifiers=1) == list(range(200, 300))
    browser.run(
        "const name = atomdrgn.map.title; name.value = 'open state'; "
        "name.dispatchEvent(new Event('input'))"
    )
    command, condition = browser.run(
        "return [atomdrgn.map.command.textContent, atomdrgn.map.condition.textContent]"
    )
    assert command == (
        "atomdrgn select particles.fit --particles open_state.txt --out open_state.star"
    )
    assert re.fullmatch(
        r'atomdrgn select particles.fit --where "motion1 >= [45]\S+ and motion1 <= [67]\S+" '
        r"--out open_state.star   # the box around them: 100 particles",
        condition,
    )
    browser.run("atomdrgn.map.clear()")
    assert browser.run("return atomdrgn.map.list()") == ""


def test_the_keyboard_goes_from_particle_to_particle(browser, two_states):
    opened(browser, two_states)
    over_map(browser, 0.0, 0.3)
    seen = browser.run("""
        const map = atomdrgn.map, seen = [], x = map.column('motion1');
        const press = key => map.canvas.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
        map.here = null;
        for (const key of ['ArrowRight', 'ArrowRight', 'ArrowLeft', 'Escape']) { press(key); seen.push(x[map.here.index]); }
        return [...seen, map.chosen];""")
    assert seen[0] < seen[1] and seen[2] == seen[0] and seen[4] is None


def test_a_table_of_ones_own_gives_points_their_colour(browser, two_states):
    opened(browser, two_states)
    said, values, legend = browser.run("""
        const map = atomdrgn.map;
        map.addTable('mine.csv', 'particle,ice\\n0,2.5\\n7,\\n9,4\\n');
        map.ySelect.value = 'sd1'; map.draw();
        return [map.said.textContent, [0, 7, 9].map(i => `${map.column('ice')[i]}`), map.scale.textContent];""")
    assert said == "Added from mine.csv: ice." and values == ["2.5", "NaN", "4"]
    assert legend.startswith("ice: ")
    browser.run("atomdrgn.map.addTable('other.csv', 'a,b\\n1,2\\n')")
    assert "no column particle" in browser.run("return atomdrgn.map.said.textContent")


def test_states_have_a_legend_and_no_colour_of_a_part(browser, two_states):
    opened(browser, two_states)
    browser.run(
        "const map = atomdrgn.map; map.ySelect.value = 'sd1'; map.colourSelect.value = 'cluster'; "
        "map.draw()"
    )
    assert "cluster 1" in browser.run("return atomdrgn.map.scale.textContent")
    data = browser.run("return atomdrgn.data")
    assert not set(data["stateColours"]) & {*data["colours"], *data["groupColours"]}


def test_segments_of_one_group_stand_beside_each_other(browser, two_states):
    opened(browser, two_states)
    order = browser.run("return segmentsByGroup()")
    data = browser.run("return [atomdrgn.data.residues.segment, atomdrgn.data.residues.group]")
    group_of = dict(zip(*data, strict=True))
    assert [group_of[segment] for segment in order] == sorted(group_of.values())
    legends = browser.run(
        "return [...document.querySelectorAll('#sections .legend')].map(each => each.textContent)"
    )
    assert any("against each other" in text for text in legends)


# ---- pictures, and browsers of all kinds --------------------------------------------------------


def test_charts_can_be_saved_as_svg_and_the_structure_as_png(browser, two_states):
    opened(browser, two_states)
    text = browser.run("return svgText(document.querySelector('#sections .pair svg'))")
    chart = ElementTree.fromstring(text)
    assert chart.tag == "{http://www.w3.org/2000/svg}svg" and int(chart.get("width")) > 100
    assert "var(" not in text and "http" not in text.replace("http://www.w3.org/2000/svg", "")
    saved = browser.run("""
        const names = [], made = HTMLAnchorElement.prototype.click;
        HTMLAnchorElement.prototype.click = function () { names.push(this.download); };
        document.getElementById('picture').click();
        [...document.querySelectorAll('#sections .save')].find(button => button.textContent === 'SVG').click();
        HTMLAnchorElement.prototype.click = made;
        return names;""")
    assert saved[0] == "particles.fit_structure.png" and saved[1].endswith(".svg")


def test_without_scripts_the_verdict_and_the_tables_are_there(browser, two_states):
    browser.command("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(two_states)
        root = browser.command("DOM.getDocument", depth=0)["root"]["nodeId"]
        node = browser.command("DOM.querySelector", nodeId=root, selector=".plain")["nodeId"]
        text = browser.command("DOM.getOuterHTML", nodeId=node)["outerHTML"]
        seen = browser.command("DOM.getBoxModel", nodeId=node)["model"]["height"]
    finally:
        browser.command("Emulation.setScriptExecutionDisabled", value=False)
    assert seen > 200 and "1 motion is supported by 300 particles" in text
    assert "<h2>Motions</h2>" in text and "<h2>Parts that move as one</h2>" in text


def test_dark_and_calm_where_the_system_is(browser, two_states):
    features = [("prefers-color-scheme", "dark"), ("prefers-reduced-motion", "reduce")]
    browser.command(
        "Emulation.setEmulatedMedia",
        features=[{"name": name, "value": value} for name, value in features],
    )
    try:
        browser.open(two_states)
        browser.wait("return !!window.atomdrgn")
        assert browser.run("return atomdrgn.player.playing") is False
        colour = browser.run("return getComputedStyle(document.body).backgroundColor")
        assert max(map(int, re.findall(r"\d+", colour))) < 60
    finally:
        browser.command("Emulation.setEmulatedMedia", features=[])


def test_a_million_particles_fit_on_a_page_and_into_a_selection(
    browser, hinge_run, tmp_path, monkeypatch
):
    """A page of at most 12 MB: a lasso takes all particles, though a part is drawn."""
    count, rng = 1_000_000, np.random.default_rng(303)
    place = rng.normal(0, 4, (count, 1)).astype(np.float32)
    told = {name: rng.normal(0, 1, count) for name in ("log_likelihood_gain", "outlier_score")}

    class Many(Run):
        n_particles, _motions = count, {}
        latent, latent_sd = place, np.full((count, 1), 0.3, np.float32)
        table = {"particle": np.arange(count), "state": rng.integers(1, 4, count), **told}

    run = Many(hinge_run.folder, hinge_run.settings, hinge_run.summary)
    found = replace(
        examine(hinge_run, clusters=3, frames=7), run=run, clusters=None, axes=None, turns=[]
    )
    particles = report._particles(found)
    assert len(json.dumps(particles)) < 10e6 and particles["drawn"] < count
    monkeypatch.setattr(report, "_particles", lambda found: particles)
    page = page_of(hinge_run, tmp_path / "report.html")
    assert page.stat().st_size < 12e6
    began = time.monotonic()
    opened(browser, page)
    assert time.monotonic() - began < 20, "5 s where nothing else runs"
    chosen = over_map(browser, 0.5, 1.01)
    expected = np.count_nonzero(place > 0.5 * (place.min() + place.max()))
    assert abs(len(chosen) - expected) < 0.02 * expected
    states = browser.run("return Array.from(atomdrgn.map.column('state').slice(0, 50))")
    np.testing.assert_allclose(states, run.table["state"][:50])
