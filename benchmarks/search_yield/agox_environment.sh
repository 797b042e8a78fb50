#!/bin/sh
# Makes the environment that AGOX's searches run in: sh benchmarks/search_yield/agox_environment.sh FOLDER
# AGOX 3.11.1 needs ase older than 3.28, and its Gaussian process numpy older than 2.4.
set -eu
folder=$1
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet "agox==3.11.1" "ase==3.27.0" "quippy-ase==0.10.3" "numpy==2.3.5" "numba" "matscipy"
