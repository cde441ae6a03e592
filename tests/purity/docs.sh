#!/usr/bin/env bash
# What the documents name exists: each path and function that stands in backticks, the function in the file where the page
# says so, each relative link, a README for each folder of the code, decisions numbered without a gap. Prints a line for
# each rule, as check.sh does, which calls it.
set -euo pipefail
cd "$(dirname "$0")/../.."

bad=0
# rule NAME LINES: ok when LINES is empty.
rule() {
  if [ -z "$2" ]; then echo "ok $1"; else echo "not ok $1"; sed 's/^/   /' <<<"$2"; bad=1; fi
}

# A page without its fenced blocks, on one line.
prose() { awk '/^ *```/ { fenced = !fenced; next } !fenced' "$1" | tr -s '\n ' ' '; }
quoted() { prose "$1" | grep -oE '`[^`]+`' | tr -d '`' | sort -u; }

missing_paths() {
  local page path
  for page in "$@"; do
    for path in $(quoted "$page" | grep -E '^[A-Za-z0-9_./-]+/[A-Za-z0-9_.-]+\.(c|h|sh|proto|md|bzl|txt|py)$' || true); do
      [ -e "$path" ] || echo "$page: $path"
    done
  done
}

missing_functions() {
  local page name
  for page in "$@"; do
    for name in $(quoted "$page" | grep -oE '^[a-z_][a-z0-9_]*\(\)$' | tr -d '()' || true); do
      git grep -qw -e "$name" -- '*.c' '*.h' '*.sh' || echo "$page: $name()"
    done
  done
}

# "`function()` in `file`" and "`function()` (`file`".
misplaced_functions() {
  local page name file
  for page in "$@"; do
    prose "$page" | grep -oE '`[a-z_][a-z0-9_]*\(\)`( in | \()`[A-Za-z0-9_./-]+\.[ch]`' |
      sed -E 's/^`([a-z0-9_]+)\(\)`[^`]*`([^`]+)`$/\1 \2/' | while read -r name file; do
      grep -qsw -e "$name" "$file" || echo "$page: $name() is not in $file"
    done || true
  done
}

# `--option`, in all pages: one of ours, or in our scripts or Bazel's settings.
missing_options() {
  local page name
  git ls-files '*.md' | while read -r page; do
    prose "$page" | grep -oE '`--[a-z][a-z-]+' | sort -u | while read -r name; do
      name=${name#\`--}
      git grep -qE -e "\"(--)?$name[\"=]" -- '*.c' '*.h' '*.cc' || git grep -q -e "--$name" -- '*.sh' dev .bazelrc ||
        echo "$page: --$name"
    done || true
  done
}

broken_links() {
  local page target
  git ls-files '*.md' | while read -r page; do
    prose "$page" | grep -oE '\]\([^)# ]+' | sed 's/^](//' | grep -v :// | while read -r target; do
      [ -e "$(dirname "$page")/$target" ] || echo "$page: $target"
    done || true
  done
}

# Each folder at the top, and each part of the code below it; a part's own parts too where they have code.
folders_without_readme() {
  local folder
  {
    git ls-files -- '*/*' | cut -d/ -f1
    git ls-files -- 'client/**.c' 'controller/**.c' 'services/**.c' 'storage/**.c' | xargs -n1 dirname
  } | grep -v '^\.' | sort -u | while read -r folder; do [ -e "$folder/README.md" ] || echo "$folder"; done
}

misnumbered_decisions() {
  local number=0 file
  for file in docs/decisions/0*.md; do
    number=$((number + 1))
    [[ ${file##*/} == $(printf '%04d' $number)-* ]] || echo "$file: number $(printf '%04d' $number) comes next"
    grep -qF "(${file##*/})" docs/decisions/README.md || echo "$file is not listed in docs/decisions/README.md"
  done
}

pages=(docs/tour.md ARCHITECTURE.md CONTRIBUTING.md README.md)
rule "files that the documents name exist" "$(missing_paths "${pages[@]}")"
rule "functions that the documents name exist" "$(missing_functions "${pages[@]}")"
rule "functions are in the files that the documents say" "$(misplaced_functions "${pages[@]}")"
rule "options that the documents name exist" "$(missing_options)"
rule "links between pages lead somewhere" "$(broken_links)"
rule "each folder of the code has a README" "$(folders_without_readme)"
rule "decisions are numbered one after the other, and listed" "$(misnumbered_decisions)"
exit $bad
