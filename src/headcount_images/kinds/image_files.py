"""Which files below a folder are images."""

import os
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"})


def image_files(directory: Path) -> Iterator[Path]:
    """Yield the image files below a folder, by their names' endings, in a stable order."""
    for folder, folders, names in os.walk(directory):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if Path(name).suffix.lower() in SUFFIXES)
