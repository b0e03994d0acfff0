"""EscherNet."""
