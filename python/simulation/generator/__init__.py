"""Events from Pythia 8 or a particle gun, filters on them, and what NanoAOD says of generated particles."""
