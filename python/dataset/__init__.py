"""Training data on disk: rows and inputs, splits, normalisation, layouts, writers and readers."""
