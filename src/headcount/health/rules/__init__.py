"""What can be the matter with a job, one family of findings in each module. Pure: no Django, no I/O, no clock."""
