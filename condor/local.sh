# The Python that submitted the jobs, which they see at the same place.
export PYTHONPATH=@{pythonpath}
python=(@{python})
