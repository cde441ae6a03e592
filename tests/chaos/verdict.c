#include "tests/chaos/verdict.h"

#include <stdlib.h>
#include <string.h>

#include "storage/rocks/raft/raft_log.h"

#define LOOK_AGAIN_MS 100

/* ---- One image ---- */

/* Returns NULL when all have the same, else who differs. */
static char *differ(Fleet *fleet, Witness *witness, guint standby) {
  guint64 version = 0;
  g_autofree char *digest = NULL;
  const char *first = NULL;
  for (guint i = 0; i < fleet_nodes(fleet); i++) {
    const char *address = fleet_client_address(fleet, i);
    guint64 mine = 0;
    g_autofree char *my_digest = NULL;
    if (i == standby)
      continue;
    if (!witness_look(witness, address, &mine, &my_digest))
      return g_strdup_printf("%s does not answer", address);
    if (first && (mine != version || !g_str_equal(digest, my_digest)))
      return g_strdup_printf("%s is at version %" G_GUINT64_FORMAT " (%.12s), %s at %" G_GUINT64_FORMAT " (%.12s)",
                             first, version, digest, address, mine, my_digest);
    if (!first) {
      first = address;
      version = mine;
      digest = g_steal_pointer(&my_digest);
    }
  }
  return NULL;
}

char *verdict_converged(Fleet *fleet, Witness *witness, guint standby, guint timeout_s) {
  gint64 until_us = g_get_monotonic_time() + timeout_s * G_USEC_PER_SEC;
  for (;;) {
    g_autofree char *wrong = differ(fleet, witness, standby);
    if (!wrong || g_get_monotonic_time() > until_us)
      return g_steal_pointer(&wrong);
    g_usleep(LOOK_AGAIN_MS * 1000);
  }
}

/* ---- Terms ---- */

/* The number behind "term":" in a line, or 0. */
static guint64 term_of_line(const char *line) {
  const char *found = strstr(line, "\"term\":\"");
  return found ? g_ascii_strtoull(found + strlen("\"term\":\""), NULL, 10) : 0;
}

/* Note who was active in which term: its number plus one, by term. */
static char *note_terms(GHashTable *terms, guint controller, const char *log) {
  g_auto(GStrv) lines = g_strsplit(log, "\n", -1);
  for (guint i = 0; lines[i]; i++) {
    guint64 term = strstr(lines[i], "\"this controller is active\"") ? term_of_line(lines[i]) : 0;
    gpointer who = term ? g_hash_table_lookup(terms, GSIZE_TO_POINTER(term)) : NULL;
    if (who && GPOINTER_TO_UINT(who) != controller + 1)
      return g_strdup_printf("in term %" G_GUINT64_FORMAT " controllers %u and %u were active: %s", term,
                             GPOINTER_TO_UINT(who), controller + 1, lines[i]);
    if (term)
      g_hash_table_insert(terms, GSIZE_TO_POINTER(term), GUINT_TO_POINTER(controller + 1));
  }
  return NULL;
}

char *verdict_terms(Fleet *fleet, guint *ret_terms) {
  g_autoptr(GHashTable) terms = g_hash_table_new(NULL, NULL);
  for (guint i = 0; i < fleet_controllers(fleet); i++) {
    g_autofree char *path = fleet_log_path(fleet, i), *log = NULL;
    char *wrong = NULL;
    if (g_file_get_contents(path, &log, NULL, NULL) && (wrong = note_terms(terms, i, log)))
      return wrong;
  }
  *ret_terms = g_hash_table_size(terms);
  return *ret_terms ? NULL : g_strdup("no controller says that it was active: the log is not understood");
}

/* ---- Logs ---- */

typedef struct {
  RaftLogStore *store;
  RaftStart start;
} OpenLog;

static void open_log_clear(OpenLog *log) {
  raft_log_start_clear(&log->start);
  g_clear_pointer(&log->store, raft_log_store_close);
}

static char *open_log(Fleet *fleet, guint controller, OpenLog *ret_log) {
  g_autofree char *path = fleet_data_path(fleet, controller);
  OpenLog log = {0};
  g_autoptr(GBytes) snapshot = NULL;
  g_autoptr(Failure) failure = raft_log_store_open(path, FALSE, controller + 1, &log.store);
  if (!failure)
    failure = raft_log_store_load(log.store, &log.start, &snapshot);
  if (!failure) {
    *ret_log = log;
    return NULL;
  }
  g_clear_pointer(&log.store, raft_log_store_close);
  return g_strdup_printf("the folder of controller %u can't be read: %s", controller + 1, failure_message(failure));
}

static const RaftEntry *entry_at(const OpenLog *log, guint64 index) {
  guint64 first = log->start.snapshot.index + 1;
  if (index < first || index >= first + log->start.entries->len)
    return NULL;
  return g_ptr_array_index(log->start.entries, index - first);
}

static gboolean same_entry(const RaftEntry *a, const RaftEntry *b) {
  gboolean same_data = a->data && b->data ? g_bytes_equal(a->data, b->data) : a->data == b->data;
  return a->term == b->term && a->kind == b->kind && same_data;
}

/* Up to what both know to be committed; and log matching: of one term at one index, the same wherever they are. */
static char *compare_logs(const OpenLog *a, const OpenLog *b, guint one, guint other, guint *entries) {
  guint64 committed = MIN(a->start.hard_state.commit, b->start.hard_state.commit);
  guint64 first = MAX(a->start.snapshot.index, b->start.snapshot.index) + 1;
  for (guint64 index = first;; index++) {
    const RaftEntry *x = entry_at(a, index), *y = entry_at(b, index);
    if (!x || !y)
      return NULL;
    if (!same_entry(x, y) && (index <= committed || x->term == y->term))
      return g_strdup_printf("entry %" G_GUINT64_FORMAT " differs between controllers %u (term %" G_GUINT64_FORMAT
                             ") and %u (term %" G_GUINT64_FORMAT ")",
                             index, one + 1, x->term, other + 1, y->term);
    (*entries)++;
  }
}

char *verdict_logs(Fleet *fleet, guint standby, guint *ret_entries) {
  guint count = fleet_controllers(fleet);
  g_autofree OpenLog *logs = g_new0(OpenLog, count);
  char *wrong = NULL;
  *ret_entries = 0;
  for (guint i = 0; i < count && !wrong; i++)
    if (i != standby)
      wrong = open_log(fleet, i, &logs[i]);
  for (guint i = 0; i < count && !wrong; i++)
    for (guint k = i + 1; k < count && !wrong; k++)
      if (logs[i].store && logs[k].store)
        wrong = compare_logs(&logs[i], &logs[k], i, k, ret_entries);
  for (guint i = 0; i < count; i++)
    if (logs[i].store)
      open_log_clear(&logs[i]);
  return wrong;
}

/* ---- Reports ---- */

static char *report_in(const char *path) {
  static const char *const REPORTS[] = {"Sanitizer: ", "runtime error: ", "invariant broken"};
  g_autofree char *log = NULL;
  if (!g_file_get_contents(path, &log, NULL, NULL))
    return NULL;
  for (guint i = 0; i < G_N_ELEMENTS(REPORTS); i++) {
    const char *found = strstr(log, REPORTS[i]);
    if (found)
      return g_strdup_printf("%s: %.2000s", path, found);
  }
  return NULL;
}

char *verdict_no_reports(Fleet *fleet) {
  char *found = NULL;
  for (guint i = 0; i < fleet_nodes(fleet) && !found; i++) {
    g_autofree char *path = fleet_log_path(fleet, i);
    found = report_in(path);
  }
  return found;
}
