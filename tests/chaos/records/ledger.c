#include "tests/chaos/records/ledger.h"

#include <stdio.h>
#include <string.h>

static const char *const OUTCOMES[] = {"ok", "failed", "unknown"};

Ledger *ledger_new(void) {
  Ledger *ledger = g_new0(Ledger, 1);
  ledger->sends = g_array_new(FALSE, FALSE, sizeof(LedgerSend));
  ledger->reads = g_array_new(FALSE, FALSE, sizeof(LedgerRead));
  ledger->wholes = g_array_new(FALSE, FALSE, sizeof(LedgerWhole));
  ledger->groups = g_array_new(FALSE, FALSE, sizeof(LedgerGroup));
  ledger->tenures = g_array_new(FALSE, FALSE, sizeof(LedgerTenure));
  ledger->commits = g_array_new(FALSE, FALSE, sizeof(LedgerCommit));
  return ledger;
}

void ledger_free(Ledger *ledger) {
  if (!ledger)
    return;
  g_array_unref(ledger->sends);
  g_array_unref(ledger->reads);
  g_array_unref(ledger->wholes);
  g_array_unref(ledger->groups);
  g_array_unref(ledger->tenures);
  g_array_unref(ledger->commits);
  g_free(ledger);
}

const char *ledger_outcome_name(LedgerOutcome outcome) {
  return OUTCOMES[outcome];
}

/* ---- Text ---- */

static void append_send(GString *out, const LedgerSend *send) {
  g_string_append_printf(out,
                         "send %" G_GINT64_FORMAT " %" G_GINT64_FORMAT
                         " process %u partition %d value %" G_GUINT64_FORMAT " %s %s %" G_GINT64_FORMAT "\n",
                         send->invoke_us, send->return_us, send->process, send->partition, send->value,
                         send->is_idempotent ? "idempotent" : "plain", ledger_outcome_name(send->outcome),
                         send->offset);
}

static void append_read(GString *out, const LedgerRead *read) {
  g_string_append_printf(
      out, "read reader %u poll %u partition %d offset %" G_GINT64_FORMAT " value %" G_GUINT64_FORMAT "\n",
      read->reader, read->poll, read->partition, read->offset, read->value);
}

static void append_groups(GString *out, const Ledger *ledger) {
  for (guint i = 0; i < ledger->groups->len; i++) {
    const LedgerGroup *group = &g_array_index(ledger->groups, LedgerGroup, i);
    g_string_append_printf(out, "group %u most %d complete %d\n", group->group, group->is_at_most_once,
                           group->is_complete);
  }
  for (guint i = 0; i < ledger->tenures->len; i++) {
    const LedgerTenure *tenure = &g_array_index(ledger->tenures, LedgerTenure, i);
    g_string_append_printf(out, "tenure %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " group %u reader %u partition %d\n",
                           tenure->since_us, tenure->first_us, tenure->group, tenure->reader, tenure->partition);
  }
  for (guint i = 0; i < ledger->commits->len; i++) {
    const LedgerCommit *commit = &g_array_index(ledger->commits, LedgerCommit, i);
    g_string_append_printf(
        out, "commit %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " reader %u offset %" G_GINT64_FORMAT " %s\n",
        commit->invoke_us, commit->return_us, commit->reader, commit->offset, ledger_outcome_name(commit->outcome));
  }
}

gboolean ledger_save(const Ledger *ledger, const char *path, GError **error) {
  g_autoptr(GString) out = g_string_new("# times in us, monotonic\n");
  for (guint i = 0; i < ledger->sends->len; i++)
    append_send(out, &g_array_index(ledger->sends, LedgerSend, i));
  for (guint i = 0; i < ledger->reads->len; i++)
    append_read(out, &g_array_index(ledger->reads, LedgerRead, i));
  for (guint i = 0; i < ledger->wholes->len; i++) {
    const LedgerWhole *whole = &g_array_index(ledger->wholes, LedgerWhole, i);
    g_string_append_printf(out, "whole reader %u partition %d\n", whole->reader, whole->partition);
  }
  append_groups(out, ledger);
  return g_file_set_contents(path, out->str, (gssize)out->len, error);
}

static gboolean outcome_from_name(const char *name, LedgerOutcome *ret_outcome) {
  for (guint i = 0; i < G_N_ELEMENTS(OUTCOMES); i++)
    if (g_str_equal(name, OUTCOMES[i])) {
      *ret_outcome = (LedgerOutcome)i;
      return TRUE;
    }
  return FALSE;
}

static gboolean take_send(Ledger *ledger, const char *line) {
  LedgerSend send = {0};
  char kind[16], outcome[16];
  if (sscanf(line,
             "send %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " process %u partition %d value %" G_GUINT64_FORMAT
             " %15s %15s %" G_GINT64_FORMAT,
             &send.invoke_us, &send.return_us, &send.process, &send.partition, &send.value, kind, outcome,
             &send.offset) != 8 ||
      !outcome_from_name(outcome, &send.outcome))
    return FALSE;
  send.is_idempotent = g_str_equal(kind, "idempotent");
  g_array_append_val(ledger->sends, send);
  return TRUE;
}

static gboolean take_line_of_group(Ledger *ledger, const char *line) {
  LedgerGroup group = {0};
  LedgerTenure tenure = {0};
  LedgerCommit commit = {0};
  char outcome[16];
  if (sscanf(line, "group %u most %d complete %d", &group.group, &group.is_at_most_once, &group.is_complete) == 3) {
    g_array_append_val(ledger->groups, group);
    return TRUE;
  }
  if (sscanf(line, "tenure %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " group %u reader %u partition %d", &tenure.since_us,
             &tenure.first_us, &tenure.group, &tenure.reader, &tenure.partition) == 5) {
    g_array_append_val(ledger->tenures, tenure);
    return TRUE;
  }
  if (sscanf(line, "commit %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " reader %u offset %" G_GINT64_FORMAT " %15s",
             &commit.invoke_us, &commit.return_us, &commit.reader, &commit.offset, outcome) != 5 ||
      !outcome_from_name(outcome, &commit.outcome))
    return FALSE;
  g_array_append_val(ledger->commits, commit);
  return TRUE;
}

static gboolean take_line(Ledger *ledger, const char *line) {
  LedgerRead read = {0};
  LedgerWhole whole = {0};
  if (*line == '\0' || *line == '#' || take_send(ledger, line) || take_line_of_group(ledger, line))
    return TRUE;
  if (sscanf(line, "read reader %u poll %u partition %d offset %" G_GINT64_FORMAT " value %" G_GUINT64_FORMAT,
             &read.reader, &read.poll, &read.partition, &read.offset, &read.value) == 5) {
    g_array_append_val(ledger->reads, read);
    return TRUE;
  }
  if (sscanf(line, "whole reader %u partition %d", &whole.reader, &whole.partition) != 2)
    return FALSE;
  g_array_append_val(ledger->wholes, whole);
  return TRUE;
}

Ledger *ledger_load(const char *path, GError **error) {
  g_autofree char *text = NULL;
  if (!g_file_get_contents(path, &text, NULL, error))
    return NULL;
  g_autoptr(Ledger) ledger = ledger_new();
  guint number = 0;
  for (char *line = text, *end; line; line = end ? end + 1 : NULL) {
    end = strchr(line, '\n');
    if (end)
      *end = '\0';
    number++;
    if (!take_line(ledger, line)) {
      g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s:%u: '%s' is no line of a ledger", path, number, line);
      return NULL;
    }
  }
  return g_steal_pointer(&ledger);
}

/* ---- Outages ---- */

gint64 ledger_outage_us(const Ledger *ledger, gint32 partition, gint64 since_us) {
  gint64 first_us = G_MAXINT64;
  for (guint i = 0; i < ledger->sends->len; i++) {
    const LedgerSend *send = &g_array_index(ledger->sends, LedgerSend, i);
    if (send->partition == partition && send->outcome == LEDGER_OK && send->invoke_us >= since_us)
      first_us = MIN(first_us, send->return_us);
  }
  return first_us == G_MAXINT64 ? -1 : first_us - since_us;
}

static gint compare_times(gconstpointer left, gconstpointer right) {
  gint64 a = *(const gint64 *)left, b = *(const gint64 *)right;
  return (a > b) - (a < b);
}

gint64 ledger_longest_pause_us(GArray *times, gint64 since_us, gint64 until_us) {
  gint64 longest = 0, last = since_us;
  g_array_append_val(times, until_us);
  g_array_sort(times, compare_times);
  for (guint i = 0; i < times->len; i++) {
    gint64 time_us = g_array_index(times, gint64, i);
    longest = MAX(longest, time_us - last);
    last = time_us;
  }
  return longest;
}
