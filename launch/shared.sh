# shellcheck shell=bash
# Sourced by the scripts of this folder: how they read their arguments, quote words, and start processes together.

# Reads [--dry-run] ARGUMENT... -- [sirl] run FILE ... and sets dry (0 or 1), given (the ARGUMENTs) and line (run FILE ...).
# line never has --distributed; a script adds it where several processes run. $1 is the usage, $2 and $3 the fewest and
# the most ARGUMENTs.
read_arguments() {
  usage=$1
  local fewest=$2 most=$3
  shift 3
  dry=0 given=() line=()
  while (($#)) && [[ $1 != -- ]]; do
    if [[ $1 == --dry-run ]]; then dry=1; else given+=("$1"); fi
    shift
  done
  (($#)) && shift
  [[ ${1-} == sirl ]] && shift
  if ((${#given[@]} < fewest || ${#given[@]} > most || $# < 2)) || [[ $1 != run ]]; then explain; fi
  local word
  for word; do [[ $word == --distributed ]] || line+=("$word"); done
}

explain() {
  echo "usage: $0 $usage -- run FILE [--set NAME=VALUE] [--workdir DIR]" >&2
  exit 2
}

# Ends the script with one line: $1 is the exit code, 2 for a wrong argument.
fail() {
  echo "$0: ${*:2}" >&2
  exit "$1"
}

count() { # whether the word is a whole number from 1
  [[ $1 =~ ^[1-9][0-9]*$ ]]
}

needs() {
  command -v "$1" >/dev/null || fail 127 "$1 is not installed here; --dry-run shows what would be given to it"
}

# Says so where the run has no --workdir, on machines that may share no folder.
ask_for_workdir() {
  local word
  for word in "${line[@]}"; do [[ $word == --workdir || $word == --workdir=* ]] && return; done
  echo "$0: no --workdir: the run is written to runs/, which must be one folder for all machines and outlive them" >&2
}

# The words as one line that a shell reads back.
quoted() {
  local word words=() quote="'\\''"
  for word; do
    if [[ ! $word =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]]; then word="'${word//\'/$quote}'"; fi
    words+=("$word")
  done
  printf '%s' "${words[*]}"
}

# The words as a YAML list of strings.
listed() {
  local word list=
  for word; do list+=", $(string "$word")"; done
  printf '[%s]' "${list#, }"
}

# The word as a YAML string in double quotes.
string() {
  local word=$1
  word=${word//\\/\\\\}
  word=${word//\"/\\\"}
  word=${word//$'\t'/\\t}
  printf '"%s"' "${word//$'\n'/\\n}"
}

# Runs $1 processes. `process I` sets the array `words`, the command of process I. Process 0 speaks here, the others in
# LOGS. When process 0 ends with an error the others are ended.
run_together() {
  local processes=$1 i code status=0
  if ((dry)); then
    for ((i = 0; i < processes; i++)); do
      process "$i"
      quoted "${words[@]}"
      echo
    done
    return
  fi
  local logs=${LOGS:-$(mktemp -d)}
  mkdir -p "$logs"
  started=()
  trap stop EXIT
  for ((i = 1; i < processes; i++)); do
    process "$i"
    "${words[@]}" </dev/null >"$logs/process_$i.log" 2>&1 &
    started+=($!)
  done
  process 0
  "${words[@]}" </dev/null || status=$?

  # A process that fails ends the others where its connection is seen to close; here they are ended for sure.
  ((status)) && stop
  for i in "${started[@]}"; do
    code=0
    wait "$i" || code=$?
    ((status)) || status=$code
  done
  ((status)) && echo "exit code $status; the other processes wrote to $logs" >&2
  exit "$status"
}

stop() {
  local pid
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
}
