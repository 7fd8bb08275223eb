#!/usr/bin/env bash
# Sets the environment up where needed (scripts/setup.sh), then runs ruff, shellcheck and the tests.
#
# Usage: scripts/test.sh [--slow] [pytest arguments]
#
#   --slow   the tests marked slow too (also: RUN_SLOW=1)
#   --help   this text
#
# All other arguments go to pytest; paths count from the root of the repository. The last line is pytest's summary;
# the exit status is 0 only if everything passed.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

pytest_arguments=()
run_slow=${RUN_SLOW:-}
for argument in "$@"; do
    case $argument in
        --help | -h)
            usage_of "${BASH_SOURCE[0]}"
            exit 0
            ;;
        --slow) run_slow=1 ;;
        *) pytest_arguments+=("$argument") ;;
    esac
done

"$repository_root/scripts/setup.sh"
use_environment
# The tests call programs as people do, also those that import what lies beside them.
unset PYTHONSAFEPATH
cd "$repository_root"
status=0

log "ruff"
ruff check . || status=1

log "shellcheck"
shell_scripts=()
while IFS= read -r -d '' file; do
    first_line=
    IFS= read -r first_line <"$file" || true
    if [[ $file == *.sh || $first_line =~ ^'#!'.*[/\ ](ba)?sh ]]; then
        shell_scripts+=("$file")
    fi
done < <(find scripts .ci -type f -print0)
shellcheck --external-sources "${shell_scripts[@]}" || status=1

if ((status)); then
    log "error: ruff or shellcheck complains above; the tests run nevertheless"
fi

# One thread per process: the tests run side by side, and many of them start fairseq's programs.
export OMP_NUM_THREADS=1
workers=$(python -c 'import os; print(min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2))')
options=(--numprocesses "$workers" --dist loadscope)
if [[ -z $run_slow || $run_slow == 0 ]]; then
    options+=(-m "not slow")
fi
log "pytest with $workers processes"
python -m pytest "${options[@]}" ${pytest_arguments[@]+"${pytest_arguments[@]}"} </dev/null || status=$?
exit "$status"
