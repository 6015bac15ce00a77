#!/bin/bash
# Ten events through the whole chain: Pythia and FastSim up to MiniAOD, NanoAOD, and the scores of a model in cmsRun, which
# have to be those of `nanoforge predict` on the same file. For the scores say where the pipeline and a trained run are:
#
#     NANOFORGE=/path/to/bin/nanoforge NANOFORGE_RUN=/path/to/run [NANOFORGE_ERA=2018] scram b runtests
set -euo pipefail
test=$(cd "$(dirname "$0")/.." && pwd)
era=${NANOFORGE_ERA:-2018}

cmsRun "$test/gen_cfg.py" --era "$era" --gun 36 --mass 1 5 --antiparticle --settings '36:oneChannel = 1 1.0 101 11 -11' \
  --events 10 --output gun.root
cmsRun "$test/gensim_cfg.py" --era "$era" --fast --settings 'Top:gg2ttbar = on' 'Top:qqbar2ttbar = on' \
  --events 10 --output mini.root
if [ -z "${NANOFORGE_RUN:-}" ]; then
  cmsRun "$test/nano_cfg.py" --era "$era" --input file:mini.root --output nano.root
  echo "SKIPPED: the scores, for NANOFORGE and NANOFORGE_RUN are not set (see the top of $0)"
  exit 0
fi

data=$CMSSW_BASE/src/PhysicsTools/NanoForge/data/chain_test # where edm::FileInPath finds it
trap 'rm -rf "$data"' EXIT
"$NANOFORGE" export "$NANOFORGE_RUN" --output "$data" --force
cmsRun "$test/nano_cfg.py" --era "$era" --input file:mini.root --output nano.root \
  --model PhysicsTools/NanoForge/data/chain_test/model.onnx
"$NANOFORGE" predict "$NANOFORGE_RUN" nano.root --output friends --force
python3 "$test/release/compare_scores.py" nano.root friends/nano.root "$data/model.json"
