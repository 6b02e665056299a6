"""Well-formed results read fast: of what a posted batch costs the server, understanding results is a good part.

What is read here means what the wire models say it means, and a test holds it to them. Whatever is unusual in any way
(a number written as text, a character that no database takes, an odd time) is left to those models, as is saying what
is wrong.
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from pydantic import TypeAdapter

from headcount_worker import wire

_TIMES_REMEMBERED = 1000
_MOMENT: TypeAdapter[datetime] = TypeAdapter(wire.Moment)

_LONGEST_TIME = 40
"""Characters; what is remembered of a worker's words is bounded."""

_STORABLE = r"^[^\x00\ud800-\udfff]*$"
_Text = Annotated[str, Meta(max_length=wire.MAX_LABEL_LENGTH, pattern=_STORABLE)]
_Label = Annotated[str, Meta(min_length=1, max_length=wire.MAX_LABEL_LENGTH, pattern=_STORABLE)]
_Url = Annotated[str, Meta(max_length=wire.MAX_URL_LENGTH, pattern=_STORABLE)]
_Time = Annotated[str, Meta(max_length=_LONGEST_TIME)]
_Finite = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
_NotNegative = Annotated[float, Meta(ge=0, le=sys.float_info.max)]


# The times of a batch are mostly the same few.
@lru_cache(_TIMES_REMEMBERED)
def moment(text: str | None) -> datetime | None:
    """Return the time that a text says, as the wire models read it.

    Raises:
        ValueError: it says none.
    """
    return None if text is None else _MOMENT.validate_python(text)


class Algorithm(msgspec.Struct, frozen=True):
    """Which algorithm made a detection or a classification."""

    key: _Label
    name: _Text | None = ""


class Box(msgspec.Struct, frozen=True):
    """A rectangle whose corners are in order."""

    x1: _NotNegative
    y1: _NotNegative
    x2: _NotNegative
    y2: _NotNegative

    def __post_init__(self) -> None:
        if self.x2 < self.x1 or self.y2 < self.y1:
            raise ValueError("the corners are not in order")


class Classification(msgspec.Struct, frozen=True):
    """One label given to a detection."""

    classification: _Label
    scores: Annotated[list[_Finite], Meta(max_length=wire.MAX_SCORES)]
    algorithm: Algorithm
    terminal: bool = True
    timestamp: _Time | None = None

    def __post_init__(self) -> None:
        moment(self.timestamp)


class Detection(msgspec.Struct, frozen=True):
    """Something found in one image."""

    source_image_id: _Label
    bbox: Box
    algorithm: Algorithm
    timestamp: _Time | None = None
    classifications: Annotated[Sequence[Classification], Meta(max_length=wire.MAX_CLASSIFICATIONS)] = ()

    def __post_init__(self) -> None:
        moment(self.timestamp)


class SourceImage(msgspec.Struct, frozen=True):
    """An image that the pipeline looked at."""

    id: _Label
    url: _Url | None = ""


class Output(msgspec.Struct, frozen=True):
    """What a pipeline found in one task."""

    pipeline: _Label
    total_time: _NotNegative
    source_images: Annotated[list[SourceImage], Meta(max_length=wire.MAX_SOURCE_IMAGES)]
    detections: Annotated[list[Detection], Meta(max_length=wire.MAX_DETECTIONS)]


def read(raw: Mapping[str, Any]) -> Output | None:
    """Return what a result says, None where the wire models are to say it."""
    try:
        return msgspec.convert(raw, Output)
    except ValueError:
        return None
