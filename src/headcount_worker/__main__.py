"""Lets ``python -m headcount_worker`` be the worker."""

from headcount_worker.cli import main

if __name__ == "__main__":
    main()
