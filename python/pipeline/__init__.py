"""The stages as one graph, written once; what all stages have in common: parts, and how a result comes about."""
