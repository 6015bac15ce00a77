#!/bin/bash
# Runs one job of NanoForge in the current folder:
#
#   job.sh RESULT ARGUMENTS...      nanoforge ARGUMENTS, which makes the folder RESULT ("-": none)
#
# environment.sh, beside it, sets `python`. These variables may be set:
#   NANOFORGE_PROCESSES=N           train in N processes, one for each GPU
#   NANOFORGE_CHECKPOINT=SECONDS    after so long, stop at a checkpoint with exit code 85: "start me again"
#   NANOFORGE_DESTINATION=ADDRESS   copy RESULT there, where the batch system does not
# Exit codes: 0 done, 2 a mistake that no further try mends, 85 see above; others: try again.
set -euo pipefail
result=$1
shift

tell_how_it_ended() {
  local status=$? free
  rm -f .reserve # so that there is room for these lines
  echo "end      $(date -u +%FT%TZ), exit code $status"
  [[ $status -eq 0 || $status -eq 85 ]] && return
  free=$(df -Pm . | awk 'NR == 2 {print $4}')
  echo "job.sh: exit code $status on $(hostname), $free MB of disk are free" >&2
  if ((free < 20)); then echo "job.sh: no space left on the scratch disk: ask for more (batch.disk)" >&2; fi
}
trap tell_how_it_ended EXIT

echo "job      $result: nanoforge $*"
echo "host     $(hostname), $(nproc) cores"
echo "start    $(date -u +%FT%TZ)"
head -c 1000000 /dev/zero >.reserve

source ./environment.sh
# the Python of a view of LCG, and so of an environment made of it, is told by the view alone where its own library is
if ! "${python[0]}" --version >/dev/null 2>&1; then
  program=$(readlink -f "$(command -v "${python[0]}")")
  export LD_LIBRARY_PATH=${program%/bin/*}/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
echo "software $("${python[@]}" -m nanoforge --version), $(command -v "${python[0]}")"

command=("${python[@]}" -m nanoforge "$@")
if ((${NANOFORGE_PROCESSES:-1} > 1)); then
  command=("${python[@]}" -m torch.distributed.run --standalone --nproc-per-node "$NANOFORGE_PROCESSES"
    -m nanoforge "$@")
fi

# Ends nanoforge when the time has passed and there is a checkpoint that is newer than the job: checkpoints are whole at
# any moment, and what came after the last one is done again.
end_after_a_checkpoint() {
  while sleep "$NANOFORGE_CHECKPOINT"; do
    if [[ -n $(find ".$result.unfinished" -name last.ckpt -newer .reserve -print -quit 2>/dev/null) ]]; then
      touch .checkpoint
      kill -- "-$1"
      return
    fi
  done
}

status=0
if [[ -n ${NANOFORGE_CHECKPOINT:-} ]]; then
  rm -f .checkpoint
  set -m # process groups of their own
  "${command[@]}" &
  end_after_a_checkpoint $! &
  set +m
  wait %1 || status=$?
  kill -- "-$!" 2>/dev/null || true
  if [[ $status -ne 0 && -f .checkpoint ]]; then exit 85; fi
else
  "${command[@]}" || status=$?
fi
if [[ $status -eq 0 && $result != - && ! -f $result/manifest.json ]]; then
  echo "job.sh: nanoforge made no $result/manifest.json" >&2
  exit 1
fi
if [[ $status -eq 0 && -n ${NANOFORGE_DESTINATION:-} ]]; then
  xrdcp --recursive --force --nopbar --path "$result" "$NANOFORGE_DESTINATION/" || {
    echo "job.sh: cannot copy $result to $NANOFORGE_DESTINATION" >&2
    exit 1
  }
fi
exit "$status"
