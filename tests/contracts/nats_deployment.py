"""A NATS queue of a test's own, and somebody who looks at and harms what is on the server."""

from datetime import timedelta
from itertools import count

from nats.js.api import RetentionPolicy, StreamConfig

from headcount.engines.nats.connection import NatsConnection, Session
from headcount.engines.nats.names import Names
from headcount.engines.nats.queue import NatsTaskQueue
from headcount.testing.clock import FrozenClock
from headcount.testing.contracts.queue_holder import LONG, Holder
from headcount.testing.servers import PrivateServer

TIMEOUT = timedelta(seconds=1)
numbers = count()
"""What tells the deployments on a shared server apart."""


def stream_of(names: Names, max_consumers: int | None = None) -> StreamConfig:
    """A deployment's stream, as an older one or somebody else made it."""
    return StreamConfig(
        name=names.stream,
        subjects=[names.subjects],
        retention=RetentionPolicy.WORK_QUEUE,
        max_consumers=max_consumers,
    )


class Deployment:
    """A queue of its own, and a second connection that looks at and harms what is on the server."""

    def __init__(self, server: PrivateServer, clock: FrozenClock, name: str) -> None:
        self.names = Names(name)
        self.queue = NatsTaskQueue([server.url], deployment_name=name, lease=LONG, timeout=TIMEOUT)
        self.holder = Holder(self.queue, clock, LONG)
        self.outsider = NatsConnection([server.url], name="outsider", timeout=TIMEOUT)
        self._server = server

    def another_process(self) -> NatsTaskQueue:
        """A queue of the same deployment that remembers nothing of this one's."""
        return NatsTaskQueue([self._server.url], deployment_name=self.names.deployment, lease=LONG, timeout=TIMEOUT)

    def delete_stream(self) -> None:
        self.outsider.run(lambda session: session.manager.delete_stream(self.names.stream))

    def make_stream(self, max_consumers: int | None) -> None:
        self.outsider.run(lambda session: session.manager.add_stream(stream_of(self.names, max_consumers)))

    def forbid_deletion(self) -> None:
        async def work(session: Session) -> None:
            config = (await session.manager.stream_info(self.names.stream)).config
            await session.manager.update_stream(config.evolve(deny_delete=True))

        self.outsider.run(work)

    def delete_consumers(self) -> None:
        async def work(session: Session) -> None:
            for info in await session.manager.consumers_info(self.names.stream):
                await session.manager.delete_consumer(self.names.stream, info.name)

        self.outsider.run(work)

    def close(self) -> None:
        self.queue.close()
        self.outsider.close()
