#!/usr/bin/env python3
"""What CRAB runs in the place of cmsRun: one job of NanoForge.

    crab_job.py NUMBER [VARIABLE=VALUE ...]

Line NUMBER of items.txt has the words after job.sh, which does the work, in an environment without CMSSW's. What it
made goes into part.tar, and FrameworkJobReport.xml tells CRAB of it. Exit codes are NanoForge's: CRAB tries 1 again,
not 2; where a cmsRun of a production failed that may do better elsewhere, the report has its code, by which CRAB has
rules. It needs nothing but Python 3.6.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
from xml.sax.saxutils import escape

ITEMS, RESULT, REPORT = "items.txt", "part.tar", "FrameworkJobReport.xml"
KEPT = (
    "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "X509_USER_PROXY", "X509_CERT_DIR", "BEARER_TOKEN_FILE", "CMS_PATH",
    "SITECONFIG_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES",
)  # fmt: skip


def main(number, *variables):
    """Do a job, and tell of it; returns its exit code."""
    with open(ITEMS) as file:
        words = shlex.split(file.read().splitlines()[int(number) - 1])
    code, error = run(words, variables)
    manifest = {}
    if code == 0:
        with open(os.path.join(words[0], "manifest.json")) as file:
            manifest = json.load(file)
        with tarfile.open(RESULT, "w") as archive:
            archive.add(words[0])
    with open(REPORT, "w") as file:
        file.write(report(manifest, assigned(), code, error))
    return code


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


def assigned():
    """Return the luminosity blocks that CRAB wants this job to do, by run; it subtracts them from what is to be done."""
    try:
        from PSet import process

        ranges = [str(text) for text in process.source.lumisToProcess]
    except (ImportError, AttributeError):  # generated events have none
        return {}
    lumis = {}
    for text in ranges:  # "1:2-1:5", or "1:2"
        first, _, last = text.partition("-")
        number, begin = first.split(":")
        end = (last or first).split(":")[1]
        lumis.setdefault(int(number), []).extend(range(int(begin), int(end) + 1))
    return lumis


def report(manifest, lumis, code, error):
    """Return a job report such as cmsRun writes: what was read, and what went wrong."""
    lines = ["<FrameworkJobReport>", "<ReadBranches>", "</ReadBranches>"]
    for file in manifest.get("inputs", []):
        lines += input_file(file["path"], file["entries"], lumis)
        lumis = {}
    if code:
        text = escape(error or "see the end of the job's output")
        kind = "NanoForgeMistake" if code == 2 else "NanoForgeFailure"
        of_cmsrun = re.search(r"cmsRun ended with (\d+)", error) if code == 1 else None
        status = int(of_cmsrun.group(1)) if of_cmsrun else code
        lines += ['<FrameworkError ExitStatus="%d" Type="%s">' % (status, kind), text, "</FrameworkError>"]
    return "\n".join(lines + ["</FrameworkJobReport>", ""])


def input_file(path, entries, lumis):
    """Yield the lines of a job report on a file that was read."""
    at = path.find("/store/")
    yield "<InputFile>"
    yield '<State Value="closed"/>'
    yield "<LFN>%s</LFN>" % escape(path[at:] if at >= 0 else path)
    yield "<PFN>%s</PFN>" % escape(path)
    yield "<Catalog></Catalog>"
    yield "<ModuleLabel>source</ModuleLabel>"
    yield "<GUID></GUID>"
    yield "<InputType>primaryFiles</InputType>"
    yield "<InputSourceClass>PoolSource</InputSourceClass>"
    yield "<EventsRead>%d</EventsRead>" % (entries or 0)
    yield "<Runs>"
    for number, blocks in sorted(lumis.items()):
        yield '<Run ID="%d">' % number
        for block in blocks:
            yield '<LumiSection ID="%d"/>' % block
        yield "</Run>"
    yield "</Runs>"
    yield "</InputFile>"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
