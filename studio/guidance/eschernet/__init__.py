"""EscherNet: any number of posed pictures in, any number of views out, made together."""
