"""The whole pipeline, each stage only when what it depends on has changed."""

from __future__ import annotations

from pathlib import Path

from .config.schema import Analysis
from .errors import UserError
from .events.files import sample_files, with_files
from .provenance import Manifest
from .stages.convert import convert
from .stages.evaluate import evaluate
from .stages.generate import generate
from .stages.predict import predict
from .stages.skim import skim
from .stages.train import train


def run_all(
    analysis: Analysis, output: Path, jobs: int = 1, skip_bad_files: bool = False, file: Path | None = None
) -> None:
    """Run all stages of an analysis.

    Samples with a ``generator`` and without ``files`` are generated; where the analysis says what to ``skim``, all
    samples are, and the later stages read the skims.

    Parameters
    ----------
    analysis
        The analysis file.
    output
        Gets ``generated``, ``skimmed``, ``dataset``, ``run`` and ``friends``. Results that are up to date by their
        manifests are kept, others are replaced when their successors are ready.
    jobs, skip_bad_files, file
        As for the single stages.
    """
    dataset, run = output / "dataset", output / "run"
    analysis = _generated(analysis, output / "generated", jobs)
    if "skim" in analysis.model_fields_set:
        _check_sums(analysis)
        skimmed = skim(analysis, output / "skimmed", jobs, skip_bad_files, force=True)
        analysis = with_files(analysis, {n: _outputs(skimmed, output / "skimmed", n) for n in analysis.samples})
    convert(analysis, dataset, jobs, skip_bad_files, force=True)
    train(analysis, dataset, run, force=True, file=file)
    evaluate(run, force=True)
    # samples may share a file: it is scored once
    files = list(dict.fromkeys(path for name in analysis.samples for path in sample_files(analysis, name)))
    predict(run, files, output / "friends", "root", jobs, skip_bad_files, force=True)


def _check_sums(analysis: Analysis) -> None:
    """Refuse to normalise to the events that are left when all that were read are meant."""
    wrong = next((name for name, sample in analysis.samples.items() if sample.sumw == "events"), None)
    if wrong is not None:
        raise UserError(
            f"samples.{wrong}.sumw: 'events' would sum over what the skim keeps: give the number, or take out 'skim'"
        )


def _generated(analysis: Analysis, folder: Path, jobs: int) -> Analysis:
    """Generate the samples that are nowhere yet; returns the analysis that reads them."""
    missing = {n: s for n, s in analysis.samples.items() if s.generator is not None and s.files is None}
    if not missing:
        return analysis
    generate(analysis.model_copy(update={"samples": missing}), folder, jobs=jobs, force=True)
    return with_files(analysis, {name: [str(folder / f"{name}.root")] for name in missing})


def _outputs(manifest: Manifest, folder: Path, sample: str) -> list[str]:
    return [str(folder / record.path) for record in manifest.outputs if Path(record.path).parts[0] == sample]
