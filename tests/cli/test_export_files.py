"""``headcount export --output``: the file is there when it is whole, and until then the old one stays."""

import os

import pytest

from headcount_images.exports import export
from headcount_images.kinds.detection import DetectionKind
from tests.cli.conftest import assert_one_line
from tests.flow.given import claimed, dispatched, posted, success


@pytest.fixture
def job(deployment, project_id):
    made = dispatched(deployment, 2, project_id)
    posted(deployment, made, [success(task) for task in claimed(deployment, made)])
    return made


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "exports"
    made.mkdir()
    return made


def broken_off(error):
    def parts(self, job_id, export_format):
        yield "the first part\n"
        raise error

    return parts


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("export_format", ["csv", "jsonl", "coco"])
def test_a_file_holds_what_the_terminal_shows(headcount_in_process, job, folder, export_format):
    said = headcount_in_process("export", job.id, "--format", export_format, "--output", folder / "out")
    assert (said.code, said.out, said.err) == (0, "", "")
    assert (folder / "out").read_text(encoding="utf-8") == "".join(export(job.id, export_format))
    assert headcount_in_process("export", job.id, "--format", export_format).out == (folder / "out").read_text()


def test_an_old_file_is_replaced_whole(headcount_in_process, job, folder):
    (folder / "out.csv").write_text("old and much longer than what comes now\n" * 1000)
    assert headcount_in_process("export", job.id, "--output", folder / "out.csv").code == 0
    assert (folder / "out.csv").read_text() == "".join(export(job.id, "csv"))
    assert names(folder) == ["out.csv"]


def test_an_export_that_breaks_off_leaves_the_old_file_and_nothing_else(headcount_in_process, job, folder, monkeypatch):
    (folder / "out.csv").write_text("old")
    monkeypatch.setattr(DetectionKind, "export", broken_off(OSError(28, "No space left on device")))
    assert_one_line(headcount_in_process("export", job.id, "--output", folder / "out.csv"), "No space left", "out.csv")
    assert (folder / "out.csv").read_text() == "old"
    assert names(folder) == ["out.csv"]


def test_an_export_that_is_interrupted_leaves_the_old_file_and_nothing_else(
    headcount_in_process, job, folder, monkeypatch
):
    (folder / "out.csv").write_text("old")
    monkeypatch.setattr(DetectionKind, "export", broken_off(KeyboardInterrupt()))
    assert headcount_in_process("export", job.id, "--output", folder / "out.csv").code == 1
    assert (folder / "out.csv").read_text() == "old"
    assert names(folder) == ["out.csv"]


@pytest.mark.parametrize("arguments", [["4711"], ["1", "--format", "xls"]])
def test_a_refused_export_makes_no_file(headcount_in_process, job, folder, arguments):
    said = headcount_in_process("export", *arguments, "--output", folder / "out.csv")
    assert_one_line(said)
    assert names(folder) == []


def test_a_link_stays_a_link_to_the_file_that_is_replaced(headcount_in_process, job, folder):
    (folder / "real.csv").write_text("old")
    (folder / "link.csv").symlink_to(folder / "real.csv")
    assert headcount_in_process("export", job.id, "--output", folder / "link.csv").code == 0
    assert (folder / "link.csv").is_symlink()
    assert (folder / "real.csv").read_text() == "".join(export(job.id, "csv"))


def test_a_pipe_is_written_to_and_stays_a_pipe(headcount_in_process, job, folder):
    os.mkfifo(folder / "pipe")
    reader = os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert headcount_in_process("export", job.id, "--output", folder / "pipe").code == 0
        assert os.read(reader, 100_000).decode() == "".join(export(job.id, "csv"))
    finally:
        os.close(reader)
    assert (folder / "pipe").is_fifo()


def test_a_folder_is_no_file_to_write(headcount_in_process, job, folder):
    assert_one_line(headcount_in_process("export", job.id, "--output", folder), "is a directory")


def test_a_job_of_a_kind_that_saves_nothing_has_nothing_to_export(headcount_in_process, project_id, folder):
    (folder / "a.jpg").write_bytes(b"")
    job_id = headcount_in_process("import", folder, "--json").json["id"]
    assert_one_line(headcount_in_process("export", job_id), "a import_images job has no export format", "it has: none")
