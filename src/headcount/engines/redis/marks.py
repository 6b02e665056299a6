"""Marks in the forms in which they travel to Redis."""

from collections.abc import Iterable
from dataclasses import dataclass

from headcount.domain.states import STATE_MANAGER_STAGES, Stage
from headcount.ports.state_manager import Mark

_BITS_OF_A_BYTE = 8
_HIGHEST_BIT = 0x80


@dataclass(frozen=True, slots=True)
class StageBits:
    """One stage's tasks as bitmaps: those accounted, and those of them that failed.

    Bits are numbered as Redis numbers them: ordinal 0 is the highest bit of the first byte.
    """

    accounted: bytearray
    failed: bytearray


def ordinals_of(marks: Iterable[Mark]) -> list[str]:
    """Return the ordinals with commas between: for each counted stage those that are done, then those that failed.

    Of several marks for a task the first counts; a mark of a stage that is not counted is ignored.
    """
    first: dict[Stage, dict[int, bool]] = {stage: {} for stage in STATE_MANAGER_STAGES}
    for mark in marks:
        if mark.stage in first and mark.ordinal >= 0:
            first[mark.stage].setdefault(mark.ordinal, mark.failed)
    return [_text(outcomes, failed) for outcomes in first.values() for failed in (False, True)]


def bits_of(marks: Iterable[Mark], total: int) -> dict[Stage, StageBits]:
    """Return the bitmaps of every counted stage of a run of ``total`` tasks.

    Of several marks for a task the first counts; a mark of no task of the run, or of a stage that is not counted, is
    ignored.
    """
    stages = {stage: _empty(total) for stage in STATE_MANAGER_STAGES}
    for mark in marks:
        stage = stages.get(mark.stage)
        if stage is not None and 0 <= mark.ordinal < total:
            _set(stage, mark)
    return stages


def _text(outcomes: dict[int, bool], failed: bool) -> str:  # noqa: FBT001 - read beside the loop that passes it
    return ",".join([str(ordinal) for ordinal, has_failed in outcomes.items() if has_failed == failed])


def _empty(total: int) -> StageBits:
    size = -(-total // _BITS_OF_A_BYTE)
    return StageBits(bytearray(size), bytearray(size))


def _set(stage: StageBits, mark: Mark) -> None:
    position, bit = divmod(mark.ordinal, _BITS_OF_A_BYTE)
    mask = _HIGHEST_BIT >> bit
    if stage.accounted[position] & mask:
        return
    stage.accounted[position] |= mask
    if mark.failed:
        stage.failed[position] |= mask
