"""A pipeline that does as many images as it is allowed to, and tells in files how far it is.

A test copies this file into a folder of its own: what is written stands beside it.
"""

import os
from pathlib import Path
from threading import Event

from headcount_worker import Detection, Image, pipeline

_HERE = Path(__file__).parent
_LOOK_EVERY_SECONDS = 0.02
_begun: list[str] = []


@pipeline(slug="gated")
def find(image: Image) -> list[Detection]:
    """Find two moths, once this image's turn is allowed."""
    _begun.append(image.id)
    _note("begun", image)
    _wait_until_allowed(len(_begun))
    _note("computed", image)
    return [Detection.at(0, 0, 1 + position, float(image.id), label="moth", score=0.9) for position in range(2)]


def _wait_until_allowed(turn: int) -> None:
    pause = Event()
    while int((_HERE / "allowed").read_text()) < turn:
        pause.wait(_LOOK_EVERY_SECONDS)


def _note(what: str, image: Image) -> None:
    with (_HERE / what).open("a") as file:
        file.write(f"{os.getpid()} {image.id}\n")
