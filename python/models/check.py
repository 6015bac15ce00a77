"""What a network of the user's own has to fulfil, looked at on a few rows before the first epoch."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor

from ..console import say
from ..dataset.batch import Batch
from ..errors import DataError, NanoForgeError, UserError, raised_at
from .network import NetworkModel
from .padding import depends_on_padding, equal

ROWS = 8
"""So many rows are enough to see it."""


def check_network(model: NetworkModel, rows: Batch, *, processes: int, last_batch: int) -> None:
    """Refuse a network that would fail, or give other scores elsewhere, after hours of training.

    Parameters
    ----------
    model
        The model as it is before the training, on the CPU; it is left so.
    rows
        Some rows of the training.
    processes
        How many train together: all parameters have to be used then.
    last_batch
        Rows of the last batch of an epoch.

    Raises
    ------
    UserError
        With the class, and what to change in it.
    """
    before = deepcopy(model.state_dict())
    tensors = _presentable(model, rows)
    model.eval()
    with torch.no_grad():
        together = _logits(model, tensors, f"of {len(rows)} rows")
        _check_output(model, together, len(rows))
        _check_repetition(model, tensors, together)
        _check_single_rows(model, tensors, together)
        if depends_on_padding(model.spec, model.logits, tensors, together):
            say(
                f"warning: model.type: the scores of {name_of(model)} change with the number of padded places, so its "
                "ONNX file takes just as many as there are now: where that is not meant, leave them out by the masks"
            )
    _check_training(model, tensors, rows, processes, last_batch)
    model.load_state_dict(before)


def check_export(model: NetworkModel) -> None:
    """Refuse a network that cannot become ONNX, before it is trained.

    Raises
    ------
    UserError
        With the class and the reason.
    """
    from .onnx import export_onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        try:
            export_onnx(model, path, {})
        except DataError as error:
            reason = str(error).removeprefix(f"{path}: ")
            raise UserError(f"model.type: {name_of(model)} cannot be exported: {reason}") from error


def name_of(model: NetworkModel) -> str:
    """Return the name of the network's class, as a user knows it."""
    return type(model.network).__name__


@contextmanager
def explained_network(model: NetworkModel) -> Iterator[None]:
    """Turn what a network of the user's own raises into an error that names class and line."""
    try:
        yield
    except (NanoForgeError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # the user's code may fail in any way
        line = _line(model, error)
        if line is None:
            raise
        raise UserError(f"model.type: {name_of(model)}.forward fails {line} ({_reason(error)}): correct it") from error


def _presentable(model: NetworkModel, rows: Batch) -> dict[str, Tensor]:
    """Return finite inputs; the first row has no constituents."""
    tensors = {name: rows.inputs[name].clone() for name in model.spec.graph_inputs}
    for name, info in model.spec.inputs.items():
        tensors[name] = tensors[name].nan_to_num(0.0, 0.0, 0.0)
        if info.length is not None:
            tensors[f"{name}_mask"][:1] = False
            tensors[name][:1] = 0.0
    return tensors


def _logits(model: NetworkModel, columns: Mapping[str, Tensor], situation: str) -> Tensor:
    tensors = [columns[name] for name in model.spec.graph_inputs]
    copies = [tensor.clone() for tensor in tensors]
    try:
        output: Tensor = model.logits(*tensors)
    except Exception as error:  # the user's code may fail in any way
        line = _line(model, error) or ""
        raise UserError(
            f"model.type: {name_of(model)}.forward fails {line + ' ' if line else ''}on a batch {situation} "
            f"({_reason(error)}): correct it"
        ) from error
    if not all(map(torch.equal, tensors, copies)):
        raise UserError(
            f"model.type: {name_of(model)}.forward changes the features that it is given: write x = x + 1 in place of "
            "x += 1, and relu() in place of relu_()"
        )
    return output


def _check_output(model: NetworkModel, output: Tensor, rows: int) -> None:
    """Check type, shape and values of what the network returns."""
    name, shape = name_of(model), (rows, len(model.spec.outputs))
    if not isinstance(output, Tensor):
        raise UserError(f"model.type: {name}.forward returns a {type(output).__name__}: return a tensor, {shape} here")
    if tuple(output.shape) != shape:
        raise UserError(
            f"model.type: {name}.forward returns the shape {tuple(output.shape)} for {rows} rows and {shape[1]} "
            f"outputs: return {shape}, one line per row (no squeeze(), no mean over the rows)"
        )
    if not output.is_floating_point():
        raise UserError(f"model.type: {name}.forward returns {output.dtype}: return logits or targets as floats")
    bad = ~torch.isfinite(output).all(dim=1)
    if bad.any():
        where = "a row without constituents" if bad[0] and not bad[1:].any() else f"{int(bad.sum())} of {rows} rows"
        raise UserError(
            f"model.type: {name}.forward gives NaN or infinity for {where}: divide by mask.sum(dim=1).clamp(min=1), "
            "and take maxima and softmax with a large negative number in padded places, not with -inf"
        )


def _check_repetition(model: NetworkModel, tensors: Mapping[str, Tensor], together: Tensor) -> None:
    for _ in range(2):
        if not torch.equal(_logits(model, tensors, "again"), together):
            raise UserError(
                f"model.type: {name_of(model)}.forward gives other scores for the same rows when it is called again: "
                "use torch.nn.Dropout, or draw random numbers only 'if self.training', and keep nothing of one call "
                "for the next"
            )


def _check_single_rows(model: NetworkModel, tensors: Mapping[str, Tensor], together: Tensor) -> None:
    for row in range(len(together)):
        alone = _logits(model, {name: tensor[row : row + 1] for name, tensor in tensors.items()}, "of a single row")
        if not isinstance(alone, Tensor) or alone.shape != together[row : row + 1].shape:
            shape = tuple(getattr(alone, "shape", ()))
            raise UserError(
                f"model.type: {name_of(model)}.forward returns the shape {shape} for a single row: return "
                f"{(1, together.shape[1])}, without squeeze()"
            )
        if not equal(alone, together[row : row + 1]):
            raise UserError(
                f"model.type: {name_of(model)}.forward gives other scores for a row alone than among others: sums, "
                "means, sorting and norms must not run over the rows (dim=0)"
            )


def _check_training(
    model: NetworkModel, tensors: Mapping[str, Tensor], rows: Batch, processes: int, last_batch: int
) -> None:
    """Make a step's gradients."""
    name = name_of(model)
    trained = {key: p for key, p in model.named_parameters() if p.requires_grad}
    if not trained:
        raise UserError(f"model.type: {name} has no parameters to train: assign its layers to self in __init__")
    model.train()
    if last_batch == 1:
        one = {key: tensor[:1] for key, tensor in tensors.items()}
        _logits(model, one, "of one row, as the last one of an epoch is with this training.batch_size")
    truth = rows.label if rows.targets is None else model.standardise_targets(rows.targets).nan_to_num()
    assert truth is not None  # noqa: S101 — a dataset has labels or targets
    with explained_network(model):
        total, _ = model.objective.loss(_logits(model, tensors, "in training"), truth, torch.ones(len(rows)))
        total.backward()
    unused = [key for key, p in trained.items() if p.grad is None]
    broken = [key for key, p in trained.items() if p.grad is not None and not torch.isfinite(p.grad).all()]
    model.zero_grad()
    model.eval()
    if broken:
        raise UserError(
            f"model.type: the gradient of {name}'s {broken[0]} is NaN or infinite: sqrt, log, norm and division have "
            "none at 0, where padded places are: add a small number inside"
        )
    if unused:
        text = f"model.type: {name}.forward does not use {', '.join(unused)}"
        if processes > 1:
            raise UserError(f"{text}: several processes cannot train that: remove them, or start without torchrun")
        say(f"warning: {text}")


def _line(model: NetworkModel, error: BaseException) -> str | None:
    """Say where in the file of the network's class an error comes from; None where it does not."""
    if model.spec.options.code is None:
        return None
    file = type(model.network).forward.__code__.co_filename
    return raised_at(error, file).strip() or None


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
