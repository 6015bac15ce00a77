"""Distributions of features and scores, counted in bounded memory, and how far others are from the training's."""
