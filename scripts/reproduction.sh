# shellcheck shell=bash disable=SC2154
# All of a recipe in order; to be sourced by scripts/reproduce_*.sh, which set recipe and then call reproduce "$@".

reproduction_stages=(prepare train-baseline train-rdrop evaluate)

# read_reproduction_options "$@": fills the variables of reproduce.
read_reproduction_options() {
    while (($# > 0)); do
        if [[ $1 == --*=* ]]; then
            set -- "${1%%=*}" "${1#*=}" "${@:2}"
        fi
        case $1 in
            --help | -h)
                usage_of "$0"
                exit 0
                ;;
            --baseline | --dry-run) fail "$1 is for scripts/train.sh alone; this trains the baseline and R-Drop, leave it out" ;;
            --data | --run-dir) fail "$1 is for scripts/train.sh alone; give --data-dir or --runs-dir" ;;
            --source-lang | --target-lang) fail "$1 is that of the recipe; leave it out" ;;
            --raw-dir | --corpus | --table | --vocab-size | --workers | --data-dir | --runs-dir | --average | --stage | \
                --stop-stage | --rdrop-*)
                (($# >= 2)) || fail "$1 needs a value; see $0 --help"
                ;;&
            --cpu)
                train_options+=("$1")
                evaluate_options+=("$1")
                shift
                continue
                ;;
            --raw-dir | --corpus | --table | --vocab-size | --workers) prepare_options+=("$1" "$2") ;;
            --data-dir) data=$2 ;;
            --runs-dir) runs=$2 ;;
            --average)
                [[ $2 =~ ^[1-9][0-9]*$ ]] || fail "--average takes a whole number above 0, not $2"
                evaluate_options+=("$1" "$2")
                ;;
            --stage) first=$2 ;;
            --stop-stage) last=$2 ;;
            --rdrop-*) rdrop_options+=("$1" "$2") ;;
            *)
                # An option of the training, or its value.
                train_options+=("$1")
                shift
                continue
                ;;
        esac
        shift 2
    done
}

# train_baseline [OPTION]..., train_rdrop [OPTION]...: with the options given to the trainings.
train_baseline() {
    "$repository_root/scripts/train.sh" "$recipe" --baseline --data "$data/bin" --run-dir "$baseline" \
        "${train_options[@]}" "$@"
}

train_rdrop() {
    "$repository_root/scripts/train.sh" "$recipe" --data "$data/bin" --run-dir "$rdrop" "${train_options[@]}" \
        "${rdrop_options[@]}" "$@"
}

# reproduce "$@": every stage is a script that continues where it was, and does nothing that is done.
reproduce() {
    local first=prepare last=evaluate data="" runs="" first_position last_position position
    local prepare_options=() train_options=() rdrop_options=() evaluate_options=()
    read_reproduction_options "$@"
    first_position=$(position_of "$first" "${reproduction_stages[@]}")
    last_position=$(position_of "$last" "${reproduction_stages[@]}")
    ((first_position <= last_position)) \
        || fail "--stop-stage $last comes before --stage $first; the stages are ${reproduction_stages[*]}"
    data=${data:-$repository_root/data/$recipe}
    runs=${runs:-$repository_root/runs}
    local baseline=$runs/$recipe-baseline rdrop=$runs/$recipe-rdrop

    "$repository_root/scripts/setup.sh"
    # A mistake in an option of the trainings would show only when the data are prepared, hours later, or in other stages
    # not at all.
    log "checking the options of both trainings"
    train_baseline --dry-run >/dev/null
    train_rdrop --dry-run >/dev/null
    for ((position = first_position; position <= last_position; position++)); do
        log "stage ${reproduction_stages[position]}"
        case ${reproduction_stages[position]} in
            prepare) "$repository_root/scripts/prepare_$recipe.sh" --output-dir "$data" "${prepare_options[@]}" ;;
            train-baseline) train_baseline ;;
            train-rdrop) train_rdrop ;;
            evaluate) "$repository_root/scripts/evaluate.sh" "$baseline" "$rdrop" "${evaluate_options[@]}" ;;
        esac
    done
}
