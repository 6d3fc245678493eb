#!/bin/sh
# The tests tested: each patch of this folder plants one bug. It is applied to a copy of the tree, the command that its
# second line names is run there, and the table is printed: bug, who caught it, after how many seconds, build included.
#
#   tests/mutants/run.sh                     all of them
#   tests/mutants/run.sh range token         those whose names hold one of these words
#   tests/mutants/run.sh --check-only        only whether each patch still applies
#
# It fails if a bug survives, or if a patch does not apply or compile any more. A new patch is `git diff -U2` below two
# lines: what is wrong, and `caught by: ` with the smallest command that is enough.
#
# The copy has a target folder of its own, never that of another tree: cargo takes the same package in two places for
# one, and would hand out the binary with the bug. COPY names a folder to be kept between runs; without it there is a new
# one, gone at the end.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
mutants="$here/tests/mutants"
check_only=
if [ "${1:-}" = --check-only ]; then
    check_only=1
    shift
fi
if [ -z "${COPY:-}" ]; then
    COPY=$(mktemp -d)
    trap 'rm -rf "$COPY"' EXIT
fi
tree="$COPY/tree"
rm -rf "$tree"
mkdir -p "$tree"
export CARGO_TARGET_DIR="$COPY/target" CARGO_TERM_COLOR=never
(cd "$here" && git ls-files -z | tar --null -T - -c) | tar -x -C "$tree"

chosen() {
    for patch in "$mutants"/*.patch; do
        for word in "${@:-}"; do
            case $(basename "$patch" .patch) in *"$word"*) echo "$patch" && break ;; esac
        done
    done
}

# The test that failed, by name, in the output of the command.
culprit() {
    grep -m1 -oE '^test .* \.\.\. FAILED|seed [0-9]+ fails|^[a-z0-9-]+: FAILED' "$1" |
        sed -E 's/^test (.*) \.\.\. FAILED/\1/; s/: FAILED$/ of the fault runs/' | grep .
}

trials=0 bad=0
for patch in $(chosen "$@"); do
    name=$(basename "$patch" .patch)
    command=$(sed -n '2s/^caught by: //p' "$patch")
    trials=$((trials + 1))
    began=$(date +%s)
    if ! patch -d "$tree" -s -p1 --dry-run < "$patch" > "$COPY/$name.log" 2>&1; then
        verdict='DOES NOT APPLY'
    elif [ -n "$check_only" ]; then
        continue
    else
        patch -d "$tree" -s -p1 --no-backup-if-mismatch < "$patch" > /dev/null
        if (cd "$tree" && sh -c "$command") > "$COPY/$name.log" 2>&1 < /dev/null; then
            verdict=SURVIVED
        elif grep -q 'could not compile' "$COPY/$name.log"; then
            verdict='DOES NOT COMPILE'
        else
            verdict=
        fi
        patch -d "$tree" -s -R -p1 --no-backup-if-mismatch < "$patch" > /dev/null
    fi
    [ -z "$verdict" ] || bad=$((bad + 1))
    printf '%-34s %-90s %4d s\n' "$name" "${verdict:-$(culprit "$COPY/$name.log" || echo "$command")}" "$(($(date +%s) - began))"
done
if [ -n "$check_only" ]; then
    printf '%s patches: %s do not apply\n' "$trials" "$bad"
else
    printf '%s trials: %s caught, %s not\n' "$trials" "$((trials - bad))" "$bad"
fi
[ "$bad" -eq 0 ]
