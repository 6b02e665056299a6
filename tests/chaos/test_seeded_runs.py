"""Two hundred seeded runs of small jobs, on engines in memory and on those of the embedded deployment."""

import pytest

from headcount.testing.chaos.ground import Ground
from headcount.testing.chaos.plan import plan, plans
from headcount.testing.chaos.run import run
from tests.chaos.grounds import GROUNDS

pytestmark = pytest.mark.django_db(transaction=True)

SEEDS, CHUNK, TASKS = 200, 5, 12
JOBS = 3


def broken(ground: Ground, seed: int, jobs: int) -> list[str]:
    """What did not hold in a run, each with the command that repeats it."""
    outcomes = run(ground, plans(seed, jobs, TASKS))
    assert len(outcomes) == jobs
    assert all(outcome.plan == plan(seed, TASKS) for outcome in outcomes if outcome.plan.seed == seed)
    command = f"headcount chaos --seed {seed} --jobs {jobs} --tasks {TASKS} --runs 1"
    return [f"{command}: {outcome}" for outcome in outcomes if not outcome.held]


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_whatever_goes_wrong_every_count_is_exact_and_the_job_ends_as_it_must(first: int) -> None:
    for seed in range(first, first + CHUNK):
        assert broken(GROUNDS["memory" if seed % 2 else "database"](), seed, jobs=1) == []


@pytest.mark.parametrize("engines", GROUNDS)
@pytest.mark.parametrize("seed", range(5))
def test_jobs_beside_each_other_hold_as_well(engines: str, seed: int) -> None:
    assert broken(GROUNDS[engines](), seed, JOBS) == []
