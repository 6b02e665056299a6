"""NATS asked about many runs at once, and what it holds of runs and of nobody."""

from nats.js.api import AckPolicy, ConsumerConfig

from headcount.domain.records import JobRef
from headcount.engines.nats.connection import Session
from headcount.ports.holdings import HeldRun
from headcount.ports.task_queue import QueueDepth
from headcount.testing.contracts.queue_holder import JOB
from tests.contracts.test_nats_task_queue import Deployment, deployment

__all__ = ["deployment"]


class TestManyRuns:
    def test_more_runs_than_a_server_grants_a_stream_by_default(self, deployment: Deployment) -> None:
        """From 2.15 on it is 1,000; the list of consumers comes 256 at a time, the requests for them 200 at a time."""
        jobs = [JobRef(number, 1) for number in range(1, 1051)]
        for job in jobs:
            deployment.queue.publish(job, [0])
        assert deployment.queue.depths(jobs) == dict.fromkeys(jobs, QueueDepth(1, 0, 0))
        held = deployment.queue.held_runs()
        assert [run.job for run in held.runs] == jobs
        assert all(run.since is not None and run.since.tzinfo is not None for run in held.runs)

    def test_the_depths_of_a_stream_that_was_made_again_are_the_new_ones(self, deployment: Deployment) -> None:
        other = JobRef(8, 1)
        deployment.queue.publish(JOB, range(3))
        deployment.delete_stream()
        assert deployment.queue.depths([JOB, other]) == {JOB: None, other: None}
        assert deployment.queue.held_runs().runs == ()
        elsewhere = deployment.another_process()
        elsewhere.publish(other, range(2))
        assert deployment.queue.depths([JOB, other]) == {JOB: None, other: QueueDepth(2, 0, 0)}
        elsewhere.close()

    def test_what_is_of_no_run_is_reported(self, deployment: Deployment) -> None:
        deployment.queue.publish(JOB, range(3))
        stray = f"{deployment.names.deployment}.tasks.import.yesterday"

        async def put_strays(session: Session) -> None:
            config = ConsumerConfig(durable_name="somebody", filter_subject=stray, ack_policy=AckPolicy.EXPLICIT)
            await session.manager.add_consumer(deployment.names.stream, config)
            await session.client.request(stray, b"", timeout=session.timeout)

        deployment.outsider.run(put_strays)
        held = deployment.queue.held_runs()
        assert [run.job for run in held.runs] == [JOB]
        assert held.unreadable == tuple(sorted([stray, "somebody"]))

    def test_messages_without_a_consumer_are_held_too(self, deployment: Deployment) -> None:
        deployment.queue.publish(JOB, range(3))
        deployment.delete_consumers()
        assert deployment.queue.held_runs().runs == (HeldRun(JOB, None),)
        deployment.queue.remove(JOB)
        assert deployment.queue.held_runs().runs == ()
