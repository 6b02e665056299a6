"""The ``import_images`` kind: read the image files of a folder into a collection."""

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image as Picture
from PIL import UnidentifiedImageError

from headcount.domain.records import JobRecord, LeasedTask, TaskSpec
from headcount.domain.states import DispatchMode
from headcount.errors import BadInputError
from headcount.ports.job_kind import JobKind, SavedResult
from headcount_images.kinds.image_files import SUFFIXES, image_files
from headcount_images.models import Collection, Image

_MAX_COLLECTION_LENGTH = 200
_MAX_KEY_LENGTH = 500
_DIGEST_LENGTH = 16
_EXIF_DATE_TIME = 306
_EXIF_DATE_TIME_FORMAT = "%Y:%m:%d %H:%M:%S"


class ImportImagesKind(JobKind):
    """Collects a task for each image file below a folder and saves its name, size and time.

    Configuration: ``{"directory": path, "collection": name}``; the folder's own name is the collection's by default.
    """

    name: ClassVar[str] = "import_images"
    dispatch_modes: ClassVar[frozenset[DispatchMode]] = frozenset({DispatchMode.INTERNAL})

    def check(self, project_id: int, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make sure that the folder is there and holds an image file."""
        directory = _directory(config.get("directory"))
        name = _collection_name(config.get("collection") or directory.name)
        collection, _ = Collection.objects.get_or_create(project_id=project_id, name=name)
        return {"directory": str(directory), "collection": name, "collection_id": collection.pk}

    def collect(self, job: JobRecord) -> Iterable[TaskSpec]:
        """Yield a task for each image file, keyed by its path within the folder."""
        directory = Path(job.config["directory"])
        for path in image_files(directory):
            name = path.relative_to(directory).as_posix()
            yield TaskSpec(_key(name), {"path": _readable(str(path)), "is_utf8": name == _readable(name)})

    def process(self, job: JobRecord, task: LeasedTask) -> dict[str, Any]:
        """Read what an image file says of itself."""
        if not task.payload.get("is_utf8", True):
            raise BadInputError("the file's name is not UTF-8; rename the file and import the folder again")
        return describe(Path(task.payload["path"]))

    def save(self, job: JobRecord, results: Sequence[SavedResult]) -> None:
        """Save the images; one that is in the collection already is brought up to date."""
        images = [Image(collection_id=job.config["collection_id"], name=item.key, **item.result) for item in results]
        Image.objects.bulk_create(
            images,
            update_conflicts=True,
            unique_fields=["collection", "name"],
            update_fields=["path", "width", "height", "size", "taken_at"],
        )

    def named_counts(self, job_id: int) -> dict[str, int]:
        """Nothing beyond the stage's own counts: a task is an image."""
        return {}


def describe(path: Path) -> dict[str, Any]:
    """Return an image file's path, size in bytes, width and height in pixels, and time, from its header.

    Raises:
        BadInputError: the file cannot be read or is no image; the message is for people.
    """
    try:
        size = path.stat().st_size
        if size == 0:
            raise BadInputError("the file is empty (0 bytes)")
        with Picture.open(path) as picture:
            width, height = picture.size
            taken_at = _taken_at(picture)
    except UnidentifiedImageError as error:
        raise BadInputError("the file is not an image, or of a kind that cannot be read") from error
    except Picture.DecompressionBombError as error:
        raise BadInputError(f"the image is too large: {error}") from error
    except ValueError as error:
        raise BadInputError(f"the image is broken: {error}") from error
    except OSError as error:
        raise BadInputError(f"the file cannot be read: {error.strerror or error}") from error
    return {"path": str(path), "width": width, "height": height, "size": size, "taken_at": taken_at}


def _directory(text: Any) -> Path:
    if not text:
        raise BadInputError('an import needs a folder: {"directory": "..."}')
    try:
        directory = Path(str(text)).expanduser().absolute()
    except RuntimeError as error:
        raise BadInputError(f"there is no folder {text}: {error}") from error
    if not directory.is_dir():
        raise BadInputError(f"there is no folder {_readable(str(directory))}")
    if _readable(str(directory)) != str(directory):
        raise BadInputError(f"the folder's name is not UTF-8: {_readable(str(directory))}")
    if next(image_files(directory), None) is None:
        raise BadInputError(f"there is no image file below {directory} (looked for {', '.join(sorted(SUFFIXES))})")
    return directory


def _collection_name(name: object) -> str:
    text = str(name)
    if not text or len(text) > _MAX_COLLECTION_LENGTH or _readable(text) != text:
        raise BadInputError(f"a collection needs a name of 1 to {_MAX_COLLECTION_LENGTH} characters in UTF-8")
    return text


def _key(name: str) -> str:
    """Return a file's name; one that the ledger cannot hold is made readable, cut, and kept apart by a digest."""
    readable = _readable(name)
    if readable == name and len(name) <= _MAX_KEY_LENGTH:
        return name
    digest = sha256(os.fsencode(name)).hexdigest()[:_DIGEST_LENGTH]
    return f"{readable[: _MAX_KEY_LENGTH - _DIGEST_LENGTH - 2]} #{digest}"


def _readable(name: str) -> str:
    """Databases store no broken UTF-8; a file with such a name is reported under a name that can be shown."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _taken_at(picture: Picture.Image) -> datetime | None:
    """EXIF times have no zone; they are taken as UTC, as cameras in the field are set."""
    try:
        text = picture.getexif().get(_EXIF_DATE_TIME)
        return datetime.strptime(str(text), _EXIF_DATE_TIME_FORMAT).replace(tzinfo=UTC)
    except OSError:
        raise
    except Exception:  # noqa: BLE001 - Pillow raises whatever broken EXIF leads it to; the image is good without
        return None
