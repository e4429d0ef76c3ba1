"""Run examples/notebook.ipynb from its first cell to its last, keep what it shows, and write it as
a page of the documentation.

python docs/make_notebook.py
"""

import base64
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

DOCS = Path(__file__).parent
NOTEBOOK = DOCS.parent / "examples" / "notebook.ipynb"
PAGE, IMAGES = DOCS / "notebook.md", DOCS / "images"
HEAD = "<!-- Made by docs/make_notebook.py from examples/notebook.ipynb. -->\n"


def executed():
    """The notebook, run in its own folder."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    settings = {"timeout": 600, "resources": {"metadata": {"path": str(NOTEBOOK.parent)}}}
    NotebookClient(notebook, kernel_name="python3", **settings).execute()
    for cell in notebook.cells:
        cell.metadata.clear()  # times of the run
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    return notebook


def page(notebook):
    """The page, and the pictures on it by their names."""
    parts, pictures = [HEAD], {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source.rstrip(';')}\n```")
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"notebook-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(data["image/png"])
                parts.append(f"![{_title(cell.source)}](images/{name})")
            elif text := output.get("text", data.get("text/plain", "")).rstrip():
                parts.append(f"```text\n{text}\n```")
    return "\n\n".join(parts) + "\n", pictures


def _title(source):
    """What the first call of a cell draws."""
    return re.search(r"plot\.\w+\(.*\)", source)[0].replace('"', "'")


def main():
    """Run it, and write both."""
    notebook = executed()
    nbformat.write(notebook, NOTEBOOK)
    text, pictures = page(notebook)
    PAGE.write_text(text)
    for name, data in pictures.items():
        (IMAGES / name).write_bytes(data)
    print(NOTEBOOK, PAGE)


if __name__ == "__main__":
    main()
