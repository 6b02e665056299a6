"""The database as queue, state manager and dispatcher: no server to install."""
