"""What ``import nanoforge`` offers beside the stages: events, datasets and models in Python."""
