"""Options of the configurations.

``cmsRun cfg.py --era 2022`` works since 13_3_X; older releases want ``cmsRun cfg.py -- --era 2022``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .eras import ERAS


class Options:
    """A parser to which every configuration adds what it needs; ``defaults`` are those of a ready configuration."""

    def __init__(self, doc: str | None, defaults: dict[str, Any], output: str) -> None:
        self._parser = argparse.ArgumentParser(
            description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )
        self._defaults = defaults
        self.add("--era", choices=list(ERAS), default="2024", help="data-taking era (default: %(default)s)")
        self.add("--output", default=output, help="file to write (default: %(default)s)")
        self.add("--threads", type=int, default=1, help="threads (default: %(default)s)")
        self.add("--conditions", help="another global tag than the era's")
        self.add("--modifiers", help="other modifiers than the era's, as of cmsDriver's --era")

    def add(self, name: str, **settings: Any) -> None:
        """Add an option, as ``argparse`` does."""
        self._parser.add_argument(name, **settings)

    def generation(self) -> None:
        """Add what generates events."""
        self.add("--generator", help="block of an analysis file, frozen by 'nanoforge cmsrun'")
        self.add("--gun", type=int, help="shoot this PDG id instead")
        self.add("--pt", type=float, nargs=2, default=[20.0, 100.0], help="of the gun, GeV (default: 20 100)")
        self.add("--eta", type=float, nargs=2, default=[-2.5, 2.5], help="of the gun (default: -2.5 2.5)")
        self.add("--mass", type=float, nargs=2, help="of the gun, GeV")
        self.add("--antiparticle", action="store_true", help="shoot its antiparticle back to back, too")
        self.add("--settings", nargs="+", default=[], help="Pythia 8 settings, instead of or beside the gun")
        self.add("--events", type=int, default=None, help="events that pass the filters (default: the block's, or 10)")
        self.add("--tries", type=int, default=-1, help="events to try at most; -1: as many as it takes")
        self.add("--seed", type=int, default=None, help="of the sample's random numbers (default: the block's, or 1)")
        self.add("--lumi", type=int, default=1, help="luminosity section, another for each job (default: %(default)s)")

    def reading(self) -> None:
        """Add what reads events."""
        self.add("--input", nargs="+", required=not self._defaults.get("input"), help="files")
        self.add("--events", type=int, default=-1, help="events to read; -1 is all")

    def parse(self) -> argparse.Namespace:
        """Return the options of this job; an unknown default is an error."""
        names = {action.dest for action in self._parser._actions}
        unknown = set(self._defaults) - names
        if unknown:
            raise TypeError(f"no such option: {', '.join(sorted(unknown))}")
        self._parser.set_defaults(**self._defaults)
        return self._parser.parse_args(script_arguments(sys.argv))


def script_arguments(argv: Sequence[str]) -> list[str]:
    """Return what follows the configuration's name, which is the second word of ``cmsRun cfg.py ...`` before 13_3_X."""
    position = next((i for i, argument in enumerate(argv[:2]) if argument.endswith(".py")), 0)
    rest = list(argv[position + 1 :])
    return rest[1:] if rest[:1] == ["--"] else rest


def beside(name: str) -> str:
    """Return the path of a file beside the configuration; where the configuration is not known, the name as it is."""
    configuration = next((argument for argument in sys.argv[:2] if argument.endswith(".py")), "")
    path = Path(configuration).with_name(name) if configuration else Path(name)
    return str(path) if path.exists() else name
