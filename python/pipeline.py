"""The whole pipeline: convert, train, evaluate and predict, each only when what it depends on has changed."""

from __future__ import annotations

from pathlib import Path

from .config.schema import Analysis
from .events.files import sample_files
from .stages.convert import convert
from .stages.evaluate import evaluate
from .stages.predict import predict
from .stages.train import train


def run_all(analysis: Analysis, output: Path, jobs: int = 1, skip_bad_files: bool = False) -> None:
    """Run all stages of an analysis.

    Parameters
    ----------
    analysis
        The analysis file.
    output
        Gets ``dataset``, ``run`` and ``friends``. Results that are up to date by their manifests are kept, others are
        replaced when their successors are ready.
    jobs, skip_bad_files
        As for the single stages.
    """
    dataset, run = output / "dataset", output / "run"
    convert(analysis, dataset, jobs, skip_bad_files, force=True)
    train(analysis, dataset, run, force=True)
    evaluate(run, force=True)
    # samples may share a file: it is scored once
    files = list(dict.fromkeys(path for name in analysis.samples for path in sample_files(analysis, name)))
    predict(run, files, output / "friends", "root", jobs, skip_bad_files, force=True)
