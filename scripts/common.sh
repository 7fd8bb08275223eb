# shellcheck shell=bash
# Functions shared by the scripts of this folder; to be sourced, after `set -euo pipefail`:
#
#     source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
#
# Sets repository_root and OMP_WAIT_POLICY, and leaves the working directory alone.

if ((BASH_VERSINFO[0] < 4)); then
    echo "bash ${BASH_VERSION} is too old; install bash 4 or newer and call it by name: bash $0" >&2
    exit 1
fi

# Threads of OpenMP that wait sleep rather than spin. On free cores this costs nothing that can be measured; on cores with
# other work it makes an update of a small model twice to fourteen times as fast.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}

# Physical paths: a virtual environment and an editable install note where they are, and must not note a symlink.
repository_root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# What scripts/setup.sh notes: the chosen environment, its log and its lock.
setup_state_directory=$repository_root/.setup

# log MESSAGE...: a line with the time, on stderr, so that stdout stays free for results.
log() {
    printf '%s %s: %s\n' "$(date '+%Y-%m-%d %H:%M:%S')" "$(basename "$0")" "$*" >&2
}

# fail "CAUSE; REMEDY": says so in one line and ends the script with status 1.
fail() {
    log "error: $*"
    exit 1
}

# position_of STAGE STAGES...: the number of a stage among all of them, from 0.
position_of() {
    local stages=("${@:2}") position
    for position in "${!stages[@]}"; do
        if [[ ${stages[position]} == "$1" ]]; then
            printf '%s' "$position"
            return
        fi
    done
    fail "unknown stage $1; the stages are ${stages[*]}"
}

# usage_of FILE: the comment at the head of a script, which is its help text.
usage_of() {
    sed -n '2,/^[^#]/ { /^#/ s/^# \{0,1\}//p; }' "$1"
}

# read_setup_state KEY: a value noted by scripts/setup.sh, or nothing.
read_setup_state() {
    local name value
    if [[ -r $setup_state_directory/environment ]]; then
        while IFS='=' read -r name value; do
            if [[ $name == "$1" ]]; then
                printf '%s\n' "$value"
            fi
        done <"$setup_state_directory/environment"
    fi
}

# use_environment: puts the programs of the environment that scripts/setup.sh made first on PATH (python,
# fairseq-train, ...) and sets environment_python.
use_environment() {
    environment_python=$(read_setup_state python)
    if [[ -z $(read_setup_state key) || ! -x $environment_python ]]; then
        fail "no environment is set up for $repository_root; run $repository_root/scripts/setup.sh"
    fi
    # Entry points lie beside the interpreter in a virtual or conda environment, but not in every container.
    PATH=$(dirname "$environment_python"):$(read_setup_state programs):$PATH
    export PATH
    # What lies in the working directory must not take the place of a module (Python 3.11 and newer).
    export PYTHONSAFEPATH=1
    hash -r
}
