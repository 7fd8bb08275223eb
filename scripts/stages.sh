# shellcheck shell=bash
# A work folder, and stages in it that are done once; to be sourced after common.sh.
#
#     open_work_folder DIRECTORY SETTINGS OPTION PATTERN [LATE STAGE]
#     stage NAME "what it does" FUNCTION [ARGUMENT]...

# A relative folder is one of the working directory; and with CDPATH cd would print where it went.
unset CDPATH

# open_work_folder DIRECTORY SETTINGS OPTION PATTERN [LATE STAGE]: makes the folder, or comes back to it, and keeps others
# out while this script runs. A folder belongs to one SETTINGS text: with another one it is refused as soon as a file in it
# matches PATTERN; but for the lines that begin with LATE, which matter to STAGE first, and may be changed until that is
# done. OPTION is the one that chooses another folder. Sets work_directory, its path, and marks.
open_work_folder() {
    local directory=$1 settings=$2 option=$3 pattern=$4 late=${5:-} late_stage=${6:-} difference message status=0
    cannot_write="cannot write to $directory; free space or choose another folder with $option"
    if [[ -d $directory && ! -e $directory/settings.txt && -n $(find "$directory" -mindepth 1 -maxdepth 1 \
        ! -name .lock ! -name .done ! -name .settings.partial -print -quit) ]]; then
        fail "$directory has files that are not of this script; choose another folder with $option"
    fi
    # One process at a time: two would write to the same files. The descriptor stays open until the script ends.
    # In a subshell first: a redirection that fails would end this shell without a word.
    if { mkdir -p "$directory/.done" && (: >>"$directory/.lock"); } 2>/dev/null; then
        exec {work_folder_lock}>>"$directory/.lock"
    elif [[ -r $directory/.lock ]]; then
        # A folder that cannot be written suffices where nothing is left to do.
        exec {work_folder_lock}<"$directory/.lock"
    else
        fail "$cannot_write"
    fi
    work_directory=$(cd "$directory" && pwd -P)
    marks=$work_directory/.done
    message=$(flock -n "$work_folder_lock" 2>&1) || status=$?
    # With -n, 1 stands for a lock that another process holds, and any other status for a lock that does not work: some
    # file systems have none (Lustre without the mount option flock), and some systems no flock(1).
    if ((status == 1)); then
        fail "another process works in $directory; wait for it, or choose another folder with $option"
    elif ((status)); then
        log "warning: cannot lock $directory (flock${message##*flock}): nothing keeps a second process out of this folder;" \
            "do not start one"
    fi
    if difference=$(diff "$work_directory/settings.txt" - <<<"$settings" 2>/dev/null); then
        return
    fi
    if [[ -n $late && -e $work_directory/settings.txt && ! -e $marks/$late_stage ]] \
        && diff <(grep -v "^$late" "$work_directory/settings.txt") <(grep -v "^$late" <<<"$settings") &>/dev/null; then
        write_settings "$settings"
        return
    fi
    if [[ -e $work_directory/settings.txt ]] && compgen -G "$work_directory/$pattern" >/dev/null; then
        fail "$directory was made with other settings ($(grep -m1 '^[<>]' <<<"$difference" | cut -c1-120));" \
            "choose another folder with $option, or delete it"
    fi
    # Settings with which nothing lasting was made may be changed, so that a mistake can be corrected.
    rm -f "$marks"/* 2>/dev/null || fail "$cannot_write"
    write_settings "$settings"
}

# write_settings SETTINGS: notes what the work folder belongs to.
write_settings() {
    (printf '%s\n' "$1" >"$work_directory/.settings.partial") 2>/dev/null || fail "$cannot_write"
    mv "$work_directory/.settings.partial" "$work_directory/settings.txt"
}

# stage NAME DESCRIPTION FUNCTION [ARGUMENT]...: runs the function unless it succeeded before.
stage() {
    local mark=$marks/$1
    if [[ -e $mark ]]; then
        log "$2: done before"
        return
    fi
    [[ -w $marks ]] || fail "$cannot_write"
    log "$2"
    "${@:3}"
    : >"$mark"
}

# is_done NAME: whether the stage succeeded before.
is_done() {
    [[ -e $marks/$1 ]]
}

# quietly LOG PROGRAM...: runs the program with its output in a file, and shows its last line if it fails. It ends when this
# script is killed, and does not write on beside the one that is started in its place.
quietly() {
    python -m rdrop_fairseq.common.processes "${@:2}" >"$1" 2>&1 \
        || fail "$(last_line "$1"); the whole message is in $1"
}

# last_line FILE: its last line that is not blank.
last_line() {
    awk 'NF { line = $0 } END { print line }' "$1"
}
