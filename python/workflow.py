"""The whole pipeline, each stage only when what it depends on has changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config.schema import Analysis
from .errors import UserError
from .events.files import sample_files, with_files
from .pipeline import graph
from .pipeline.stage import Stage
from .production import lists
from .provenance import Manifest
from .provenance.manifest import NAME, changed_keys
from .provenance.output import shortened
from .stages.convert import convert
from .stages.evaluate import evaluate
from .stages.generate import generate
from .stages.predict import predict
from .stages.produce import produce
from .stages.skim import skim
from .stages.train import train


def run_all(
    analysis: Analysis,
    output: Path,
    *,
    jobs: int = 1,
    skip_bad_files: bool = False,
    file: Path | None = None,
    force: bool = False,
    trust: bool = False,
) -> None:
    """Run all stages of an analysis.

    Samples with a ``generator`` and without ``files`` are generated, by CMSSW where ``cmssw.produce`` says so; where
    the analysis says what to ``skim``, all samples are, and the later stages read the skims.

    Parameters
    ----------
    analysis
        The analysis file.
    output
        Gets ``generated``, ``produced``, ``skimmed``, ``dataset``, ``run`` and ``friends``. Results that are up to date
        by their manifests are kept; those of inputs that have changed are replaced when their successors are ready.
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
    graph.walk(analysis, _Here(output, jobs, skip_bad_files, file, trust))


@dataclass(frozen=True)
class _Here:
    """Runs stages in this process; results that are no longer what the analysis says are replaced."""

    output: Path
    jobs: int
    skip_bad_files: bool
    file: Path | None
    trust: bool

    def run(self, stage: Stage, analysis: Analysis, results: Mapping[str, Any]) -> Any:
        """Run a stage; see :class:`.graph.Runner`."""
        return getattr(self, f"_{stage.name}")(analysis, stage.output(self.output), **results)

    def sums(self) -> Path:
        """Return the file with the sums of weights of a production; see :class:`.graph.Runner`."""
        return _sums(self.output)

    def _generate(self, analysis: Analysis, output: Path) -> dict[str, list[str]]:
        generate(analysis, output, jobs=self.jobs, force=True)
        return _generated(analysis.samples, output)

    def _produce(self, analysis: Analysis, output: Path) -> dict[str, list[str]]:
        produce(analysis, output, jobs=self.jobs, force=True)
        return _produced(analysis.samples, output)

    def _skim(self, analysis: Analysis, output: Path) -> dict[str, list[str]]:
        graph.check_sums(analysis)
        skimmed = skim(analysis, output, jobs=self.jobs, skip_bad_files=self.skip_bad_files, force=True)
        return {name: _outputs(skimmed, output, name) for name in analysis.samples}

    def _convert(self, analysis: Analysis, output: Path) -> Path:
        convert(analysis, output, jobs=self.jobs, skip_bad_files=self.skip_bad_files, force=True)
        return output

    def _train(self, analysis: Analysis, output: Path, dataset: Path) -> Path:
        train(analysis, dataset, output, force=True, file=self.file, trust=self.trust)
        return output

    def _evaluate(self, analysis: Analysis, output: Path, run: Path) -> Path:
        evaluate(run, output=output, force=True, evaluation=analysis.evaluation)
        return output

    def _predict(self, analysis: Analysis, output: Path, run: Path) -> Path:
        # samples may share a file: it is scored once
        files = list(dict.fromkeys(path for name in analysis.samples for path in sample_files(analysis, name)))
        predict(run, files, output, format="root", jobs=self.jobs, skip_bad_files=self.skip_bad_files, force=True)
        return output


def _keep_other_settings(analysis: Analysis, output: Path) -> None:
    """Refuse to replace what was made with other values of the keys that it depends on."""
    new, produced = graph.to_generate(analysis), graph.to_produce(analysis)
    made = _generated(new, graph.GENERATE.output(output)) | _produced(produced, graph.PRODUCE.output(output))
    read = graph.normalised(with_files(analysis, made), produced, _sums(output))
    generators = {"samples": {n: s.generator.model_dump(mode="json") for n, s in new.items()}}
    changes: list[str] = []
    for stage in graph.needed(analysis):
        folder = stage.output(output)
        if stage not in (graph.GENERATE, graph.SKIM, graph.CONVERT, graph.TRAIN) or not (folder / NAME).exists():
            continue
        settings = generators if stage is graph.GENERATE else read.settings(stage.name)
        before = Manifest.read(folder, stage.name).config
        if graph.SKIM.needed(analysis) and stage in (graph.CONVERT, graph.TRAIN):  # they read the skims
            before, settings = _without_files(before), _without_files(settings)
        changes += changed_keys({key: before[key] for key in settings if key in before}, settings)
    if changes:
        raise UserError(
            f"{output}: holds results of other settings ({shortened(list(dict.fromkeys(changes)))}); give another -o, "
            "or --force to replace what depends on them"
        )


def _without_files(config: dict[str, Any]) -> dict[str, Any]:
    samples = {name: {**sample, "files": None, "dataset": None} for name, sample in config["samples"].items()}
    return {**config, "samples": samples}


def _generated(samples: Mapping[str, Any], folder: Path) -> dict[str, list[str]]:
    return {name: [str(folder / f"{name}.root")] for name in samples}


def _produced(samples: Iterable[str], folder: Path) -> dict[str, list[str]]:
    return {name: [str(folder / lists.FOLDER / f"{name}.txt")] for name in samples}


def _sums(output: Path) -> Path:
    return graph.PRODUCE.output(output) / lists.BLOCK


def _outputs(manifest: Manifest, folder: Path, sample: str) -> list[str]:
    return [str(folder / record.path) for record in manifest.outputs if Path(record.path).parts[0] == sample]
