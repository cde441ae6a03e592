/* See history.h.
 *
 * Invariants: an operation is answered at most once, after its call. No owner but the run. */
#include "tests/sim/raft/history.h"

#include "services/base/invariant.h"

typedef struct {
  gboolean is_read, refused;
  guint64 call, answer; /* answer G_MAXUINT64: none */
  guint64 value;
} Operation;

struct History {
  GArray *operations; /* of Operation; the first is the write of 0 before all */
};

/* The operations on one value. */
typedef struct {
  guint64 value;
  guint64 first_answer, last_call;
  guint64 write_call;
} Zone;

History *history_new(void) {
  History *history = g_new0(History, 1);
  history->operations = g_array_new(FALSE, FALSE, sizeof(Operation));
  Operation first = {0};
  g_array_append_val(history->operations, first);
  return history;
}

void history_free(History *history) {
  if (!history)
    return;
  g_array_unref(history->operations);
  g_free(history);
}

static guint add(History *history, Operation operation) {
  INVARIANT(operation.call > 0, "0 is before all");
  g_array_append_val(history->operations, operation);
  return history->operations->len - 1;
}

guint history_write(History *history, guint64 at, guint64 value) {
  return add(history, (Operation){.call = at, .answer = G_MAXUINT64, .value = value});
}

guint history_read(History *history, guint64 at) {
  return add(history, (Operation){.is_read = TRUE, .call = at, .answer = G_MAXUINT64});
}

static Operation *answered(History *history, guint number, guint64 at) {
  Operation *operation = &g_array_index(history->operations, Operation, number);
  INVARIANT(operation->answer == G_MAXUINT64 && at > operation->call, "an answer comes once, and after its call");
  operation->answer = at;
  return operation;
}

void history_written(History *history, guint number, guint64 at) {
  answered(history, number, at);
}

void history_has_read(History *history, guint number, guint64 at, guint64 value) {
  answered(history, number, at)->value = value;
}

void history_refused(History *history, guint number) {
  g_array_index(history->operations, Operation, number).refused = TRUE;
}

guint history_length(const History *history) {
  return history->operations->len - 1;
}

/* What counts: writes that were not refused, and reads that saw something. */
static gboolean counts(const Operation *operation) {
  return !operation->refused && !(operation->is_read && operation->answer == G_MAXUINT64);
}

static GHashTable *make_zones(const History *history, GArray *zones, char **ret_why) {
  /* Places in @zones, by value; values are small enough for a pointer. */
  GHashTable *places = g_hash_table_new(NULL, NULL);
  for (guint pass = 0; pass < 2; pass++) { /* writes, then reads */
    for (guint i = 0; i < history->operations->len && !*ret_why; i++) {
      const Operation *operation = &g_array_index(history->operations, Operation, i);
      if (!counts(operation) || operation->is_read != (pass == 1))
        continue;
      gpointer key = GSIZE_TO_POINTER(operation->value), place;
      if (!operation->is_read) {
        Zone zone = {operation->value, operation->answer, operation->call, operation->call};
        INVARIANT(!g_hash_table_contains(places, key), "no value is written twice");
        g_hash_table_insert(places, key, GSIZE_TO_POINTER(zones->len));
        g_array_append_val(zones, zone);
      } else if (!g_hash_table_lookup_extended(places, key, NULL, &place)) {
        *ret_why = g_strdup_printf("a read saw %" G_GUINT64_FORMAT ", which nobody wrote, or whose write was refused",
                                   operation->value);
      } else {
        Zone *zone = &g_array_index(zones, Zone, GPOINTER_TO_SIZE(place));
        if (operation->answer < zone->write_call)
          *ret_why = g_strdup_printf("a read saw %" G_GUINT64_FORMAT " before it was written", operation->value);
        zone->first_answer = MIN(zone->first_answer, operation->answer);
        zone->last_call = MAX(zone->last_call, operation->call);
      }
    }
  }
  return places;
}

static gboolean is_forward(const Zone *zone) {
  return zone->first_answer < zone->last_call;
}

/* From its first answer to its last call the register held @a's value, or came back to it: that nothing can. So another
 * value may neither have such a time that overlaps, nor be written and gone within it. */
static char *check_pair(const Zone *a, const Zone *b) {
  if (a->first_answer >= b->last_call || b->first_answer >= a->last_call)
    return NULL;
  return g_strdup_printf("%" G_GUINT64_FORMAT " was seen before and after %" G_GUINT64_FORMAT
                         ": a stale read or a lost write",
                         a->value, b->value);
}

char *history_check(const History *history) {
  g_autoptr(GArray) zones = g_array_new(FALSE, FALSE, sizeof(Zone));
  char *why = NULL;
  g_autoptr(GHashTable) places = make_zones(history, zones, &why);
  for (guint i = 0; i < zones->len && !why; i++) {
    const Zone *a = &g_array_index(zones, Zone, i);
    for (guint k = 0; k < zones->len && is_forward(a) && !why; k++)
      if (k != i)
        why = check_pair(a, &g_array_index(zones, Zone, k));
  }
  return why;
}
