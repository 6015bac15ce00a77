# A view of the LCG releases, and the very NanoForge that submitted the jobs.
if [[ ! -r @{setup} ]]; then
  echo "error: @{setup} is not on this machine: see batch.environment.lcg, and whether CVMFS is mounted" >&2
  exit 2
fi
set +eu # the view's script needs it
source @{setup}
set -eu
mkdir -p software packages
tar -xzf nanoforge.tar.gz -C software
python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall("packages")' @{archive}
export PYTHONPATH=$PWD/software:@{packages}${PYTHONPATH:-}
python=(python3)
