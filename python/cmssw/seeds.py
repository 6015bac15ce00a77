"""Seeds of all random engines of a job: those of two lumi sections of a sample never meet in any engine.

A copy goes to the releases of Run 2 with the commands: this file is Python 2.7 too, and imports nothing of ours.
"""

import zlib

MOST = 900000000
"""HepJamesRandom takes seeds up to this one."""
_WORD = (1 << 64) - 1
_STRIDE = 618033989
"""Has no factor in common with :data:`MOST`, so that lumi sections up to that number have different seeds."""


def number(sample_seed, lumi, step, engine):
    # type: (int, int, str, str) -> int
    """Return the seed of an engine, 1 to :data:`MOST`.

    Where the sequence of a sample begins is a hash of its seed, the step and the engine; within it every lumi section
    has another seed.

    Parameters
    ----------
    sample_seed
        The seed of the sample, the same in all its jobs.
    lumi
        The luminosity section that the job makes.
    step
        "gensim", "digi" and so on: the steps of a job must not repeat each other's random numbers.
    engine
        Label in the RandomNumberGeneratorService: generator, VtxSmeared, g4SimHits, mixData and so on.
    """
    state = sample_seed & _WORD
    for name in (step, engine):
        state = _mix(state ^ (zlib.crc32(name.encode()) & 0xFFFFFFFF))
    return 1 + (state + lumi * _STRIDE) % MOST


def apply(process, step, sample_seed, lumi):
    # type: (object, str, int, int) -> object
    """Seed all engines of a process, and return it; left alone, most have a fixed seed that all jobs share."""
    service = process.RandomNumberGeneratorService  # type: ignore[attr-defined]
    for name in service.parameterNames_():
        engine = getattr(service, name)
        if hasattr(engine, "initialSeed"):
            engine.initialSeed = number(sample_seed, lumi, step, name)
    return process


def _mix(state):
    # type: (int) -> int
    """Scramble 64 bits: the SplitMix64 finaliser (Steele, Lea, Flood, OOPSLA 2014)."""
    state = (state + 0x9E3779B97F4A7C15) & _WORD
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _WORD
    return state ^ (state >> 31)
