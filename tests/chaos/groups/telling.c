#include "tests/chaos/groups/telling.h"

#include <stdio.h>
#include <string.h>

#define PARTITIONS_MAX 64

typedef struct {
  Ledger *ledger;
  guint group;
  guint tenures[PARTITIONS_MAX]; /* index + 1 of the one that lasts */
  GHashTable *asked;             /* id of a commit → its index + 1 */
  guint *slow;
} Telling;

static LedgerTenure *tenure_of(const Telling *telling, gint32 partition) {
  guint index = partition >= 0 && partition < PARTITIONS_MAX ? telling->tenures[partition] : 0;
  return index ? &g_array_index(telling->ledger->tenures, LedgerTenure, index - 1) : NULL;
}

static gboolean tell_given(Telling *telling, gint32 partition, gint64 now_us) {
  if (partition < 0 || partition >= PARTITIONS_MAX)
    return FALSE;
  /* Readers of members have numbers of their own: nobody else reads in these runs. */
  LedgerTenure tenure = {telling->group, telling->ledger->tenures->len + 1, partition, now_us, 0};
  g_array_append_val(telling->ledger->tenures, tenure);
  telling->tenures[partition] = telling->ledger->tenures->len;
  return TRUE;
}

static gboolean tell_gone(Telling *telling, gint32 partition) {
  if (!tenure_of(telling, partition))
    return FALSE;
  telling->tenures[partition] = 0;
  return TRUE;
}

static gboolean tell_read(Telling *telling, gint32 partition, LedgerRead read, gint64 now_us) {
  LedgerTenure *tenure = tenure_of(telling, partition);
  if (!tenure)
    return FALSE;
  if (!tenure->first_us)
    tenure->first_us = now_us;
  read.reader = tenure->reader;
  read.partition = partition;
  g_array_append_val(telling->ledger->reads, read);
  return TRUE;
}

static gboolean tell_asked(Telling *telling, guint id, gint32 partition, gint64 offset, gint64 now_us) {
  const LedgerTenure *tenure = tenure_of(telling, partition);
  if (!tenure)
    return FALSE;
  LedgerCommit commit = {tenure->reader, offset, LEDGER_UNKNOWN, now_us, now_us};
  g_array_append_val(telling->ledger->commits, commit);
  g_hash_table_insert(telling->asked, GUINT_TO_POINTER(id), GUINT_TO_POINTER(telling->ledger->commits->len));
  return TRUE;
}

static gboolean tell_answered(Telling *telling, guint id, const char *outcome, gint64 now_us) {
  guint index = GPOINTER_TO_UINT(g_hash_table_lookup(telling->asked, GUINT_TO_POINTER(id)));
  if (!index)
    return FALSE;
  LedgerCommit *commit = &g_array_index(telling->ledger->commits, LedgerCommit, index - 1);
  commit->outcome = g_str_equal(outcome, "ok") ? LEDGER_OK : LEDGER_UNKNOWN;
  commit->return_us = now_us;
  return g_hash_table_remove(telling->asked, GUINT_TO_POINTER(id));
}

static gboolean tell_line(Telling *telling, const char *line) {
  gint32 partition;
  guint id;
  gint64 offset, now_us;
  LedgerRead read = {0};
  char outcome[16];
  if (sscanf(line, "given %d %" G_GINT64_FORMAT, &partition, &now_us) == 2)
    return tell_given(telling, partition, now_us);
  if (sscanf(line, "gone %d %" G_GINT64_FORMAT, &partition, &now_us) == 2)
    return tell_gone(telling, partition);
  if (sscanf(line, "read %d %u %" G_GINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT, &partition, &read.poll,
             &read.offset, &read.value, &now_us) == 5)
    return tell_read(telling, partition, read, now_us);
  if (sscanf(line, "asked %u %d %" G_GINT64_FORMAT " %" G_GINT64_FORMAT, &id, &partition, &offset, &now_us) == 4)
    return tell_asked(telling, id, partition, offset, now_us);
  if (sscanf(line, "answered %u %15s %" G_GINT64_FORMAT, &id, outcome, &now_us) == 3)
    return tell_answered(telling, id, outcome, now_us);
  gboolean is_slow = sscanf(line, "slow %" G_GINT64_FORMAT, &now_us) == 1;
  *telling->slow += is_slow;
  return is_slow;
}

/* The last line of who was killed may be half a line: it is none. */
char *telling_notes(const char *path, guint group, Ledger *ledger, guint *slow) {
  g_autofree char *text = NULL;
  if (!g_file_get_contents(path, &text, NULL, NULL))
    return NULL; /* killed before it noted anything */
  g_autoptr(GHashTable) asked = g_hash_table_new(NULL, NULL);
  Telling telling = {.ledger = ledger, .group = group, .asked = asked, .slow = slow};
  for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
    *end = '\0';
    if (!tell_line(&telling, line))
      return g_strdup_printf("%s: '%s' can't be: of a partition that was not given, or no note", path, line);
  }
  return NULL;
}
