"""Go through docs/tutorial.md, put what its commands print into it, and draw its pictures.

python docs/make_tutorial.py FOLDER

FOLDER is made, and the commands run in it. Where it holds a tutorial that was gone through, its
results are taken. The report is photographed in chromium.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from photograph import photograph

from atomdrgn import open_run, read_density_map, read_particles

DOCS = Path(__file__).parent
PAGE, IMAGES = DOCS / "tutorial.md", DOCS / "images"
PRINTED = "printed.txt"
BLOCK = re.compile(r"(?ms)^```sh\n(.*?)^```(?:\n\n```text\n(.*?)^```)?")


def main(folder):
    """Run what was not run, then write."""
    folder.mkdir(exist_ok=True)
    printed = folder / PRINTED
    if not printed.exists():
        text = "".join(printed_by(words, folder) for words in commands())
        printed.write_text(text)
    PAGE.write_text(with_lines(PAGE.read_text(), printed.read_text().splitlines()))
    report = folder / "particles.fit" / "report.html"
    photograph(report, IMAGES / "tutorial-report.png", size=(1250, 760), at=0.95)
    landscape = {"begin": "Free-energy landscape", "size": (1085, 1060), "at": 0.95}
    photograph(report, IMAGES / "report-landscape.png", **landscape)
    for draw in (images, consensus_map, motion):
        figure = draw(folder)
        figure.savefig(IMAGES / f"tutorial-{draw.__name__.replace('_', '-')}.png", dpi=110)
        plt.close(figure)


def commands():
    """The commands of the page, as words, in their order."""
    for block, _ in BLOCK.findall(PAGE.read_text()):
        yield from (shlex.split(line) for line in block.splitlines())


def printed_by(words, folder):
    """What a command prints."""
    print("$", shlex.join(words), flush=True)
    ended = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return ended.stdout


def wording(line):
    """A line without its numbers and its spacing."""
    return " ".join(re.sub(r"[-+]?\d[\d.,]*", "#", line).split())


def with_lines(page, lines):
    """The page, each line that it shows as it was printed now."""
    printed = {}
    for line in lines:
        printed.setdefault(wording(line), []).append(line)

    def anew(block):
        shown = [
            (printed.get(wording(line)) or [line]).pop(0) for line in (block[2] or "").splitlines()
        ]
        return block[0].replace(block[2], "".join(f"{line}\n" for line in shown), 1)

    return BLOCK.sub(lambda block: anew(block) if block[2] else block[0], page)


def images(folder):
    """Some of the particle images, and the same without what is finer than 20 A."""
    stack = read_particles(folder / "set" / "particles.star")
    pictures = stack[list(range(6))].read().numpy()
    far = np.hypot(*np.meshgrid(*[np.fft.fftfreq(pictures.shape[-1], 2.5)] * 2)) > 1 / 20
    smooth = np.fft.ifft2(np.where(far, 0, np.fft.fft2(pictures))).real
    figure, panels = plt.subplots(2, 6, figsize=(9, 3.2), layout="constrained")
    for row, shown, title in zip(
        panels, (pictures, smooth), ("as they are", "to 20 A"), strict=True
    ):
        for axes, picture in zip(row, shown, strict=True):
            axes.imshow(picture, origin="lower", cmap="gray")
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(title)
    return figure


def consensus_map(folder):
    """Projections of the map along its axes."""
    density = read_density_map(folder / "map" / "map.mrc").density.numpy()
    figure, panels = plt.subplots(1, 3, figsize=(7, 2.6), layout="constrained")
    for axis, axes in enumerate(panels):
        axes.imshow(density.sum(axis), origin="lower", cmap="gray")
        axes.set_title(f"along {'zyx'[axis]}", fontsize=10)
        axes.set(xticks=[], yticks=[])
    return figure


def motion(folder):
    """Where particles are along the motion, and how far residues move."""
    run = open_run(folder / "particles.fit")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    run.plot.latents(ax=left)
    run.plot.residues(ax=right)
    return figure


if __name__ == "__main__":
    main(Path(sys.argv[1]))
