/* The rows of consumer groups; see anomalies.h.
 *
 * A tenure is the time for which a member has a partition. Within it the rows of readers hold: no skip, never back.
 * From one tenure to the next the committed offset decides, and what that was is known within bounds: a commit that
 * succeeded before the tenure began is the least; one that was asked for before its first record came, even if nobody
 * knows what became of it, may be the most.
 *
 * When a tenure was is known within bounds too: it had begun when its first successful commit returned, and had not
 * ended when its last one was asked for. Two tenures exclude each other when neither can have ended before the other
 * began. */
#include "tests/chaos/records/anomalies_internal.h"

/* A tenure with what was done in it. */
typedef struct {
  const LedgerTenure *tenure;
  const LedgerGroup *group;
  gint64 first_offset; /* that was processed; -1: none */
  guint commits;       /* that succeeded */
  gint64 begun_us;     /* it had begun by then, as commits say; G_MAXINT64: none says so */
  gint64 lasted_us;    /* it lasted until then at least */
} Stay;

typedef struct {
  Check *check;
  GArray *stays;         /* of Stay */
  GHashTable *by_reader; /* reader to index in stays + 1 */
} Groups;

static Stay *stay_at(const Groups *groups, guint index) {
  return &g_array_index(groups->stays, Stay, index);
}

/* NULL: no member of a group. */
static Stay *stay_of_reader(const Groups *groups, guint32 reader) {
  guint index = GPOINTER_TO_UINT(g_hash_table_lookup(groups->by_reader, GUINT_TO_POINTER(reader)));
  return index ? stay_at(groups, index - 1) : NULL;
}

static const LedgerGroup *group_of(const Ledger *ledger, guint32 number) {
  for (guint i = 0; i < ledger->groups->len; i++) {
    const LedgerGroup *group = &g_array_index(ledger->groups, LedgerGroup, i);
    if (group->group == number)
      return group;
  }
  return NULL;
}

static void take_tenures(Groups *groups) {
  const Ledger *ledger = groups->check->ledger;
  for (guint i = 0; i < ledger->tenures->len; i++) {
    const LedgerTenure *tenure = &g_array_index(ledger->tenures, LedgerTenure, i);
    Stay stay = {tenure, group_of(ledger, tenure->group), -1, 0, G_MAXINT64, G_MININT64};
    g_array_append_val(groups->stays, stay);
    g_hash_table_insert(groups->by_reader, GUINT_TO_POINTER(tenure->reader), GUINT_TO_POINTER(groups->stays->len));
  }
  groups->check->report.tenures = ledger->tenures->len;
}

static void take_commits(Groups *groups) {
  const Ledger *ledger = groups->check->ledger;
  for (guint i = 0; i < ledger->commits->len; i++) {
    const LedgerCommit *commit = &g_array_index(ledger->commits, LedgerCommit, i);
    Stay *stay = stay_of_reader(groups, commit->reader);
    if (!stay || commit->outcome != LEDGER_OK)
      continue;
    stay->commits++;
    stay->begun_us = MIN(stay->begun_us, commit->return_us);
    stay->lasted_us = MAX(stay->lasted_us, commit->invoke_us);
    groups->check->report.commits++;
  }
}

static void take_reads(Groups *groups) {
  const Ledger *ledger = groups->check->ledger;
  for (guint i = 0; i < ledger->reads->len; i++) {
    const LedgerRead *read = &g_array_index(ledger->reads, LedgerRead, i);
    Stay *stay = stay_of_reader(groups, read->reader);
    if (stay && stay->first_offset < 0)
      stay->first_offset = read->offset;
  }
}

/* ---- Takeovers ---- */

static gboolean is_same_partition(const Stay *a, const Stay *b) {
  return a->tenure->group == b->tenure->group && a->tenure->partition == b->tenure->partition;
}

/* What others had committed: for sure before this tenure, and perhaps before its first record. */
static void bounds_of_committed(const Groups *groups, const Stay *stay, gint64 *ret_least, gint64 *ret_most) {
  const Ledger *ledger = groups->check->ledger;
  *ret_least = *ret_most = 0;
  for (guint i = 0; i < ledger->commits->len; i++) {
    const LedgerCommit *commit = &g_array_index(ledger->commits, LedgerCommit, i);
    const Stay *other = stay_of_reader(groups, commit->reader);
    if (!other || other == stay || !is_same_partition(other, stay) || commit->outcome == LEDGER_FAILED)
      continue;
    if (commit->outcome == LEDGER_OK && commit->return_us < stay->tenure->since_us)
      *ret_least = MAX(*ret_least, commit->offset);
    if (commit->invoke_us < stay->tenure->first_us)
      *ret_most = MAX(*ret_most, commit->offset);
  }
}

static void check_takeover(const Groups *groups, const Stay *stay) {
  const LedgerTenure *tenure = stay->tenure;
  gint64 least, most;
  if (stay->first_offset < 0)
    return;
  bounds_of_committed(groups, stay, &least, &most);
  if (most > 0)
    groups->check->report.takeovers++;
  if (stay->first_offset < least)
    anomalies_found(groups->check, ANOMALY_TAKEOVER_BACK,
                    "group %u, partition %d: reader %u began at offset %" G_GINT64_FORMAT " at %" G_GINT64_FORMAT
                    " us, when %" G_GINT64_FORMAT " was committed",
                    tenure->group, tenure->partition, tenure->reader, stay->first_offset, tenure->first_us, least);
  const Column *column = anomalies_column(groups->check, tenure->partition);
  guint end = anomalies_index_of_offset(column, stay->first_offset), begin = anomalies_index_of_offset(column, most);
  if (end > begin)
    anomalies_found(groups->check, ANOMALY_TAKEOVER_SKIP,
                    "group %u, partition %d: reader %u began at offset %" G_GINT64_FORMAT " at %" G_GINT64_FORMAT
                    " us, when nothing above %" G_GINT64_FORMAT " was committed; others read %u between",
                    tenure->group, tenure->partition, tenure->reader, stay->first_offset, tenure->first_us, most,
                    end - begin);
}

/* ---- Owners ---- */

static void check_owners(const Groups *groups, const Stay *one, const Stay *other) {
  if (!one->commits || !other->commits || !is_same_partition(one, other))
    return;
  if (one->lasted_us > other->begun_us && other->lasted_us > one->begun_us)
    anomalies_found(groups->check, ANOMALY_TWO_OWNERS,
                    "group %u, partition %d: reader %u had it from %" G_GINT64_FORMAT
                    " us on and until %" G_GINT64_FORMAT " us, reader %u from %" G_GINT64_FORMAT
                    " us on and until %" G_GINT64_FORMAT " us",
                    one->tenure->group, one->tenure->partition, one->tenure->reader, one->begun_us, one->lasted_us,
                    other->tenure->reader, other->begun_us, other->lasted_us);
}

/* ---- What was processed ---- */

/* Partition to a set of offsets that the group has processed. */
static GHashTable *processed_by(const Groups *groups, const LedgerGroup *group) {
  const Ledger *ledger = groups->check->ledger;
  GHashTable *partitions = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)g_hash_table_unref);
  for (guint i = 0; i < ledger->reads->len; i++) {
    const LedgerRead *read = &g_array_index(ledger->reads, LedgerRead, i);
    const Stay *stay = stay_of_reader(groups, read->reader);
    if (!stay || stay->group != group)
      continue;
    GHashTable *offsets = g_hash_table_lookup(partitions, GINT_TO_POINTER(read->partition));
    if (!offsets) {
      offsets = g_hash_table_new(NULL, NULL);
      g_hash_table_insert(partitions, GINT_TO_POINTER(read->partition), offsets);
    }
    if (!g_hash_table_add(offsets, anomalies_key_of_offset(read->offset)) && group->is_at_most_once)
      anomalies_found(groups->check, ANOMALY_PROCESSED_TWICE,
                      "group %u, partition %d, offset %" G_GINT64_FORMAT ": processed before, and again by reader %u",
                      group->group, read->partition, read->offset, read->reader);
  }
  return partitions;
}

/* What nobody read at all is lost or unseen, not the group's fault. */
static void check_processed(const Groups *groups, const LedgerGroup *group) {
  const Ledger *ledger = groups->check->ledger;
  g_autoptr(GHashTable) partitions = processed_by(groups, group);
  if (group->is_at_most_once || !group->is_complete)
    return;
  for (guint i = 0; i < ledger->sends->len; i++) {
    const LedgerSend *send = &g_array_index(ledger->sends, LedgerSend, i);
    const Known *known = g_hash_table_lookup(groups->check->known, GSIZE_TO_POINTER(send->value));
    if (send->outcome != LEDGER_OK || !known || !known->was_read)
      continue;
    GHashTable *offsets = g_hash_table_lookup(partitions, GINT_TO_POINTER(send->partition));
    if (!offsets || !g_hash_table_contains(offsets, anomalies_key_of_offset(send->offset)))
      anomalies_found(groups->check, ANOMALY_UNPROCESSED,
                      "group %u: value %" G_GUINT64_FORMAT ", acknowledged for partition %d, offset %" G_GINT64_FORMAT,
                      group->group, send->value, send->partition, send->offset);
  }
}

void anomalies_check_groups(Check *check) {
  Groups groups = {check, g_array_new(FALSE, FALSE, sizeof(Stay)), g_hash_table_new(NULL, NULL)};
  take_tenures(&groups);
  take_commits(&groups);
  take_reads(&groups);
  for (guint i = 0; i < groups.stays->len; i++) {
    check_takeover(&groups, stay_at(&groups, i));
    for (guint j = 0; j < i; j++)
      check_owners(&groups, stay_at(&groups, j), stay_at(&groups, i));
  }
  for (guint i = 0; i < check->ledger->groups->len; i++)
    check_processed(&groups, &g_array_index(check->ledger->groups, LedgerGroup, i));
  g_array_unref(groups.stays);
  g_hash_table_unref(groups.by_reader);
}
