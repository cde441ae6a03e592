/* Words from the command line: escapes, numbers, pairs, times, topic settings; and their way out as JSON and tables.
 *
 * Input: the word. */
#include "tests/fuzz/fuzz.h"

#include "client/cli/json.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "client/cli/topic_config.h"
#include "client/cli/when.h"

static void escapes(const char *word, const guint8 *data, gsize size) {
  g_autoptr(GBytes) bytes = NULL;
  fuzz_accepted(text_unescape(word, &bytes));
  /* What is shown of bytes can be given back as an argument, but for backslashes: those are shown as they are. */
  g_autofree char *shown = text_escape((const char *)data, size);
  FUZZ_HOLDS(g_utf8_validate(shown, -1, NULL));
  if (size > 0 && memchr(data, '\\', size))
    return;
  g_autoptr(GBytes) back = NULL;
  FUZZ_HOLDS(fuzz_accepted(text_unescape(shown, &back)));
  FUZZ_HOLDS(g_bytes_get_size(back) == size && (size == 0 || memcmp(g_bytes_get_data(back, NULL), data, size) == 0));
}

static void values(const char *word) {
  gint64 number = 0;
  if (fuzz_accepted(text_number("--partitions", word, 1, 1000, &number)))
    FUZZ_HOLDS(number >= 1 && number <= 1000);
  g_autofree char *key = NULL, *value = NULL;
  fuzz_accepted(text_pair("--header", word, &key, &value));
  When when;
  g_autoptr(GTimeZone) zone = g_time_zone_new_utc();
  if (fuzz_accepted(when_parse("--from", word, 1700000000000, zone, &when)) && when.kind == WHEN_TIME)
    g_free(text_time(when.unix_ms));
  char *settings[] = {(char *)word, NULL};
  g_auto(TopicConfigChange) change = {0};
  if (fuzz_accepted(topic_config_parse(settings, &change)))
    for (guint i = 0; i < topic_config_count(); i++)
      g_free(topic_config_value(&change.config, i));
}

static void outputs(const char *word, const guint8 *data, gsize size) {
  g_autoptr(GString) out = g_string_new(NULL);
  g_autoptr(Json) json = json_new(out, TRUE);
  json_open(json, NULL, '{');
  json_string(json, "word", word);
  json_bytes(json, "bytes", data, size);
  json_close(json);
  FUZZ_HOLDS(g_utf8_validate(out->str, (gssize)out->len, NULL));
  g_autoptr(Table) table = table_new("WORD", ">N", NULL);
  table_add(table, "%s", word);
  table_add(table, "%d", 1);
  g_autofree char *lines = table_format(table);
  for (const char *c = lines; *c; c++)
    FUZZ_HOLDS((guchar)*c >= 0x20 || *c == '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  g_autofree char *word = g_strndup((const char *)data, size);
  escapes(word, data, size);
  values(word);
  outputs(word, data, size);
  return 0;
}
