# shellcheck shell=bash disable=SC2154,SC2034
# What each step of a preparation runs and makes; to be sourced by preparation.sh, whose variables it uses. A stage has
# one step or several.

# run_module NAME ARGUMENT...: runs a module of rdrop_fairseq.data. It ends when this script is killed, and does not write
# on beside the one that is started in its place.
run_module() {
    python -m rdrop_fairseq.common.processes python -m "rdrop_fairseq.data.$1" "${@:2}"
}

corpora() {
    local arguments=("$1" "$corpus" --archives "$work_directory/archives" ${raw_directory:+--raw-dir "$raw_directory"}
        ${archive_table:+--table "$archive_table"} "${@:2}")
    local prefix
    for prefix in "${corpus_prefixes[@]}"; do
        arguments+=(--corpus-prefix "$prefix")
    done
    run_module corpora "${arguments[@]}"
}

# tokenise_from FOLDER SPLIT...: FOLDER/SPLIT.LANGUAGE to tokenised/SPLIT.LANGUAGE, for both languages.
tokenise_from() {
    local split language
    for split in "${@:2}"; do
        for language in "$source_language" "$target_language"; do
            run_module moses tokenise --lang "$language" "${tokenizer_flags[@]}" --workers "$workers" \
                --input "$1/$split.$language" --output "$work_directory/tokenised/$split.$language"
        done
    done
}

# clean_pairs PREFIX: PREFIX.LANGUAGE to clean/train.LANGUAGE.
clean_pairs() {
    run_module cleaning --input "$1" --output "$work_directory/clean/train" \
        --source-lang "$source_language" --target-lang "$target_language" "${cleaning_flags[@]}" \
        --report "$work_directory/clean/cleaning.json" >&2
}

# tokenised_text COMMAND: checks the text of --tokenised-dir.
tokenised_text() {
    run_module tokenised_text "$1" "$tokenised_directory" --source-lang "$source_language" \
        --target-lang "$target_language" --sums "$work_directory/tokenised"
}

split_off_validation() {
    run_module iwslt split --input "$work_directory/clean/train" --output "$work_directory/split" \
        --source-lang "$source_language" --target-lang "$target_language"
}

# text_of SPLIT: the prefix of the text that is split into sub-words.
text_of() {
    if [[ -n $tokenised_directory ]]; then
        printf '%s' "$tokenised_directory/$1"
    elif [[ $cleans_tokens == true && $1 != test ]]; then
        printf '%s' "$work_directory/split/$1"
    elif [[ $tokenises == true ]]; then
        printf '%s' "$work_directory/tokenised/$1"
    else
        printf '%s' "$work_directory/raw/$1"
    fi
}

learn_subwords() {
    run_module subwords learn --input "$(text_of train).$source_language" \
        "$(text_of train).$target_language" --vocab-size "$vocabulary_size" \
        --model "$work_directory/subwords/sentencepiece.model"
}

apply_subwords() {
    local split language
    for split in train valid test; do
        for language in "$source_language" "$target_language"; do
            run_module subwords encode --model "$work_directory/subwords/sentencepiece.model" \
                --input "$(text_of "$split").$language" --output "$work_directory/subwords/$split.$language" \
                --workers "$workers"
        done
    done
}

# What fairseq-preprocess makes, and beside it what is needed to give raw text to a model and to score its output.
binarise() {
    local bin=$work_directory/bin subwords=$work_directory/subwords lines processes
    # One process for every file and worker, even without a line for it, takes longer than the work in a small corpus.
    lines=$(wc -l <"$subwords/train.$source_language")
    processes=$((workers < lines / 2000 + 1 ? workers : lines / 2000 + 1))
    rm -rf "$bin" "$bin.partial"
    quietly "$work_directory/preprocess.log" python -m rdrop_fairseq.data.binarise --joined-dictionary \
        --source-lang "$source_language" --target-lang "$target_language" --workers "$processes" \
        --trainpref "$subwords/train" --validpref "$subwords/valid" --testpref "$subwords/test" --destdir "$bin.partial"
    cp "$subwords/sentencepiece.model" "$bin.partial/"
    local language name
    for name in source reference; do
        language=$source_language
        if [[ $name == reference ]]; then
            language=$target_language
        fi
        if [[ -n $tokenised_directory ]]; then
            run_module moses detokenise --lang "$language" --workers "$workers" \
                --input "$tokenised_directory/test.$language" --output "$bin.partial/$name.$language"
        else
            cp "$work_directory/raw/test.$language" "$bin.partial/$name.$language"
        fi
    done
    run_module preparation --output "$bin.partial" --text "$subwords" --recipe "$recipe" \
        --source-lang "$source_language" --target-lang "$target_language" --vocab-size "$vocabulary_size" \
        --test-set "$test_set" "${moses_flags[@]}"
    mv "$bin.partial" "$bin"
}

# list_steps: sets steps to what is done once, in order; a stage may have several.
list_steps() {
    if [[ -n $tokenised_directory ]]; then
        steps=(take)
    elif [[ $cleans_tokens == true ]]; then
        steps=(extract tokenise clean split)
    else
        steps=(extract)
        if ((${#cleaning_flags[@]} > 0)); then
            steps+=(clean)
        fi
        if [[ $tokenises == true ]]; then
            steps+=(tokenise-train tokenise-rest)
        fi
    fi
    steps+=(learn apply binarise)
}

# describe_step NAME: sets the stage that a step belongs to, its title, what it runs, and what it makes in the data folder.
describe_step() {
    local source=$source_language target=$target_language
    step_stage=${1%%-*}
    case $1 in
        take)
            step_stage=learn step_title="checking the tokenised text"
            step_command=(tokenised_text take)
            step_results=(tokenised/SHA256SUMS)
            ;;
        extract)
            step_title="extracting the text"
            step_command=(corpora extract --output "$work_directory/raw")
            step_results=(raw/{train,test}.{"$source","$target"})
            ;;
        clean)
            step_title="dropping pairs"
            step_command=(clean_pairs "$work_directory/raw/train")
            if [[ $cleans_tokens == true ]]; then
                step_command=(clean_pairs "$work_directory/tokenised/train")
            fi
            step_results=(clean/train.{"$source","$target"})
            ;;
        split)
            step_stage=clean step_title="taking every 23rd pair for validation"
            step_command=(split_off_validation)
            step_results=(split/{train,valid}.{"$source","$target"})
            ;;
        tokenise)
            step_title="tokenising"
            step_command=(tokenise_from "$work_directory/raw" train test)
            step_results=(tokenised/{train,test}.{"$source","$target"})
            ;;
        tokenise-train)
            step_title="tokenising the training text"
            step_command=(tokenise_from "$work_directory/clean" train)
            step_results=(tokenised/train.{"$source","$target"})
            ;;
        tokenise-rest)
            step_title="tokenising valid and test"
            step_command=(tokenise_from "$work_directory/raw" valid test)
            step_results=(tokenised/{valid,test}.{"$source","$target"})
            ;;
        learn)
            step_title="learning $vocabulary_size sub-words"
            step_command=(learn_subwords)
            step_results=(subwords/sentencepiece.model)
            ;;
        apply)
            step_title="splitting into sub-words"
            step_command=(apply_subwords)
            step_results=(subwords/{train,valid,test}.{"$source","$target"})
            ;;
        binarise)
            step_title="binarising"
            step_command=(binarise)
            step_results=(bin/{preparation.json,sentencepiece.model,"source.$source","reference.$target"}
                bin/dict.{"$source","$target"}.txt
                bin/{train,valid,test}."$source-$target".{"$source","$target"}.{bin,idx})
            ;;
    esac
}
