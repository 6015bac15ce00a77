"""The training of the model of one fold, of either kind, on the dataset that its analysis makes."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from ..balance.balancer import Balancer, compute_factors
from ..balance.weight_factors import WeightFactors
from ..config.change import change
from ..config.moved import paths_of, with_paths, without_folders
from ..config.schema import Analysis
from ..config.training import Training
from ..console import say
from ..dataset.info import DatasetInfo
from ..dataset.source import TrainingData
from ..errors import NanoForgeError, TrainingError, UserError
from ..events.files import listed, sample_files
from ..models.base import Model, ModelSpec, score
from ..models.check import ROWS, check_network
from ..models.load import named_code, own_code
from ..models.network import NetworkModel
from ..models.options import EstimatorOptions
from ..models.preparation import preparation_info
from ..provenance import Manifest, fingerprint
from ..provenance.manifest import NAME, changed_keys, input_record
from ..provenance.trust import require
from .checkpoints import BEST, LAST
from .estimators import fit_estimator
from .fit import Fit, Report, fold_seed, seed_generators
from .history import Epoch, best
from .memory import prepare_image_memory
from .processes import Processes
from .rates import RangeTest
from .start import freeze, new_model, take_weights

_STAGE = "train"
CHECKED_ROWS = 4096
"""Of so many training rows the predictions of a finished model are looked at."""


@dataclass(frozen=True)
class Fitted:
    """A trained model, the best of its epochs or trees, and the factors on the weights of its rows.

    ``range_test`` is there where it chose the learning rate.
    """

    model: Model
    history: list[Epoch]
    factors: WeightFactors
    range_test: RangeTest | None = None


def made_from(analysis: Analysis, dataset: TrainingData) -> dict[str, Any]:
    """Return, as plain JSON types, all that a training depends on.

    That is neither how it is searched for nor where it runs; what its files hold is in the identity of the dataset, and
    of their paths only the names count, so that a project may move.
    """
    config = without_folders(analysis.settings("train"))
    config["training"].pop("workers")  # of which no batch depends
    key = {"config": config, "dataset": dataset.identity}
    if analysis.training.init is not None:
        key["init"] = Manifest.read(Path(analysis.training.init.run), _STAGE).identity()
    return key


def steps_from(analysis: Analysis, dataset: TrainingData) -> dict[str, Any]:
    """Return what the steps of a training depend on: the number of epochs where the schedule does, and no patience."""
    key = made_from(analysis, dataset)
    stop = {"patience"} if analysis.training.schedule.uses_epochs else {"patience", "epochs"}
    training = {name: value for name, value in key["config"]["training"].items() if name not in stop}
    return key | {"config": key["config"] | {"training": training}}


def continues(analysis: Analysis, dataset: TrainingData, run: Path) -> bool:
    """Whether a training is that of a finished run and goes on after it: more epochs, or more patience.

    Raises
    ------
    UserError
        When it would be, but the learning rates of the epochs that are done would have been others.
    """
    if not (run / NAME).exists():
        return False
    earlier = Manifest.load(run, _STAGE)
    if earlier.stage != _STAGE or not analysis.model.has_epochs:
        return False
    stop = {name: earlier.config["training"][name] for name in ("epochs", "patience")}
    requested = {name: getattr(analysis.training, name) for name in stop}
    before = change(analysis, {f"training.{name}": value for name, value in stop.items()}, str(run))
    more = requested != stop and all(requested[name] >= value for name, value in stop.items())
    if not more or fingerprint(made_from(before, dataset)) != earlier.details["key"]:
        return False
    schedule = analysis.training.schedule
    if schedule.uses_epochs and requested["epochs"] > stop["epochs"]:
        raise UserError(
            f"{run}: trained for {stop['epochs']} epochs, and with training.schedule {schedule.type!r}"
            f"{' and its warmup' if schedule.type in ('constant', 'plateau') else ''} the learning rate depends on "
            f"their number: train all {requested['epochs']} with another -o, or begin with these weights, "
            f"training.init.run={run}"
        )
    return True


def take_checkpoints(run: Path, work: Path, folds: int) -> None:
    """Copy the checkpoints of a finished run to where a training goes on, unless it has gone on already."""
    for fold in range(folds):
        source, target = (folder / f"fold{fold}" / "checkpoints" for folder in (run, work))
        if (target / LAST).exists():
            continue
        target.mkdir(parents=True, exist_ok=True)
        try:
            for name in (BEST, LAST):  # by the last one the training goes on
                shutil.copyfile(source / name, target / f".{name}")
                (target / f".{name}").replace(target / name)
        except FileNotFoundError as error:
            raise UserError(
                f"{error.filename}: is gone, and without it the training cannot go on: train with another -o"
            ) from None


def check_same_analysis(analysis: Analysis, dataset: TrainingData) -> None:
    """Refuse a dataset that the analysis, as it is now, would not make."""
    if dataset.key != fingerprint(analysis.dataset_part()):
        made_with = Analysis.model_validate(dataset.config)
        if _spelt_out(made_with) == _spelt_out(analysis):
            return
        if _has_moved(made_with, analysis, dataset):
            say(f"note: {dataset.name} was made from the same files in other folders")
            return
        changes = changed_keys(made_with.dataset_part(), analysis.dataset_part())
        difference = next(iter(changes), "a file that 'functions' or 'golden_json' names has changed")
        raise UserError(
            f"{dataset.name}: made with another analysis ({shorten(difference, 300)}): run 'nanoforge convert' "
            "again, or train with the analysis file that it was made with"
        )


def check_initial(analysis: Analysis, *, trust: bool) -> None:
    """Refuse damaged weights to begin with, and those of somebody else with code that the analysis does not name."""
    if analysis.training.init is None:
        return
    run = Path(analysis.training.init.run)
    trained = Manifest.read(run, _STAGE)
    trained.verify(run)
    require(run, trained, own_code(trained, run) - named_code(analysis.model_dump(mode="json")), trust=trust)


def _has_moved(made_with: Analysis, analysis: Analysis, dataset: TrainingData) -> bool:
    """Whether an analysis differs only in the folders of its files, which have the names and sizes that were recorded.

    What it names beside the samples holds what it held: with the folders of before, the analysis has the key of before.
    """
    part = analysis.dataset_part()
    before, now = paths_of(made_with.dataset_part()), paths_of(part)
    if [Path(path).name for path in before] != [Path(path).name for path in now]:
        return False
    names = dict(zip(now, before))
    if fingerprint(with_paths(part, lambda path: names.get(path, path))) != dataset.key:
        return False
    try:
        files = [input_record(path) for name in analysis.samples for path in sample_files(analysis, name)]
    except NanoForgeError:  # they are elsewhere, and need not be here
        return False
    recorded, current = (sorted((Path(r.path).name, r.size) for r in records) for records in (dataset.inputs, files))
    return bool(recorded) and recorded == current


def _spelt_out(analysis: Analysis) -> dict[str, Any]:
    """Return all that a dataset depends on, the same for a pattern and for the files that fit it."""
    try:
        return listed(analysis).dataset_part()
    except NanoForgeError:  # the files are elsewhere, and need not be here
        return analysis.dataset_part()


def model_spec(analysis: Analysis, info: DatasetInfo) -> ModelSpec:
    """Say which model an analysis describes for a dataset.

    Raises
    ------
    UserError
        When a model or loss of the user's own cannot be imported, or does not suit the analysis.
    """
    task = "classification" if info.classes else "regression"
    loss = analysis.training.loss
    inputs = {n: replace(shape, preparation=preparation_info(analysis.inputs[n])) for n, shape in info.inputs.items()}
    spec = ModelSpec(
        inputs,
        info.classes or info.regression,
        task,
        analysis.model.model_dump(mode="json"),
        None if loss is None else loss.model_dump(mode="json"),
    )
    try:
        analysis.check_model(spec.options, None if loss is None else spec.loss_options)  # the user's own, too
    except ValueError as error:
        raise UserError(str(error)) from None
    return spec


def fit_fold(
    processes: Processes,
    analysis: Analysis,
    dataset: TrainingData,
    spec: ModelSpec,
    fold: int,
    checkpoints: Path,
    report: Report | None = None,
) -> Fitted:
    """Train the model of one fold.

    Parameters
    ----------
    processes
        This one and its device, and the others.
    analysis, dataset, spec, fold
        What is trained on what.
    checkpoints
        The folder for them; a network goes on where they are.
    report
        Is called with every epoch of a network; what it raises ends the training.

    Raises
    ------
    UserError
        When the rows or settings do not allow it.
    DataError
        When the data are broken or the training diverges.
    """
    training = analysis.training
    if dataset.rows("train", fold) < processes.count:
        raise UserError(f"{dataset.name}: no rows to train on: relax the cuts (select) or raise split.train")
    factors = _factors(processes, training, dataset, fold)
    balancer = Balancer(factors, dataset)
    options = spec.options
    if isinstance(options, EstimatorOptions):
        seed = fold_seed(training, fold)
        fitted = Fitted(*fit_estimator(training, dataset, spec, fold, seed, processes.count, balancer), factors)
    else:
        prepare_image_memory(spec.inputs, training, processes.device)
        model = _new_model(processes, training, dataset, spec, fold)
        if options.code is not None:
            rows = dataset.rows("train", fold) // processes.count
            last = rows % training.batch_size or training.batch_size
            check_network(model, dataset.first("train", fold, ROWS), processes=processes.count, last_batch=last)
        key = fingerprint([steps_from(analysis, dataset), fold])
        fit = Fit(processes, training, dataset, model, fold, checkpoints, key, balancer, report)
        history = fit.run()
        fitted = Fitted(fit.best_model(), history, factors, fit.range_test)
    if processes.first:
        _check(fitted, dataset, fold)
    return fitted


def _check(fitted: Fitted, dataset: TrainingData, fold: int) -> None:
    """Refuse a model whose predictions are not finite, and say where its loss rewards what it should not."""
    rows = dataset.first("train", fold, CHECKED_ROWS)
    scores = score(fitted.model, {name: tensor.numpy() for name, tensor in rows.inputs.items()})
    if not np.isfinite(scores).all():
        output = fitted.model.spec.outputs[int(np.argmin(np.isfinite(scores).all(axis=0)))]
        raise TrainingError(
            f"fold {fold}: the trained model gives NaN or infinite {output!r}: lower "
            f"{fitted.model.spec.options.rate_key}"
        )
    if best(fitted.history).train_loss < 0 and fitted.model.spec.loss_options.positive:
        say(
            f"warning: fold {fold}: the training loss is negative, so the model has learnt which rows have negative "
            "weights: set training.balance.negative to rescale, absolute or drop"
        )


def _factors(processes: Processes, training: Training, dataset: TrainingData, fold: int) -> WeightFactors:
    """Let the first process find the factors on the weights of the rows."""
    dataset.load_columns(training.balance.columns)
    factors = compute_factors(training.balance, dataset, fold, processes.count) if processes.first else None
    return processes.broadcast(factors)  # type: ignore[return-value]


def _new_model(
    processes: Processes, training: Training, dataset: TrainingData, spec: ModelSpec, fold: int
) -> NetworkModel:
    """Make the model of a fold, which all processes begin with."""
    seed_generators(fold_seed(training, fold))
    model = new_model(spec, dataset, fold, processes)
    if training.init is not None:
        new = take_weights(model, _initial(Path(training.init.run), dataset.info.folds, fold))
        freeze(model, training.init.freeze, new)
    return model


def _initial(run: Path, folds: int, fold: int) -> Path:
    """Return the model of another run that a fold begins with: that of the same fold, or the only one."""
    others = len(Manifest.read(run, _STAGE).details["best"])
    if others not in (1, folds):
        raise UserError(f"training.init.run: {run} has {others} folds, and this training has {folds}: use a run with 1")
    return run / f"fold{fold if others == folds else 0}" / "model.pt"
