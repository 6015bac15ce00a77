"""The folder of a chain: the script of its steps, what they need, and the configurations that all jobs share."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from ..cmssw import chain as script
from ..cmssw import commands, seeds
from ..cmssw.eras import ERAS
from ..cmssw.gen import label
from ..console import say
from ..errors import DataError
from ..version import __version__
from . import pileup, systems
from .generation import checked_block, fragment, sources
from .plan import Production
from .plugin_filters import sources_of

DESCRIPTION, SKIM = "chain.json", "skim.json"
FOLDER = "chain"
"""Beside an analysis file: the chains of its samples."""


@dataclass(frozen=True)
class StepOfChain:
    """One step as a job sees it: where it runs, and the label of what writes its file."""

    name: str
    release: str
    arch: str
    system: str
    conditions: str
    module: str


@dataclass(frozen=True)
class Chain:
    """A chain that is ready to run.

    Attributes
    ----------
    folder
        Where it lies.
    sample, era, seed
        What it makes, and the seed of the sample.
    steps
        In order.
    filters
        Labels of the filters on generated events.
    accepted
        Whether one on simulated events follows.
    skimmed
        Whether NanoAOD is made of some events only.
    pileup
        The SHA-256 of the list of premixed files; "none" where nothing is mixed in.
    """

    folder: Path
    sample: str
    era: str
    seed: int
    steps: tuple[StepOfChain, ...]
    filters: tuple[str, ...]
    accepted: bool
    skimmed: bool
    pileup: str

    @classmethod
    def read(cls, folder: Path) -> Chain:
        """Read what :func:`make` made; raises a :class:`DataError` where it is something else."""
        try:
            content = json.loads((folder / DESCRIPTION).read_text())
            content["steps"] = tuple(StepOfChain(**step) for step in content["steps"])
            content["filters"] = tuple(content["filters"])
            return cls(folder=folder, **content)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(f"{folder / DESCRIPTION}: not the chain of a production, or damaged ({error})") from None

    @property
    def premixed(self) -> list[str]:
        """The premixed files."""
        path = self.folder / pileup.LIST
        return path.read_text().split("\n")[:-1] if path.exists() else []

    def configuration(self, step: str) -> Path:
        """Return the configuration of a step that all jobs share."""
        return self.folder / f"{step}_cfg.py"

    def sha256(self, step: str) -> str:
        """Return the checksum of such a configuration, without its comments: these may tell the time."""
        lines = self.configuration(step).read_text(errors="replace").splitlines()
        return hashlib.sha256("\n".join(line for line in lines if not line.startswith("#")).encode()).hexdigest()


def make(production: Production, folder: Path) -> None:
    """Write the chain of a production into a new folder.

    Raises
    ------
    UserError
        When no release can generate the sample, or its pile-up is nowhere on disk.
    """
    first = ERAS[production.era].steps["gensim"]
    block = checked_block(
        production.generator, production.sample, production.era, production.acceptance, production.filters
    )
    text, package = fragment(block, production.era, first.python3)
    mixed = pileup.files(production)
    steps = script.steps(
        production.era, production.produce.chain, "fragment.py", package, production.acceptance is not None,
        SKIM if production.skim else None, mixed[0] if mixed else None, production.candidates,
    )  # fmt: skip
    folder.mkdir(parents=True)
    files: dict[str, str | bytes] = {
        "fragment.py": text,
        script.SCRIPT: script.script(production.era, production.sample, "fragment.py", steps, __version__),
        script.JOB: Path(seeds.__file__).with_name("job.py").read_text(),
        commands.SEEDS: Path(seeds.__file__).read_text(),
        DESCRIPTION: json.dumps(_description(production, block, steps, mixed), indent=1) + "\n",
    }
    if any(step.package for step in steps):
        files[commands.SOURCES] = sources(sources_of(production.filters))
    if production.skim:
        files[SKIM] = json.dumps([cut.model_dump(mode="json") for cut in production.skim], indent=1) + "\n"
    if mixed:
        files[pileup.LIST] = "".join(f"{name}\n" for name in mixed)
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def _description(
    production: Production, block: dict[str, Any], steps: Sequence[script.ChainStep], mixed: Sequence[str]
) -> dict[str, Any]:
    rows = [asdict(StepOfChain(s.name, s.row.release, s.row.arch, s.system, s.row.conditions, s.module)) for s in steps]
    return {
        "sample": production.sample, "era": production.era, "seed": production.generator.seed, "steps": rows,
        "filters": [label(name, "Filter") for name in (*block["filters"], *block.get("plugins", {}))],
        "accepted": production.acceptance is not None,
        "skimmed": bool(production.skim) and steps[-1].name == "nano",
        "pileup": pileup.sha256(mixed) if mixed else "none",
    }  # fmt: skip


def make_all(productions: Iterable[Production], folder: Path) -> None:
    """Write the chains of several samples into a folder, and let releases make their configurations if they are here.

    Otherwise each job does that before it runs a step.
    """
    for production in productions:
        make(production, folder / production.sample)
    if not systems.is_here():
        say(f"{systems.software()} is not on this machine: jobs make the configurations of their steps themselves")
        return
    with tempfile.TemporaryDirectory(prefix=".areas", dir=folder) as areas:
        for production in productions:
            chain = Chain.read(folder / production.sample)
            for step in chain.steps:
                say(f"{chain.sample}: {step.name} is configured by {step.release}")
                with (Path(areas) / "log").open("wb") as log:
                    configure(chain, step, Path(areas), log)


def configure(chain: Chain, step: StepOfChain, areas: Path, log: IO[bytes]) -> None:
    """Let the release of a step make its configuration.

    Parameters
    ----------
    chain, step
        The chain, in a folder that can be written, and the step.
    areas
        Where releases are set up.
    log
        Gets what the tools say.

    Raises
    ------
    DataError
        When it fails.
    """
    code = call(chain, step, "configure", areas, areas, log)
    if code or not chain.configuration(step.name).exists():
        last = last_lines(Path(log.name), 1)
        raise DataError(
            f"{chain.sample}, step {step.name}: {step.release} makes no configuration (exit code {code}): {last}"
        )


def call(chain: Chain, step: StepOfChain, action: str, folder: Path, areas: Path, log: IO[bytes], *words: str) -> int:
    """Run the script of a chain in a folder, in the operating system of a step; returns the exit code."""
    argv = ["bash", str(chain.folder.resolve() / script.SCRIPT), action, step.name, *words]
    folders = dict.fromkeys(path.resolve() for path in (folder, areas, chain.folder))
    argv = systems.inside(step.system, argv, list(folders))
    environment = systems.environment({"NANOFORGE_AREAS": str(areas.resolve())})
    done = subprocess.run(  # noqa: S603 - no shell, and the words are ours
        argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
    )
    return done.returncode


def last_lines(log: Path, count: int) -> str:
    """Return the last lines of a log."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return "\n".join(lines[-count:])
