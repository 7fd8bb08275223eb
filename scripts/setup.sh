#!/usr/bin/env bash
# Sets up the environment for everything in this repository: a tested set of fairseq, torch, sacrebleu and what
# they need (scripts/constraints.txt), from the package index that pip is configured for.
#
# Usage: scripts/setup.sh [options]
#
#   --venv DIR       the virtual environment to make or to complete (default: .venv in the repository)
#   --python PYTHON  the interpreter to make it with, 3.11 or 3.12 (default: the first suitable of python3,
#                    python, python3.12 and python3.11)
#   --torch SPEC     another torch than the pinned one, for example for your version of CUDA: a version (2.11.0),
#                    a requirement, or the path or URL of a wheel
#   --existing       use an environment that exists (conda, container, active virtual environment): that of
#                    --python, else of `python` on PATH. What it has stays as it is, its torch and fairseq too;
#                    only what is missing is added.
#   --help           this text
#
# A second call takes seconds. A call without options keeps to the choices of the call before; with any option,
# those not given are at their defaults again. The other scripts use the environment of the last call. A call
# that was interrupted is simply repeated; a second call at the same time waits for the first.
#
# On Python 3.12 on x86-64 Linux everything is downloaded ready-made. Elsewhere fairseq is compiled, which needs a
# C++ compiler and Python's headers and takes about 3 minutes. torch from the ordinary index brings its CUDA
# libraries along and then fills about 6 GB.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
# shellcheck source-path=SCRIPTDIR source=setup_progress.sh
source "$repository_root/scripts/setup_progress.sh"

default_venv=$repository_root/.venv
steps_program=$repository_root/scripts/setup_steps.py
pins_file=$repository_root/scripts/constraints.txt
log_file=$setup_state_directory/log
temporary_directory=$setup_state_directory/temporary
needed_gigabytes=3

parse_options() {
    if (($# == 0)) && [[ -n $(read_setup_state mode) ]]; then
        mode=$(read_setup_state mode)
        venv=$(read_setup_state venv)
        torch_spec=$(read_setup_state torch)
        base_python=
        if [[ $mode == existing ]]; then
            base_python=$(read_setup_state python)
        fi
        return
    fi
    mode=venv venv=$default_venv base_python='' torch_spec=''
    local venv_given=
    while (($#)); do
        case $1 in
            --help | -h)
                usage_of "${BASH_SOURCE[0]}"
                exit 0
                ;;
            --existing)
                mode=existing
                shift
                ;;
            --venv | --python | --torch)
                if (($# < 2)) || [[ -z $2 ]]; then
                    fail "$1 needs a value; see --help"
                fi
                case $1 in
                    --venv) venv=$(absolute_path "$2") venv_given=yes ;;
                    --python) base_python=$2 ;;
                    --torch) torch_spec=$(torch_requirement "$2") ;;
                esac
                shift 2
                ;;
            *) fail "unknown option $1; see --help" ;;
        esac
    done
    if [[ $mode == existing && -n $venv_given ]]; then
        fail "--existing and --venv exclude each other; name the existing environment's interpreter with --python"
    fi
}

# absolute_path PATH: without symlinks as far as it exists, because that is what Python will see.
absolute_path() {
    local path=$1 rest=
    [[ $path == /* ]] || path=$PWD/$path
    while [[ ! -d $path ]]; do
        rest=/$(basename "$path")$rest
        path=$(dirname "$path")
    done
    path=$(cd -P "$path" && pwd -P)
    printf '%s\n' "${path%/}$rest"
}

torch_requirement() {
    if [[ $1 == *://* ]]; then
        printf '%s\n' "$1"
    elif [[ -f $1 ]]; then
        printf '%s/%s\n' "$(absolute_path "$(dirname "$1")")" "$(basename "$1")"
    elif [[ $1 =~ ^[0-9][^/]*$ ]]; then
        printf 'torch==%s\n' "$1"
    elif [[ $1 == torch* && $1 != *.whl ]]; then
        printf '%s\n' "$1"
    else
        fail "--torch $1 is neither a version nor an existing wheel; give for example 2.11.0"
    fi
}

# python_version PYTHON: prints 3.11.7, or fails where the command exists but does not run (as shims may).
python_version() {
    "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null </dev/null
}

# pick_base_python: sets base_python to an interpreter that virtual environments can be made with.
pick_base_python() {
    local candidate version found='' without_venv=''
    local candidates=(python3 python python3.12 python3.11)
    if [[ -n $base_python ]]; then
        candidates=("$base_python")
    fi
    for candidate in "${candidates[@]}"; do
        version=$(python_version "$candidate") || continue
        case $version in
            3.11.* | 3.12.*)
                if "$candidate" -c 'import ensurepip, venv' 2>/dev/null </dev/null; then
                    base_python=$candidate
                    return
                fi
                without_venv=${without_venv:-$candidate}
                ;;
        esac
        found+="${found:+, }$candidate is $version"
    done
    if [[ -n $without_venv ]]; then
        fail "$without_venv lacks the modules venv and ensurepip, so it cannot make an environment;" \
            "install them (Debian and Ubuntu: apt-get install python3-venv) or name another with --python"
    fi
    fail "no Python 3.11 or 3.12 (${found:-none of these runs: ${candidates[*]}}), and fairseq (fairseq-fixed) can be" \
        "installed on no other; install one of them and name it with --python, or see --existing in --help"
}

lock() {
    exec 9>"$setup_state_directory/lock"
    # Systems without flock(1) (macOS) have no lock: there, do not run two at once.
    if command -v flock >/dev/null && ! flock -n 9; then
        log "waiting for another setup.sh to finish"
        flock 9 || log "cannot lock $setup_state_directory/lock here; do not run two at once"
    fi
}

# write_state [KEY]: notes the choices and, once everything is in place, the key that says so.
write_state() {
    local file=$setup_state_directory/environment
    {
        printf 'mode=%s\nvenv=%s\ntorch=%s\npython=%s\n' "$mode" "$venv" "$torch_spec" "$python"
        if (($#)); then
            printf 'programs=%s\nkey=%s\n' "$(steps programs)" "$1"
        fi
    } >"$file.partial"
    mv "$file.partial" "$file"
}

steps() {
    "$python" "$steps_program" "$@"
}

current_key() {
    steps key "$mode" "$torch_spec"
}

is_complete() {
    local key problem
    key=$(read_setup_state key)
    if [[ -z $key || $(read_setup_state python) != "$python" || ! -x $python || $key != "$(current_key)" ]]; then
        return 1
    fi
    if ! problem=$(steps check 2>&1); then
        log "the environment is damaged: ${problem##*$'\n'}"
        return 1
    fi
}

has_pip() {
    "$python" -m pip --version >>"$log_file" 2>&1
}

# prepare_venv: leaves a working interpreter with pip in $venv, whatever an earlier call left there.
prepare_venv() {
    local version entry
    if version=$(python_version "$python"); then
        check_venv "$version"
        write_state
        steps repair >>"$log_file"
        # Killed at its end the making of an environment leaves out pip; some tools never add it.
        if has_pip || { "$python" -m ensurepip --default-pip >>"$log_file" 2>&1 && has_pip; }; then
            return
        fi
    fi
    if [[ -e $venv && ! -d $venv ]]; then
        fail "$venv is a file; remove it or choose another folder with --venv"
    fi
    if [[ -d $venv && ! -e $venv/pyvenv.cfg ]]; then
        entry=$(find "$venv" -type f -print | head -n 1)
        if [[ -n $entry ]]; then
            fail "$venv holds other files and is no virtual environment; choose another folder with --venv"
        fi
    fi
    pick_base_python
    log "making $venv with $base_python ($(python_version "$base_python"))"
    if ! "$base_python" -m venv --clear "$venv" >>"$log_file" 2>&1 || ! has_pip; then
        explain_failure "cannot make the environment $venv"
    fi
}

# check_venv VERSION: whether packages can be added to the environment $venv with that Python.
check_venv() {
    local version=$1 wanted problem
    case $version in
        3.11.* | 3.12.*) ;;
        *) fail "$venv has Python $version, fairseq needs 3.11 or 3.12; remove it or choose another with --venv" ;;
    esac
    if [[ -n $base_python ]]; then
        wanted=$(python_version "$base_python") || fail "$base_python does not run; name another with --python"
        if [[ ${wanted%.*} != "${version%.*}" ]]; then
            fail "$venv has Python $version, not $wanted; remove it or choose another folder with --venv"
        fi
    fi
    problem=$(steps place 2>&1) || fail "$problem; remove $venv and run again"
}

# prepare_existing: checks that packages can be added to the environment of $python.
prepare_existing() {
    local version
    version=$(python_version "$python")
    has_pip || fail "$python has no pip; install it (python -m ensurepip) or choose another environment"
    if "$python" -c 'import fairseq' 2>>"$log_file"; then
        return
    fi
    case $version in
        3.11.* | 3.12.*) ;;
        *) fail "$python is $version and has no fairseq, which can be installed on 3.11 and 3.12 only;" \
            "install fairseq first or use such a Python" ;;
    esac
}

# write_constraints [--without NAME]: the versions to install from here on, less that of NAME.
write_constraints() {
    local options=("$@")
    if [[ $mode == existing ]]; then
        options+=(--existing)
    fi
    steps constraints ${options[@]+"${options[@]}"} >"$temporary_directory/constraints.txt"
}

# pip_install ARGUMENTS...: under the constraints written last.
pip_install() {
    "$python" -m pip install --progress-bar off --constraint "$temporary_directory/constraints.txt" "$@"
}

install_torch() {
    local pin
    pin=$(grep '^torch==' "$pins_file")
    if [[ $mode == existing && -z $torch_spec ]] && steps installed torch >>"$log_file" 2>&1; then
        log "keeping torch $(steps installed torch)"
        return
    fi
    write_constraints --without torch
    run_step "installing ${torch_spec:-$pin}" pip_install "${torch_spec:-$pin}"
    write_constraints  # from here on that torch stays
}

# fairseq_has_wheel REQUIREMENT: whether the index has it ready-made for this machine.
fairseq_has_wheel() {
    local log_start output
    log_start=$(wc -c <"$log_file")
    if "$python" -m pip download --progress-bar off --no-deps --only-binary :all: \
        --dest "$temporary_directory" "$1" >>"$log_file" 2>&1 </dev/null; then
        return 0
    fi
    output=$(tail -c "+$((log_start + 1))" "$log_file")
    if [[ $output != *"No matching distribution found"* || $output == *"connection broken"* ]]; then
        explain_failure "looking for fairseq failed" "$log_start"
    fi
    return 1
}

install_fairseq() {
    local pin problem message
    pin=$(grep '^fairseq-fixed==' "$pins_file")
    if [[ $mode == existing ]] && "$python" -c 'import fairseq' 2>>"$log_file"; then
        log "keeping the fairseq that is there"
        install_torch
        return
    fi
    message="installing $pin"
    # Known before the long download of torch: whether fairseq must be, and can be, compiled.
    if [[ $(steps installed fairseq-fixed 2>>"$log_file") != "${pin#*==}" ]] && ! fairseq_has_wheel "$pin"; then
        problem=$(steps compiler 2>&1) || fail "$problem"
        message="compiling $pin (about 3 minutes)"
    fi
    install_torch
    # In a build environment of its own (without --no-build-isolation) pip would fetch a second torch.
    # CUDA_HOME would make fairseq compile CUDA code that is not needed here, with whatever nvcc there is.
    unset CUDA_HOME
    run_step "$message" pip_install --no-build-isolation "$pin"
}

install_packages() {
    write_constraints
    run_step "installing the build tools" pip_install setuptools wheel cython numpy ninja
    install_fairseq
    # Editable, so that there is one rdrop_fairseq: `--user-dir rdrop_fairseq` at the repository's root and
    # `--user-dir "$(python -m rdrop_fairseq)"` anywhere else are both this clone. A copy in site-packages
    # would hide later edits, and fairseq refuses two packages of one name.
    run_step "installing rdrop_fairseq" pip_install --no-deps --no-build-isolation --editable "$repository_root"
    steps requirements >"$temporary_directory/requirements.txt"
    run_step "installing the other packages" pip_install --requirement "$temporary_directory/requirements.txt"
}

clean_up() {
    stop_progress
    rm -rf "$temporary_directory"
}

parse_options "$@"
if ! mkdir -p "$setup_state_directory" 2>/dev/null || ! : 2>/dev/null >>"$setup_state_directory/lock"; then
    fail "cannot write to $repository_root; make it writable or clone the repository elsewhere"
fi
lock
trap clean_up EXIT

# What a user's shell or configuration may set for other environments must not reach this one.
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
if [[ $mode == venv ]]; then
    unset PYTHONHOME PYTHONPATH
    export PIP_USER=0
    python=$venv/bin/python
else
    python=$base_python
    if [[ -z $python ]]; then
        python=$(command -v python || command -v python3 || echo python3)
    fi
    if ! python_version "$python" >/dev/null; then
        fail "$python does not run; activate the environment or name its interpreter with --python"
    fi
    python=$("$python" -c 'import sys; print(sys.executable)')
    venv=$("$python" -c 'import sys; print(sys.prefix)')
fi

if is_complete; then
    log "the environment $venv is ready"
    exit 0
fi

: >"$log_file"
rm -rf "$temporary_directory"
mkdir "$temporary_directory"
log "setting up $venv (details in $log_file)"
if [[ ! -e $python ]] || ! steps installed torch >>"$log_file" 2>&1; then
    if (($(free_gigabytes "$venv") < needed_gigabytes)); then
        fail "less than $needed_gigabytes GB are free for $venv, and torch with CUDA takes 8 GB;" \
            "free some space or choose another place with --venv"
    fi
fi
if [[ $mode == venv ]]; then
    prepare_venv
else
    prepare_existing
fi
write_state
PATH=$(dirname "$python"):$PATH  # the build looks for ninja there
install_packages
if ! problem=$(steps check --import-all 2>&1 >>"$log_file"); then
    fail "the environment does not work: ${problem##*$'\n'}; remove $venv and run again (see $log_file)"
fi
write_state "$(current_key)"
log "the environment $venv is ready"
