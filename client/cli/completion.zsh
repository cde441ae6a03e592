#compdef milena
# zsh completion for milena. Now: source <(milena completion zsh), after compinit. For good:
#   milena completion zsh > ~/.zfunc/_milena, with ~/.zfunc in fpath before compinit

# What a command of milena prints, a candidate each line.
_milena_ask() {
  local -a bootstrap names
  local i
  for ((i = 2; i < CURRENT; i++)); do
    [[ $words[i] == (-b|--bootstrap) ]] && bootstrap+=(--bootstrap "$words[i+1]")
    [[ $words[i] == --bootstrap-only ]] && bootstrap+=(--bootstrap-only)
  done
  names=(${(f)"$(milena "$@" --timeout 1 $bootstrap 2>/dev/null)"})
  compadd -a names
}

_milena_topics() { _milena_ask topics list --names }
_milena_brokers() { _milena_ask brokers list --ids }
_milena_groups() { _milena_ask groups list --names }

_milena() {
  local -a commands plain options next
  local command='' name given i
  integer count=0
  commands=(
@COMMANDS@
  )
  for ((i = 2; i < CURRENT; i++)); do
    case $words[i] in
    -b | --bootstrap | -O | --output | --timeout) ((i++)) ;;
    -*) ;;
    *) plain+=("$words[i]") ;;
    esac
  done
  for name in $commands; do
    [[ $name == "$plain[1] $plain[2]" ]] && command=$name count=2
    [[ $name == "$plain[1]" ]] && command=$name count=1
  done
  case $words[CURRENT-1] in
  --output | -O) compadd table json; return ;;
  --acks | -a) compadd none leader all; return ;;
  --compression | -z) compadd none zstd lz4; return ;;
  --partitioner) compadd sticky round-robin; return ;;
  --idempotent) compadd true false; return ;;
  --from) compadd beginning end; return ;;
  --topic | -t) _milena_topics; return ;;
  --away-from) _milena_brokers; return ;;
  --group | -g) _milena_groups; return ;;
  --assignor) compadd sticky range round-robin; return ;;
  --commit) compadd after before never; return ;;
  --to) compadd beginning end; return ;;
  --file | -f | --data | -d | --from-file) [[ $command == consume ]] || { _files; return; } ;;
  esac
  if [[ $words[CURRENT] == -* ]]; then
    options=(${(f)"$(milena ${=command} --help 2>/dev/null | sed -nE 's/^ .*(--[a-z][a-z-]*).*/\1/p' | sort -u)"})
    compadd -a options
  elif [[ -z $command ]]; then
    given="${plain[*]}"
    [[ -z $given ]] || given+=' '
    for name in $commands; do
      [[ $name == "$given"* ]] && next+=("${${name#$given}%% *}")
    done
    next=(${(u)next})
    compadd -a next
  elif (($#plain == count)); then
    case $command in
    produce | consume | 'topics describe' | 'topics alter' | 'topics delete' | 'partitions '*) _milena_topics ;;
    'brokers describe' | 'brokers drain' | 'brokers undrain') _milena_brokers ;;
    'groups list') ;;
    'groups '*) _milena_groups ;;
    completion) compadd bash zsh ;;
    esac
  fi
}

# Autoloaded from fpath, this file is the function; sourced, it names it.
if [[ $funcstack[1] == _milena ]]; then
  _milena "$@"
else
  compdef _milena milena
fi
