"""Each tool as its own documentation says it is used for windows; each runs in an environment of its own."""
