"""``python -m atomdrgn`` is the command ``atomdrgn``."""

from .cli import main

main()
