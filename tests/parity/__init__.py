"""Numbers of the authors' own programs, and the command that holds ours against them."""
