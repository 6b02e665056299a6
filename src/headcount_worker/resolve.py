"""Find the pipeline that ``module:function`` or ``path/to/file.py:function`` names."""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from headcount_worker.errors import StartError
from headcount_worker.pipeline import Pipeline
from headcount_worker.run import reason_of


def resolve_all(references: Sequence[str]) -> list[Pipeline]:
    """Give the pipelines in the order they are named; raises StartError as ``resolve`` does, or for a slug twice."""
    pipelines = [resolve(reference) for reference in references]
    slugs = [pipeline.slug for pipeline in pipelines]
    twice = next((slug for slug in slugs if slugs.count(slug) > 1), None)
    if twice is not None:
        raise StartError(f"two of the pipelines have the slug {twice!r}")
    return pipelines


def resolve(reference: str) -> Pipeline:
    """Import the module or file and give its pipeline; raises StartError with one line that says what is wrong.

    A module is looked for in the working directory as well.
    """
    place, colon, name = reference.rpartition(":")
    if not (place and colon and name):
        raise StartError(f"{reference!r} must look like module:function or path/to/file.py:function")
    module = _imported(place)
    found = getattr(module, name, None)
    if not isinstance(found, Pipeline):
        raise StartError(_not_a_pipeline(module, place, name))
    return found


def _imported(place: str) -> ModuleType:
    try:
        return _from_file(Path(place)) if place.endswith(".py") else _from_name(place)
    except StartError:
        raise
    except (Exception, SystemExit) as error:
        raise StartError(f"cannot import {place}: {reason_of(error)}") from error


def _from_name(name: str) -> ModuleType:
    _look_in(Path.cwd())
    return importlib.import_module(name)


def _from_file(path: Path) -> ModuleType:
    file = path.resolve()
    if not file.is_file():
        raise StartError(f"there is no file {path}")
    name = f"headcount_pipeline_file_{file.stem}_{abs(hash(file)):x}"
    if name in sys.modules:
        return sys.modules[name]
    _look_in(file.parent)
    return _executed(name, file)


def _executed(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise StartError(f"{file.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Registered first, as an import does: dataclasses and pickle look their module up by name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _look_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _not_a_pipeline(module: ModuleType, place: str, name: str) -> str:
    known = [key for key, value in vars(module).items() if isinstance(value, Pipeline)]
    offer = f"; it has these pipelines: {', '.join(sorted(known))}" if known else ""
    if not hasattr(module, name):
        return f"{place} has no {name!r}{offer}"
    return f"{place}:{name} is not a pipeline: decorate it with @pipeline(slug=...){offer}"
