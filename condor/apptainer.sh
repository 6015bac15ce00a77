# An image, and the very NanoForge that submitted the jobs. Where the machine has no apptainer, CVMFS has one.
mkdir -p software
tar -xzf nanoforge.tar.gz -C software
export PYTHONPATH=$PWD/software
apptainer=$(command -v apptainer || echo /cvmfs/oasis.opensciencegrid.org/mis/apptainer/bin/apptainer)
binds=()
for folder in @{binds}; do
  if [[ -d $folder ]]; then binds+=(--bind "$folder"); fi
done
python=("$apptainer" exec --bind "$PWD" --pwd "$PWD" "${binds[@]}" @{nv} @{image} python3)
