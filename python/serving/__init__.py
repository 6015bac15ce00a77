"""Scores of trained models, wherever they are wanted: for files, for arrays in memory."""
