"""Whether jobs stand where they should, and what brings them there."""
