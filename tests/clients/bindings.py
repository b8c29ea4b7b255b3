"""Other people's bindings on our library."""
ALL = {}
