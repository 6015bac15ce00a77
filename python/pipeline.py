"""The whole pipeline, each stage only when what it depends on has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .config.schema import Analysis, Sample
from .errors import UserError
from .events.files import sample_files, with_files
from .provenance import Manifest
from .provenance.manifest import NAME, changed_keys
from .provenance.output import said
from .stages.convert import convert
from .stages.evaluate import evaluate
from .stages.generate import generate
from .stages.predict import predict
from .stages.skim import skim
from .stages.train import train


def run_all(
    analysis: Analysis,
    output: Path,
    jobs: int = 1,
    skip_bad_files: bool = False,
    file: Path | None = None,
    force: bool = False,
    *,
    trust: bool = False,
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
        manifests are kept; those of inputs that have changed are replaced when their successors are ready.
    jobs, skip_bad_files, file
        As for the single stages.
    force
        Replace results that were made with other settings, too.

    Raises
    ------
    UserError
        When there are results of other settings; before anything is done.
    """
    if not force:
        _keep_other_settings(analysis, output)
    dataset, run = output / "dataset", output / "run"
    analysis = _generated(analysis, output / "generated", jobs)
    if "skim" in analysis.model_fields_set:
        _check_sums(analysis)
        skimmed = skim(analysis, output / "skimmed", jobs, skip_bad_files, force=True)
        analysis = with_files(analysis, {n: _outputs(skimmed, output / "skimmed", n) for n in analysis.samples})
    convert(analysis, dataset, jobs, skip_bad_files, force=True)
    train(analysis, dataset, run, force=True, file=file, trust=trust)
    evaluate(run, force=True)
    # samples may share a file: it is scored once
    files = list(dict.fromkeys(path for name in analysis.samples for path in sample_files(analysis, name)))
    predict(run, files, output / "friends", "root", jobs, skip_bad_files, force=True)


def _keep_other_settings(analysis: Analysis, output: Path) -> None:
    """Refuse to replace what was made with other values of the keys that it depends on."""
    generated = _to_generate(analysis)
    sources = {name: [str(output / "generated" / f"{name}.root")] for name in generated}
    read = with_files(analysis, sources)
    generators = {"samples": {n: s.generator.model_dump(mode="json") for n, s in generated.items() if s.generator}}
    results = [("generate", "generated", generators), ("skim", "skimmed", read.settings("skim"))]
    results += [("convert", "dataset", read.settings("convert")), ("train", "run", read.settings("train"))]
    changes: list[str] = []
    for stage, folder, settings in results:
        if not (output / folder / NAME).exists() or (stage == "generate" and not generated):
            continue
        before = Manifest.load(output / folder, "run").config
        if "skim" in analysis.model_fields_set and stage in ("convert", "train"):  # they read the skims
            before, settings = _without_files(before), _without_files(settings)
        changes += changed_keys({key: before[key] for key in settings if key in before}, settings)
    if changes:
        raise UserError(
            f"{output}: holds results of other settings ({said(list(dict.fromkeys(changes)))}); give another -o, or "
            "--force to replace what depends on them"
        )


def _without_files(config: dict[str, Any]) -> dict[str, Any]:
    samples = {name: {**sample, "files": None, "dataset": None} for name, sample in config["samples"].items()}
    return {**config, "samples": samples}


def _check_sums(analysis: Analysis) -> None:
    """Refuse to normalise to the events that are left when all that were read are meant."""
    wrong = next((name for name, sample in analysis.samples.items() if sample.sumw == "events"), None)
    if wrong is not None:
        raise UserError(
            f"samples.{wrong}.sumw: 'events' would sum over what the skim keeps: give the number, or take out 'skim'"
        )


def _generated(analysis: Analysis, folder: Path, jobs: int) -> Analysis:
    """Generate the samples that are nowhere yet; returns the analysis that reads them."""
    missing = _to_generate(analysis)
    if not missing:
        return analysis
    generate(analysis.model_copy(update={"samples": missing}), folder, jobs=jobs, force=True)
    return with_files(analysis, {name: [str(folder / f"{name}.root")] for name in missing})


def _to_generate(analysis: Analysis) -> dict[str, Sample]:
    return {name: s for name, s in analysis.samples.items() if s.generator is not None and s.files is None}


def _outputs(manifest: Manifest, folder: Path, sample: str) -> list[str]:
    return [str(folder / record.path) for record in manifest.outputs if Path(record.path).parts[0] == sample]
