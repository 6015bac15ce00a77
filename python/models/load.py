"""Read a model, whatever its kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config.moved import moved
from ..errors import DataError, NanoForgeError
from ..provenance import Manifest
from .base import Model, ModelSpec, read_tensors
from .network import NetworkModel


def load_model(path: Path, network: str | None = None) -> Model:
    """Read a model of any kind, ready to score; ``network`` says where the user's own is, if it has moved.

    Raises
    ------
    DataError
        When the file is missing, broken, or something else.
    UserError
        When the user's own network cannot be imported.
    """
    try:
        content = read_tensors(path)
        spec = ModelSpec.from_dict(content["spec"])
        if network is not None:
            spec.network["network"] = network
        return _kind(spec).restore(spec, content).eval()
    except NanoForgeError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # torch, LightGBM and what they use have a dozen kinds for what is damaged
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path}: not a model of this version of NanoForge ({reason})") from None


def _kind(spec: ModelSpec) -> type[Model]:
    if spec.network["type"] == "lightgbm":
        from .trees import TreeModel

        return TreeModel
    return NetworkModel


def own_code(trained: Manifest, run: Path) -> set[str]:
    """Name the files or modules of Python that a run imports: its functions, and networks that are not ours."""
    names = named_code(trained.config)
    for path in sorted(run.glob("fold*/model.pt")):
        names |= named_code({"model": read_tensors(path)["spec"]["network"]})
    before = Path(trained.details.get("directory", run))
    return {moved(name, before, run.resolve()) if name.endswith(".py") else name for name in names}


def named_code(config: Mapping[str, Any]) -> set[str]:
    """Name the files or modules of Python in an analysis."""
    model = config.get("model", {})
    specs = [
        *config.get("functions", []),
        *config.get("formats", []),
        *(spec for specs in config.get("evaluation", {}).values() for spec in specs),
        *(spec for spec in [config.get("dataset", {}).get("format", "")] if ":" in spec),
        *([model["network"]] if model.get("type") == "custom" else []),
    ]
    return {str(spec).rpartition(":")[0] for spec in specs}
