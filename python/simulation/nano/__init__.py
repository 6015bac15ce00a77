"""Generated blocks as files that look like NanoAOD."""
