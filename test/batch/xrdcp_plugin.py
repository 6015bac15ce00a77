"""A file transfer plugin of HTCondor for root:// that stands for the one of a CERN worker node.

See "Custom File Transfer Plugins" in the manual of HTCondor: the files are listed in ClassAds, and so are the results.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

CAPABILITIES = 'PluginVersion = "1"\nPluginType = "FileTransfer"\nSupportedMethods = "root"\nMultipleFileSupport = true'


def transfer(source: str, target: str) -> str:
    """Copy a file from one place to another, or make a folder; returns what went wrong."""
    from XRootD import client
    from XRootD.client.flags import MkDirFlags

    if Path(source).is_dir():
        url = client.URL(target)
        status, _ = client.FileSystem(f"root://{url.hostid}/").mkdir(url.path, MkDirFlags.MAKEPATH)
        return "" if status.ok or "exist" in status.message else _said(status)
    process = client.CopyProcess()
    process.add_job(source, target, force=True, mkdir=True)
    process.prepare()
    status, _ = process.run()
    return "" if status.ok else _said(status)


def _said(status: object) -> str:
    return " ".join(status.message.split()).replace('"', "'")


def main(words: list[str]) -> int:
    if "-classad" in words:
        print(CAPABILITIES)
        return 0
    options = dict(zip(words, words[1:]))
    asked = Path(options["-infile"]).read_text()
    failed = False
    with Path(options["-outfile"]).open("w") as answers:
        for ad in re.findall(r"\[[^\]]*\]", asked):
            url, local = (re.search(rf'\b{name}\s*=\s*"([^"]*)"', ad)[1] for name in ("Url", "LocalFileName"))
            error = transfer(local, url) if "-upload" in words else transfer(url, local)
            failed = failed or bool(error)
            answers.write(
                f'[ TransferUrl = "{url}"; TransferFileName = "{Path(local).name}"; TransferProtocol = "root"; '
                f'TransferSuccess = {str(not error).lower()}; TransferError = "{error}" ]\n'
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
