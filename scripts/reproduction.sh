# shellcheck shell=bash disable=SC2154
# All of a recipe in order; to be sourced by scripts/reproduce_*.sh, which set recipe and then call reproduce "$@".

reproduction_stages=(prepare train-baseline train-rdrop evaluate)

# reproduce "$@": every stage is a script that continues where it was, and does nothing that is done.
reproduce() {
    local first=prepare last=evaluate data="" runs="" stage name
    local prepare_options=() train_options=() evaluate_options=()
    while (($# > 0)); do
        if [[ $1 == --*=* ]]; then
            set -- "${1%%=*}" "${1#*=}" "${@:2}"
        fi
        case $1 in
            --help | -h)
                usage_of "$0"
                exit 0
                ;;
            --cpu)
                train_options+=("$1")
                evaluate_options+=("$1")
                shift
                continue
                ;;
            --raw-dir | --corpus | --table | --vocab-size | --workers | --data-dir | --runs-dir | --average | --stage | --stop-stage)
                (($# >= 2)) || fail "$1 needs a value; see $0 --help"
                ;;&
            --raw-dir | --corpus | --table | --vocab-size | --workers) prepare_options+=("$1" "$2") ;;
            --data-dir) data=$2 ;;
            --runs-dir) runs=$2 ;;
            --average) evaluate_options+=("$1" "$2") ;;
            --stage) first=$2 ;;
            --stop-stage) last=$2 ;;
            *)
                # From here on for the training.
                train_options+=("$@")
                break
                ;;
        esac
        shift 2
    done
    for stage in "$first" "$last"; do
        [[ " ${reproduction_stages[*]} " == *" $stage "* ]] \
            || fail "unknown stage $stage; the stages are ${reproduction_stages[*]}"
    done
    data=${data:-$repository_root/data/$recipe}
    runs=${runs:-$repository_root/runs}
    local baseline=$runs/$recipe-baseline rdrop=$runs/$recipe-rdrop running=false
    for name in "${reproduction_stages[@]}"; do
        if [[ $name == "$first" ]]; then
            running=true
        fi
        if [[ $running == true ]]; then
            log "stage $name"
            case $name in
                prepare) "$repository_root/scripts/prepare_$recipe.sh" --output-dir "$data" "${prepare_options[@]}" ;;
                train-baseline)
                    "$repository_root/scripts/train.sh" "$recipe" --baseline --data "$data/bin" --run-dir "$baseline" \
                        "${train_options[@]}"
                    ;;
                train-rdrop)
                    "$repository_root/scripts/train.sh" "$recipe" --data "$data/bin" --run-dir "$rdrop" "${train_options[@]}"
                    ;;
                evaluate) "$repository_root/scripts/evaluate.sh" "$baseline" "$rdrop" "${evaluate_options[@]}" ;;
            esac
        fi
        if [[ $name == "$last" ]]; then
            break
        fi
    done
}
