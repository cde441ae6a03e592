/* Keys found in records by rules from the command line.
 *
 * Input: kind of the rule, a field number, a chunk with its text, the record. */
#include "tests/fuzz/fuzz.h"

#include "client/cli/key_rule.h"

/* A backtracking pattern takes exponential time by its nature, and comes from the user's own command line. */
#define REGEX_RECORD_MAX 64

static gboolean lies_within(const guint8 *data, gsize len, const guint8 *record, gsize record_len) {
  return !data || (data >= record && len <= record_len && data + len <= record + record_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  FuzzInput input = {data, data + size};
  guint8 kind = fuzz_u8(&input) % 3;
  gint field = kind == 1 ? 1 + fuzz_u8(&input) : 0;
  g_autofree char *text = fuzz_text(&input);
  g_autoptr(KeyRule) rule = NULL;
  if (!fuzz_accepted(key_rule_new(kind == 0 ? text : NULL, field, kind == 2 ? text : NULL, &rule)))
    return 0;
  gsize len = kind == 2 ? MIN(fuzz_left(&input), REGEX_RECORD_MAX) : fuzz_left(&input);
  KeyedRecord keyed = key_rule_apply(rule, input.at, len);
  FUZZ_HOLDS(lies_within(keyed.key, keyed.key_length, input.at, len));
  FUZZ_HOLDS(lies_within(keyed.value, keyed.value_length, input.at, len));
  return 0;
}
