"""The state of a training on disk: with it, and the seed, an interrupted one goes on as if nothing had been."""

from __future__ import annotations

import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..console import say
from ..errors import DataError
from ..models.base import read_tensors, write_tensors
from ..provenance.manifest import remove
from .history import Epoch
from .rates import RangeTest

LAST, BEST = "last.ckpt", "best.ckpt"


@dataclass
class State:
    """How far a training has come, beside the weights and the optimiser.

    Random numbers need no place here: they follow from the seed, the epoch and the step.

    Attributes
    ----------
    history
        The finished epochs.
    learning_rate
        The one that the schedule scales.
    range_test
        The search for it.
    step
        Steps that are done in the epoch after them.
    numerator, denominator
        Sums over these steps, whose ratio is the training loss.
    seconds
        What they took.
    processes
        How many processes share the rows.
    """

    history: list[Epoch] = field(default_factory=list)
    learning_rate: float = 0.0
    range_test: RangeTest | None = None
    step: int = 0
    numerator: float = 0.0
    denominator: float = 0.0
    seconds: float = 0.0
    processes: int = 1


class Checkpoints:
    """``last.ckpt`` and ``best.ckpt`` of a training.

    Parameters
    ----------
    folder
        Where they lie.
    key
        What the training depends on; a checkpoint of something else is refused.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._last, self._best = folder / LAST, folder / BEST
        self._key = key

    def save(self, state: State, parts: dict[str, Any]) -> None:
        """Write ``last.ckpt``; ``parts`` (model, optimiser ...) have a ``state_dict``."""
        tensors = {name: part.state_dict() for name, part in parts.items()}
        write_tensors({"key": self._key, "state": asdict(state), "parts": tensors}, self._last)

    def restore(self, parts: dict[str, Any], device: torch.device, processes: int) -> State | None:
        """Load ``last.ckpt`` into ``parts``; None where there is none yet.

        Raises
        ------
        DataError
            When it belongs to something else. Where it is damaged the training begins again.
        """
        if not self._last.exists():
            return None
        try:
            content = self._read(self._last, device)
            if content["state"]["history"]:
                self.best()
        except DataError as error:
            say(f"{error}: this training begins again")
            remove(self._last)
            remove(self._best)
            return None
        if content.get("key") != self._key:
            raise DataError(
                f"{self._last}: a checkpoint of another configuration or dataset: remove it, or use another -o"
            )
        state = _state(content["state"])
        if state.step and state.processes != processes:
            raise DataError(
                f"{self._last}: written by {state.processes} processes in the middle of an epoch, and these are "
                f"{processes}: go on with as many, or remove it to begin again"
            )
        state.processes = processes
        for name, part in parts.items():
            part.load_state_dict(content["parts"][name])
        return state

    def save_best(self, weights: dict[str, Tensor]) -> None:
        """Write ``best.ckpt``."""
        write_tensors(weights, self._best)

    def best(self) -> dict[str, Tensor]:
        """Read ``best.ckpt``, to the CPU."""
        return self._read(self._best, torch.device("cpu"))

    @staticmethod
    def _read(path: Path, device: torch.device) -> dict[str, Any]:
        try:
            return dict(read_tensors(path, device))
        except (OSError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError) as error:
            raise DataError(f"{path}: not a checkpoint ({str(error).partition(chr(10))[0]})") from None


def _state(content: dict[str, Any]) -> State:
    state = State(**content)
    state.history = [Epoch(**epoch) for epoch in content["history"]]
    if content["range_test"] is not None:
        state.range_test = RangeTest(**content["range_test"])
    return state
