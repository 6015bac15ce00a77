"""The models, one file each: options, and the network or the fit."""
