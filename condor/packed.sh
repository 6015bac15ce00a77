# A virtual environment that came along, and the very NanoForge that submitted the jobs.
mkdir -p software
tar -xzf venv.tar.gz -C software
tar -xzf nanoforge.tar.gz -C software
export PYTHONPATH=$PWD/software
python=("$PWD/software/venv/bin/python")
