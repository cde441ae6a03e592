/* The checker; see anomalies.h.
 *
 *   ledger ──► places: each (partition, offset) and the value there ──► what each send became ──► what each reader saw
 *
 * Invariants: a place has the value that was told first; who tells another is an anomaly and changes nothing, so that
 * one anomaly is not found again as others. Work grows with the ledger, and for readers with sorting it. */
#include "tests/chaos/records/anomalies.h"

#include <stdlib.h>

#include "tests/chaos/records/anomalies_internal.h"

#define EXPLAINED_MAX 5 /* of one kind */

static const char *const NAMES[ANOMALY_COUNT] = {
    [ANOMALY_INCONSISTENT_OFFSETS] = "inconsistent offsets",
    [ANOMALY_DUPLICATE] = "duplicate",
    [ANOMALY_LOST_WRITE] = "lost write",
    [ANOMALY_UNSEEN] = "unseen",
    [ANOMALY_ABORTED_READ] = "aborted read",
    [ANOMALY_VANISHED] = "vanished",
    [ANOMALY_UNSENT] = "unsent",
    [ANOMALY_POLL_SKIP] = "poll skip",
    [ANOMALY_NON_MONOTONIC_POLL] = "non-monotonic poll",
    [ANOMALY_INTERNAL_POLL_SKIP] = "internal poll skip",
    [ANOMALY_INTERNAL_NON_MONOTONIC_POLL] = "internal non-monotonic poll",
    [ANOMALY_NON_MONOTONIC_SEND] = "non-monotonic send",
    [ANOMALY_TAKEOVER_SKIP] = "takeover skip",
    [ANOMALY_TAKEOVER_BACK] = "takeover back",
    [ANOMALY_UNPROCESSED] = "unprocessed",
    [ANOMALY_PROCESSED_TWICE] = "processed twice",
    [ANOMALY_TWO_OWNERS] = "two owners",
};

const char *anomaly_name(AnomalyKind kind) {
  return NAMES[kind];
}

/* ---- Telling ---- */

void anomalies_found(Check *check, AnomalyKind kind, const char *format, ...) {
  if (check->report.counts[kind]++ >= EXPLAINED_MAX || !check->explain)
    return;
  va_list args;
  va_start(args, format);
  g_string_append_printf(check->explain, "%s: ", NAMES[kind]);
  g_string_append_vprintf(check->explain, format, args);
  g_string_append_c(check->explain, '\n');
  va_end(args);
}

/* ---- Places ---- */

gpointer anomalies_key_of_offset(gint64 offset) {
  return GSIZE_TO_POINTER((gsize)offset + 1);
}

static void column_free(gpointer data) {
  Column *column = data;
  g_hash_table_unref(column->places);
  g_array_unref(column->read);
  g_free(column);
}

Column *anomalies_column(Check *check, gint32 partition) {
  Column *column = g_hash_table_lookup(check->columns, GINT_TO_POINTER(partition));
  if (!column) {
    column = g_new0(Column, 1);
    column->places = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    column->read = g_array_new(FALSE, FALSE, sizeof(gint64));
    column->highest_read = -1;
    g_hash_table_insert(check->columns, GINT_TO_POINTER(partition), column);
  }
  return column;
}

/* Somebody tells that this value is there. */
static Place *tell(Check *check, gint32 partition, gint64 offset, guint64 value, const char *who, guint number) {
  Column *column = anomalies_column(check, partition);
  Place *place = g_hash_table_lookup(column->places, anomalies_key_of_offset(offset));
  if (!place) {
    place = g_new0(Place, 1);
    *place = (Place){partition, offset, value, FALSE};
    g_hash_table_insert(column->places, anomalies_key_of_offset(offset), place);
  } else if (place->value != value) {
    anomalies_found(check, ANOMALY_INCONSISTENT_OFFSETS,
                    "partition %d, offset %" G_GINT64_FORMAT ": value %" G_GUINT64_FORMAT
                    ", and by %s %u value %" G_GUINT64_FORMAT,
                    partition, offset, place->value, who, number, value);
  }
  return place;
}

static void take_sends(Check *check) {
  const GArray *sends = check->ledger->sends;
  for (guint i = 0; i < sends->len; i++) {
    const LedgerSend *send = &g_array_index(sends, LedgerSend, i);
    g_hash_table_insert(check->sends, GSIZE_TO_POINTER(send->value), (gpointer)send);
    if (send->outcome != LEDGER_OK)
      continue;
    check->report.acknowledged++;
    tell(check, send->partition, send->offset, send->value, "process", send->process);
  }
  check->report.sends = sends->len;
}

static void take_reads(Check *check) {
  const GArray *reads = check->ledger->reads;
  for (guint i = 0; i < reads->len; i++) {
    const LedgerRead *read = &g_array_index(reads, LedgerRead, i);
    Place *place = tell(check, read->partition, read->offset, read->value, "reader", read->reader);
    Column *column = anomalies_column(check, read->partition);
    column->highest_read = MAX(column->highest_read, read->offset);
    if (!place->was_read)
      g_array_append_val(column->read, read->offset);
    place->was_read = TRUE;
  }
  check->report.reads = reads->len;
}

static gint compare_offsets(gconstpointer a, gconstpointer b) {
  gint64 x = *(const gint64 *)a, y = *(const gint64 *)b;
  return x < y ? -1 : x > y;
}

/* ---- What became of each value ---- */

static void know(Check *check, const Place *place) {
  Known *known = g_hash_table_lookup(check->known, GSIZE_TO_POINTER(place->value));
  if (!known) {
    known = g_new0(Known, 1);
    *known = (Known){place->partition, place->offset, place->was_read, FALSE};
    g_hash_table_insert(check->known, GSIZE_TO_POINTER(place->value), known);
    return;
  }
  known->was_read |= place->was_read;
  if (!known->is_twice)
    anomalies_found(check, ANOMALY_DUPLICATE,
                    "value %" G_GUINT64_FORMAT " at partition %d, offset %" G_GINT64_FORMAT
                    ", and at partition %d, offset %" G_GINT64_FORMAT,
                    place->value, known->partition, known->offset, place->partition, place->offset);
  known->is_twice = TRUE;
  if (known->partition == place->partition)
    known->offset = MIN(known->offset, place->offset);
}

/* A value that was read must have been sent, to there, and not have failed. */
static void check_value(Check *check, const Place *place) {
  const LedgerSend *send = g_hash_table_lookup(check->sends, GSIZE_TO_POINTER(place->value));
  if (place->was_read && (!send || (send->partition >= 0 && send->partition != place->partition)))
    anomalies_found(check, ANOMALY_UNSENT,
                    "partition %d, offset %" G_GINT64_FORMAT ": value %" G_GUINT64_FORMAT " was not sent to there",
                    place->partition, place->offset, place->value);
  if (place->was_read && send && send->outcome == LEDGER_FAILED)
    anomalies_found(check, ANOMALY_ABORTED_READ,
                    "partition %d, offset %" G_GINT64_FORMAT ": value %" G_GUINT64_FORMAT
                    ", of which process %u was told at %" G_GINT64_FORMAT " us that it was not written",
                    place->partition, place->offset, place->value, send->process, send->return_us);
  if (send)
    know(check, place);
}

static void check_places(Check *check) {
  GHashTableIter columns, places;
  gpointer data;
  g_hash_table_iter_init(&columns, check->columns);
  while (g_hash_table_iter_next(&columns, NULL, &data)) {
    Column *column = data;
    g_array_sort(column->read, compare_offsets);
    check->report.partitions++;
    g_hash_table_iter_init(&places, column->places);
    while (g_hash_table_iter_next(&places, NULL, &data))
      check_value(check, data);
  }
}

/* What was acknowledged must have been read. */
static void check_lost(Check *check) {
  for (guint i = 0; i < check->ledger->sends->len; i++) {
    const LedgerSend *send = &g_array_index(check->ledger->sends, LedgerSend, i);
    const Known *known = g_hash_table_lookup(check->known, GSIZE_TO_POINTER(send->value));
    if (send->outcome != LEDGER_OK || (known && known->was_read))
      continue;
    gboolean is_below = send->offset < anomalies_column(check, send->partition)->highest_read;
    anomalies_found(check, is_below ? ANOMALY_LOST_WRITE : ANOMALY_UNSEEN,
                    "value %" G_GUINT64_FORMAT " of process %u, acknowledged at %" G_GINT64_FORMAT
                    " us for partition %d, offset %" G_GINT64_FORMAT,
                    send->value, send->process, send->return_us, send->partition, send->offset);
  }
}

/* ---- Order of sends ---- */

/* The send of a process and partition that had the highest offset so far. */
typedef struct {
  guint32 process;
  gint32 partition;
  const LedgerSend *highest;
  gint64 offset;
} Front;

static guint front_hash(gconstpointer key) {
  const Front *front = key;
  return front->process * 31 + (guint)front->partition;
}

static gboolean front_equal(gconstpointer a, gconstpointer b) {
  const Front *x = a, *y = b;
  return x->process == y->process && x->partition == y->partition;
}

/* Where it is, as far as it counts for the order; FALSE when it is nowhere, or may have come at any later time. */
static gboolean place_of_send(const Check *check, const LedgerSend *send, Front *ret_front) {
  *ret_front = (Front){send->process, send->partition, send, send->offset};
  if (send->outcome == LEDGER_OK)
    return TRUE;
  const Known *known = g_hash_table_lookup(check->known, GSIZE_TO_POINTER(send->value));
  if (!known || !send->is_idempotent || send->outcome == LEDGER_FAILED)
    return FALSE;
  ret_front->partition = known->partition;
  ret_front->offset = known->offset;
  return TRUE;
}

static void check_order_of_sends(Check *check) {
  g_autoptr(GHashTable) fronts = g_hash_table_new_full(front_hash, front_equal, g_free, NULL);
  for (guint i = 0; i < check->ledger->sends->len; i++) {
    Front front;
    if (!place_of_send(check, &g_array_index(check->ledger->sends, LedgerSend, i), &front))
      continue;
    Front *before = g_hash_table_lookup(fronts, &front);
    if (before && before->offset > front.offset)
      anomalies_found(check, ANOMALY_NON_MONOTONIC_SEND,
                      "process %u, partition %d: value %" G_GUINT64_FORMAT " at offset %" G_GINT64_FORMAT
                      " was sent after value %" G_GUINT64_FORMAT " at offset %" G_GINT64_FORMAT,
                      front.process, front.partition, front.highest->value, front.offset, before->highest->value,
                      before->offset);
    else if (before)
      *before = front;
    else
      g_hash_table_add(fronts, g_memdup2(&front, sizeof front));
  }
}

/* ---- Order of reads ---- */

/* By reader and partition; within, as they were. */
static gint compare_reads(gconstpointer a, gconstpointer b) {
  const LedgerRead *x = *(const LedgerRead *const *)a, *y = *(const LedgerRead *const *)b;
  if (x->reader != y->reader)
    return x->reader < y->reader ? -1 : 1;
  if (x->partition != y->partition)
    return x->partition < y->partition ? -1 : 1;
  return x < y ? -1 : x > y;
}

guint anomalies_index_of_offset(const Column *column, gint64 offset) {
  guint low = 0, high = column->read->len;
  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (g_array_index(column->read, gint64, middle) < offset)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void check_step(Check *check, const Column *column, const LedgerRead *before, const LedgerRead *next) {
  gboolean is_internal = before->poll == next->poll;
  if (next->offset <= before->offset) {
    anomalies_found(check, is_internal ? ANOMALY_INTERNAL_NON_MONOTONIC_POLL : ANOMALY_NON_MONOTONIC_POLL,
                    "reader %u, partition %d: offset %" G_GINT64_FORMAT " in poll %u, then offset %" G_GINT64_FORMAT
                    " in poll %u",
                    next->reader, next->partition, before->offset, before->poll, next->offset, next->poll);
    return;
  }
  guint left_out =
      anomalies_index_of_offset(column, next->offset) - anomalies_index_of_offset(column, before->offset + 1);
  if (left_out > 0)
    anomalies_found(check, is_internal ? ANOMALY_INTERNAL_POLL_SKIP : ANOMALY_POLL_SKIP,
                    "reader %u, partition %d: offset %" G_GINT64_FORMAT " in poll %u, then offset %" G_GINT64_FORMAT
                    " in poll %u; others read %u between",
                    next->reader, next->partition, before->offset, before->poll, next->offset, next->poll, left_out);
}

static gboolean is_whole(const Check *check, const LedgerRead *read) {
  for (guint i = 0; i < check->ledger->wholes->len; i++) {
    const LedgerWhole *whole = &g_array_index(check->ledger->wholes, LedgerWhole, i);
    if (whole->reader == read->reader && whole->partition == read->partition)
      return TRUE;
  }
  return FALSE;
}

/* Everything that was ever read must be in a whole reading. */
static void check_whole(Check *check, guint32 reader, gint32 partition, GHashTable *offsets) {
  const Column *column = anomalies_column(check, partition);
  for (guint i = 0; i < column->read->len; i++) {
    gint64 offset = g_array_index(column->read, gint64, i);
    const Place *place = g_hash_table_lookup(column->places, anomalies_key_of_offset(offset));
    if (!offsets || !g_hash_table_contains(offsets, anomalies_key_of_offset(offset)))
      anomalies_found(check, ANOMALY_VANISHED,
                      "partition %d, offset %" G_GINT64_FORMAT ": value %" G_GUINT64_FORMAT
                      " was read, and reader %u, who read all at the end, did not get it",
                      partition, offset, place->value, reader);
  }
}

/* @reads: of one reader and partition */
static void check_reader(Check *check, const LedgerRead *const *reads, guint count) {
  const Column *column = anomalies_column(check, reads[0]->partition);
  gboolean whole = is_whole(check, reads[0]);
  g_autoptr(GHashTable) offsets = g_hash_table_new(NULL, NULL);
  for (guint i = 0; i < count; i++) {
    if (i > 0 && reads[i - 1]->poll != reads[i]->poll)
      check->report.polls++;
    if (whole)
      g_hash_table_add(offsets, anomalies_key_of_offset(reads[i]->offset));
    if (i > 0)
      check_step(check, column, reads[i - 1], reads[i]);
  }
  check->report.polls++;
  if (whole)
    check_whole(check, reads[0]->reader, reads[0]->partition, offsets);
}

static gboolean has_reads(const GPtrArray *reads, const LedgerWhole *whole) {
  for (guint i = 0; i < reads->len; i++) {
    const LedgerRead *read = reads->pdata[i];
    if (read->reader == whole->reader && read->partition == whole->partition)
      return TRUE;
  }
  return FALSE;
}

static void check_readers(Check *check) {
  const Ledger *ledger = check->ledger;
  g_autoptr(GPtrArray) reads = g_ptr_array_sized_new(ledger->reads->len);
  for (guint i = 0; i < ledger->reads->len; i++)
    g_ptr_array_add(reads, &g_array_index(ledger->reads, LedgerRead, i));
  g_ptr_array_sort(reads, compare_reads);
  const LedgerRead *const *first = (const LedgerRead *const *)reads->pdata;
  for (guint begin = 0, end; begin < reads->len; begin = end) {
    for (end = begin + 1; end < reads->len && first[end]->reader == first[begin]->reader &&
                          first[end]->partition == first[begin]->partition;)
      end++;
    check_reader(check, first + begin, end - begin);
  }
  for (guint i = 0; i < ledger->wholes->len; i++) {
    const LedgerWhole *whole = &g_array_index(ledger->wholes, LedgerWhole, i);
    if (!has_reads(reads, whole))
      check_whole(check, whole->reader, whole->partition, NULL);
  }
}

/* ---- The whole ---- */

guint anomalies_find(const Ledger *ledger, GString *explain, AnomalyReport *ret_report) {
  Check check = {
      .ledger = ledger,
      .explain = explain,
      .columns = g_hash_table_new_full(NULL, NULL, NULL, column_free),
      .sends = g_hash_table_new(NULL, NULL),
      .known = g_hash_table_new_full(NULL, NULL, NULL, g_free),
  };
  take_sends(&check);
  take_reads(&check);
  check_places(&check);
  check_lost(&check);
  check_order_of_sends(&check);
  check_readers(&check);
  anomalies_check_groups(&check);
  g_hash_table_unref(check.columns);
  g_hash_table_unref(check.sends);
  g_hash_table_unref(check.known);
  guint sum = 0;
  for (guint i = 0; i < ANOMALY_COUNT; i++)
    sum += check.report.counts[i];
  if (ret_report)
    *ret_report = check.report;
  return sum;
}
