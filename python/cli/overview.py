"""The commands that show what there is: files, things to choose from, datasets, runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ..registry import REGISTRIES
from .options import AsJson, Force, Jobs, Output, Overrides, SkipBad, Tree
from .reading import YAML, load_analysis


def init(
    files: Annotated[list[str], typer.Argument(help="NanoAOD-like files, one sample each; globs and lists work.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The analysis file to write.")] = Path("analysis.yaml"),
    tree: Tree = "Events",
) -> None:
    """Write a commented analysis file for given files.

    Example: nanoforge init ttbar.root dy.root -o analysis.yaml
    """
    from ..stages.init import init

    init(files, output, tree)


def list_registry(
    kind: Annotated[str, typer.Argument(help=f"{', '.join(REGISTRIES)}.")],
    config: Annotated[Optional[Path], typer.Argument(help="An analysis file, of which yours are listed, too.")] = None,
    overrides: Overrides = None,
) -> None:
    """List what there is of a kind, with a line and the options of each, and their [defaults].

    Example: nanoforge list models
    """
    analysis = None if config is None else load_analysis(config, overrides)
    from ..listing import lines

    for line in lines(kind, analysis):
        typer.echo(line)


def schema(
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print tables of all keys, in Markdown.")] = False,
) -> None:
    """Print the JSON schema of the analysis file, by which editors complete and check it.

    Example: nanoforge schema > nanoforge.schema.json
    """
    if as_markdown:
        from ..config.reference import markdown

        typer.echo(markdown(), nl=False)
        return
    import json

    from ..config.json_schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


def inspect(
    files: Annotated[list[str], typer.Argument(help="Files, globs, list files, root:// and https:// addresses.")],
    tree: Annotated[Optional[str], typer.Option("--tree", help="Only this tree; dir/tree works.")] = None,
    filter: Annotated[Optional[str], typer.Option("--filter", help="Only branches like this, e.g. 'Jet_*'.")] = None,
    ranges: Annotated[bool, typer.Option("--ranges", help="Read values: min, max, mean, NaN, longest list.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show trees, entries and branches, grouped into collections.

    Example: nanoforge inspect nano.root --filter 'Jet_*' --ranges
    """
    from ..stages.inspect import inspect

    inspect(files, tree, filter, ranges, as_json)


def plot(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES... EXPRESSIONS...",
            help="Files or the analysis file, then what to draw: Jet_pt, 'Jet_eta:Jet_phi' (y:x), 'Jet_pt>>(9,0,90)'.",
        ),
    ],
    output: Output = Path("plots"),
    cut: Annotated[Optional[list[str]], typer.Option("--cut", help="A cut on events, or on the objects drawn.")] = None,
    weight: Annotated[str, typer.Option("--weight", help="A (further) weight, e.g. genWeight.")] = "1",
    log: Annotated[bool, typer.Option("--log", help="A logarithmic axis.")] = False,
    shapes: Annotated[bool, typer.Option("--shapes", help="Every sample with the area 1.")] = False,
    ratio: Annotated[bool, typer.Option("--ratio", help="The ratio to the first sample below.")] = False,
    tree: Annotated[Optional[str], typer.Option("--tree", help="The tree of files; dir/tree works. [Events]")] = None,
    jobs: Jobs = 1,
    skip_bad_files: SkipBad = False,
    force: Force = False,
) -> None:
    """Draw histograms of expressions, in one pass over the files, and write them as PDF, PNG and ROOT.

    Example: nanoforge plot nano.root Jet_pt 'Jet_eta:Jet_phi' --cut 'nJet > 3' -o plots
    """
    from ..histograms.request import divide

    files, texts = divide(words)
    one = Path(files[0]) if len(files) == 1 and Path(files[0]).suffix in YAML else None
    analysis = None if one is None else load_analysis(one, [] if tree is None else [f"tree={tree}"])
    from ..histograms.drawing import Looks
    from ..stages.plot import analysis_of_files, plot

    plot(
        analysis or analysis_of_files(files, tree or "Events"),
        texts,
        output,
        cuts=cut or (),
        weight=weight,
        looks=Looks(log, shapes, ratio=ratio),
        jobs=jobs,
        skip_bad_files=skip_bad_files,
        force=force,
    )


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two runs or more that train made and evaluate evaluated.")],
    output: Output = Path("comparison"),
    force: Force = False,
) -> None:
    """Print a table of several runs, and draw their ROC curves into one figure.

    Example: nanoforge compare run_mlp run_deepsets -o comparison
    """
    from ..stages.compare import compare

    compare(runs, output, force=force)


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
    one = Path(names[0]) if len(names) == 1 and Path(names[0]).suffix in YAML else None
    analysis = None if one is None else load_analysis(one)
    from ..stages.catalogue import catalogue

    catalogue(names if analysis is None else analysis, output, xsec=xsec, tree=tree, refresh=refresh)
