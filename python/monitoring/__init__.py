"""Whether files and servers look like the training: filled in one pass, judged, drawn."""
