#!/bin/bash
# NanoForge @{version}: @{stage} of @{name}. nanoforge submit made this file; sbatch takes it as it is:
#   sbatch --job-name=@{run}-@{attempt}-0 --array=0-9 --export=ALL,NANOFORGE_FIRST=0 @{path}
#SBATCH --output=/dev/null
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=@{cores}
#SBATCH --mem=@{memory}M
#SBATCH --time=@{minutes}
#SBATCH --signal=B:USR1@30
#SBATCH --no-requeue
#SBATCH --gres=gpu:@{gpus}
#SBATCH --account=@{account}
set -euo pipefail
jobdir=@{jobdir}
parts=@{parts}
inputs=(@{inputs})
export @{environment}

# the row of items-@{attempt}.txt: the number of the job, and the words after job.sh
row=$((NANOFORGE_FIRST + SLURM_ARRAY_TASK_ID))
mapfile -t words < <(sed -n "$((row + 1))p" "$jobdir/items-@{attempt}.txt" | xargs printf '%s\n')
number=${words[0]}
part=${words[1]}
log=@{logs}/$((number / @{shard}))/$number
child=

# what happens to the job, as HTCondor writes it, in a file that nobody else writes
tell() {
  printf '%s (000.000.000) %s %b\n...\n' "$1" "$(date +'%F %T')" "$2" >>"$log.log"
}
leave() {
  trap - TERM USR1
  if [[ -n $child ]]; then kill -- "-$child" 2>/dev/null || true; fi
  tell 009 "Job was aborted.\n\t$1"
  exit 1
}
trap 'leave "its wall time is over (@{minutes} min)"' USR1
trap 'leave "it was cancelled"' TERM

scratch=$(mktemp -d "${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/nanoforge.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
ln -s "${inputs[@]}" .

bring_back() {
  [[ -d $part ]] || return 0
  if [[ $parts == *://* ]]; then
    xrdcp --recursive --force "$part" "$parts/"
  else
    mkdir -p "$parts"
    cp -r "$part" "$parts/.$part.$SLURM_JOB_ID"
    if [[ -d $parts/$part ]]; then
      mkdir -p "$parts-damaged"
      mv "$parts/$part" "$parts-damaged/$part-$SLURM_JOB_ID"
    fi
    mv -T "$parts/.$part.$SLURM_JOB_ID" "$parts/$part"
  fi
}

for ((tries = @{retries}; tries >= 0; tries--)); do
  tell 001 "Job executing on host: <$(hostname)>"
  set -m # a process group of its own
  bash "$jobdir/job.sh" "${words[@]:1}" >"$log.out" 2>"$log.err" &
  child=$!
  set +m
  status=0
  wait "$child" || status=$?
  if ((status == 0)); then
    bring_back 2>>"$log.err" || status=1
  fi
  # exit code 2 is a mistake that no further try mends
  if ((status == 0 || status == 2 || tries == 0)); then break; fi
  tell 004 "Job was evicted.\n\t(0) Job terminated and was requeued\n\t(1) Normal termination (return value $status)"
done
tell 005 "Job terminated.\n\t(1) Normal termination (return value $status)"
exit "$status"
