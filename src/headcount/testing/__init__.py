"""What tests of Headcount, and of kinds and engines built on it, are made with."""
