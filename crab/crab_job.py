#!/usr/bin/env python3
"""What CRAB runs in the place of cmsRun: one job of NanoForge.

    crab_job.py NUMBER [VARIABLE=VALUE ...]

A line of items.txt has the words after job.sh, which does the work, in an environment without CMSSW's: where CRAB lets
jobs generate events, the line of the luminosity block that it has put into PSet.py; else line NUMBER. What the job made
goes into part.tar, and FrameworkJobReport.xml tells CRAB of it: of a production, it is that of all its cmsRuns. Exit
codes are NanoForge's: CRAB tries 1 again, not 2; where a cmsRun failed that may do better elsewhere, the report has its
code, by which CRAB has rules. It needs nothing but Python 3.6.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
from xml.etree import ElementTree

ITEMS, RESULT, REPORT = "items.txt", "part.tar", "FrameworkJobReport.xml"
KEPT = (
    "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "X509_USER_PROXY", "X509_CERT_DIR", "BEARER_TOKEN_FILE", "CMS_PATH",
    "SITECONFIG_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES",
)  # fmt: skip


def main(number, *variables):
    """Do a job, and tell of it; returns its exit code."""
    source = tweaked_source()
    with open(ITEMS) as file:
        words = shlex.split(file.read().splitlines()[line_of(source, number) - 1])
    code, error = run(words, variables)
    root = ElementTree.Element("FrameworkJobReport")
    ElementTree.SubElement(root, "ReadBranches")
    if code == 0:
        with open(os.path.join(words[0], "manifest.json")) as file:
            manifest = json.load(file)
        with tarfile.open(RESULT, "w") as archive:
            archive.add(words[0])
        add_inputs(root, manifest, assigned(source))
        add_production(root, manifest, words[0])
    else:
        add_error(root, code, error)
    ElementTree.ElementTree(root).write(REPORT)
    return code


def tweaked_source():
    """Return the source as CRAB left it; None where this Python cannot read it."""
    try:
        from PSet import process

        return process.source
    except ImportError:
        return None


def line_of(source, number):
    """Return the line of this job: of a task that generates, the luminosity block, which CRAB counts from 1."""
    block = getattr(source, "firstLuminosityBlock", None)
    return int(number) if block is None else int(block.value())


def run(words, variables):
    """Run job.sh; returns its exit code, and its last line of error."""
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment["PATH"] = "/usr/local/bin:/usr/bin:/bin"
    for variable in variables:  # where blanks cannot stand, commas do
        name, _, value = variable.partition("=")
        environment[name] = value.replace(",", " ")
    job = subprocess.Popen(
        ["bash", "job.sh"] + words, env=environment, stderr=subprocess.PIPE, universal_newlines=True, errors="replace"
    )
    error = ""
    for line in job.stderr:
        sys.stderr.write(line)
        if line.startswith("error:"):
            error = line.strip()
    code = job.wait()
    return (code if code >= 0 else 128 - code), error


def assigned(source):
    """Return the luminosity blocks that CRAB wants done here, by run; it subtracts them from what is to be done."""
    lumis = {}
    for text in map(str, getattr(source, "lumisToProcess", ())):  # "1:2-1:5", or "1:2"
        first, _, last = text.partition("-")
        number, begin = first.split(":")
        end = (last or first).split(":")[1]
        lumis.setdefault(int(number), []).extend(range(int(begin), int(end) + 1))
    return lumis


# -- the report -------------------------------------------------------------------------------------------------------


def add_inputs(root, manifest, lumis):
    """Tell of the files that were read; the luminosity blocks of them all stand at the first one."""
    for file in manifest.get("inputs", []):
        path = file["path"]
        at = path.find("/store/")
        element = ElementTree.SubElement(root, "InputFile")
        ElementTree.SubElement(element, "State", Value="closed")
        values = [
            ("LFN", path[at:] if at >= 0 else path), ("PFN", path), ("Catalog", ""), ("ModuleLabel", "source"),
            ("GUID", ""), ("InputType", "primaryFiles"), ("InputSourceClass", "PoolSource"),
            ("EventsRead", str(file["entries"] or 0)),
        ]  # fmt: skip
        for name, text in values:
            ElementTree.SubElement(element, name).text = text
        runs = ElementTree.SubElement(element, "Runs")
        for number, blocks in sorted(lumis.items()):
            run = ElementTree.SubElement(runs, "Run", ID=str(number))
            for block in blocks:
                ElementTree.SubElement(run, "LumiSection", ID=str(block))
        lumis = {}


def add_error(root, code, error):
    """Tell what went wrong."""
    of_cmsrun = re.search(r"cmsRun ended with (\d+)", error) if code == 1 else None
    status = of_cmsrun.group(1) if of_cmsrun else str(code)
    kind = "NanoForgeMistake" if code == 2 else "NanoForgeFailure"
    ElementTree.SubElement(root, "FrameworkError", ExitStatus=status, Type=kind).text = (
        error or "see the end of the job's output"
    )


def add_production(root, manifest, part):
    """Tell of all cmsRuns of a production as if they were one: the files that are left, and what it took."""
    metrics = {}
    for sample, records in manifest.get("details", {}).get("lumis", {}).items():
        for record in records:
            names = [step["name"] for step in record["steps"]]
            end = "-%05d." % record["lumi"]
            paths = [os.path.join(part, sample, "FJR-" + name + end + "xml") for name in names]
            reports = [ElementTree.parse(path).getroot() for path in paths]
            for name, report in zip(names, reports):
                add_step(root, report, os.path.join(part, sample, name + end + "root"), reports[0].find("File/Runs"))
                add_metrics(metrics, report)
    performance = ElementTree.SubElement(root, "PerformanceReport") if metrics else None
    for summary, values in sorted(metrics.items()):
        element = ElementTree.SubElement(performance, "PerformanceSummary", Metric=summary)
        for name, value in sorted(values.items()):
            ElementTree.SubElement(element, "Metric", Name=name, Value="%.6g" % value)


def add_step(root, report, path, generated):
    """Tell of the file of a step, if it is left: nothing is its parent, since those before it are gone.

    Its luminosity blocks are those of the step that generates, also where no event of them is left. CRAB names a
    published dataset by the process that wrote it, the last one.
    """
    for file in report.findall("InputFile"):
        if file.findtext("InputType") not in (None, "", "primaryFiles"):
            root.append(file)
    for file in report.findall("File"):
        if not os.path.exists(path):
            continue
        file.find("PFN").text = path
        file.find("Inputs").clear()
        if file.find("Runs/Run") is None:
            file.find("Runs").extend(generated)
        root.append(file)
        process = report.find("Process")
        if process is not None:
            root[:] = [element for element in root if element.tag != "Process"] + [process]


def add_metrics(metrics, report):
    """Add times, and take the most of the memory."""
    for summary in report.iter("PerformanceSummary"):
        if summary.get("Metric") not in ("Timing", "ApplicationMemory"):
            continue
        values = metrics.setdefault(summary.get("Metric"), {})
        for metric in summary.iter("Metric"):
            name, value = metric.get("Name"), metric.get("Value")
            if name.startswith("Total"):
                values[name] = values.get(name, 0.0) + float(value)
            elif name.startswith("Peak"):
                values[name] = max(values.get(name, 0.0), float(value))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
