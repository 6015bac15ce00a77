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
export PYTHONPATH=@{packages}${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH=$PWD/software${PYTHONPATH:+:$PYTHONPATH}
# what the packages bring, and not the view's library of the same name
export LD_LIBRARY_PATH=@{packages}/fastjet/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
python=(python3)
