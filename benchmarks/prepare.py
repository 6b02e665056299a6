"""Makes a collection of N images, a pipeline and a token in the deployment of the environment; prints the token."""

import json
import sys

import headcount.cli.setup as deployment_setup
from benchmarks.workload import PIPELINE, image_name


def main() -> None:
    """Fill the database and print ``{"token": ...}``."""
    deployment_setup.prepare_database()
    from headcount.clock import system_clock  # noqa: PLC0415
    from headcount.domain.states import Scope  # noqa: PLC0415
    from headcount.store import jobs, registry, tokens  # noqa: PLC0415
    from headcount_images.models import Collection, Image  # noqa: PLC0415

    project_id = jobs.ensure_project("bench")
    registry.register(project_id, "bench", [registry.PipelineOffer(PIPELINE, PIPELINE, "1")], system_clock())
    collection = Collection.objects.create(project_id=project_id, name=f"bench-{sys.argv[1]}")
    Image.objects.bulk_create(
        (
            Image(collection=collection, name=image_name(number), path="/dev/null", width=1600, height=1200, size=1)
            for number in range(int(sys.argv[1]))
        ),
        batch_size=5000,
    )
    print(json.dumps({"token": tokens.create(project_id, "bench", list(Scope))}))


if __name__ == "__main__":
    main()
