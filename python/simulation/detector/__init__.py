"""A parametrised CMS detector: from particles to particle-flow candidates."""
