# what sets up the tools of a release: here they are on PATH
