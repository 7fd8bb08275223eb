# shellcheck shell=bash
# How scripts/setup.sh runs its long steps: quietly, with signs of life, and with one clear line when one fails.
# To be sourced after common.sh; needs log_file, and for the messages venv, python and needed_gigabytes.
# shellcheck disable=SC2154  # those four are set by setup.sh

# free_gigabytes FOLDER: the space where the folder is or will be, in whole GB.
free_gigabytes() {
    local folder=$1
    while [[ ! -d $folder ]]; do
        folder=$(dirname "$folder")
    done
    df -Pk "$folder" | awk 'NR == 2 { print int($4 / 1048576) }'
}

# run_step MESSAGE COMMAND...: runs the command with its output in the log, and says that it is alive.
run_step() {
    local message=$1 log_start status=0
    shift
    log_start=$(wc -c <"$log_file")
    log "$message"
    show_progress "$message" "$log_start" 9>&- &
    progress_process=$!
    "$@" >>"$log_file" 2>&1 </dev/null || status=$?
    stop_progress
    if ((status)); then
        explain_failure "$message failed" "$log_start"
    fi
}

show_progress() {
    local seconds=0 activity
    # $$ is the script itself: should it be killed, this ends too.
    while sleep 1 && kill -0 $$ 2>/dev/null; do
        seconds=$((seconds + 1))
        if ((seconds % 15 == 0)); then
            activity=$(tail -c "+$(($2 + 1))" "$log_file" | grep -aE '^ *(Collecting|Downloading|Building|Installing) ' |
                tail -n 1 | cut -c 1-90) || true
            log "$1: $seconds s${activity:+, $activity}"
        fi
    done
}

stop_progress() {
    if [[ -n ${progress_process:-} ]]; then
        kill "$progress_process" 2>/dev/null || true
        wait "$progress_process" 2>/dev/null || true
        progress_process=
    fi
}

# explain_failure WHAT [START]: ends the script with the cause found in the log (from byte START on) and a remedy.
explain_failure() {
    local what=$1 output folder
    output=$(tail -c "+$((${2:-0} + 1))" "$log_file")
    for folder in "$(dirname "$python")" "${TMPDIR:-/tmp}" "$HOME"; do
        if (($(free_gigabytes "$folder") == 0)); then
            output+=" No space left on device"
        fi
    done
    case $output in
        *"No space left on device"* | *"Disk quota exceeded"*)
            fail "$what: the disk is full; free $needed_gigabytes GB (8 GB for torch with CUDA) for $venv," \
                "for ${TMPDIR:-/tmp} (TMPDIR) and for pip's cache, or choose another place with --venv"
            ;;
        *externally-managed-environment*)
            fail "$what: the system manages this Python; run without --existing, or from an environment of your own"
            ;;
        *"Permission denied"* | *"Read-only file system"*)
            fail "$what: no permission to write there; choose a folder of your own with --venv"
            ;;
        *"Not a directory"* | *"File exists"*)
            fail "$what: a part of that path is a file; choose another folder with --venv"
            ;;
        *"Max retries exceeded"* | *"connection broken"* | *"Could not fetch URL"* | *"timed out"* | \
            *"Temporary failure in name resolution"* | *"Cannot connect to proxy"*)
            fail "$what: the package index cannot be reached; check the network, the proxy and 'pip config list'"
            ;;
        *ResolutionImpossible* | *"conflicting dependencies"*)
            fail "$what: the packages contradict each other (see $log_file); make an environment of its own" \
                "by running without --existing, or choose another --torch"
            ;;
        *"Failed building wheel"* | *"Failed to build"* | *"metadata-generation-failed"*)
            fail "$what: a package does not compile (see the end of $log_file); use Python 3.12, which needs" \
                "no compiling, or another compiler (CC and CXX)"
            ;;
        *"No matching distribution found"*)
            fail "$what: ${output##*ERROR: }; check the index that 'pip config list' names, or --torch"
            ;;
    esac
    fail "$what; see the end of $log_file"
}
