"""The engines: each stands behind a port and knows ports and domain only, never another engine."""
