"""The engines on Redis: the state manager of the distributed deployment."""
