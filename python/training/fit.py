"""The training of one model: epochs of steps, validation, the best weights, and the way back after an interruption.

The loop is written out: Lightning's Trainer would cost 15 to 19 % per step of a small network on a CPU.
"""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..balance.balancer import Balancer
from ..config.training import Training
from ..console import Bar, progress, say
from ..dataset.batch import Batch, on_device
from ..dataset.source import TrainingData
from ..errors import TrainingError
from ..models.check import explained_network
from ..models.network import NetworkModel
from ..models.tasks import mean_loss
from .augmentation import flipped, mirrors
from .checkpoints import Checkpoints, State
from .devices import explained
from .history import Epoch, best, check_validation_weight
from .processes import Processes
from .rates import RangeTest, range_test
from .schedules import factor, make_optimizer
from .start import train_mode

SAVE_EVERY = 600.0
"""Seconds between checkpoints within an epoch."""
Report = Callable[[Epoch], None]
_AUTOCAST = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Fit:
    """The training of the model of one fold. Everything random follows from the seed, the epoch and the step.

    Parameters
    ----------
    processes
        This one and its device, and the others.
    training
        The block of the analysis file.
    dataset
        The rows.
    model
        What is trained.
    fold
        Number of the model.
    folder
        For checkpoints. Where there are some of an interrupted training, it goes on.
    key
        What the training depends on, to recognise its checkpoints.
    balancer
        What the rows weigh.
    report
        Is called with every finished epoch; what it raises ends the training.
    """

    def __init__(
        self,
        processes: Processes,
        training: Training,
        dataset: TrainingData,
        model: NetworkModel,
        fold: int,
        folder: Path,
        key: str,
        balancer: Balancer,
        report: Report | None = None,
    ) -> None:
        self._processes = processes
        self._training = training
        self._dataset = dataset
        self._model = model
        self._fold = fold
        self._balancer = balancer
        if mirrors(training.augment):
            dataset.number_rows()
        if training.compile:
            model.network.compile()
        self._network = processes.network(model)
        self._optimizer = make_optimizer(training, model.parameters())
        self._scaler = torch.amp.GradScaler(processes.device.type, enabled=training.precision == "fp16")
        self._steps = math.ceil(dataset.rows("train", fold) // processes.count / training.batch_size)
        self._checkpoints = Checkpoints(folder, key)
        self._report = report

    def run(self) -> list[Epoch]:
        """Train until the last epoch, or until the validation loss has not improved for ``patience`` epochs."""
        with explained(self._training, self._processes.device), explained_network(self._model):
            self._state = self._begin()
            epochs, history = self._training.epochs, self._state.history
            with progress(f"training fold {self._fold}", total=epochs * self._steps) as bar:
                bar.advance(len(history) * self._steps + self._state.step)
                for epoch in range(len(history) + 1, epochs + 1):
                    if history and len(history) - best(history).epoch >= self._training.patience:
                        say(
                            f"fold {self._fold}: no better for {self._training.patience} epochs (training.patience), "
                            "stopped"
                        )
                        break
                    history.append(self._epoch(epoch, bar))
                    self._finish_epoch()
                    say(f"fold {self._fold}: {history[-1].line(epochs)}")
                    if self._report is not None:
                        self._report(history[-1])
        self._processes.barrier()  # until the first process has written the last checkpoint
        return history

    @property
    def range_test(self) -> RangeTest | None:
        """The search for the learning rate, if there was one."""
        return self._state.range_test

    def best_model(self) -> NetworkModel:
        """Return the model of the best epoch, on the CPU."""
        model = NetworkModel(self._model.spec)
        model.load_state_dict(self._checkpoints.best())
        return model.eval()

    def _begin(self) -> State:
        """Go on where the last checkpoint was written, or begin, if need be with a search for the learning rate."""
        world = self._processes.count
        state = self._checkpoints.restore(self._parts(), self._processes.device, world)
        if state is not None:
            step = f", step {state.step} of the next" if state.step else ""
            say(f"fold {self._fold}: goes on after epoch {len(state.history)}{step}")
            return state
        rate = self._training.learning_rate
        if rate != "auto":
            return State(learning_rate=rate, processes=world)
        test = self._find_rate()
        say(f"fold {self._fold}: the learning rate is {test.suggestion:.2g}")
        return State(learning_rate=test.suggestion, range_test=test, processes=world)

    def _epoch(self, epoch: int, bar: Bar) -> Epoch:
        self._began = time.perf_counter() - self._state.seconds
        train_loss = self._train(epoch, bar)
        val_loss = self._validate(epoch)
        rate = float(self._optimizer.param_groups[0]["lr"])
        return Epoch(epoch, train_loss, val_loss, rate, time.perf_counter() - self._began)

    def _train(self, epoch: int, bar: Bar) -> float:
        train_mode(self._network)
        state, saved = self._state, time.perf_counter()
        for step, batch in enumerate(self._batches(epoch, state.step), state.step + 1):
            self._set_rate(epoch, step)
            numerator, denominator, size = self._step(batch, epoch, step)
            value = numerator / size
            if not math.isfinite(value):
                reason = self._suspect(batch)
                raise TrainingError(f"epoch {epoch}, step {step}: the training loss is {value}: {reason}")
            state.step = step
            state.numerator += numerator
            state.denominator += denominator
            bar.advance(1)
            bar.note(f"epoch {epoch}  loss {value:.4f}")
            if time.perf_counter() - saved > SAVE_EVERY:
                self._save()
                saved = time.perf_counter()
        return mean_loss(state.numerator, state.denominator)

    def _batches(self, epoch: int, done: int) -> Iterator[Batch]:
        """Pass over the training rows of this process, without the batches that are done already."""
        batches = self._dataset.batches(
            "train",
            self._fold,
            self._training.batch_size,
            shuffle=True,
            seed=self._seed,
            epoch=epoch,
            rank=self._processes.rank,
            world=self._processes.count,
            sampler=self._balancer.resampling(self._seed, epoch),
        )
        rest = map(self._balancer.trained, islice(batches, done, None))
        return on_device(map(partial(self._augmented, epoch), rest), self._processes.device)

    def _augmented(self, epoch: int, batch: Batch) -> Batch:
        inputs = self._model.spec.inputs
        return flipped(batch, inputs, self._training.augment, seed=self._seed, epoch=epoch)

    def _step(self, batch: Batch, epoch: int, step: int) -> tuple[float, float, float]:
        """Make one step, and return over all processes Σ w·loss, Σw, and Σ|w|, by which the step divides the first."""
        seed_generators(self._seed, epoch, step, self._processes.rank)
        self._optimizer.zero_grad()
        weights = self._model.objective.weights(*self._truth(batch))
        net, norm = self._processes.sum(torch.stack([weights.sum(), weights.abs().sum()]))
        norm = norm.clamp(min=torch.finfo(norm.dtype).tiny)  # a batch of zero weights has the loss 0, not 0/0
        numerator = torch.zeros_like(net)
        parts = batch.parts(self._training.accumulation)
        for number, part in enumerate(parts, 1):
            with nullcontext() if number == len(parts) else self._processes.apart(self._network):
                loss = self._loss(self._network, part)[0]
                # gradients are averaged over the processes
                self._processes.backward(self._scaler.scale(loss * self._processes.count / norm))
            numerator += loss.detach()
        self._scaler.unscale_(self._optimizer)
        if self._training.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self._model.parameters(), self._training.gradient_clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        total, weight, divisor = torch.stack([self._processes.sum(numerator), net, norm]).tolist()
        return total, weight, divisor

    def _validate(self, epoch: int) -> float | None:
        self._model.eval()
        sums = torch.zeros(2, dtype=torch.float64, device=self._processes.device)
        rank, world = self._processes.rank, self._processes.count
        with torch.inference_mode():
            batches = self._dataset.batches("val", self._fold, self._training.batch_size, rank=rank, world=world)
            for batch in on_device(map(self._balancer.weighted, batches), self._processes.device):
                for part in batch.parts(self._training.accumulation):
                    # not through the wrapper: its calls wait for those of other processes, which may have fewer batches
                    numerator, denominator = self._loss(self._model, part)
                    if not math.isfinite(numerator.item()):
                        reason = self._suspect(batch)
                        raise TrainingError(f"epoch {epoch}: the validation loss is {numerator}: {reason}")
                    sums += torch.stack([numerator, denominator])
        total, weight = self._processes.sum(sums).tolist()
        if not self._dataset.rows("val", self._fold):
            return None
        check_validation_weight(self._dataset.name, self._fold, weight)
        return mean_loss(total, weight)

    def _loss(self, network: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        precision = self._training.precision
        with torch.autocast(self._processes.device.type, _AUTOCAST[precision], enabled=precision != "fp32"):
            raw = network.logits(*(batch.inputs[name] for name in self._model.spec.graph_inputs))
        return self._model.objective.loss(raw.float(), *self._truth(batch))

    def _truth(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return truth and weights as the loss takes them."""
        if batch.label is not None:
            return batch.label, batch.weight
        assert batch.targets is not None  # noqa: S101 — a dataset has labels or targets
        return self._model.standardise_targets(batch.targets), batch.weight

    def _set_rate(self, epoch: int, step: int) -> None:
        done = ((epoch - 1) * self._steps + step - 0.5) / (self._training.epochs * self._steps)
        losses = [e.train_loss if e.val_loss is None else e.val_loss for e in self._state.history]
        for group in self._optimizer.param_groups:
            group["lr"] = self._state.learning_rate * factor(self._training.schedule, done, losses)

    def _find_rate(self) -> RangeTest:
        """Look for a learning rate, and forget what was learnt on the way."""
        before = {name: copy.deepcopy(part.state_dict()) for name, part in self._parts().items()}
        batches = chain.from_iterable(self._batches(0, 0) for _ in count())
        steps = count(1)
        train_mode(self._network)

        def step(rate: float) -> float:
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            numerator, _, size = self._step(next(batches), 0, next(steps))
            return numerator / size

        test = range_test(step)
        for name, part in self._parts().items():
            part.load_state_dict(before[name])
        return test

    def _suspect(self, batch: Batch) -> str:
        """Say what makes the loss of a batch not finite."""
        columns = {f"input {name!r}": _valid(batch, name) for name in self._model.spec.inputs}
        columns |= {"the weight": batch.weight}
        if batch.targets is not None:
            columns |= {"the target": batch.targets.nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf)}
        for name, values in columns.items():
            if not torch.isfinite(values).all():
                return f"{name} holds NaN or infinite values: mend its expressions and run 'nanoforge convert' again"
        others = "" if self._processes.count == 1 else ", unless another process names its inputs"
        return f"training.learning_rate ({self._state.learning_rate:g}) may be too high{others}"

    def _finish_epoch(self) -> None:
        """Save the best weights first: an interruption in between repeats the epoch, with the same result."""
        history = self._state.history
        self._state = replace(self._state, step=0, numerator=0.0, denominator=0.0, seconds=0.0)
        if self._processes.first and best(history) is history[-1]:
            self._checkpoints.save_best(self._model.state_dict())
        self._save()

    def _save(self) -> None:
        if self._processes.first:
            self._state.seconds = time.perf_counter() - self._began if self._state.step else 0.0
            self._checkpoints.save(self._state, self._parts())

    def _parts(self) -> dict[str, Any]:
        """Return all that has a state beside :class:`State`."""
        return {"model": self._model, "optimizer": self._optimizer, "scaler": self._scaler}

    @property
    def _seed(self) -> int:
        return fold_seed(self._training, self._fold)


def fold_seed(training: Training, fold: int) -> int:
    """Return the seed of one fold."""
    return (training.seed + fold) % 2**32


def seed_generators(*entropy: int) -> None:
    """Seed torch, numpy and Python: dropout in a resumed training is as it would have been without interruption."""
    state = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    torch.default_generator.manual_seed(state)  # torch.manual_seed takes 0.12 ms, as long as some steps
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(state)
    np.random.seed(state)
    random.seed(state)


def _valid(batch: Batch, name: str) -> Tensor:
    mask = batch.inputs.get(f"{name}_mask")
    return batch.inputs[name] if mask is None else batch.inputs[name][mask]
