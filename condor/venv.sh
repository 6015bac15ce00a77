# A virtual environment that the jobs see, and the very NanoForge that submitted them.
mkdir -p software
tar -xzf nanoforge.tar.gz -C software
export PYTHONPATH=$PWD/software
python=(@{venv}/bin/python)
