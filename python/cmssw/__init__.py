"""What runs inside a CMSSW release: with FWCore, the release's own Python and the standard library only."""
