#!/bin/sh
# Makes the shipped RuO2 potential: sh relax/potentials/ruo2/make.sh .venv/bin/searcher (hours of labelling on two cores).
# The labels are kept in data/frames.extxyz.xz, so that `searcher potential fit` alone remakes the potential in minutes.
# data/more.extxyz.xz holds 1,643 further frames with labels of the same kind, which this fit has not seen: walks of the
# potential and structures that searches met. `searcher potential fit data/frames.extxyz.xz data/more.extxyz.xz` uses both.
set -eu
searcher=$1
here=relax/potentials/ruo2
"$searcher" potential label --out "$here/data/labels.jsonl" --calculator sevenn.calculator:SevenNetCalculator \
    --arguments '{"model": "7net-mf-0", "modal": "PBE", "device": "cpu"}'
"$searcher" potential fit "$here/data/labels.jsonl" --out "$here"
"$searcher" potential check "$here"
