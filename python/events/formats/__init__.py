"""Formats of tables of events: a file for each."""
