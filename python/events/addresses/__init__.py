"""Protocols of addresses that need more than fsspec: a file for each."""
