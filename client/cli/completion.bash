# bash completion for milena. Now: source <(milena completion bash). For good: put that line into ~/.bashrc, or
#   milena completion bash > /usr/share/bash-completion/completions/milena

# The words before the cursor that are no options, nor values of options. Sets `plain`.
_milena_plain_words() {
  local i
  plain=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
    -b | --bootstrap | -O | --output | --timeout) i=$((i + 1)) ;;
    -*) ;;
    *) plain+=("${COMP_WORDS[i]}") ;;
    esac
  done
}

# The command that `plain` begins with: its name may have two words. Sets `command`, and `count` of its words.
_milena_command() {
  local one=${plain[0]:-} two="${plain[0]:-} ${plain[1]:-}" name
  command='' count=0
  for name in "${commands[@]}"; do
    if [[ $name == "$two" ]]; then command=$name count=2; fi
    if [[ $name == "$one" ]]; then command=$name count=1; fi
  done
}

_milena_next_words() {
  local given="${plain[*]}" name rest
  [[ -z $given ]] || given+=' '
  for name in "${commands[@]}"; do
    [[ $name == "$given"* ]] || continue
    rest=${name#"$given"}
    printf '%s\n' "${rest%% *}"
  done | sort -u
}

_milena_options() {
  # shellcheck disable=SC2086 # two words, one each
  milena $command --help 2>/dev/null | sed -nE 's/^ .*(--[a-z][a-z-]*).*/\1/p' | sort -u
}

_milena_ask() {
  local i bootstrap=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
    -b | --bootstrap) bootstrap+=(--bootstrap "${COMP_WORDS[i + 1]}") ;;
    --bootstrap-only) bootstrap+=(--bootstrap-only) ;;
    esac
  done
  milena "$@" --timeout 1 "${bootstrap[@]}" 2>/dev/null
}

_milena_topics() { _milena_ask topics list --names; }
_milena_brokers() { _milena_ask brokers list --ids; }
_milena_groups() { _milena_ask groups list --names; }

_milena() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command count plain candidates=''
  local -a commands=(
@COMMANDS@
  )
  COMPREPLY=()
  _milena_plain_words
  _milena_command
  case $before in
  --output | -O) candidates='table json' ;;
  --acks | -a) candidates='none leader all' ;;
  --compression | -z) candidates='none zstd lz4' ;;
  --partitioner) candidates='sticky round-robin' ;;
  --idempotent) candidates='true false' ;;
  --from) candidates='beginning end' ;;
  --topic | -t) candidates=$(_milena_topics) ;;
  --away-from) candidates=$(_milena_brokers) ;;
  --group | -g) candidates=$(_milena_groups) ;;
  --assignor) candidates='sticky range round-robin' ;;
  --commit) candidates='after before never' ;;
  --to) candidates='beginning end' ;;
  --file | -f | --data | -d | --from-file)
    if [[ $command != consume ]]; then
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      return
    fi
    ;;
  esac
  if [[ -n $candidates ]]; then
    :
  elif [[ $word == -* ]]; then
    candidates=$(_milena_options)
  elif [[ -z $command ]]; then
    candidates=$(_milena_next_words)
  elif ((${#plain[@]} == count)); then
    case $command in
    produce | consume | 'topics describe' | 'topics alter' | 'topics delete') candidates=$(_milena_topics) ;;
    'partitions '*) candidates=$(_milena_topics) ;;
    'brokers describe' | 'brokers drain' | 'brokers undrain') candidates=$(_milena_brokers) ;;
    'groups list') ;;
    'groups '*) candidates=$(_milena_groups) ;;
    completion) candidates='bash zsh' ;;
    esac
  fi
  mapfile -t COMPREPLY < <(compgen -W "$candidates" -- "$word")
}

complete -F _milena milena
