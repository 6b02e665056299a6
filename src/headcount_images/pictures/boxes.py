"""Boxes in a picture."""

from dataclasses import dataclass

# Left, top, right and bottom, in pixels from the picture's top left corner.
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """A box to draw; corners in pixels of the photo as it is shown, a label and a score from 0 to 1 if there is one."""

    x1: float
    y1: float
    x2: float
    y2: float
    label: str = ""
    score: float | None = None
