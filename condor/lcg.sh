# A view of the LCG releases, and the very NanoForge that submitted the jobs.
set +eu # the view's script needs it
source /cvmfs/sft.cern.ch/lcg/views/@{view}/@{platform}/setup.sh
set -eu
mkdir -p software
tar -xzf nanoforge.tar.gz -C software
export PYTHONPATH=$PWD/software:@{packages}${PYTHONPATH:-}
python=(python3)
