"""Read a model, whatever its kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config.losses import LOSS
from ..config.models import MODEL
from ..config.moved import moved
from ..errors import DataError, NanoForgeError
from ..provenance import Manifest
from .base import Model, ModelSpec, read_tensors


def load_model(path: Path, network: str | None = None, loss: str | None = None) -> Model:
    """Read a model of any kind, ready to score; ``network`` and ``loss`` say where the user's own are, if they moved.

    Raises
    ------
    DataError
        When the file is missing, broken, or something else.
    UserError
        When the user's own network or loss cannot be imported.
    """
    try:
        content = read_tensors(path)
        spec = ModelSpec.from_dict(content["spec"]).with_code(network, loss)
        model: Model = spec.options.restore(spec, content)
        return model.eval()
    except NanoForgeError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # torch, LightGBM and what they use have a dozen kinds for what is damaged
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path}: not a model of this version of NanoForge ({reason})") from None


def own_code(trained: Manifest, run: Path) -> set[str]:
    """Name the files or modules of Python that a run imports: its functions, networks and losses that are not ours.

    Raises
    ------
    DataError
        When one of its models is none.
    """
    names = named_code(trained.config)
    for path in sorted(run.glob("fold*/model.pt")):
        spec = read_tensors(path)["spec"]
        try:
            names |= named_code({"model": spec["network"], "training": {"loss": spec["loss"]}})
        except ValueError as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"{path}: not a model of this version of NanoForge ({reason})") from None
    before = Path(trained.details.get("directory", run))
    return {moved(name, before, run.resolve()) if name.endswith(".py") else name for name in names}


def named_code(config: Mapping[str, Any]) -> set[str]:
    """Name the files or modules of Python in an analysis."""
    model, loss = config.get("model"), config.get("training", {}).get("loss")
    specs = [
        *config.get("functions", []),
        *config.get("formats", []),
        *(spec for key in ("functions", "figures") for spec in config.get("evaluation", {}).get(key, ())),
        *(spec for spec in config.get("tracking", {}).get("to", ()) if ":" in spec),
        *(spec for spec in [config.get("dataset", {}).get("format", "")] if ":" in spec),
        None if model is None else MODEL.parse(model).code,
        None if loss is None else LOSS.parse(loss).code,
    ]
    return {str(spec).rpartition(":")[0] for spec in specs if spec is not None}
