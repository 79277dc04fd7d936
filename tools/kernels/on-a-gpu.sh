#!/usr/bin/env bash
# What to run first on a machine with a GPU, in under eight minutes: whether every kernel is right there, those on matrix units first, which no other
# machine executes; how fast each is; the 4B in three formats; and a layer of it in `exact` against torch's float32.
# From the project's root, after the build:
#   tools/kernels/on-a-gpu.sh ADAPTER NAME     (part of the adapter's name; what the files in tools/kernels/results begin with)
# Where the project was carried without its development packages, the layer needs of them vitest, @vitest/browser-playwright and tar-fs with what they
# need, and the files vitest.config.ts, tsconfig.json and tsconfig.build.json; the rest runs without.
# To try the script itself on any adapter: ONLY="--op swiglu" CONFIG=weights/nano/config.json
set -u
adapter=${1:?part of the name of an adapter, as internvl doctor lists them} out=tools/kernels/results/${2:?what the files of results begin with}
config=${CONFIG:-test/fixtures/internvl2_5-4b.config.json}
failed=0
step() {
  echo "== $*" >&2
  timeout -s INT -k 5 "$@" || { echo "ended with $?" >&2; failed=1; }
}
internvl() { step "$1" node dist/tools/cli/main.js "${@:2}" --adapter "$adapter"; }

internvl 15 doctor --json > "$out-doctor.json"
[ -s "$out-doctor.json" ] && [ "$failed" = 0 ] || exit 1
internvl 60 kernels test --quick ${ONLY:---filter subgroup_matrix} --out "$out-matrix"
internvl 120 kernels test --quick ${ONLY:-} --out "$out-test"
internvl 80 kernels bench ${ONLY:-} --out "$out-bench"
for weights in bf16 q8 q4; do
  internvl 45 bench --synthetic "$config" --weights $weights --json > "$out-4b-$weights.json"
done
INTERNVL_ADAPTER=$adapter step 50 node node_modules/vitest/vitest.mjs run --mode full --project model test/model/layers-4b.test.ts \
  -t "times 1, 'exact', matrix units: false" > "$out-exact.txt"
cat "$out-exact.txt"
exit $failed
