"""A run, a job or a capture in a browser, as it is at this moment."""
