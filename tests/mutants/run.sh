#!/bin/sh
# The tests tested: each patch of this folder plants one bug. It is applied to a copy of the tree, the simulation's
# short form and any further commands are run there, and the table of who caught what is printed.
#
#   tests/mutants/run.sh                     all patches, simulation alone
#   tests/mutants/run.sh lease-token         those whose names hold this word
#   ALSO='cargo test --lib decide' tests/mutants/run.sh     another command for each, beside the simulation
#   SEEDS=20000 tests/mutants/run.sh         a longer simulation
#
# The copy has a target folder of its own, unless CARGO_TARGET_DIR names one (whose built dependencies then serve here
# as well). It is kept between patches: each costs one build of the library.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
copy=${COPY:-$(mktemp -d)}
mkdir -p "$copy/tree"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$copy/target}"
git -C "$here" archive HEAD | tar -x -C "$copy/tree"
survivors=0
trials=0
for patch in "$here"/tests/mutants/*"${1:-}"*.patch; do
    name=$(basename "$patch" .patch)
    if ! (cd "$copy/tree" && patch -s -p1 < "$patch"); then
        printf '%-34s DOES NOT APPLY\n' "$name"
        exit 1
    fi
    if ! (cd "$copy/tree" && cargo build --quiet --test sim) > "$copy/$name.build" 2>&1; then
        printf '%-34s DOES NOT COMPILE (%s)\n' "$name" "$copy/$name.build"
        exit 1
    fi
    by=
    (cd "$copy/tree" && cargo test --quiet --test sim -- --seeds "${SEEDS:-2000}") > "$copy/$name.sim" 2>&1 ||
        by="simulation, $(grep -m1 -o 'seed [0-9]* fails' "$copy/$name.sim" || echo 'a panic')"
    if [ -n "${ALSO:-}" ]; then
        (cd "$copy/tree" && sh -c "$ALSO") > "$copy/$name.also" 2>&1 || by="$by; $ALSO"
    fi
    trials=$((trials + 1))
    [ -n "$by" ] || survivors=$((survivors + 1))
    printf '%-34s %s\n' "$name" "${by:-SURVIVED}"
    (cd "$copy/tree" && patch -s -R -p1 < "$patch")
done
printf '%s trials: %s caught, %s survived\n' "$trials" "$((trials - survivors))" "$survivors"
[ "$survivors" -eq 0 ]
