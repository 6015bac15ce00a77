"""The operating systems that releases need: this one, or a container of CVMFS."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import DataError

_CVMFS = "/cvmfs/cms.cern.ch"
_OS_RELEASE = Path("/etc/os-release")
_KEPT = (
    "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "X509_USER_PROXY", "X509_CERT_DIR", "KRB5CCNAME", "BEARER_TOKEN_FILE",
    "CMS_PATH", "SITECONFIG_PATH", "_CONDOR_SCRATCH_DIR",
)  # fmt: skip
_BOUND = ("/eos", "/afs", "/etc/grid-security", "/etc/pki/ca-trust", "/run/user")


def software() -> Path:
    """Return where CMS has its software: on CVMFS, unless the site says otherwise."""
    return Path(os.environ.get("CMS_PATH") or _CVMFS)


def is_here() -> bool:
    """Whether releases can be set up on this machine."""
    return (software() / "cmsset_default.sh").is_file()


def system() -> str:
    """Return the operating system of this machine: el7, el8, el9; or what it calls itself."""
    try:
        text = _OS_RELEASE.read_text()
    except OSError:
        return "unknown"
    values = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', text, re.MULTILINE))
    alike = {"rhel", "centos", "fedora"} & {values.get("ID", ""), *values.get("ID_LIKE", "").split()}
    return f"el{values.get('VERSION_ID', '').partition('.')[0]}" if alike else values.get("ID", "unknown")


def inside(name: str, command: Sequence[str], folders: Sequence[Path] = ()) -> list[str]:
    """Return a command as it runs in an operating system, with these folders at hand.

    Raises
    ------
    DataError
        When it cannot be run on this machine: another one may do.
    """
    if name == system():
        return list(command)
    script = software() / "common" / f"cmssw-{name}"
    if not script.is_file():
        raise DataError(f"{script} is not on this machine, which runs {system()}: is CVMFS mounted?")
    proxy = os.environ.get("X509_USER_PROXY")
    bound = [*map(str, folders), *(folder for folder in _BOUND if Path(folder).is_dir())]
    bound += [str(Path(proxy).parent)] if proxy else []
    binds = [argument for folder in dict.fromkeys(bound) for argument in ("-B", folder)]
    return [str(script), *binds, "--command-to-run", *command]


@functools.cache
def probe(name: str, software: Path) -> None:
    """Raise a :class:`DataError` where programs of an operating system, of this software, cannot be run here.

    What could be run once is not tried again.
    """
    del software
    argv = inside(name, ["true"])
    done = subprocess.run(argv, env=environment(), capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise DataError(f"{argv[0]} does not work on this machine ({''.join(last) or done.returncode})")


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables of a release's programs: nothing of our own Python's, which would get in their way."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    containers = {name: value for name, value in os.environ.items() if name.startswith(("APPTAINER_", "SINGULARITY_"))}
    path = os.pathsep.join(dict.fromkeys(["/usr/local/bin", "/usr/bin", "/bin", *_folders("apptainer", "singularity")]))
    return {"HOME": str(Path.home()), **kept, **containers, "PATH": path, "LANG": "C.UTF-8", **(more or {})}


def _folders(*programs: str) -> list[str]:
    return [str(Path(program_path).parent) for program in programs if (program_path := shutil.which(program))]
