"""What the demo leaves behind and prints at the end."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from headcount.domain.states import JobState
from headcount_images.demo.client import Client
from headcount_images.demo.scenario import Photos
from headcount_images.kinds.image_files import image_files
from headcount_images.pictures.boxes import Box, LabelledBox
from headcount_images.pictures.contact_sheet import FoundInPhoto, draw_contact_sheet
from headcount_images.pictures.overlay import draw_overlay
from headcount_images.pictures.sample_night import SampleNight
from headcount_images.pictures.score import Score, score, total

_GOOD_ENOUGH = 0.95
"""The recall and precision the example pipeline owes on a sample night."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Where the pictures are; ``unreadable`` photos have none."""

    overlays: Path
    contact_sheet: Path | None
    unreadable: Sequence[str]


def write_detections(client: Client, job_id: int, folder: Path) -> Path:
    """Write the job's detections as CSV and return the file."""
    destination = folder / "detections.csv"
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.write_text(client.text(f"jobs/{job_id}/export", format="csv"), encoding="utf-8")
    return destination


def found_by_photo(client: Client, job_id: int) -> dict[str, list[LabelledBox]]:
    """Return the boxes found, keyed by the photo's name within its folder."""
    found: dict[str, list[LabelledBox]] = defaultdict(list)
    for detection in client.detections(job_id):
        best = max(detection["classifications"], key=lambda item: max(item["scores"], default=0), default=None)
        label = best["label"] if best else ""
        certainty = max(best["scores"], default=None) if best else None
        x1, y1, x2, y2 = detection["bbox"]
        found[detection["image"]].append(LabelledBox(x1, y1, x2, y2, label, certainty))
    return found


def draw_pictures(photos: Photos, found: Mapping[str, Sequence[LabelledBox]], folder: Path, title: str) -> Pictures:
    """Draw an overlay for each photo and one contact sheet of all."""
    overlays = folder / "overlays"
    paths = list(image_files(photos.directory))
    in_photo = [FoundInPhoto(path, found.get(path.relative_to(photos.directory).as_posix(), ())) for path in paths]

    def draw(item: FoundInPhoto) -> bool:
        name = item.photo.relative_to(photos.directory).with_suffix(".png")
        try:
            draw_overlay(item.photo, item.found, overlays / name)
        except (OSError, SyntaxError):
            return False
        return True

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        drawn = list(pool.map(draw, in_photo))
    readable = [item for item, done in zip(in_photo, drawn, strict=True) if done]
    unreadable = [item.photo.name for item, done in zip(in_photo, drawn, strict=True) if not done]
    sheet = folder / "contact-sheet.jpg" if readable else None
    if sheet is not None:
        draw_contact_sheet(readable, sheet, title)
    return Pictures(overlays, sheet, unreadable)


def score_against(night: SampleNight, found: Mapping[str, Sequence[LabelledBox]]) -> Score:
    """Compare what was found with where the insects were drawn."""
    return total(score(boxes, _corners(found.get(name, ()))) for name, boxes in night.truth.items())


def print_verdict(job: Mapping[str, Any], console: Console) -> None:
    """Print how the job ended, with the arithmetic, what it found and how fast."""
    colour = "green" if job["status"] == JobState.SUCCESS else "red"
    console.print(
        f"\n[bold {colour}]{job['status']}[/]  job {job['id']}, {escape(job['name'])}", highlight=False, soft_wrap=True
    )
    for certificate in job["certificates"]:
        counts = ", ".join(f"{number} {state}" for state, number in certificate["counts"].items())
        console.print(
            f"  verdict     {certificate['arithmetic']} (failure threshold {certificate['threshold']:g})",
            highlight=False,
            soft_wrap=True,
        )
        console.print(f"  tasks       {job['task_total']}: {counts}", highlight=False, soft_wrap=True)
    console.print(f"  detections  {job['counts'].get('detections', 0)}", highlight=False, soft_wrap=True)
    console.print(f"  speed       {_speed(job)}", highlight=False, soft_wrap=True)


def print_score(found: Score, console: Console) -> bool:
    """Print recall and precision against the truth; returns whether both are what the pipeline owes."""
    good = found.recall >= _GOOD_ENOUGH and found.precision >= _GOOD_ENOUGH
    colour = "green" if good else "red"
    console.print(
        f"  quality     [{colour}]recall {found.recall:.3f}, precision {found.precision:.3f}[/] against the sample"
        f" night's known insects (at least {_GOOD_ENOUGH:g} each)",
        highlight=False,
        soft_wrap=True,
    )
    return good


def print_places(pictures: Pictures, detections: Path, console: Console) -> None:
    """Print where to look."""
    console.print("\nwhere to look", highlight=False, soft_wrap=True)
    console.print(
        f"  boxes, all photos  {pictures.contact_sheet or 'none: no photo could be read'}",
        soft_wrap=True,
        highlight=False,
    )
    console.print(f"  boxes, one by one  {pictures.overlays}{os.sep}", soft_wrap=True, highlight=False)
    console.print(f"  detections         {detections}", soft_wrap=True, highlight=False)
    for name in pictures.unreadable[:5]:
        console.print(f"  (no picture of {name}: it cannot be read)", highlight=False, soft_wrap=True)


def _speed(job: Mapping[str, Any]) -> str:
    if not job["finished_at"]:
        return "-"
    seconds = (_time(job["finished_at"]) - _time(job["created_at"])).total_seconds()
    return f"{(job['task_total'] or 0) / max(seconds, 0.001):.1f} tasks/s ({seconds:.1f} s from submit to verdict)"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _corners(boxes: Iterable[LabelledBox]) -> list[Box]:
    return [(box.x1, box.y1, box.x2, box.y2) for box in boxes]
