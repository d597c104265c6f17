"""The files a page brings: style sheet, scripts, icon. Their addresses hold their hash, so browsers keep them for good.

`htmx.min.js` is htmx 2.0.11 as the npm registry has it in `htmx.org`, under the Zero-Clause BSD licence beside it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flask import Response, url_for

_FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file that pages bring.

    Attributes:
        body: Its content.
        content_type: Its type.
        digest: Hash of its content.
    """

    body: bytes
    content_type: str
    digest: str

    def response(self) -> Response:
        """Return the answer to a request for it."""
        response = Response(self.body, content_type=self.content_type)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


class Assets:
    """The files there are, read once."""

    def __init__(self) -> None:
        self._known = {path.name: _read(path) for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES}

    def get(self, digest: str, name: str) -> Asset | None:
        """Return a file, or None when there is none of that name with that content."""
        found = self._known.get(name)
        return found if found is not None and found.digest == digest else None

    def url(self, name: str) -> str:
        """Return the address of a file."""
        return url_for("dashboard.static_file", digest=self._known[name].digest, name=name)


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(body=body, content_type=_TYPES[path.suffix], digest=hashlib.sha256(body).hexdigest()[:16])
