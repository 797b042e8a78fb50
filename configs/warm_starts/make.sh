#!/bin/sh
# Makes the warm start of the quick start with the shipped potential: sh configs/warm_starts/make.sh .venv/bin/searcher
# About forty minutes of relaxations and ten of training on two cores; each step goes on where it was interrupted.
set -eu
searcher=$1
out=configs/warm_starts/ruo2-110-1x2
mkdir -p "$out"
"$searcher" run configs/warm_starts/random-110-1x2.yaml
"$searcher" seeds configs/warm_starts/random-110-1x2.yaml --set name=hopping-110-1x2 \
    --method basin-hopping --steps 60 --lowest 16 --out "$out/withheld.extxyz.xz"
"$searcher" seeds configs/warm_starts/random-110-1x2.yaml --set name=hopping-110-1x2 \
    --method basin-hopping --steps 60 --snapshots --out runs/hopping-110-1x2/minima.extxyz.xz
"$searcher" train runs/random-110-1x2 --also runs/hopping-110-1x2/minima.extxyz.xz \
    --withhold "$out/withheld.extxyz.xz" --out "$out" --steps 2000
