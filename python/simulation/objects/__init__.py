"""Reconstruction: from candidates to the collections of NanoAOD."""
