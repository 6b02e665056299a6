"""The queue on NATS JetStream: one work-queue stream per deployment, one durable pull consumer per run."""
