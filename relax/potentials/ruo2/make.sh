#!/bin/sh
# Remakes the shipped RuO2 potential from its labelled frames: sh relax/potentials/ruo2/make.sh .venv/bin/searcher
# (half an hour of one core and 11 GiB), and measures it. Equal frames give equal files.
#
# The frames in data/frames.extxyz.xz were labelled, in rounds, by
#   searcher potential label --out labels.jsonl --calculator sevenn.calculator:SevenNetCalculator \
#       --arguments '{"model": "7net-mf-0", "modal": "PBE", "device": "cpu"}'
#   searcher potential label --structures walks --walker GAP_OF_THE_ROUND_BEFORE.xml --name c1 --seed 11 --out walks.jsonl …
#   searcher potential improve RUN …           (what searches with it had met)
# the last rounds of walks on (101) alone, where it was worst. data/more.extxyz.xz holds frames that the fit left out.
set -eu
searcher=$1
here=relax/potentials/ruo2
"$searcher" potential fit "$here/data/frames.extxyz.xz" --out "$here"
"$searcher" potential check "$here"
