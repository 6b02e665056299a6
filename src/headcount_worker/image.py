"""One image as a pipeline sees it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from headcount_worker.errors import UnusableImageError


def _no_content() -> bytes:
    raise UnusableImageError("the task names no image to download")


@dataclass(frozen=True)
class Image:
    """One image to look at: its ``id`` and ``url`` on the server, the task's ``payload``, and its bytes.

    ``read`` fetches the encoded bytes (JPEG, PNG, ...). While a worker runs, they are downloaded before the pipeline
    is called, so ``content`` answers at once.
    """

    id: str
    url: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
    read: Callable[[], bytes] = field(default=_no_content, repr=False, compare=False)

    @property
    def content(self) -> bytes:
        """The encoded bytes of the image, as the server sent them; raises UnusableImageError when there are none."""
        return self.read()

    def open(self) -> BytesIO:
        """Give the bytes as a file, for ``PIL.Image.open`` and others that read one."""
        return BytesIO(self.content)

    @classmethod
    def from_file(cls, path: str | Path, **payload: Any) -> "Image":
        """Make an image of a local file, to try a pipeline without a server; its id is the file's name."""
        file = Path(path)
        return cls(id=file.name, url=file.absolute().as_uri(), payload=payload, read=file.read_bytes)

    @classmethod
    def from_bytes(cls, content: bytes, *, id: str = "image", url: str = "", **payload: Any) -> "Image":  # noqa: A002
        """Make an image of bytes in memory."""
        return cls(id=id, url=url, payload=payload, read=lambda: content)
