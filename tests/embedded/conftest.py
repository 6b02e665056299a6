"""Fresh deployments for tests that kill real processes."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.embedded.system import Processes, System, run_headcount


@dataclass(frozen=True)
class Prepared:
    """A data directory with its tables, a project and a token, to be copied."""

    data_dir: Path
    token: str
    project_id: int


@dataclass(frozen=True)
class Gate:
    """The gated pipeline of one test, in a folder of its own."""

    folder: Path

    def allow(self, images: int) -> None:
        """Let every worker process do so many images before it blocks."""
        draft = self.folder / "draft"
        draft.write_text(str(images))
        draft.rename(self.folder / "allowed")

    def open(self) -> None:
        """Let every worker do whatever there is."""
        self.allow(1_000_000)

    def computed(self) -> list[str]:
        """The ids of the images that were done, once for each time."""
        file = self.folder / "computed"
        return [line.split()[1] for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Made once, with the command that a user would take."""
    data_dir = tmp_path_factory.mktemp("prepared")
    scopes = [word for scope in ("work", "submit", "read") for word in ("--scope", scope)]
    done = run_headcount(data_dir, "token", "create", *scopes, "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    return Prepared(data_dir, made["token"], made["project_id"])


@pytest.fixture
def system(prepared: Prepared, tmp_path: Path, free_port: int) -> Iterator[System]:
    """A deployment of this test's own; its server is not running yet."""
    data_dir = tmp_path / "data"
    shutil.copytree(prepared.data_dir, data_dir)
    made = System(data_dir, free_port, prepared.token, prepared.project_id)
    yield made
    made.close()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Commands on a data directory that is not there yet."""
    made = Processes(tmp_path / "data")
    yield made
    made.kill_all()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """The gated pipeline, closed."""
    folder = tmp_path / "pipeline"
    folder.mkdir()
    shutil.copy(Path(__file__).with_name("gated.py"), folder)
    made = Gate(folder)
    made.allow(0)
    return made
