# shellcheck shell=bash
# What the scripts of this folder share. Most of them are their help text, `set -euo pipefail`, and then:
#
#     source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
#     run_module rdrop_fairseq.experiments train "$@"

if ((BASH_VERSINFO[0] < 4)); then
    echo "bash ${BASH_VERSION} is too old; install bash 4 or newer and call it by name: bash $0" >&2
    exit 1
fi
# Threads of OpenMP that wait sleep rather than spin. On free cores that costs nothing that can be measured. On cores with
# other work an update of a small model is two to fourteen times as fast.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}
# Without symlinks, because an editable install notes where it is.
repository_root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
setup_folder=$repository_root/.setup # what scripts/setup.sh notes

# log MESSAGE...: a line with the time on stderr; stdout stays free for results.
log() { printf '%s %s: %s\n' "$(date '+%Y-%m-%d %H:%M:%S')" "$(basename "$0")" "$*" >&2; }

# fail "CAUSE; REMEDY": says so in one line and ends the script with status 1.
fail() { log "error: $*"; exit 1; }

# usage_of FILE: the comment at the head of a script, which is its help text.
usage_of() { sed -n '2,/^[^#]/ { /^#/ s/^# \{0,1\}//p; }' "$1"; }

# read_setup_state KEY: a value that scripts/setup.sh noted, or nothing.
read_setup_state() { sed -n "s/^$1=//p" "$setup_folder/environment" 2>/dev/null || true; }

# use_environment: puts the environment of scripts/setup.sh first on PATH and sets environment_python.
use_environment() {
    environment_python=$(read_setup_state python)
    [[ -n $(read_setup_state key) && -x $environment_python ]] \
        || fail "no environment is set up for $repository_root; run $repository_root/scripts/setup.sh"
    # Programs lie beside the interpreter in a virtual or conda environment, but not in every container.
    PATH=${environment_python%/*}:$(read_setup_state programs):$PATH
    # A file in the working directory must not take the place of a module (Python 3.11 and newer).
    export PYTHONSAFEPATH=1
}

# run_module [--set-up] MODULE [ARGUMENT]...: becomes `python -m MODULE ARGUMENT...` in the environment, and first makes the
# environment with --set-up. Where --help is among the arguments it prints the head of the script instead.
run_module() {
    local set_up="" argument
    [[ $1 != --set-up ]] || { set_up=$1; shift; }
    for argument in "$@"; do
        [[ $argument != --help && $argument != -h ]] || { usage_of "$0"; exit; }
    done
    [[ -z $set_up ]] || "$repository_root/scripts/setup.sh"
    use_environment
    exec "$environment_python" -m "$@"
}
