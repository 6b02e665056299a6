"""What the flow needs from an engine. Each port is small and has one contract suite that every engine passes."""
