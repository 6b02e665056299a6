"""A bar for each stage of a job, with the rate and the time that is left. Needs no database."""

import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from headcount.domain.records import StageProgress
from headcount.domain.states import JobState, Stage

_LOOK_EVERY_SECONDS = 0.25


class RateColumn(ProgressColumn):
    """Shows tasks per second and what is left at that rate."""

    def render(self, task: Task) -> Text:
        """Return the column's text."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        left = "" if task.finished or not task.time_remaining else f", {task.time_remaining:.0f} s left"
        return Text(f"{speed:.0f}/s{left}", style="cyan")


def stage_progress(target: Console) -> Progress:
    """Return the bars, empty yet."""
    return Progress(
        TextColumn("{task.description:<8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[red]{task.fields[failed]} failed[/]"),
        RateColumn(),
        console=target,
    )


class StageBars:
    """Keeps a bar for each stage up to date."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[Stage, TaskID] = {stage: progress.add_task(stage, total=None, failed=0) for stage in Stage}

    def show(self, stage: StageProgress) -> None:
        """Set a stage's bar to what is known of it."""
        self._progress.update(
            self._bars[stage.stage], total=stage.total, completed=stage.accounted, failed=stage.failed
        )


def follow(look: Callable[[], tuple[str, Sequence[StageProgress]]], target: Console) -> str:
    """Show a job's stages until its status is final; returns that status.

    ``look`` returns the status and the stages as they stand now.
    """
    with stage_progress(target) as progress:
        bars = StageBars(progress)
        while True:
            status, stages = look()
            for stage in stages:
                bars.show(stage)
            state = JobState.parse(status)
            if state is not None and state.is_final:
                return status
            time.sleep(_LOOK_EVERY_SECONDS)
