"""The samples of an analysis as data: datasets and folders with their files, events, sizes and sites."""
