"""Example pipelines, to run a first job with and to start one's own from."""
