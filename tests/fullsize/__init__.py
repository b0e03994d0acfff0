"""Released checkpoints with random numbers in them, and the rehearsal of every official chain."""
