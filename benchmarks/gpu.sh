#!/usr/bin/env bash
# What a machine with a GPU is asked for, in ten minutes: tests of the device, the projector, a step
# by gradient, and whole fits of as many simulated images of 128 pixels as the time allows. Prints
# the tables for docs/performance.md, and leaves them in $OUT/gpu.txt.
#
#   bash benchmarks/gpu.sh
#   DEVICE=cpu MINUTES=4 BOX=32 MOST=60 bash benchmarks/gpu.sh     the same, small, on a processor
#
# PYTHON has atomdrgn's packages (pip install -e '.[test]'), DEVICE is what --device takes, MINUTES
# the time for everything, MOST the most images, OUT a folder that is made.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
DEVICE=${DEVICE:-cuda} MINUTES=${MINUTES:-10} BOX=${BOX:-128} MOST=${MOST:-100000}
OUT=${OUT:-$(mktemp -d)}
export PYTHONPATH=$PWD/src${PYTHONPATH:+:$PYTHONPATH} PYTHONHASHSEED=0
mkdir -p "$OUT"

left() { echo $((60 * MINUTES - SECONDS)); }
# a part of the whole: its title, the most seconds it may take, its command. What fails or takes
# longer is said, and the rest goes on.
part() {
  local title=$1 most=$2 code=0
  shift 2
  echo -e "\n== $title"
  timeout "$(($(left) < most ? ($(left) > 1 ? $(left) : 1) : most))" "$@" || code=$?
  [ "$code" = 0 ] || echo "(ended with code $code$([ "$code" != 124 ] || echo ': out of time'))"
  return $code
}
# so many particles between the two states of adenylate kinase, in $OUT/set
simulate() {
  "$PYTHON" -m atomdrgn simulate "$OUT"/structures/*.pdb --out "$OUT/set" --particles "$1" \
    --detail residues --box "$BOX" --pixel-size "$((192 / BOX > 1 ? 192 / BOX : 1))" --overwrite \
    --quiet
}

main() {
  echo "$("$PYTHON" -c 'import platform, torch
gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
print(gpu, "torch", torch.__version__, "Python", platform.python_version(), sep=", ")'), $(nproc) cores"

  if [ "${DEVICE%%:*}" = cuda ]; then
    tests=(tests/physics/projection/test_splat_triton.py tests/inference/test_fit_on_a_device.py)
    projector=(--cases 1510/190/1.5,14000/256/1.5 --sigma 1.5,2)
    steps=()
  else
    tests=(tests/test_devices.py)
    projector=(--cases 200/32/3 --sigma 2 --repeats 1 --batch 2)
    steps=(--batch 2 --dense-batch 1 --repeats 1)
  fi
  part tests 150 "$PYTHON" -m pytest -q -p no:cacheprovider -m "not slow and not long" "${tests[@]}" ||
    true
  part projector 60 "$PYTHON" -m benchmarks.projector --device "$DEVICE" "${projector[@]}" || true
  part "a step by gradient" 60 "$PYTHON" -m benchmarks.fit_step --device "${DEVICE%%:*}" "${steps[@]}" ||
    true

  "$PYTHON" -m atomdrgn example "$OUT/structures" --quiet
  # a first set tells how many images can be made in a quarter of what is left
  local few=$((MOST < 500 ? MOST : 500)) started=$SECONDS
  simulate "$few"
  local many=$((few * $(left) / 4 / (SECONDS - started + 1)))
  many=$((many < MOST ? many : MOST))
  echo -e "\nsimulating $many images of $BOX pixels"
  [ "$many" -le "$few" ] && many=$few || simulate "$many"

  # each fit is of five times as many images as the one before, as long as that many fit in
  local count=$few before=$SECONDS
  while part "whole fit of $count images, $(left) s left" "$(left)" "$PYTHON" -m benchmarks.scaling \
      --set "$OUT/set" --images "$count" --processes 1 --device "$DEVICE"; do
    local taken=$((SECONDS - before)) next=$((5 * count < many ? 5 * count : many))
    before=$SECONDS
    [ "$next" -gt "$count" ] && [ $((taken * next / count)) -lt "$(left)" ] || break
    count=$next
  done
}

main 2>&1 | tee "$OUT/gpu.txt"
echo -e "\nall of this is in $OUT/gpu.txt"
