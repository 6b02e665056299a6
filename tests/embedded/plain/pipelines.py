"""The pipeline of the workers in these tests: little to compute, and a way to hold it still.

With the variable ``HOLD_AFTER`` a worker does so many images and then nothing any more, after making the file that
``HOLDING`` names.
"""

import os
import time
from pathlib import Path

from headcount_worker import Algorithm, Detection, pipeline

_HOLD_AFTER = int(os.environ.get("HOLD_AFTER", "1000000"))
_seen: list[str] = []


@pipeline(slug="little", name="Little", algorithms=[Algorithm("little", "Little")])
def little(image):
    _seen.append(image.id)
    while len(_seen) > _HOLD_AFTER:
        Path(os.environ["HOLDING"]).touch()
        time.sleep(0.01)
    assert image.content.startswith(b"\x89PNG"), "the image was fetched"
    time.sleep(0.005)
    return [Detection.at(1, 2, 3, 4, label=f"in {image.id}")]
