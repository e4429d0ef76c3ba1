"""The documentation as a site: every page is in it, links lead somewhere, and nothing is fetched
when it is read.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import atomdrgn
from analysis.browser import CHROMIUM, DRIVER, Browser

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def test_every_page_is_in_the_contents_once():
    listed = re.findall(r"(?m)^\s+- (?:.*: )?([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text())
    assert sorted(listed) == sorted(path.name for path in DOCS.glob("*.md"))


def test_the_api_names_everything_that_is_public():
    named = re.findall(
        r"(?m)^::: atomdrgn\.([\w.]+)\n    options:\n      heading: atomdrgn\.(\w+)$",
        (DOCS / "api.md").read_text(),
    )
    assert sorted(name for _, name in named) == sorted(set(atomdrgn.__all__) - {"__version__"})
    for path, name in named:
        public = getattr(atomdrgn, name)
        assert f"atomdrgn.{path}" == f"{public.__module__}.{public.__qualname__}"


def test_concepts_have_a_figure_each():
    """And each is made by the script beside them."""
    sections = (DOCS / "concepts.md").read_text().split("\n## ")[1:]
    figures = [re.findall(r"\]\(images/concept-([\w-]+)\.svg\)", section) for section in sections]
    assert all(len(each) == 1 for each in figures)
    made = re.search(r"for draw in \((.*?)\)", (DOCS / "make_figures.py").read_text())[1]
    assert [name for (name,) in figures] == made.replace("_", "-").split(", ")


@pytest.mark.seconds
def test_the_site_is_made_and_fetches_nothing(tmp_path):
    """Strictly: a link that leads nowhere, or a page that is left out, is an error."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    site = tmp_path / "site"
    made = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", site],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    for page in site.rglob("*.html"):
        text = page.read_text()
        fetched = re.findall(r'<(?:script|img|link|iframe)\b[^>]*?(?:src|href)="(http[^"]*)"', text)
        assert not fetched, page
        assert ":func:" not in text and ":class:" not in text
    if CHROMIUM is None or DRIVER is None:
        return
    with Browser(tmp_path / "profile") as browser:
        browser.open(site / "concepts.html")
        assert browser.wait(
            "return document.readyState === 'complete' && [...document.images].every(i => i.naturalWidth > 0)"
        )
        # searches work in a page that is opened as a file
        browser.run(
            "const box = document.querySelector('[data-md-component=search-query]');"
            "document.querySelector('[data-md-toggle=search]').click(); box.focus(); box.value = 'junk';"
            "box.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true})); box.dispatchEvent(new Event('input', {bubbles: true}));"
        )
        assert browser.wait("return document.querySelectorAll('.md-search-result__item').length")
        assert not [address for address in browser.requests() if address.startswith("http")]
