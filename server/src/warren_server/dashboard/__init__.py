"""The dashboard: pages for people, on the same functions as the HTTP API, readable and usable without JavaScript."""

from typing import Final

NAME: Final = "dashboard"
"""Name of its blueprint."""
