#!/usr/bin/env bash
# Sets up the environment for everything in this repository: a tested set of fairseq, torch, sacrebleu and what they
# need (scripts/constraints.txt), from the package index that pip is configured for.
#
# Usage: scripts/setup.sh [OPTION]...
#
#   --venv DIR       the virtual environment to make or to complete (default: .venv in the repository)
#   --python PYTHON  the interpreter to make it with, 3.11 or newer (default: the first suitable one on PATH)
#   --torch SPEC     another torch than the pinned one: a version (2.11.0), a requirement, the path or URL of a wheel
#   --existing       add what is missing to the environment of --python, else of `python` on PATH; what it has stays
#   --help           this text
#
# A second call takes seconds. Without options it keeps to the choices of the call before, whose environment the other
# scripts use. A call that was interrupted is simply repeated. fairseq comes ready-made for Python 3.12 on x86-64 Linux;
# elsewhere it is compiled, which needs a C++ compiler and 3 to 6 minutes. torch with CUDA fills about 6 GB.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
pins=$repository_root/scripts/constraints.txt constraints=$setup_folder/constraints log_file=$setup_folder/log
mode=venv venv="" python="" torch=""
if (($# == 0)) && [[ -n $(read_setup_state mode) ]]; then
    mode=$(read_setup_state mode) venv=$(read_setup_state venv) torch=$(read_setup_state torch)
    [[ $mode == venv ]] || python=$(read_setup_state python)
fi
while (($#)); do
    case $1 in
        --help | -h) usage_of "$0"; exit ;;
        --existing) mode=existing ;;
        --venv | --python | --torch) [[ ${2:-} ]] || fail "$1 needs a value; see --help"; declare "${1#--}=$2"; shift ;;
        *) fail "unknown option $1; see --help" ;;
    esac
    shift
done
[[ $mode == venv || -z $venv ]] || fail "--existing and --venv exclude each other; name the interpreter with --python"
[[ ! $torch =~ ^[0-9][^/]*$ ]] || torch="torch==$torch"
[[ ! -f $torch ]] || torch=$(readlink -f "$torch")
[[ $torch =~ ^($|/|torch($|[^a-z/])|.*://) ]] || fail "--torch $torch is no version, no wheel; give for example 2.11.0"

runs() { "$1" -c "import sys; sys.path = list(filter(None, sys.path)); $2" &>/dev/null </dev/null; } # runs PYTHON CODE
modern="assert sys.version_info >= (3, 11)" # what fairseq-fixed and the pins are for
ours="import rdrop_fairseq; assert rdrop_fairseq.__file__ == '$repository_root/rdrop_fairseq/__init__.py'"
[[ $mode == venv ]] || ours="import torch, fairseq; $ours" # others may change it
key() { { cat "$pins" "$repository_root/pyproject.toml" "$0"; echo "$interpreter $torch"; } 2>&1 | cksum; }
note() { printf '%s\n' "mode=$mode" "venv=$venv" "torch=$torch" "python=$interpreter" "$@" >"$setup_folder/environment"; }
step() { # step MESSAGE COMMAND...: the output of the command goes to the log
    log "$1" && "${@:2}" >>"$log_file" 2>&1 </dev/null && return
    [[ ! -f $mark ]] || echo "$folder" >"$mark" # what fails by itself leaves nothing half installed
    fail "$1 failed: $(grep -ai error "$log_file" | tail -n 2 | paste -sd " "); see $log_file, the network and 'pip config list'"
}
pip_install() { PATH=${interpreter%/*}:$PATH "$interpreter" -m pip install --constraint "$constraints" "$@"; }
mkdir -p "$setup_folder" && exec 9>>"$setup_folder/lock" # two at once would mix their packages
! command -v flock >/dev/null || flock -n 9 || { log "waiting for another setup.sh to finish" && flock 9; } || true
export PIP_NO_INPUT=1 PIP_PROGRESS_BAR=off PYTHONSAFEPATH=1 && unset CUDA_HOME # or fairseq is compiled for CUDA too
if [[ $mode == venv ]]; then
    unset PYTHONHOME PYTHONPATH && export PIP_USER=0 # what is set for other environments must not reach this one
    [[ -z $venv || $venv == /* ]] || venv=$PWD/$venv
    interpreter=${venv:-$repository_root/.venv}/bin/python
    [[ -z $python ]] || ! runs "$interpreter" "" || [[ $("$python" -V 2>&1) == "$("$interpreter" -V)" ]] \
        || fail "$interpreter is $("$interpreter" -V), not $python; choose another folder with --venv, or remove it"
else
    interpreter=$("${python:-python}" -c 'import sys; print(sys.executable)' 2>/dev/null) \
        || fail "${python:-python} does not run; activate the environment or name its interpreter with --python"
fi
folder=${interpreter%/bin/*} mark=${interpreter%/bin/*}/.rdrop_fairseq
if [[ $(read_setup_state key) == "$(key)" ]] && runs "$interpreter" "$ours"; then log "$folder is ready" && exit; fi
# A new environment: where there is none, and where one of ours, which have the mark, was moved or left half installed.
: >"$log_file"
if [[ $mode == venv ]] && { ! runs "$interpreter" "" || [[ -f $mark && ! $(<"$mark") -ef $folder ]]; }; then
    if [[ -n $python ]]; then set -- "$python"; else set -- python3 python python3.12 python3.11 python3.13; fi
    for python; do ! runs "$python" "import ensurepip, venv; $modern" || break; python=""; done
    [[ -n $python ]] || fail "no Python 3.11 or newer with venv and ensurepip ($*); install python3-venv or use --python"
    { mkdir -p "$folder" && [[ -f $folder/pyvenv.cfg || -f $mark || -z $(ls -A "$folder") ]]; } 2>/dev/null \
        || fail "$folder is a file or holds files, and is no virtual environment; choose another folder with --venv"
    (($(df -Pk "$folder" | awk 'NR == 2 { print $4 }') > 3000000)) || fail "less than 3 GB are free; make room for $folder"
    find "$folder" -mindepth 1 -delete && : >"$mark"
    step "making $folder with $python" "$python" -m venv "$folder"
fi
runs "$interpreter" "import pip" || fail "$interpreter has no pip; install it: $interpreter -m ensurepip"
if ! runs "$interpreter" "import fairseq"; then
    [[ $mode == venv ]] || ! runs "$interpreter" "from importlib.util import find_spec; assert find_spec('fairseq')" \
        || fail "$interpreter cannot import the fairseq that is there; mend or remove that, and 'import fairseq' tells why"
    runs "$interpreter" "$modern" || fail "fairseq-fixed needs Python 3.11, $interpreter is older; choose with --python"
    headers=$("$interpreter" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    [[ $headers == *python3.12* ]] || ${CXX:-c++} -I"$headers" -include Python.h -E -x c++ /dev/null &>>"$log_file" \
        || fail "fairseq has to be compiled and ${CXX:-c++} fails; install g++ and python3-dev, or name yours with CXX"
fi
note && [[ ! -f $mark ]] || : >"$mark" # no key and no name of the folder: incomplete
# Of what is in an existing environment the versions there, else the pins. Another torch chooses its libraries itself.
{ [[ $mode == venv ]] || "$interpreter" -m pip list --format freeze --exclude rdrop_fairseq
  ! runs "$interpreter" "$modern" || cat "$pins"; } | awk -F == -v free="^${torch:+(torch|triton|sympy|(nvidia|cuda)-.*)}\$" '
    { name = tolower($1); gsub(/[-_.]+/, "-", name) } /^[[:alnum:]]/ && name !~ free && !seen[name]++' >"$constraints"
step "installing ${torch:-torch}" pip_install "${torch:-torch}" "setuptools>=61" wheel cython numpy ninja
# In an environment of its own the build of fairseq would fetch the newest torch once more. It looks for ninja on PATH.
{ [[ $mode == existing ]] && runs "$interpreter" "import fairseq"; } \
    || step "installing fairseq, which may take minutes" pip_install --no-build-isolation fairseq-fixed
step "installing rdrop_fairseq" pip_install --no-build-isolation --editable "${repository_root}[plot,test]"
step "trying the environment" "$interpreter" -c "import torch, fairseq, sacrebleu, tabulate, pytest; $ours"
note "programs=$("$interpreter" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')" "key=$(key)"
[[ ! -f $mark ]] || echo "$folder" >"$mark"
log "$folder is ready"
