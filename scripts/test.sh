#!/usr/bin/env bash
# Runs ruff, shellcheck, mypy and the tests, about 5 minutes on 4 cores, in the environment that scripts/setup.sh makes.
#
# Usage: scripts/test.sh [--slow] [PYTEST ARGUMENT]...
#
#   --slow   the tests marked slow too, about 22 minutes on 2 cores in all (also: RUN_SLOW=1)
#   --help   this text
#
# All other arguments go to pytest; paths count from the root of the repository. The last line is pytest's summary; the
# exit status is 0 only if everything passed.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

arguments=(--dist loadscope --no-loadscope-reorder) slow=${RUN_SLOW:-0}
for argument in "$@"; do
    case $argument in
        --help | -h) usage_of "$0"; exit ;;
        --slow) slow=1 ;;
        *) arguments+=("$argument") ;;
    esac
done
[[ $slow != 0 ]] || arguments=(-m "not slow" "${arguments[@]}")
"$repository_root/scripts/setup.sh"
use_environment
# The tests call programs as people do, also those that import what lies beside them.
unset PYTHONSAFEPATH
cd "$repository_root"

status=0
# check COMMAND...: notes a failure and goes on, so that one call shows all that is wrong.
check() { log "$*" && "$@" </dev/null || status=1; }
check ruff check .
check ruff format --check .
check shellcheck --external-sources scripts/*.sh scripts/slurm/* .ci/run
check mypy
# Folders in alphabetical order, the long tests first: what is left for the end then keeps every worker busy.
# One thread in each process, as the tests run side by side.
workers=$(python -c 'import rdrop_fairseq.common.processes as processes; print(min(4, processes.available_cores()))')
OMP_NUM_THREADS=1 check python -m pytest --numprocesses "$workers" "${arguments[@]}"
exit "$status"
