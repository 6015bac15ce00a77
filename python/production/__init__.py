"""Chains of cmsRun: what a release needs, one lumi section after another, and what came of them."""
