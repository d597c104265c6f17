"""Migrations of the store, oldest first in `versions`."""

from typing import Final

HEAD: Final = "0003"
"""The newest revision; a database that has it needs no migration."""
