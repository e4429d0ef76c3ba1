"""Photograph a report in a browser.

python docs/photograph.py REPORT PNG [--from HEADING] [--size 1030,880] [--at 0.3]

What is seen begins at the top of the page, or at the heading that --from names; the motion stands
at --at, from 0 to 1. It needs chromium and chromedriver.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "analysis"))
from browser import Browser

AT = (
    "if (atomdrgn.player.playing) document.getElementById('play').click();"
    "const step = document.getElementById('step'); step.value = 1000 * arguments[0];"
    "step.dispatchEvent(new Event('input'))"
)
TO = (
    "const head = [...document.querySelectorAll('h2')].find(h => h.textContent === arguments[0]);"
    "window.scrollTo(0, head.getBoundingClientRect().top + window.scrollY - 12)"
)


def photograph(report, picture, *, begin=None, size=(1030, 640), at=0.3):
    """Write what a window of that size shows of a report as PNG."""
    with tempfile.TemporaryDirectory() as folder:
        with Browser(Path(folder) / "profile") as browser:
            browser.resize(*size)
            browser.open(report)
            browser.wait("return window.atomdrgn && atomdrgn.player.time > 0.02")
            browser.run(AT, at)
            if begin:
                browser.run(TO, begin)
            browser.run("document.documentElement.style.scrollbarWidth = 'none'")
            time.sleep(1)  # until it is drawn
            Path(picture).write_bytes(browser.screenshot())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--from", dest="begin")
    parser.add_argument("--size", default="1030,640")
    parser.add_argument("--at", type=float, default=0.3)
    given = parser.parse_args()
    size = tuple(int(number) for number in given.size.split(","))
    photograph(given.report, given.picture, begin=given.begin, size=size, at=given.at)
