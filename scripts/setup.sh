#!/usr/bin/env bash
# Sets up the environment for everything in this repository: a tested set of fairseq, torch, sacrebleu and what they need
# (scripts/constraints.txt), from the package index that pip is configured for.
#
# Usage: scripts/setup.sh [OPTION]...
#
#   --venv DIR       the virtual environment to make or to complete (default: .venv in the repository)
#   --python PYTHON  the interpreter to make it with, 3.11 or newer (default: the first suitable one on PATH)
#   --torch SPEC     another torch than the pinned one: a version (2.11.0), a requirement, the path or URL of a wheel
#   --existing       use an environment that exists (conda, container, active virtual environment): that of --python,
#                    else of `python` on PATH. What it has stays as it is; what is missing is added
#   --help           this text
#
# A second call takes seconds. Without options it keeps to the choices of the call before. A call that was interrupted is
# simply repeated. The other scripts use the environment of the last call. fairseq comes ready-made for Python 3.12 on
# x86-64 Linux; elsewhere it is compiled, which needs a C++ compiler and 3 to 6 minutes. torch with CUDA fills about 6 GB.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
pins=$repository_root/scripts/constraints.txt log_file=$setup_folder/log mode=venv venv="" python="" torch=""
if (($# == 0)) && [[ -n $(read_setup_state mode) ]]; then
    mode=$(read_setup_state mode) venv=$(read_setup_state venv) torch=$(read_setup_state torch)
    [[ $mode == venv ]] || python=$(read_setup_state python)
fi
while (($#)); do
    case $1 in
        --help | -h) usage_of "$0"; exit ;;
        --existing) mode=existing ;;
        --venv | --python | --torch) [[ -n ${2:-} ]] || fail "$1 needs a value; see --help"; declare "${1#--}=$2"; shift ;;
        *) fail "unknown option $1; see --help" ;;
    esac
    shift
done
[[ $mode == venv || -z $venv ]] || fail "--existing and --venv exclude each other; name the interpreter with --python"
[[ ! $torch =~ ^[0-9][^/]*$ ]] || torch="torch==$torch"
[[ ! -f $torch ]] || torch=$(readlink -f "$torch")
[[ -z $torch || -f $torch || $torch == *://* || $torch =~ ^torch([^a-z/].*)?$ ]] \
    || fail "--torch $torch is neither a version nor a wheel that exists; give for example 2.11.0"

# runs PYTHON CODE: whether the interpreter is there and the code raises nothing.
runs() { (cd / && "$1" -c "import sys; $2") >/dev/null 2>&1 </dev/null; }
modern="assert sys.version_info >= (3, 11)" # what fairseq-fixed and the pins are for
ours="import rdrop_fairseq; assert rdrop_fairseq.__file__ == '$repository_root/rdrop_fairseq/__init__.py'"
key() { (cat "$pins" "$repository_root/pyproject.toml" "$0"; "$interpreter" -VV; echo "$interpreter $torch") 2>&1 | cksum; }
note() { printf '%s\n' "mode=$mode" "venv=$venv" "torch=$torch" "python=$interpreter" "$@" >"$setup_folder/environment"; }
step() { # step MESSAGE COMMAND...: the output of the command goes to the log
    log "$1" && "${@:2}" >>"$log_file" 2>&1 </dev/null && return
    fail "$1 failed ($(grep -aiE '^ *[a-z]*error' "$log_file" | tail -n 1)); see $log_file, the network and 'pip config list'"
}
pip_install() { "$interpreter" -m pip install --progress-bar off --constraint "$setup_folder/constraints" "$@"; }

mkdir -p "$setup_folder" && exec 9>>"$setup_folder/lock" # two at once would mix their packages
! command -v flock >/dev/null || flock -n 9 || { log "waiting for another setup.sh to finish" && flock 9; } || true
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PYTHONSAFEPATH=1
unset CUDA_HOME # with it fairseq would be compiled for CUDA as well, which nothing here needs
if [[ $mode == venv ]]; then
    unset PYTHONHOME PYTHONPATH && export PIP_USER=0 # what is set for other environments must not reach this one
    [[ -z $venv || $venv == /* ]] || venv=$PWD/$venv
    interpreter=${venv:-$repository_root/.venv}/bin/python
else
    interpreter=$("${python:-python}" -c 'import sys; print(sys.executable)' 2>/dev/null) \
        || fail "${python:-python} does not run; activate the environment or name its interpreter with --python"
fi
folder=${interpreter%/bin/*}
if [[ $(read_setup_state key) == "$(key)" ]] && runs "$interpreter" "$ours"; then log "$folder is ready" && exit; fi

# A new environment: where there is none, and where one that setup.sh made was left incomplete or was moved since.
base=$interpreter mark=$folder/.rdrop_fairseq # the mark is in what setup.sh made; it names the folder once all is there
if [[ $mode == venv ]] && { ! runs "$interpreter" "" || [[ -f $mark && ! $(<"$mark") -ef $folder ]]; }; then
    [[ -f $folder/pyvenv.cfg || -z $(find "$folder" -type f ! -path "$mark" -print -quit 2>/dev/null) ]] \
        || fail "$folder is a file or holds files, and is no virtual environment; choose another folder with --venv"
    if [[ -n $python ]]; then set -- "$python"; else set -- python3 python python3.12 python3.11 python3.13; fi
    for base; do ! runs "$base" "import ensurepip, venv; $modern" || break; base=""; done
    [[ -n $base ]] || fail "no Python 3.11 or newer with the modules venv and ensurepip among $*; install one" \
        "(Debian and Ubuntu: apt-get install python3-venv) or name it with --python"
fi
if ! runs "$interpreter" "import fairseq"; then
    runs "$base" "$modern" || fail "fairseq-fixed needs Python 3.11 or newer, $base is older; name another with --python"
    headers=$("$base" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    [[ $("$base" -V) == "Python 3.12."* ]] || "${CXX:-c++}" -I"$headers" -include Python.h -E -x c++ /dev/null &>/dev/null \
        || fail "fairseq is compiled with ${CXX:-c++}, which fails; install g++ and python3-dev, or name another with CXX"
fi
: >"$log_file"
if [[ $base != "$interpreter" ]]; then
    mkdir -p "$folder" 2>/dev/null || fail "cannot make the folder $folder; choose another with --venv"
    (($(df -Pk "$folder" | awk 'NR == 2 { print $4 }') > 3000000)) || fail "less than 3 GB are free for $folder; make room"
    find "$folder" -mindepth 1 -delete && : >"$mark"
    step "making $folder with $base" "$base" -m venv "$folder"
fi
runs "$interpreter" "import pip" || fail "$interpreter has no pip; install it: $interpreter -m ensurepip"
note && [[ ! -f $mark ]] || : >"$mark" # without a key: not complete

# Of what is in an existing environment the versions there, else the pins. Another torch chooses its libraries itself.
{ [[ $mode == venv ]] || "$interpreter" -m pip list --format freeze --exclude rdrop_fairseq
  ! runs "$interpreter" "$modern" || cat "$pins"; } | awk -F == -v free="^(${torch:+torch|sympy|triton|nvidia-.*|cuda-.*})\$" '
    { name = tolower($1); gsub(/[-_.]+/, "-", name) }
    /^[[:alnum:]]/ && name !~ free && !seen[name]++' >"$setup_folder/constraints"
PATH=${interpreter%/*}:$PATH # the build looks for ninja there
step "installing ${torch:-torch}" pip_install "${torch:-torch}" "setuptools>=61" wheel cython numpy ninja
# In a build environment of its own, which is pip's habit, the build would fetch the newest torch once more.
[[ $mode == existing ]] && runs "$interpreter" "import fairseq" \
    || step "installing fairseq, which takes minutes" pip_install --no-build-isolation fairseq-fixed
step "installing rdrop_fairseq" pip_install --no-deps --no-build-isolation --editable "$repository_root"
"$interpreter" -c 'import importlib.metadata; print(*importlib.metadata.requires("rdrop_fairseq"), sep="\n")' \
    | grep -v ^fairseq | sed -E 's/(;| and) *extra == .*//' >"$setup_folder/requirements"
step "installing the other packages" pip_install --requirement "$setup_folder/requirements"
step "trying the environment" "$interpreter" -c "import torch, fairseq, sacrebleu, sentencepiece, tabulate, pytest; $ours"
note "programs=$("$interpreter" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')" "key=$(key)"
[[ ! -f $mark ]] || echo "$folder" >"$mark"
log "$folder is ready"
