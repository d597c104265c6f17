"""Real files to work on: texts and pictures found on this machine, else pictures of our own making."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

TEXT_PLACES = ("/usr/share/common-licenses", "/usr/share/doc", "/usr/share/perl", "/Library/Documentation")
TEXT_NAMES = ("copyright", "README*", "*.txt", "GPL*", "Apache*", "BSD", "MPL*")
PICTURE_PLACES = ("/usr/share/pixmaps", "/usr/share/icons", "/usr/share/backgrounds", "/usr/share/doc")
PICTURE_NAMES = ("*.png", "*.jpg", "*.jpeg")
MAX_BYTES = 4_000_000


def texts(count: int, repository: Path) -> list[Path]:
    """Return text files: this project's own, then what the machine has."""
    own = sorted(repository.glob("*.md")) + sorted(repository.glob("docs/**/*.md"))
    return list(islice(_unique(own, *(_found(place, TEXT_NAMES) for place in TEXT_PLACES)), count))


def pictures(count: int, folder: Path) -> list[Path]:
    """Return pictures of this machine, and as many of our own making as are missing."""
    found = list(islice(_unique(*(_found(place, PICTURE_NAMES) for place in PICTURE_PLACES)), count))
    return found + [_draw(folder / f"drawn-{number:02d}.png", number) for number in range(len(found), min(count, 24))]


def _found(place: str, names: tuple[str, ...]) -> Iterator[Path]:
    for name in names:
        for path in sorted(Path(place).rglob(name)) if Path(place).is_dir() else []:
            if path.is_file() and 0 < path.stat().st_size <= MAX_BYTES:
                yield path


def _unique(*sources: Iterator[Path] | list[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for source in sources:
        for path in source:
            real = path.resolve()
            if real not in seen:
                seen.add(real)
                yield path


def _draw(path: Path, number: int) -> Path:
    """Draw rings whose colours depend on the number."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (1200, 800), (20 + number * 9 % 200, 40, 90))
    pen = ImageDraw.Draw(picture)
    for radius in range(380, 0, -20):
        colour = ((radius + number * 31) % 256, (radius * 3) % 256, (255 - radius + number * 7) % 256)
        pen.ellipse((600 - radius, 400 - radius, 600 + radius, 400 + radius), fill=colour)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path
