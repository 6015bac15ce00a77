"""The commands that make a model of samples, one stage after the other, and the one that does them all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ..pipeline.graph import CONVERT, PREDICT, TRAIN, TUNE
from .options import Config, Data, Force, Jobs, Output, Overrides, Part, Parts, SkipBad, TrainedRun, Trust
from .reading import load_analysis, name_next, read_run, training_data


def convert(
    config: Config,
    overrides: Overrides = None,
    output: Output = Path(CONVERT.folder),
    jobs: Jobs = 1,
    skip_bad_files: SkipBad = False,
    force: Force = False,
    part: Part = None,
    parts: Parts = None,
) -> None:
    """Convert the samples into training data.

    Example: nanoforge convert analysis.yaml -o dataset -j 4 inputs.jets.length=20
    """
    analysis = load_analysis(config, overrides)
    from ..stages.convert import convert

    convert(analysis, output, jobs=jobs, skip_bad_files=skip_bad_files, force=force, part=part, parts=parts)
    if part is None:
        name_next("train", config, *overrides or (), "--data", output, "-o", TRAIN.folder)


def train(
    config: Config,
    overrides: Overrides = None,
    data: Data = Path(CONVERT.folder),
    output: Output = Path(TRAIN.folder),
    skip_bad_files: SkipBad = False,
    force: Force = False,
    trust: Trust = False,
) -> None:
    """Train the model; an interrupted training goes on at its last checkpoint.

    With --data analysis.yaml nothing has to be converted first; changes (key=value) apply to that file as well.
    On several GPUs: torchrun --nproc-per-node 2 -m nanoforge train ...

    Example: nanoforge train analysis.yaml --data dataset -o run training.epochs=50
    """
    analysis, source = load_analysis(config, overrides), training_data(data, overrides)
    from ..stages.train import train

    train(analysis, source, output, force=force, skip_bad_files=skip_bad_files, file=config, trust=trust)
    name_next("evaluate", output)


def tune(
    config: Config,
    overrides: Overrides = None,
    data: Data = Path(CONVERT.folder),
    output: Output = Path(TUNE.folder),
    trials: Annotated[Optional[int], typer.Option("--trials", min=1, help="How many; default: search.trials.")] = None,
    skip_bad_files: SkipBad = False,
    force: Annotated[bool, typer.Option("--force", help="Begin anew where the analysis or dataset changed.")] = False,
    trust: Trust = False,
) -> None:
    """Search for good hyperparameters, as the block 'search' says; the best are written to best.yaml.

    Interrupted, it goes on. Any number of processes, batch jobs say, share the trials of the same -o.

    Example: nanoforge tune analysis.yaml --data dataset -o search --trials 50
    """
    analysis, source = load_analysis(config, overrides), training_data(data, overrides)
    from ..stages.tune import tune

    if (
        tune(analysis, source, output, trials=trials, force=force, skip_bad_files=skip_bad_files, trust=trust)
        is not None
    ):
        name_next("train", output / "best.yaml", "--data", data, "-o", TRAIN.folder)


def evaluate(
    run: TrainedRun,
    data: Annotated[
        Optional[Path], typer.Option("--data", help="Another dataset, or analysis file, than that of the training.")
    ] = None,
    output: Annotated[Optional[Path], typer.Option("-o", "--output", help="Default: RUN/evaluation.")] = None,
    analysis: Annotated[
        Optional[Path], typer.Option("--analysis", help="Analysis file whose 'evaluation' replaces that of the run.")
    ] = None,
    force: Force = False,
    trust: Trust = False,
) -> None:
    """Measure the model on the test data; writes metrics.json, report.html and the plots.

    Example: nanoforge evaluate run
    """
    source = training_data(data) if data else None
    evaluation = load_analysis(analysis).evaluation if analysis else None
    trained = read_run(run)
    from ..stages.evaluate import evaluate

    evaluate(run, data=source, output=output, force=force, trust=trust, evaluation=evaluation)
    files = [file for sample in trained.config["samples"].values() for file in sample["files"] or ()]
    name_next("predict", run, *files[:1], "-o", PREDICT.folder)


def predict(
    run: TrainedRun,
    files: Annotated[list[str], typer.Argument(help="Files to score; globs, lists and addresses work.")],
    output: Output = Path(PREDICT.folder),
    format: Annotated[str, typer.Option("--format", help="root (friend trees), parquet, csv or hdf5.")] = "root",
    jobs: Jobs = 1,
    skip_bad_files: SkipBad = False,
    force: Force = False,
    part: Part = None,
    parts: Parts = None,
    trust: Trust = False,
    server: Annotated[
        Optional[str], typer.Option("--server", help="Let this server score; RUN is the name of a model there.")
    ] = None,
    token_file: Annotated[
        Optional[Path], typer.Option("--token-file", help="Whose first token opens the server.")
    ] = None,
) -> None:
    """Score files: one friend tree per file, with the same entries in the same order.

    Example: nanoforge predict run data/*.root -o friends
    """
    if server is None:
        read_run(run)
    from ..stages.predict import predict

    predict(
        run,
        files,
        output,
        format=format,
        jobs=jobs,
        skip_bad_files=skip_bad_files,
        force=force,
        part=part,
        parts=parts,
        trust=trust,
        server=server,
        token_file=token_file,
    )


def export(
    run: TrainedRun,
    output: Output = Path("export"),
    features: Annotated[
        bool, typer.Option("--features", help="Leave the expressions outside: inputs are features, not columns.")
    ] = False,
    fold: Annotated[
        Optional[str],
        typer.Option("--fold", help="With folds: average (default), by-event (a further input), or a number."),
    ] = None,
    check: Annotated[
        Optional[list[str]], typer.Option("--check", help="Files to check on; default: one of each sample.")
    ] = None,
    repository: Annotated[
        Optional[Path], typer.Option("--repository", help="Add it as a version to a folder of models, to be served.")
    ] = None,
    check_triton: Annotated[
        bool, typer.Option("--check-triton", help="Compare config.pbtxt with Triton's schema, from tritonclient.")
    ] = False,
    force: Force = False,
    trust: Trust = False,
) -> None:
    """Write the model as one ONNX file that takes NanoAOD columns, for CMSSW and (SONIC) Triton.

    It is compared with predict on real events; what cannot be compiled into it is named.

    Example: nanoforge export run -o export --check data/nano.root --repository models
    """
    read_run(run)
    from ..stages.export import check_configurations, export, publish

    export(run, output, features=features, fold=fold, check=check or (), force=force, trust=trust)
    if repository is not None:
        publish(run, output, repository, fold=fold, check=check or (), trust=trust)
    if check_triton:
        check_configurations(output, repository)
    if repository is not None:
        name_next("serve", repository)


def run(
    config: Config,
    overrides: Overrides = None,
    output: Output = Path("results"),
    jobs: Jobs = 1,
    skip_bad_files: SkipBad = False,
    force: Annotated[bool, typer.Option("--force", help="Replace results that were made with other settings.")] = False,
    trust: Trust = False,
) -> None:
    """Generate, skim (as far as the analysis says so), convert, train, evaluate and predict.

    What is up to date is not done again, and what was made with other settings is not replaced without --force.

    Example: nanoforge run analysis.yaml -o results -j 4
    """
    analysis = load_analysis(config, overrides)
    from ..workflow import run_all

    run_all(analysis, output, jobs=jobs, skip_bad_files=skip_bad_files, file=config, force=force, trust=trust)
    name_next("export", TRAIN.output(output), "-o", output / "export")
