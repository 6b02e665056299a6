"""``headcount demo``."""

import sys
from pathlib import Path

import click
from rich.console import Console

from headcount_images.demo import report, scenario
from headcount_images.demo.processes import Processes

_INTERRUPTED = 130


@click.command()
@click.argument("photos", required=False, type=click.Path(path_type=Path))
@click.option(
    "--data-dir",
    default="demo-data",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where everything is kept; a second run goes on there.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Worker processes to start.")
@click.option("--images", type=click.IntRange(1, 10_000), default=120, show_default=True, help="Photos to draw.")
@click.option("--seed", type=int, default=2024, show_default=True, help="Seed of the sample night.")
def demo(photos: Path | None, data_dir: Path, workers: int, images: int, seed: int) -> None:
    """Do a whole job before your eyes: import, detect with pull workers over HTTP, account for every task.

    PHOTOS is a folder of your own; without one, a synthetic sample night with known insects is drawn. Everything stays
    in the data directory; Ctrl-C stops everything that was started. Exit 0 only if the job ended SUCCESS, its audit is
    clean, and the boxes agree with the sample night.
    """
    console = Console()
    try:
        good = _run(photos, data_dir.absolute(), workers, images, seed, console)
    except KeyboardInterrupt:
        console.print("\nstopped; nothing is left running")
        sys.exit(_INTERRUPTED)
    sys.exit(0 if good else 1)


def _run(folder: Path | None, data_dir: Path, workers: int, images: int, seed: int, console: Console) -> bool:
    photos = scenario.gather_photos(folder, data_dir, images, seed, console)
    with Processes(data_dir) as processes:
        running = scenario.start_server(processes, console)
        try:
            collection = scenario.import_photos(running, photos, console)
            scenario.start_workers(running, processes, workers, console)
            job = scenario.detect(running, collection, processes, console)
            return _conclude(running, photos, job, data_dir, console)
        finally:
            running.client.close()


def _conclude(
    running: scenario.Running, photos: scenario.Photos, job: dict[str, object], data_dir: Path, console: Console
) -> bool:
    job_id = int(str(job["id"]))
    results = data_dir / "results" / f"job-{job_id}"
    found = report.found_by_photo(running.client, job_id)
    detections = report.write_detections(running.client, job_id, results)
    title = f"job {job_id}: {sum(map(len, found.values()))} detections"
    pictures = report.draw_pictures(photos, found, results, f"SYNTHETIC, {title}" if photos.night else title)
    report.print_verdict(job, console)
    good = job["status"] == "SUCCESS"
    if photos.night is not None:
        good &= report.print_score(report.score_against(photos.night, found), console)
    report.print_places(pictures, detections, console)
    _print_way_back(running, job_id, data_dir, console)
    return _audit(running, job_id, console) and good


def _print_way_back(running: scenario.Running, job_id: int, data_dir: Path, console: Console) -> None:
    headcount = f"{sys.executable} -m headcount --data-dir {data_dir}"
    console.print(
        f"  the server again   {headcount} serve   (then {running.url}/api/v2/docs)", soft_wrap=True, highlight=False
    )
    console.print(f"  the job's log      {headcount} show {job_id} --log", soft_wrap=True, highlight=False)


def _audit(running: scenario.Running, job_id: int, console: Console) -> bool:
    audit = running.client.get(f"jobs/{job_id}/audit")
    console.print(f"\n{audit['line']}", style="green" if audit["clean"] else "red", highlight=False, soft_wrap=True)
    for offence in audit["offences"]:
        console.print(f"  {offence}", style="red", highlight=False)
    return bool(audit["clean"])
