"""Pictures of the demonstration: a synthetic night to work on, and drawings that show what a pipeline found."""
