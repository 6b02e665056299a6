"""What happens to a job, one verb in each module, each handed the engines it works with."""
