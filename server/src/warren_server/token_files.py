"""Bearer tokens given by file, such as a Kubernetes secret that is mounted: the first tokens, made with no database."""

from __future__ import annotations

import hmac
import logging
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from warren.errors import SettingsError
from warren_server.settings import AuthSettings
from warren_server.store.tokens import PREFIX, Token, digest

logger = logging.getLogger(__name__)

_SECRET: Final = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{32,190}}", re.ASCII)
_FRESH_SECONDS: Final = 5.0
"""So long a token may still open after its file has another."""


@dataclass(frozen=True, slots=True)
class _Read:
    token: Token | None
    at: float


class TokenFiles:
    """The tokens that files hold, read anew every few seconds, so that a rotation needs no restart.

    Args:
        files: The file of each scope.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = dict(files)
        self._read: dict[str, _Read] = {}
        self._lock = threading.Lock()

    @classmethod
    def named_by(cls, settings: AuthSettings) -> TokenFiles:
        """Take the files that the settings name."""
        named = {"admin": settings.auth_token_file, "read": settings.auth_read_token_file}
        return cls({scope: path for scope, path in named.items() if path is not None})

    def __bool__(self) -> bool:
        return bool(self._files)

    def check(self) -> None:
        """Read every file, at start.

        Raises:
            SettingsError: One cannot be read or holds no token.
        """
        for scope, path in self._files.items():
            _token(scope, path)

    def find(self, hashed: str) -> Token | None:
        """Return the token of that hash, or None. A file that went bad opens nothing until it is good again."""
        for scope in self._files:
            token = self._of(scope)
            if token is not None and hmac.compare_digest(token.hash, hashed):
                return token
        return None

    def _of(self, scope: str) -> Token | None:
        now = time.monotonic()
        with self._lock:
            read = self._read.get(scope)
            if read is None or now - read.at >= _FRESH_SECONDS:
                read = self._read[scope] = _Read(self._look(scope), now)
        return read.token

    def _look(self, scope: str) -> Token | None:
        try:
            return _token(scope, self._files[scope])
        except SettingsError as error:
            logger.warning("%s; it opens nothing", error, extra={"event": "token_file_bad", "scope": scope})
            return None


def _token(scope: str, path: Path) -> Token:
    variable = "WARREN_AUTH_TOKEN_FILE" if scope == "admin" else "WARREN_AUTH_READ_TOKEN_FILE"
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"{variable} is {str(path)!r}: cannot be read: {reason}") from error
    if not _SECRET.fullmatch(secret):
        raise SettingsError(
            f"{variable} is {str(path)!r}: must hold one token, {PREFIX} and 32 or more letters, digits, - or _; "
            f"it holds {len(secret)} other characters"
        )
    return Token(id=f"file-{scope}", hash=digest(secret), name=path.name, scopes=frozenset({scope}), created_ms=0)
