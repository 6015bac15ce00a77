"""Histograms of expressions: asked for as in ROOT's ``TTree::Draw``, filled in one pass over the files, and drawn."""
