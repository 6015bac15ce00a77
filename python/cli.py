"""The command ``nanoforge``: one command per stage. It parses, calls and prints; the stages do the work."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from typer.core import TyperCommand, TyperGroup

from .pipeline.graph import CONVERT, GENERATE, PREDICT, PRODUCE, SKIM, TRAIN, TUNE
from .registry import REGISTRIES
from .terminal import interruptible, lenient_output

if TYPE_CHECKING:
    from .config import Analysis
    from .errors import UserError
    from .provenance import Manifest

_KEYS = {
    "epochs": "training.epochs",
    "batch-size": "training.batch_size",
    "lr": "training.learning_rate",
    "learning-rate": "training.learning_rate",
    "seed": "training.seed",
    "patience": "training.patience",
    "loss": "training.loss.type",
    "optimizer": "training.optimizer",
    "precision": "training.precision",
    "device": "training.accelerator",
    "accelerator": "training.accelerator",
    "workers": "training.workers",
    "folds": "split.folds",
    "model": "model.type",
}
"""Options that other programs have, and the keys of the analysis file that say the same."""


class _Submit(TyperCommand):
    """The command that names all targets, those of other packages too, when it is asked for help."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Fill in the names: they take time to find."""
        from .batch.targets import TARGETS

        for parameter in self.params:
            if parameter.name == "target":
                parameter.help = f"Where: {', '.join(TARGETS.names())}; or a class of yours, as module:Class."  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)


class _Commands(TyperGroup):
    """The commands; an option that is none is answered with the key of the analysis file that was meant."""

    def invoke(self, ctx: Any) -> Any:
        """Parse and run the command."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if type(error).__name__ != "NoSuchOption":  # of click, or of typer's copy of it
                raise
            raise _unknown_option(error, sys.argv) from None


_RENAMED = {"--partial": "--skip-bad-files", "--parts": "--from-parts", "--parts-at": "--from-parts-at"}
"""What options are called that had another name."""


def _unknown_option(error: Any, argv: list[str]) -> UserError:
    from .errors import UserError

    option, command = error.option_name, error.ctx.command
    renamed = _RENAMED.get(option)
    if renamed in [name for parameter in command.params for name in parameter.opts]:
        return UserError(f"{command.name}: there is no option {option} any more: it is called {renamed}")
    key = _KEYS.get(option.lstrip("-").replace("_", "-"))
    if key is None or "overrides" not in {parameter.name for parameter in command.params}:
        near = error.possibilities or [o for p in command.params for o in p.opts if o.startswith("--")]
        return UserError(f"{command.name}: there is no option {option}; there are {', '.join(sorted(near))}")
    matching = [argument for argument in argv if argument.partition("=")[0] == option] or [option]
    _, equals, value = matching[0].partition("=")
    after = argv[argv.index(matching[0]) + 1 :] if not equals and matching[0] in argv else []
    value = value or next((argument for argument in after[:1] if not argument.startswith("-")), "...")
    return UserError(
        f"{command.name}: there is no option {option}; it is a key of the analysis file: write {key}={value}"
    )


app = typer.Typer(
    name="nanoforge",
    cls=_Commands,
    help="From a CMS physics process to a trained, deployed model with one analysis file.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[Path, typer.Argument(help="The analysis file (YAML).")]
Overrides = Annotated[Optional[list[str]], typer.Argument(help="Changes to it: key=value, e.g. training.epochs=5.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="Directory of the result.")]
Jobs = Annotated[int, typer.Option("-j", "--jobs", min=1, help="Number of processes.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a result that was made from something else.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad-files", help="Count unusable files as lost and go on.")]
Part = Annotated[
    Optional[str], typer.Option("--part", help="Only these units (files; blocks of 250 events): SAMPLE:FIRST-LAST.")
]
Parts = Annotated[Optional[Path], typer.Option("--from-parts", help="Make the whole from the parts in this folder.")]
Trust = Annotated[bool, typer.Option("--trust", help="Run the Python code that a run of somebody else names.")]
JobDirectory = Annotated[Path, typer.Argument(help="The job directory that submit made.")]
Tree = Annotated[str, typer.Option("--tree", help="The TTree or RNTuple; dir/tree works.")]
_YAML = (".yaml", ".yml")
_debug = False


def _print_version(show: bool) -> None:
    if show:
        from .version import __version__

        typer.echo(f"nanoforge {__version__}")
        raise typer.Exit


# What a user may have mistyped is read before a stage is imported: that takes seconds.


def _load(config: Path, overrides: Optional[list[str]]) -> Analysis:
    from .config import load

    return load(config, overrides or (), _say)


def _source(data: Path, overrides: Optional[list[str]] = None) -> Path | Analysis:
    """Read the analysis whose files are the training data, or look whether the dataset is there."""
    if data.suffix in _YAML:
        return _load(data, overrides)
    from .provenance import Manifest

    Manifest.read(data, "convert")
    return data


def _read_run(run: Path) -> Manifest:
    from .provenance import Manifest

    return Manifest.read(run, "train")


def _say(text: str) -> None:
    from .console import say

    say(text)


def _next(*words: object) -> None:
    """Name the command that comes next, as it can be pasted into a shell."""
    _say(f"next: {shlex.join(['nanoforge', *map(str, words)])}")


def _trust_targets(directory: Path, trust: bool) -> None:
    if trust:
        from .batch.targets import trust_targets

        trust_targets(directory)


def _list_presets(show: bool) -> None:
    if show:
        from .simulation.presets import PRESETS

        for name, preset in PRESETS.all():
            typer.echo(f"{name:14} {preset.meaning}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    global _debug
    _debug = debug


@app.command()
def init(
    files: Annotated[list[str], typer.Argument(help="NanoAOD-like files, one sample each; globs and lists work.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The analysis file to write.")] = Path("analysis.yaml"),
    tree: Tree = "Events",
) -> None:
    """Write a commented analysis file for given files.

    Example: nanoforge init ttbar.root dy.root -o analysis.yaml
    """
    from .stages.init import init

    init(files, output, tree)


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(help=f"{', '.join(REGISTRIES)}.")],
    config: Annotated[Optional[Path], typer.Argument(help="An analysis file, of which yours are listed, too.")] = None,
    overrides: Overrides = None,
) -> None:
    """List what there is of a kind, with a line and the options of each, and their [defaults].

    Example: nanoforge list models
    """
    analysis = None if config is None else _load(config, overrides)
    from .listing import lines

    for line in lines(kind, analysis):
        typer.echo(line)


@app.command()
def schema(
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print tables of all keys, in Markdown.")] = False,
) -> None:
    """Print the JSON schema of the analysis file, by which editors complete and check it.

    Example: nanoforge schema > nanoforge.schema.json
    """
    if as_markdown:
        from .config.reference import markdown

        typer.echo(markdown(), nl=False)
        return
    import json

    from .config.json_schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


@app.command()
def inspect(
    files: Annotated[list[str], typer.Argument(help="Files, globs, list files, root:// and https:// addresses.")],
    tree: Annotated[Optional[str], typer.Option("--tree", help="Only this tree; dir/tree works.")] = None,
    filter: Annotated[Optional[str], typer.Option("--filter", help="Only branches like this, e.g. 'Jet_*'.")] = None,
    ranges: Annotated[bool, typer.Option("--ranges", help="Read values: min, max, mean, NaN, longest list.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show trees, entries and branches, grouped into collections.

    Example: nanoforge inspect nano.root --filter 'Jet_*' --ranges
    """
    from .stages.inspect import inspect

    inspect(files, tree, filter, ranges, as_json)


@app.command()
def generate(
    config: Config,
    overrides: Overrides = None,
    sample: Annotated[Optional[str], typer.Option("--sample", help="Only this sample.")] = None,
    events: Annotated[Optional[int], typer.Option("--events", min=1, help="So many events of each sample.")] = None,
    output: Output = Path(GENERATE.folder),
    jobs: Jobs = 1,
    force: Force = False,
    part: Part = None,
    parts: Parts = None,
    presets: Annotated[
        bool, typer.Option("--list", is_eager=True, callback=_list_presets, help="List the processes, and exit.")
    ] = False,
) -> None:
    """Generate the samples that have a 'generator' with Pythia 8 and a fast detector, as NanoAOD-like files.

    Example: nanoforge generate analysis.yaml -o generated -j 4 samples.ttbar.generator.events=10000
    """
    analysis = _load(config, overrides)
    from .stages.generate import generate

    generate(analysis, output, sample=sample, events=events, jobs=jobs, force=force, part=part, parts=parts)


@app.command()
def produce(
    config: Config,
    overrides: Overrides = None,
    output: Output = Path(PRODUCE.folder),
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="Lumi sections at a time.")] = 1,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of each cmsRun.")] = 1,
    skip_bad_files: Annotated[
        bool, typer.Option("--skip-bad-files", help="With --from-parts: go on without lumi sections that no part has.")
    ] = False,
    force: Force = False,
    part: Annotated[
        Optional[str], typer.Option("--part", help="Only these lumi sections, from 0: SAMPLE:FIRST-LAST.")
    ] = None,
    parts: Annotated[
        Optional[Path],
        typer.Option("--from-parts", help="List the files of the parts in this folder, which stay there."),
    ] = None,
    parts_at: Annotated[
        Optional[str],
        typer.Option("--from-parts-at", help="Their address, where --from-parts has just their manifests."),
    ] = None,
    chain: Annotated[Optional[Path], typer.Option("--chain", help="The chains that submit made.")] = None,
) -> None:
    """Produce samples by CMSSW, from their 'generator' to NanoAOD, as the block 'cmssw.produce' says.

    A lumi section of a sample goes through all steps of its era, each in its own release. 'nanoforge submit' with
    --stage produce lets batch jobs do it.

    Example: nanoforge produce analysis.yaml -o produced cmssw.produce.events=10 cmssw.produce.pileup=none
    """
    analysis = _load(config, overrides)
    from .stages.produce import produce

    produce(
        analysis,
        output,
        jobs=jobs,
        threads=threads,
        force=force,
        skip_bad_files=skip_bad_files,
        part=part,
        parts=parts,
        parts_at=parts_at,
        chain=chain,
    )


@app.command()
def skim(
    config: Config,
    overrides: Overrides = None,
    output: Output = Path(SKIM.folder),
    jobs: Jobs = 1,
    scheduler: Annotated[
        Optional[str], typer.Option("--scheduler", help="A Dask scheduler to work on, in place of processes.")
    ] = None,
    skip_bad_files: SkipBad = False,
    force: Force = False,
    part: Part = None,
    parts: Parts = None,
) -> None:
    """Write chosen events and branches of the samples as NanoAOD again.

    Example: nanoforge skim analysis.yaml -o skimmed -j 4 skim.target_size='500 MB'
    """
    analysis = _load(config, overrides)
    from .stages.skim import skim

    skim(
        analysis,
        output,
        jobs=jobs,
        skip_bad_files=skip_bad_files,
        force=force,
        scheduler=scheduler,
        part=part,
        parts=parts,
    )


@app.command()
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
    analysis = _load(config, overrides)
    from .stages.convert import convert

    convert(analysis, output, jobs=jobs, skip_bad_files=skip_bad_files, force=force, part=part, parts=parts)
    if part is None:
        _next("train", config, *overrides or (), "--data", output, "-o", TRAIN.folder)


@app.command()
def train(
    config: Config,
    overrides: Overrides = None,
    data: Annotated[
        Path, typer.Option("--data", help="What convert made, or the analysis file: then its files are read directly.")
    ] = Path(CONVERT.folder),
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
    analysis, source = _load(config, overrides), _source(data, overrides)
    from .stages.train import train

    train(analysis, source, output, force=force, skip_bad_files=skip_bad_files, file=config, trust=trust)
    _next("evaluate", output)


@app.command()
def tune(
    config: Config,
    overrides: Overrides = None,
    data: Annotated[
        Path, typer.Option("--data", help="What convert made, or the analysis file: then its files are read directly.")
    ] = Path(CONVERT.folder),
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
    analysis, source = _load(config, overrides), _source(data, overrides)
    from .stages.tune import tune

    if (
        tune(analysis, source, output, trials=trials, force=force, skip_bad_files=skip_bad_files, trust=trust)
        is not None
    ):
        _next("train", output / "best.yaml", "--data", data, "-o", TRAIN.folder)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="The run that train made.")],
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
    source = _source(data) if data else None
    evaluation = _load(analysis, None).evaluation if analysis else None
    trained = _read_run(run)
    from .stages.evaluate import evaluate

    evaluate(run, data=source, output=output, force=force, trust=trust, evaluation=evaluation)
    files = [file for sample in trained.config["samples"].values() for file in sample["files"] or ()]
    _next("predict", run, *files[:1], "-o", PREDICT.folder)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two runs or more that train made and evaluate evaluated.")],
    output: Output = Path("comparison"),
    force: Force = False,
) -> None:
    """Print a table of several runs, and draw their ROC curves into one figure.

    Example: nanoforge compare run_mlp run_deepsets -o comparison
    """
    from .stages.compare import compare

    compare(runs, output, force=force)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="The run that train made.")],
    files: Annotated[list[str], typer.Argument(help="Files to score; globs, lists and addresses work.")],
    output: Output = Path(PREDICT.folder),
    format: Annotated[str, typer.Option("--format", help="root (friend trees), parquet, csv or hdf5.")] = "root",
    jobs: Jobs = 1,
    skip_bad_files: SkipBad = False,
    force: Force = False,
    part: Part = None,
    parts: Parts = None,
    trust: Trust = False,
) -> None:
    """Score files: one friend tree per file, with the same entries in the same order.

    Example: nanoforge predict run data/*.root -o friends
    """
    _read_run(run)
    from .stages.predict import predict

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
    )


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="The run that train made.")],
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
    force: Force = False,
    trust: Trust = False,
) -> None:
    """Write the model as one ONNX file that takes NanoAOD columns, for CMSSW and (SONIC) Triton.

    It is compared with predict on real events; what cannot be compiled into it is named.

    Example: nanoforge export run -o export --check data/nano.root --repository models
    """
    _read_run(run)
    from .stages.export import export, publish

    export(run, output, features=features, fold=fold, check=check or (), force=force, trust=trust)
    if repository is not None:
        publish(run, output, repository, fold=fold, check=check or (), trust=trust)
        _next("serve", repository)


@app.command()
def serve(
    models: Annotated[Path, typer.Argument(help="The folder of models that export --repository makes.")],
    host: Annotated[
        str, typer.Option("--host", help="Where to listen; others than this machine need more.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8000,
    token_file: Annotated[
        Optional[Path], typer.Option("--token-file", help="Lines of 'read TOKEN' and 'write TOKEN'.")
    ] = None,
    tls_cert: Annotated[Optional[Path], typer.Option("--tls-cert", help="The certificate, for HTTPS.")] = None,
    tls_key: Annotated[Optional[Path], typer.Option("--tls-key", help="Its key.")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let other machines in without tokens and TLS all the same.")
    ] = False,
    max_body: Annotated[int, typer.Option("--max-body", min=1000, help="Bytes of a request at most.")] = 16_000_000,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes.")] = 1,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Models that score at a time, in each.")] = 1,
    watch: Annotated[float, typer.Option("--watch", min=0.1, help="Seconds between looks at the folder.")] = 5.0,
    read_only: Annotated[bool, typer.Option("--read-only", help="Change nothing by request.")] = False,
    log: Annotated[Optional[Path], typer.Option("--log", help="A file of answered requests.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Load all models, say what they take, and end.")] = False,
) -> None:
    """Serve models over HTTP by the Open Inference Protocol v2, as Triton does.

    Example: nanoforge serve models --port 8000
    """
    from .stages.serve import serve

    serve(
        models,
        host=host,
        port=port,
        token_file=token_file,
        tls_cert=tls_cert,
        tls_key=tls_key,
        insecure=insecure,
        max_body=max_body,
        workers=workers,
        threads=threads,
        watch=watch,
        read_only=read_only,
        log=log,
        check=check,
    )


@app.command()
def catalogue(
    patterns: Annotated[
        Optional[list[str]], typer.Argument(help="Datasets (with *), folders, patterns of files; or the analysis file.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="What analysis files include.")] = Path("samples.yaml"),
    xsec: Annotated[
        Optional[Path], typer.Option("--xsec", help="A table of yours: cross sections in pb, by sample.")
    ] = None,
    tree: Tree = "Events",
    refresh: Annotated[bool, typer.Option("--refresh", help="Look up the same again; says what has changed.")] = False,
) -> None:
    """List datasets and folders with files, events, sizes, sites and weights, as a block that analyses can include.

    Example: nanoforge catalogue '/TTto2L2Nu*/Run3Summer22*NanoAODv15*/NANOAODSIM' -o samples.yaml
    """
    names = patterns or []
    one = Path(names[0]) if len(names) == 1 and Path(names[0]).suffix in _YAML else None
    analysis = None if one is None else _load(one, None)
    from .stages.catalogue import catalogue

    catalogue(names if analysis is None else analysis, output, xsec=xsec, tree=tree, refresh=refresh)


@app.command()
def cmsrun(
    config: Config,
    overrides: Overrides = None,
    *,
    sample: Annotated[str, typer.Option("--sample", help="Its name.")],
    step: Annotated[str, typer.Option("--step", help="gen, sim, skim (of MiniAOD) or nano.")],
    output: Output = Path("cmsrun"),
    era: Annotated[Optional[str], typer.Option("--era", help="2016preVFP to 2024; default: cmssw.era.")] = None,
    model: Annotated[
        Optional[Path], typer.Option("--model", help="What export wrote: its scores become columns.")
    ] = None,
    force: Force = False,
) -> None:
    """Write ready configurations and cmsDriver commands with which a CMSSW release makes or reads a sample.

    Example: nanoforge cmsrun analysis.yaml --sample ttbar --step sim --era 2022 -o ttbar_sim
    """
    analysis = _load(config, overrides)
    from .stages.cmsrun import cmsrun

    cmsrun(analysis, sample, step, output, era, model, force)


@app.command(cls=_Submit)
def submit(
    target: Annotated[str, typer.Argument(help="Where.")],
    config: Config,
    overrides: Overrides = None,
    stage: Annotated[
        str,
        typer.Option(
            "--stage", help="generate, produce, skim, convert, train, tune, evaluate, predict; all: as one DAG."
        ),
    ] = "all",
    output: Annotated[Path, typer.Option("-o", "--output", help="The job directory.")] = Path("jobs"),
    split: Annotated[
        Optional[int],
        typer.Option("--split", min=1, help="Units (files; lumi sections; blocks of 250 events) for each job."),
    ] = None,
    data: Annotated[Optional[Path], typer.Option("--data", help="For train, tune: the dataset.")] = None,
    run: Annotated[Optional[Path], typer.Option("--run", help="For evaluate, predict: what train made.")] = None,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="For local, dask: jobs at a time.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write and check everything, submit nothing.")] = False,
    trust: Trust = False,
) -> None:
    """Submit a stage, or all, as batch jobs, as the block 'batch' says; the same command submits nothing twice.

    Example: nanoforge submit condor analysis.yaml --stage convert -o jobs --split 20
    """
    analysis = _load(config, overrides)
    from .batch.submit import submit, submit_all
    from .registry import beside

    target = beside(target, config.parent)

    if run is not None or analysis.training.init is not None:
        from .stages.trust import check_runs

        check_runs(analysis, run, trust=trust)
    if stage == "all":
        submit_all(target, analysis, output, split, dry_run)
    else:
        submit(target, analysis, stage, output, split, data, run, jobs, dry_run)
    if dry_run:
        _next(*(argument for argument in sys.argv[1:] if argument != "--dry-run"))


@app.command()
def status(
    directory: JobDirectory,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until all jobs have ended.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    trust: Trust = False,
) -> None:
    """Show where the jobs are, why some failed, and when the last will be done.

    Example: nanoforge status jobs --watch
    """
    _trust_targets(directory, trust)
    from .batch.status import status

    status(directory, watch, as_json)


@app.command()
def resubmit(
    directory: JobDirectory,
    jobs: Jobs = 1,
    permanent: Annotated[
        bool, typer.Option("--permanent", help="Also jobs that ended with a mistake (exit code 2).")
    ] = False,
    trust: Trust = False,
) -> None:
    """Submit again what is neither done nor in the queue, with more time or memory where that was missing.

    Example: nanoforge resubmit jobs
    """
    _trust_targets(directory, trust)
    from .batch.resubmit import resubmit

    resubmit(directory, jobs, permanent)


@app.command()
def collect(
    directory: JobDirectory,
    output: Annotated[Path, typer.Option("-o", "--output", help="Directory of the stage's result.")],
    skip_bad_files: Annotated[
        bool, typer.Option("--skip-bad-files", help="Go on without what is missing: it is named, and counted as lost.")
    ] = False,
    jobs: Jobs = 1,
    force: Force = False,
    trust: Trust = False,
) -> None:
    """Merge what the jobs made, once nothing is missing.

    Example: nanoforge collect jobs -o dataset
    """
    _trust_targets(directory, trust)
    from .batch.collect import collect

    collect(directory, output, skip_bad_files, jobs, force, give=_give)
    if (output / "fold0").exists():
        from .stages.trust import vouch

        vouch(directory, output)


@app.command()
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
    analysis = _load(config, overrides)
    from .workflow import run_all

    run_all(analysis, output, jobs=jobs, skip_bad_files=skip_bad_files, file=config, force=force, trust=trust)
    _next("export", TRAIN.output(output), "-o", output / "export")


def _give(argv: Sequence[str]) -> None:
    """Give a command within another one, which answers its failures and interruptions."""
    command = typer.main.get_command(app)
    with command.make_context("nanoforge", [*["--debug"] * _debug, *argv]) as context:
        command.invoke(context)


def _unexpected(error: Exception) -> str:
    """Say what went wrong: in the words of the machine where these name a file (no permission, a name too long)."""
    from .errors import full_disk, machine_failure, scarce_memory

    lack = machine_failure(error) or full_disk(error)
    if lack is not None:
        return lack
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    cause = scarce_memory() or "'nanoforge --debug ...' shows where"
    return f"{type(error).__name__}: {error}; {cause}"


def main() -> None:
    """Run the command line; a failure is one ``error:`` line and an exit code (2: your mistake, 1: data or machine)."""
    with lenient_output():
        _answer_errors()


def _answer_errors() -> None:
    from .errors import NanoForgeError

    try:
        with interruptible():
            app()
    except NanoForgeError as error:
        if _debug:
            raise
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except ModuleNotFoundError:  # said by __main__, since this file may be what cannot be imported
        raise
    except Exception as error:  # a defect of ours or of a library: one line is enough unless it is to be studied
        if _debug:
            raise
        print(f"error: {_unexpected(error)}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


if __name__ == "__main__":
    main()
