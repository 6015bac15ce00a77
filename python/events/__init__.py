"""Columnar events in: files, columns and collections, chunked readers, expressions, lumi masks."""
