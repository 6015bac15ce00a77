"""``nanoforge cmsrun``: ready configurations and commands of the CMSSW chain for a sample."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..cmssw import commands, seeds
from ..cmssw.eras import ERAS, Step
from ..cmssw.tiers import MINI_KEEPS
from ..config.cmssw import CmsRun
from ..config.schema import Analysis
from ..console import say
from ..errors import UserError, nearest
from ..production.generation import PACKAGE, checked_block, fragment, sources
from ..production.plugin_filters import sources_of
from ..provenance import Manifest, fingerprint, staged_output
from ..provenance.manifest import adler32
from ..provenance.output import up_to_date
from ..version import __version__

STAGE = "cmsrun"
GENERATION, READING = ("gen", "sim"), ("skim", "nano", "images")
_MODEL = ("model.onnx", "model.json")


def cmsrun(
    analysis: Analysis,
    sample: str,
    step: str,
    output: Path,
    era: str | None = None,
    model: Path | None = None,
    force: bool = False,
) -> Manifest:
    """Write what a job in a CMSSW release needs to make or to read a sample.

    Parameters
    ----------
    analysis
        The analysis file; its block ``cmssw`` has the era, and the cuts of the step "skim".
    sample
        Its name.
    step
        "gen" or "sim" of a sample with a ``generator``; "skim", "nano" or "images" (with hits of the calorimeters) of
        MiniAOD.
    output
        Gets ``<sample>_<step>_cfg.py`` (where the release of the era has Python 3), ``commands.sh``, and what these
        need: the frozen generator ``<sample>.json`` with its fragment, the cuts, the model.
    era
        Instead of the file's.
    model
        What ``nanoforge export`` wrote: its scores become columns. For the steps "skim" and "nano".
    force
        Replace a finished result of something else.

    Returns
    -------
    Manifest
        Its details hold ``release``, ``arch`` and ``configuration``.

    Raises
    ------
    UserError
        When the sample, the era or the step do not fit, or Pythia refuses a setting.
    """
    name = _checked(analysis, sample, step, era)
    files, copies = _contents(analysis, sample, step, name, model)
    request = {"sample": sample, "step": step, "era": name}
    made = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    key = {**request, "files": made, "copies": {path: adler32(source) for path, source in copies.items()}}
    previous = up_to_date(output, STAGE, key)
    if previous is not None:
        say(f"{output} is up to date")
        return previous
    with staged_output(output, key, force) as work:
        for path, content in files.items():
            (work / path).write_bytes(content)
        for path, source in copies.items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, work / path)
        configuration = next((path for path in files if path.endswith("_cfg.py")), None)
        row = _row(name, step)
        manifest = Manifest(STAGE, {"cmsrun": request}, [])
        manifest.details = {"key": fingerprint(key), **request, "release": row.release, "arch": row.arch,
                            "configuration": configuration, **_kept(analysis, step)}  # fmt: skip
        manifest.write(work, dict.fromkeys([*files, *copies]))
    _tell(output, manifest)
    return manifest


def _kept(analysis: Analysis, step: str) -> dict[str, str]:
    """Say in the manifest which hits the tables of images have."""
    if step != "images":
        return {}
    hits = (analysis.cmssw or CmsRun()).hits
    return {"hits": "all of AOD" if hits == "aod" else MINI_KEEPS}


def _checked(analysis: Analysis, sample: str, step: str, era: str | None) -> str:
    """Return the era, where all that is asked for exists."""
    if sample not in analysis.samples:
        raise UserError(f"--sample {sample}: there is no such sample{nearest(sample, analysis.samples)}")
    if step not in (*GENERATION, *READING):
        steps = (*GENERATION, *READING)
        raise UserError(f"--step {step}: not one of {', '.join(steps)}{nearest(step, steps)}")
    block = analysis.cmssw or CmsRun()
    for other in block.acceptance:
        if other not in analysis.samples:
            raise UserError(f"cmssw.acceptance.{other}: there is no such sample{nearest(other, analysis.samples)}")
    name = era or block.era
    if name not in ERAS:
        key = "cmssw.era" if era is None else "--era"
        raise UserError(f"{key}: {name!r} is unknown{nearest(name, ERAS)}; known: {', '.join(ERAS)}")
    return name


def _row(era: str, step: str) -> Step:
    """Return the step whose release is taken: without Python 3, generation alone takes that of NanoAOD."""
    rows = ERAS[era].steps
    if step == "sim" or (step == "gen" and rows["gensim"].python3):
        return rows["gensim"]
    return rows["nano"]


def _contents(
    analysis: Analysis, sample: str, step: str, era: str, model: Path | None
) -> tuple[dict[str, bytes], dict[str, Path]]:
    """Return the files to write and those to copy, by their names in the output."""
    block = analysis.cmssw or CmsRun()
    if step in GENERATION:
        if model is not None:
            raise UserError(f"--model: the step {step!r} makes no tables: give it with --step skim or nano")
        accepted = block.acceptance.get(sample) if step == "sim" else None
        block_of_sample = checked_block(analysis.samples[sample].generator, sample, era, accepted, block.filters)
        return _generation(block_of_sample, era, step, sources_of(block.filters)), {}
    copies: dict[str, Path] = {}
    if analysis.samples[sample].data and analysis.golden_json:
        copies[Path(analysis.golden_json).name] = Path(analysis.golden_json)
    name = None
    if model is not None:
        name = _exported(model)
        copies |= {f"data/{name}/{file}": model / file for file in _MODEL}
    return _reading(analysis, block, sample, step, era, name), copies


def _generation(block: Mapping[str, Any], era: str, step: str, more: Sequence[Path]) -> dict[str, bytes]:
    """Return the files of the steps that generate, by name; ``more`` are plugins of the user's."""
    sample = block["sample"]
    text, package = fragment(dict(block), era, ERAS[era].steps["gensim"].python3)
    files = {
        f"{sample}.json": json.dumps(block, indent=1) + "\n",
        f"{sample}_fragment.py": text,
        commands.SEEDS: Path(seeds.__file__).read_text(),
        "commands.sh": commands.generation(era, block, step, f"{sample}_fragment.py", package),
    }
    row = _row(era, step)
    if row.python3:
        defaults = {"generator": f"{sample}.json", "era": era, "output": f"{sample}_{step}.root"}
        function = "gensim" if step == "sim" else "gen"
        files[f"{sample}_{step}_cfg.py"] = _configuration(step, function, sample, row.release, defaults)
    return _with_sources(files, package, more)


def _with_sources(files: Mapping[str, str], package: bool, more: Sequence[Path] = ()) -> dict[str, bytes]:
    """Return the files as bytes, with the package itself where a release needs it."""
    content = {name: text.encode() for name, text in files.items()}
    return {**content, commands.SOURCES: sources(more)} if package else content


def _reading(
    analysis: Analysis, block: CmsRun, sample: str, step: str, era: str, model: str | None
) -> dict[str, bytes]:
    """Return the files of the steps that read MiniAOD, by name."""
    data = analysis.samples[sample].data
    defaults: dict[str, Any] = {"era": era, "input": [f"file:{sample}_mini.root"], "output": f"{sample}_{step}.root"}
    files, lines = {}, []
    if step == "skim":
        if not block.skim:
            raise UserError("cmssw.skim: there are no cuts: give a list of {name, src, cut, min, max}")
        cuts = [cut.model_dump(mode="json") for cut in block.skim]
        defaults["skim"] = f"{sample}_skim.json"
        files[defaults["skim"]] = json.dumps(cuts, indent=1) + "\n"
        lines += [
            "from PhysicsTools.NanoForge.cmssw import skim",
            f"skim.addSkim(process, skim.read({defaults['skim']!r}))",
        ]
    if step == "images":
        parents = [f"file:{sample}_aod.root"] if block.hits == "aod" else []
        defaults |= {"calohits": block.hits, "parents": parents}
        lines += [
            "from PhysicsTools.NanoForge.cmssw import nano",
            f"nano.addCaloHits(process, {block.hits!r}, {parents!r})",
        ]
    if data:
        defaults["data"] = True
        if analysis.golden_json:
            defaults["lumi_mask"] = Path(analysis.golden_json).name
    if model is not None:
        defaults["model"] = f"{PACKAGE}/data/{model}/{_MODEL[0]}"
        lines += ["from PhysicsTools.NanoForge.cmssw import nano", f"nano.addScores(process, {defaults['model']!r})"]
    mask = defaults.get("lumi_mask")
    more = ["--lumiToProcess", mask] if mask else []
    function = "nano" if step == "images" else step
    files[f"{sample}_{step}_cfg.py"] = _configuration(step, function, sample, _row(era, step).release, defaults)
    files["commands.sh"] = commands.reading(era, sample, step, data, lines, more)
    return _with_sources(files, bool(lines))


_TEMPLATE = '''\
"""Sample {sample}, made by nanoforge cmsrun {version}; for {release}, with {package} built.

cmsRun {name} [options]; before 13_3_X: cmsRun {name} -- [options]
"""

from PhysicsTools.NanoForge.cmssw import configurations
from PhysicsTools.NanoForge.cmssw.options import beside

process = configurations.{function}(
    __doc__,
{defaults}
)
'''
_BESIDE = ("generator", "skim", "lumi_mask")


def _configuration(step: str, function: str, sample: str, release: str, defaults: Mapping[str, Any]) -> str:
    lines = [
        f"    {key}={f'beside({json.dumps(value)})' if key in _BESIDE else json.dumps(value).replace('true', 'True')},"
        for key, value in defaults.items()
    ]
    return _TEMPLATE.format(
        sample=sample, version=__version__, release=release, package=PACKAGE, function=function,
        name=f"{sample}_{step}_cfg.py", defaults="\n".join(lines),
    )  # fmt: skip


def _exported(model: Path) -> str:
    """Return the name of an exported model that CMSSW can run."""
    Manifest.read(model, "export").verify(model)
    description = json.loads((model / _MODEL[1]).read_text())
    if description["level"] != "columns":
        raise UserError(f"--model {model}: takes features, not columns: export it without --features")
    return str(description["name"])


def _tell(output: Path, manifest: Manifest) -> None:
    details = manifest.details
    if details["configuration"]:
        say(f"{output / details['configuration']}: to be run in {details['release']} ({details['arch']}) or newer")
    else:
        say(f"{details['release']} has no Python 3, so there is no configuration for it: use {output / 'commands.sh'}")
    if (output / "data").exists():
        say(f"copy {output / 'data'} into $CMSSW_BASE/src/{PACKAGE}: the model is looked for there")
