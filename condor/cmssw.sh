# A CMSSW release, and the very NanoForge that submitted the jobs.
set +eu # CMSSW's scripts need it
source /cvmfs/cms.cern.ch/cmsset_default.sh
export SCRAM_ARCH=@{arch}
here=$PWD
@{enter}
eval "$(scramv1 runtime -sh)"
cd "$here"
set -eu
mkdir -p software
tar -xzf nanoforge.tar.gz -C software
export PYTHONPATH=$PWD/software:${PYTHONPATH:-}
python=(python3)
