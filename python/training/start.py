"""The model that a training begins with: new, or with weights of another run, some of which stay as they are."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from torch import Tensor, nn

from ..console import say
from ..dataset.source import TrainingData
from ..errors import UserError
from ..models.base import ModelSpec
from ..models.load import load_model
from ..models.network import NetworkModel
from .preparation import fit_preparations
from .processes import Processes


def new_model(spec: ModelSpec, dataset: TrainingData, fold: int, processes: Processes | None = None) -> NetworkModel:
    """Make a model that knows the normalisation of its fold; weights come from torch's random generator.

    Of several ``processes``, all of which make it, the first one reads what the normalisation does not tell.
    """
    model = NetworkModel(spec)
    for name, (center, scale) in dataset.normalisation(fold).items():
        model.set_normalisation(name, center, scale)
    if processes is None or processes.first:
        fit_preparations(model, dataset, fold, 1 if processes is None else processes.count)
    if processes is not None and len(model.preparations):
        state: dict[str, Tensor] = processes.broadcast(model.preparations.state_dict())
        model.preparations.load_state_dict(state)
    if spec.task == "regression":
        model.set_normalisation("target", *dataset.target_moments(fold))
    return model


def take_weights(model: NetworkModel, path: Path) -> list[str]:
    """Take over the layers of a saved model that have the same name and shapes, and say which are new.

    The normalisation of an input belongs to the weights, and comes with them where both models have its features.

    Returns
    -------
    list of str
        The parameters that are new.

    Raises
    ------
    UserError
        When no parameter fits.
    """
    other = load_model(path)
    if not isinstance(other, NetworkModel):
        raise UserError(f"training.init.run: {path} is no network: remove 'init', or name the run of a network")
    target, source = model.state_dict(), other.state_dict()
    changed = [name for name, info in model.spec.inputs.items() if other.spec.inputs.get(name) != info]
    foreign = {f"{name}_{statistic}" for name in changed for statistic in ("center", "scale")}
    foreign |= {n for n in target if n.startswith(tuple(f"preparations.{name}." for name in changed))}
    if model.spec.targets != other.spec.targets:
        foreign |= {"target_center", "target_scale"}
    foreign |= {n for n, t in target.items() if n not in source or source[n].shape != t.shape}
    layers = {layer for layer in map(_layer, foreign) if layer}
    fitting = {n: source[n] for n in target if n not in foreign and _layer(n) not in layers}
    parameters = [name for name, _ in model.named_parameters()]
    new = [name for name in parameters if name not in fitting]
    if len(new) == len(parameters):
        raise UserError(f"training.init.run: {path} has no layer of the same name and shapes: use the same model.type")
    model.load_state_dict(fitting, strict=False)
    remark = f"; new are {', '.join(new)}" if new else ""
    say(f"{len(parameters) - len(new)} of {len(parameters)} parameters are those of {path}{remark}")
    return new


def _layer(name: str) -> str:
    """Return the layer that a parameter belongs to; the normalisation belongs to none."""
    return name.rpartition(".")[0]


def freeze(model: nn.Module, patterns: Sequence[str], new: Collection[str] = ()) -> None:
    """Exclude the parameters whose whole names match one of the regular expressions from the training.

    Raises
    ------
    UserError
        When an expression matches none, or a ``new`` one, which is random and would stay so, or nothing is left to
        train.
    """
    parameters = dict(model.named_parameters())
    for pattern in patterns:
        matching = [name for name in parameters if re.fullmatch(pattern, name)]
        if not matching:
            raise UserError(
                f"training.init.freeze: {pattern!r} matches no parameter; there are {', '.join(parameters)}"
            )
        random = [name for name in matching if name in new]
        if random:
            raise UserError(
                f"training.init.freeze: {pattern!r} would freeze {', '.join(random)}, which training.init.run lacks or "
                "has with another shape: it would stay random: freeze less, or make the layer as it is there"
            )
        for name in matching:
            parameters[name].requires_grad = False
    if not any(p.requires_grad for p in parameters.values()):
        raise UserError("training.init.freeze: no parameter is left to train: freeze fewer")


def train_mode(model: nn.Module) -> None:
    """Set a model to training, but leave what is frozen as it is: batch normalisation has averages, too."""
    model.train()
    for module in model.modules():
        parameters = list(module.parameters(recurse=False))
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()
