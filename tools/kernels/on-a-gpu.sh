#!/usr/bin/env bash
# What to run first on a machine with a GPU, in eight minutes: whether every kernel is right there, how fast each is, the 4B in three formats, and
# a layer of it in `exact` against torch's float32. From the project's root, after the build:
#   tools/kernels/on-a-gpu.sh ADAPTER NAME     (part of the adapter's name; what the files in tools/kernels/results begin with)
set -u
adapter=$1 out=tools/kernels/results/$2
step() { echo "== $*" >&2; timeout -s INT "$@" || echo "ended with $?" >&2; }

step 180 node dist/tools/cli/main.js kernels test --quick --adapter "$adapter" --out "$out-test"
step 90 node dist/tools/cli/main.js kernels bench --adapter "$adapter" --out "$out-bench"
for weights in bf16 q8 q4; do
  step 50 node dist/tools/cli/main.js bench --synthetic test/fixtures/internvl2_5-4b.config.json --weights $weights --adapter "$adapter" --json > "$out-4b-$weights.json"
done
INTERNVL_ADAPTER=$adapter step 60 npx vitest run --mode full --project model test/model/layers-4b.test.ts -t "matrix units: false"
