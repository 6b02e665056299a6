"""The answer of a push service: one pipeline output over several images, taken apart by image."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from headcount.errors import BadInputError


def split(answer: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return for each image that an answer names what was found in it, or why nothing could be.

    Nothing is checked but what is needed to take it apart, so that one odd detection fails its own image alone.

    Raises:
        BadInputError: a list of the answer is missing or holds something that is no object.
    """
    images = _objects(answer, "source_images")
    found = defaultdict(list)
    for detection in _objects(answer, "detections"):
        found[str(detection.get("source_image_id"))].append(detection)
    outputs = {str(image.get("id")): _output(answer, image, len(images), found) for image in images}
    errors = {str(error.get("image_id")): error for error in _objects(answer, "errors", default=[])}
    return outputs | errors


def _output(
    answer: Mapping[str, Any], image: dict[str, Any], images: int, found: Mapping[str, list[Any]]
) -> dict[str, Any]:
    seconds = answer.get("total_time")
    return {
        "pipeline": answer.get("pipeline"),
        "total_time": seconds / images if isinstance(seconds, int | float) else seconds,
        "source_images": [image],
        "detections": found.get(str(image.get("id")), []),
    }


def _objects(answer: Mapping[str, Any], name: str, default: list[Any] | None = None) -> list[dict[str, Any]]:
    items = answer.get(name, default)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise BadInputError(f'the answer needs a list "{name}" of objects')
    return items
