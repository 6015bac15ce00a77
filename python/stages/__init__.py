"""One module per step of the pipeline. Stages meet in files, never in imports of one another."""
