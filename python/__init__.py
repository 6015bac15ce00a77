"""NanoForge: from a CMS physics process to a trained, deployed model with one analysis file.

Everything that the commands do can be done in Python. Nothing is imported before it is used:

>>> import nanoforge
>>> analysis = nanoforge.load("analysis.yaml", ["training.epochs=5"])  # doctest: +SKIP
>>> nanoforge.convert(analysis, "dataset", jobs=4)  # doctest: +SKIP
>>> nanoforge.train(analysis, "dataset", "run")  # doctest: +SKIP
>>> nanoforge.load_model("run")(events)["signal"]  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .api.dataset import Dataset as open_dataset  # noqa: N813 - one opens it by calling the class
    from .api.events import Events as open_events  # noqa: N813
    from .api.model import load_model
    from .config import load
    from .errors import DataError, NanoForgeError, UserError
    from .stages.convert import convert
    from .stages.evaluate import evaluate
    from .stages.export import export as export_model
    from .stages.generate import generate
    from .stages.predict import predict
    from .stages.produce import produce
    from .stages.skim import skim
    from .stages.train import train
    from .workflow import run_all as run

__all__ = [
    "DataError", "NanoForgeError", "UserError", "__version__", "convert", "evaluate", "export_model", "generate",
    "load", "load_model", "open_dataset", "open_events", "predict", "produce", "run", "skim", "train",
]  # fmt: skip

_STAGES = ("convert", "evaluate", "generate", "predict", "produce", "skim", "train")
_SOURCES = {
    "export_model": ("stages.export", "export"),  # `nanoforge.export` is a package
    "load": ("config", "load"),
    "load_model": ("api.model", "load_model"),
    "open_dataset": ("api.dataset", "Dataset"),
    "open_events": ("api.events", "Events"),
    "run": ("workflow", "run_all"),
    **{name: ("errors", name) for name in ("DataError", "NanoForgeError", "UserError")},
    **{name: (f"stages.{name}", name) for name in _STAGES},
}


def __getattr__(name: str) -> Any:
    if name not in _SOURCES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _SOURCES[name]
    return getattr(import_module(f".{module}", __name__), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
