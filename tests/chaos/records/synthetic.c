/* The histories; see synthetic.h.
 *
 * A log of each partition is made first: the sends in the order of their answers, those of unknown outcome written or
 * not, and when nothing promises their order, also late. Then readers read it. Each way to spoil it changes answers or
 * reads so that one promise is broken and all others hold. */
#include "tests/chaos/records/synthetic.h"

#include "tests/chaos/records/synthetic_groups.h"

#define PARTITIONS 3
#define PROCESSES 4 /* the even ones are idempotent */
#define READERS 4   /* from anywhere; then WHOLES that read all */
#define WHOLES 2
#define POLL_MAX 6 /* records */

typedef struct {
  Ledger *ledger;
  GRand *random;
  GArray *logs[PARTITIONS]; /* of guint64: the value at each offset */
  GArray *late;             /* of guint: indexes of sends that are written some time */
} Maker;

static guint below(GRand *random, guint end) {
  return (guint)g_rand_int_range(random, 0, (gint32)end);
}

/* ---- A good one ---- */

static void write_value(Maker *maker, guint index) {
  LedgerSend *send = &g_array_index(maker->ledger->sends, LedgerSend, index);
  GArray *log = maker->logs[send->partition];
  if (send->outcome == LEDGER_OK)
    send->offset = log->len;
  g_array_append_val(log, send->value);
}

static void write_late(Maker *maker) {
  if (!maker->late->len)
    return;
  guint at = below(maker->random, maker->late->len);
  write_value(maker, g_array_index(maker->late, guint, at));
  g_array_remove_index(maker->late, at);
}

static void make_send(Maker *maker, guint number) {
  guint process = below(maker->random, PROCESSES), chance = below(maker->random, 100);
  LedgerSend send = {.process = process,
                     .partition = (gint32)below(maker->random, PARTITIONS),
                     .value = 1000 + number,
                     .outcome = chance < 6    ? LEDGER_FAILED
                                : chance < 16 ? LEDGER_UNKNOWN
                                              : LEDGER_OK,
                     .is_idempotent = process % 2 == 0,
                     .offset = -1,
                     .invoke_us = number * 100,
                     .return_us = number * 100 + 50};
  g_array_append_val(maker->ledger->sends, send);
  if (send.outcome == LEDGER_OK || (send.outcome == LEDGER_UNKNOWN && chance % 2))
    write_value(maker, number);
  else if (send.outcome == LEDGER_UNKNOWN && !send.is_idempotent && chance % 4 == 0)
    g_array_append_val(maker->late, number);
  if (chance % 7 == 0)
    write_late(maker);
}

static void read_log(Maker *maker, guint reader, gint32 partition, guint begin, guint end) {
  const GArray *log = maker->logs[partition];
  for (guint offset = begin, poll = 1; offset < end; poll++) {
    guint count = 1 + below(maker->random, POLL_MAX);
    for (; count > 0 && offset < end; count--, offset++) {
      LedgerRead read = {reader, poll, partition, offset, g_array_index(log, guint64, offset)};
      g_array_append_val(maker->ledger->reads, read);
    }
  }
}

static void make_readers(Maker *maker) {
  for (guint reader = 0; reader < READERS + WHOLES; reader++)
    for (gint32 partition = 0; partition < PARTITIONS; partition++) {
      guint len = maker->logs[partition]->len, begin = len ? below(maker->random, len) : 0;
      LedgerWhole whole = {reader, partition};
      if (reader < READERS) {
        read_log(maker, reader, partition, begin, begin + (len ? below(maker->random, len - begin + 1) : 0));
        continue;
      }
      read_log(maker, reader, partition, 0, len);
      g_array_append_val(maker->ledger->wholes, whole);
    }
}

Ledger *synthetic_new(GRand *random) {
  Maker maker = {.ledger = ledger_new(), .random = random, .late = g_array_new(FALSE, FALSE, sizeof(guint))};
  for (guint i = 0; i < PARTITIONS; i++)
    maker.logs[i] = g_array_new(FALSE, FALSE, sizeof(guint64));
  guint sends = 30 + below(random, 200);
  for (guint i = 0; i < sends; i++)
    make_send(&maker, i);
  make_readers(&maker);
  for (gint32 i = 0; i < PARTITIONS; i++)
    synthetic_add_groups(maker.ledger, i, maker.logs[i], random);
  for (guint i = 0; i < PARTITIONS; i++)
    g_array_unref(maker.logs[i]);
  g_array_unref(maker.late);
  return maker.ledger;
}

/* ---- Finding a place for an anomaly ---- */

static LedgerSend *send_at(const Ledger *ledger, guint index) {
  return &g_array_index(ledger->sends, LedgerSend, index);
}

static LedgerRead *read_at(const Ledger *ledger, guint index) {
  return &g_array_index(ledger->reads, LedgerRead, index);
}

static gint64 end_of_partition(const Ledger *ledger, gint32 partition) {
  gint64 end = 0;
  for (guint i = 0; i < ledger->reads->len; i++)
    if (read_at(ledger, i)->partition == partition)
      end = MAX(end, read_at(ledger, i)->offset + 1);
  return end;
}

/* A random send of this outcome that was read or not; NULL when there is none. */
static LedgerSend *any_send(const Ledger *ledger, LedgerOutcome outcome, gboolean was_read, GRand *random) {
  guint count = ledger->sends->len, first = below(random, count);
  g_autoptr(GHashTable) values = g_hash_table_new(NULL, NULL);
  for (guint i = 0; i < ledger->reads->len; i++)
    g_hash_table_add(values, GSIZE_TO_POINTER(read_at(ledger, i)->value));
  for (guint i = 0; i < count; i++) {
    LedgerSend *send = send_at(ledger, (first + i) % count);
    if (send->outcome == outcome && g_hash_table_contains(values, GSIZE_TO_POINTER(send->value)) == was_read)
      return send;
  }
  return NULL;
}

/* A random read by one who does not read all, and which holds for it and the one before; G_MAXUINT when there is none.
 */
static guint any_read(const Ledger *ledger, gboolean (*holds)(const LedgerRead *before, const LedgerRead *read),
                      GRand *random) {
  guint count = ledger->reads->len, first = count ? below(random, count) : 0;
  for (guint i = 0; i < count; i++) {
    guint at = (first + i) % count;
    const LedgerRead *read = read_at(ledger, at);
    if (at > 0 && at + 1 < count && read->reader < READERS && holds(read - 1, read))
      return at;
  }
  return G_MAXUINT;
}

static gboolean goes_on(const LedgerRead *before, const LedgerRead *read) {
  return before->reader == read->reader && before->partition == read->partition;
}

static gboolean begins_poll(const LedgerRead *before, const LedgerRead *read) {
  return goes_on(before, read) && before->poll != read->poll;
}

static gboolean is_inside_poll(const LedgerRead *before, const LedgerRead *read) {
  return goes_on(before, read) && before->poll == read->poll;
}

/* The last of a poll, with another poll behind it. */
static gboolean is_between_polls(const LedgerRead *before, const LedgerRead *read) {
  return goes_on(before, read) && goes_on(read, read + 1) && read->poll != read[1].poll;
}

static gboolean is_amid_poll(const LedgerRead *before, const LedgerRead *read) {
  return is_inside_poll(before, read) && is_inside_poll(read, read + 1);
}

static gboolean is_any(const LedgerRead *before, const LedgerRead *read) {
  return before && read;
}

/* Nobody reads what is there. */
static void unread(Ledger *ledger, gint32 partition, gint64 offset) {
  for (guint i = ledger->reads->len; i > 0; i--)
    if (read_at(ledger, i - 1)->partition == partition && read_at(ledger, i - 1)->offset == offset)
      g_array_remove_index(ledger->reads, i - 1);
}

/* All who read there read another value. */
static void rewrite(Ledger *ledger, gint32 partition, gint64 offset, guint64 value) {
  for (guint i = 0; i < ledger->reads->len; i++) {
    LedgerRead *read = read_at(ledger, i);
    if (read->partition == partition && read->offset == offset)
      read->value = value;
  }
}

/* Who read all reads one more. */
static void read_at_end(Ledger *ledger, gint32 partition, guint64 value) {
  gint64 end = end_of_partition(ledger, partition);
  for (guint i = 0; i < WHOLES; i++) {
    LedgerRead read = {READERS + i, 100000, partition, end, value};
    g_array_append_val(ledger->reads, read);
  }
}

/* ---- One anomaly each ---- */

static gboolean spoil_inconsistent(Ledger *ledger, GRand *random) {
  guint at = any_read(ledger, is_any, random);
  if (at == G_MAXUINT)
    return FALSE;
  LedgerSend other = {.process = PROCESSES + 1,
                      .partition = read_at(ledger, at)->partition,
                      .value = 999999,
                      .outcome = LEDGER_UNKNOWN,
                      .offset = -1};
  g_array_append_val(ledger->sends, other);
  read_at(ledger, at)->value = other.value;
  return TRUE;
}

static gboolean spoil_duplicate(Ledger *ledger, GRand *random) {
  const LedgerSend *send = any_send(ledger, LEDGER_OK, TRUE, random);
  if (send)
    read_at_end(ledger, send->partition, send->value);
  return send != NULL;
}

static gboolean spoil_lost(Ledger *ledger, GRand *random) {
  const LedgerSend *send = any_send(ledger, LEDGER_OK, TRUE, random);
  if (!send || send->offset + 1 == end_of_partition(ledger, send->partition))
    return FALSE;
  unread(ledger, send->partition, send->offset);
  return TRUE;
}

static gboolean spoil_unseen(Ledger *ledger, GRand *random) {
  guint count = ledger->sends->len, first = below(random, count);
  for (guint i = 0; i < count; i++) {
    const LedgerSend *send = send_at(ledger, (first + i) % count);
    if (send->outcome != LEDGER_OK || send->offset + 1 != end_of_partition(ledger, send->partition))
      continue;
    unread(ledger, send->partition, send->offset);
    return TRUE;
  }
  return FALSE;
}

static gboolean spoil_aborted(Ledger *ledger, GRand *random) {
  LedgerSend *send = any_send(ledger, LEDGER_OK, TRUE, random);
  if (!send)
    return FALSE;
  send->outcome = LEDGER_FAILED;
  send->offset = -1;
  return TRUE;
}

/* One reader saw more than there is at the end. */
static gboolean spoil_vanished(Ledger *ledger, GRand *random) {
  const LedgerSend *send = any_send(ledger, LEDGER_UNKNOWN, FALSE, random);
  if (!send || send->is_idempotent)
    return FALSE;
  LedgerRead read = {READERS + WHOLES, 1, send->partition, end_of_partition(ledger, send->partition), send->value};
  g_array_append_val(ledger->reads, read);
  return TRUE;
}

static gboolean spoil_unsent(Ledger *ledger, GRand *random) {
  (void)random;
  for (guint i = 0; i < ledger->reads->len; i++) {
    const LedgerRead *read = read_at(ledger, i);
    const LedgerSend *send = send_at(ledger, (guint)(read->value - 1000));
    if (send->outcome != LEDGER_UNKNOWN)
      continue;
    rewrite(ledger, read->partition, read->offset, 888888);
    return TRUE;
  }
  return FALSE;
}

/* Leave a read out: two that follow one another leave a gap then. */
static gboolean leave_out(Ledger *ledger, gboolean (*holds)(const LedgerRead *before, const LedgerRead *read),
                          GRand *random) {
  guint at = any_read(ledger, holds, random);
  if (at != G_MAXUINT)
    g_array_remove_index(ledger->reads, at);
  return at != G_MAXUINT;
}

/* Read the record before once more, as the first of a poll or within one. */
static gboolean read_again(Ledger *ledger, gboolean (*holds)(const LedgerRead *before, const LedgerRead *read),
                           GRand *random) {
  guint at = any_read(ledger, holds, random);
  if (at == G_MAXUINT)
    return FALSE;
  LedgerRead again = *read_at(ledger, at - 1);
  again.poll = read_at(ledger, at)->poll;
  g_array_insert_val(ledger->reads, at, again);
  return TRUE;
}

/* Two sends of one process change places. */
static gboolean spoil_order(Ledger *ledger, GRand *random) {
  LedgerSend *first = any_send(ledger, LEDGER_OK, TRUE, random);
  for (guint i = 0; first && i < ledger->sends->len; i++) {
    LedgerSend *second = send_at(ledger, i);
    if (second <= first || second->process != first->process || second->partition != first->partition ||
        second->outcome != LEDGER_OK)
      continue;
    gint64 offset = first->offset;
    first->offset = second->offset;
    second->offset = offset;
    rewrite(ledger, first->partition, first->offset, first->value);
    rewrite(ledger, second->partition, second->offset, second->value);
    return TRUE;
  }
  return FALSE;
}

gboolean synthetic_spoil(Ledger *ledger, AnomalyKind kind, GRand *random) {
  switch (kind) {
  case ANOMALY_INCONSISTENT_OFFSETS:
    return spoil_inconsistent(ledger, random);
  case ANOMALY_DUPLICATE:
    return spoil_duplicate(ledger, random);
  case ANOMALY_LOST_WRITE:
    return spoil_lost(ledger, random);
  case ANOMALY_UNSEEN:
    return spoil_unseen(ledger, random);
  case ANOMALY_ABORTED_READ:
    return spoil_aborted(ledger, random);
  case ANOMALY_VANISHED:
    return spoil_vanished(ledger, random);
  case ANOMALY_UNSENT:
    return spoil_unsent(ledger, random);
  case ANOMALY_POLL_SKIP:
    return leave_out(ledger, is_between_polls, random);
  case ANOMALY_NON_MONOTONIC_POLL:
    return read_again(ledger, begins_poll, random);
  case ANOMALY_INTERNAL_POLL_SKIP:
    return leave_out(ledger, is_amid_poll, random);
  case ANOMALY_INTERNAL_NON_MONOTONIC_POLL:
    return read_again(ledger, is_inside_poll, random);
  case ANOMALY_NON_MONOTONIC_SEND:
    return spoil_order(ledger, random);
  default:
    return synthetic_spoil_group(ledger, kind, random);
  }
}
