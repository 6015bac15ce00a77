#!/bin/bash
# Every configuration says what it takes, and can be made for every era (no event is processed).
set -euo pipefail
test=$(cd "$(dirname "$0")/.." && pwd)
eras=$(python3 -c 'from PhysicsTools.NanoForge.cmssw.eras import ERAS; print(*ERAS)')

for name in gen gensim skim nano infer; do
  python3 "$test/${name}_cfg.py" --help | grep -q -- --era
done
for era in $eras; do
  echo "era $era"
  python3 "$test/gen_cfg.py" --era "$era" --gun 13
  python3 "$test/gensim_cfg.py" --era "$era" --settings 'Top:gg2ttbar = on'
  python3 "$test/nano_cfg.py" --era "$era" --input file:mini.root --pfcands
done
