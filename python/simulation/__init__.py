"""Embedded generation: Pythia 8, generator-level objects, a parametrised detector, NanoAOD-like columns."""
