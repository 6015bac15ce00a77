"""The commands that make samples: by Pythia 8 here, by CMSSW, or of others by a skim."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ..pipeline.graph import GENERATE, PRODUCE, SKIM
from .options import Config, Force, Jobs, Output, Overrides, Part, Parts, SkipBad
from .reading import load_analysis


def _list_presets(show: bool) -> None:
    if show:
        from ..simulation.presets import PRESETS

        for name, preset in PRESETS.all():
            typer.echo(f"{name:14} {preset.meaning}")
        raise typer.Exit


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
    analysis = load_analysis(config, overrides)
    from ..stages.generate import generate

    generate(analysis, output, sample=sample, events=events, jobs=jobs, force=force, part=part, parts=parts)


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
    published: Annotated[
        Optional[Path], typer.Option("--from-published", help="List the published files that collect found.")
    ] = None,
) -> None:
    """Produce samples by CMSSW, from their 'generator' to NanoAOD, as the block 'cmssw.produce' says.

    A lumi section of a sample goes through all steps of its era, each in its own release. 'nanoforge submit' with
    --stage produce lets batch jobs do it.

    Example: nanoforge produce analysis.yaml -o produced cmssw.produce.events=10 cmssw.produce.pileup=none
    """
    analysis = load_analysis(config, overrides)
    from ..stages.produce import produce

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
        published=published,
    )


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
    analysis = load_analysis(config, overrides)
    from ..stages.skim import skim

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


def cmsrun(
    config: Config,
    overrides: Overrides = None,
    *,
    sample: Annotated[str, typer.Option("--sample", help="Its name.")],
    step: Annotated[
        str, typer.Option("--step", help="gen, sim, skim (of MiniAOD), nano or images (nano with calorimeter hits).")
    ],
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
    analysis = load_analysis(config, overrides)
    from ..stages.cmsrun import cmsrun

    cmsrun(analysis, sample, step, output, era, model, force)
