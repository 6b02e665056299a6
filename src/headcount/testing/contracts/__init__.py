"""What every engine of a port must do: subclass a contract, say how to make the engine, and pytest runs the rest."""
