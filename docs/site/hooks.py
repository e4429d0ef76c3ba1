"""What mkdocs does to the pages of the site besides: nothing is fetched when they are read."""

import posixpath
import re

ELSEWHERE = "https://unpkg.com/iframe-worker/shim"  # the theme's script of searches in files
SHIM = "site/iframe-worker.js"
ROLE = re.compile(r":(?:func|class|meth|mod):\s*(?=<code>)")  # as Sphinx has them in docstrings


def on_post_page(output, *, page, config):
    """The page with the script of searches that is here, and without Sphinx's roles."""
    here = posixpath.relpath(SHIM, posixpath.dirname(page.file.dest_uri) or ".")
    return ROLE.sub("", output.replace(ELSEWHERE, here))


def on_post_template(output_content, *, template_name, config):
    """Likewise of the page for addresses that there are not."""
    return output_content.replace(ELSEWHERE, SHIM)
