# Taking conditions out of the code, one at a time, in a copy of the project: what tools/sim_mutations.sh and
# tools/take_out.sh share. Sourced, after common.sh, from the repository's top folder.

# One folder for all times: Bazel keeps what it built there.
copy=${XDG_CACHE_HOME:-$HOME/.cache}/milena/mutations
rows=$(mktemp)
originals=$(mktemp -d)
trap 'rm -rf "$rows"* "$originals"' EXIT

# The project as it is here, in the copy.
refresh() {
  mkdir -p "$copy"
  find "$copy" -mindepth 1 -maxdepth 1 ! -name 'bazel-*' -exec rm -rf {} +
  git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --preserve=timestamps -t "$copy" 2>/dev/null || true
}

# Replaces the text of one mutation; says what is wrong when it is not there exactly once.
apply() {
  perl -e '
    use strict; local $/; open(my $in, "<", $ARGV[0]) or die "$ARGV[0]: $!\n"; my $text = <$in>; my $hunks = 0;
    while ($text =~ /^file (\S+)\n<<<<\n(.*?)====\n(.*?)>>>>\n/gms) {
      my ($path, $old, $new) = ($1, $2, $3); $hunks++;
      open(my $f, "<", $path) or die "$path: $!\n"; my $code = <$f>; close $f;
      my $count = () = $code =~ /\Q$old\E/g;
      die "$path has this text $count times, not once:\n$old" if $count != 1;
      $code =~ s/\Q$old\E/$new/; open($f, ">", $path) or die; print $f $code; close $f;
    }
    die "it replaces nothing\n" if !$hunks;' "$1"
}

# Remembers these files of the copy, until put_back.
keep() {
  rm -rf "${originals:?}"/*
  cp --parents "$@" "$originals"
}

put_back() { cp -r "$originals"/. .; }
