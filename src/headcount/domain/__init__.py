"""The rules: pure functions over frozen records. No Django, no I/O, no clock of their own."""
