/* Groups over a log: members take it over from one another, each from the offset that was committed, die before or
 * after they commit, and don't always learn what became of a commit. Each way to spoil it breaks one promise. */
#include "tests/chaos/records/synthetic_groups.h"

#define POLL_MAX 6        /* records */
#define TENURE_US 1000000 /* from one to the next of a partition */
#define STEP_US 1000
#define GROUPS 2
#define MOST 1 /* the group that commits before it processes */

static guint below(GRand *random, guint end) {
  return (guint)g_rand_int_range(random, 0, (gint32)end);
}

/* ---- Good ones ---- */

/* A member that has the partition. */
typedef struct {
  Ledger *ledger;
  GRand *random;
  const GArray *log;
  LedgerTenure tenure;
  gint64 now_us, offset, committed;
  guint polls_left; /* it dies with the last one; G_MAXUINT: never */
} Member;

static void process(Member *member, guint poll, guint count) {
  if (!member->tenure.first_us)
    member->tenure.first_us = member->now_us;
  for (guint i = 0; i < count; i++) {
    gint64 offset = member->offset + i;
    LedgerRead read = {member->tenure.reader, poll, member->tenure.partition, offset,
                       g_array_index(member->log, guint64, offset)};
    g_array_append_val(member->ledger->reads, read);
  }
}

/* FALSE: it died, and never knew. */
static gboolean commit(Member *member, gint64 offset, gboolean dies) {
  gboolean is_kept = !dies || below(member->random, 2);
  LedgerCommit commit = {member->tenure.reader, offset, dies ? LEDGER_UNKNOWN : LEDGER_OK, member->now_us,
                         member->now_us + STEP_US / 2};
  member->now_us += STEP_US;
  g_array_append_val(member->ledger->commits, commit);
  if (is_kept)
    member->committed = offset;
  return !dies;
}

/* Returns FALSE at the end of the member or of the log. */
static gboolean poll_once(Member *member, guint poll, gboolean is_last) {
  guint wanted = 1 + below(member->random, POLL_MAX), count = MIN(wanted, member->log->len - (guint)member->offset);
  gboolean dies = is_last && below(member->random, 2);
  member->now_us += STEP_US;
  if (member->tenure.group == MOST) {
    if (!commit(member, member->offset + count, dies))
      return FALSE;
    process(member, poll, is_last ? below(member->random, count + 1) : count);
  } else {
    process(member, poll, count);
    if (!commit(member, member->offset + count, dies))
      return FALSE;
  }
  member->offset += count;
  return !is_last && member->offset < member->log->len;
}

/* Returns what is committed behind it. */
static gint64 run_member(Member *member) {
  for (guint poll = 1; member->offset < member->log->len; poll++)
    if (!poll_once(member, poll, poll == member->polls_left))
      break;
  g_array_append_val(member->ledger->tenures, member->tenure);
  return member->committed;
}

static void add_group(Ledger *ledger, guint32 group, gint32 partition, const GArray *log, GRand *random) {
  gint64 committed = 0;
  for (guint i = 0; i < 100 && committed < log->len; i++) {
    gint64 now_us = (gint64)(i + 1) * TENURE_US;
    Member member = {
        .ledger = ledger,
        .random = random,
        .log = log,
        .tenure = {group, SYNTHETIC_GROUP_READER + ledger->tenures->len, partition, now_us, 0},
        .now_us = now_us + STEP_US,
        .offset = committed,
        .committed = committed,
        .polls_left = i < 6 ? 1 + below(random, 5) : G_MAXUINT,
    };
    committed = run_member(&member);
  }
}

void synthetic_add_groups(Ledger *ledger, gint32 partition, const GArray *log, GRand *random) {
  for (guint32 group = 0; group < GROUPS; group++) {
    LedgerGroup told = {group, group == MOST, TRUE};
    if (partition == 0)
      g_array_append_val(ledger->groups, told);
    add_group(ledger, group, partition, log, random);
  }
}

/* ---- Finding places ---- */

static LedgerTenure *tenure_at(const Ledger *ledger, guint index) {
  return &g_array_index(ledger->tenures, LedgerTenure, index);
}

static LedgerRead *read_at(const Ledger *ledger, guint index) {
  return &g_array_index(ledger->reads, LedgerRead, index);
}

static LedgerCommit *commit_at(const Ledger *ledger, guint index) {
  return &g_array_index(ledger->commits, LedgerCommit, index);
}

/* Index of a reader's first read; G_MAXUINT: none. */
static guint first_read(const Ledger *ledger, guint32 reader) {
  for (guint i = 0; i < ledger->reads->len; i++)
    if (read_at(ledger, i)->reader == reader)
      return i;
  return G_MAXUINT;
}

/* The last commit of a reader that succeeded; NULL: none. */
static LedgerCommit *last_commit(const Ledger *ledger, guint32 reader) {
  LedgerCommit *last = NULL;
  for (guint i = 0; i < ledger->commits->len; i++)
    if (commit_at(ledger, i)->reader == reader && commit_at(ledger, i)->outcome == LEDGER_OK)
      last = commit_at(ledger, i);
  return last;
}

/* Follows the one before in the same partition. */
static gboolean is_successor(const LedgerTenure *tenure) {
  return tenure->group == tenure[-1].group && tenure->partition == tenure[-1].partition;
}

/* A random tenure of the group for which it holds; 0 when there is none, for the first is no successor. */
static guint any_tenure(const Ledger *ledger, guint32 group, GRand *random,
                        gboolean (*holds)(const Ledger *ledger, const LedgerTenure *tenure)) {
  guint count = ledger->tenures->len, first = count ? below(random, count) : 0;
  for (guint i = 0; i < count; i++) {
    guint at = (first + i) % count;
    const LedgerTenure *tenure = tenure_at(ledger, at);
    if (at > 0 && tenure->group == group && is_successor(tenure) && holds(ledger, tenure))
      return at;
  }
  return 0;
}

/* It has two records at least, and nobody before asked to commit more than where it begins. */
static gboolean begins_at_most(const Ledger *ledger, const LedgerTenure *tenure) {
  guint first = first_read(ledger, tenure->reader);
  if (first >= ledger->reads->len - 1 || read_at(ledger, first + 1)->reader != tenure->reader)
    return FALSE;
  for (guint i = 0; i < ledger->commits->len; i++) {
    const LedgerCommit *commit = commit_at(ledger, i);
    const LedgerTenure *other = tenure_at(ledger, commit->reader - SYNTHETIC_GROUP_READER);
    if (other < tenure && other->group == tenure->group && other->partition == tenure->partition &&
        commit->offset > read_at(ledger, first)->offset)
      return FALSE;
  }
  return TRUE;
}

/* It begins where the one before committed last, for sure, and there is something before that. */
static gboolean begins_at_commit(const Ledger *ledger, const LedgerTenure *tenure) {
  guint first = first_read(ledger, tenure->reader);
  const LedgerCommit *before = last_commit(ledger, tenure[-1].reader);
  return first != G_MAXUINT && before && before->offset == read_at(ledger, first)->offset && before->offset > 0;
}

/* The same, and the one before has processed all that it committed. */
static gboolean follows_whole(const Ledger *ledger, const LedgerTenure *tenure) {
  guint first = first_read(ledger, tenure->reader);
  if (!begins_at_commit(ledger, tenure))
    return FALSE;
  for (guint i = 0; i < ledger->reads->len; i++)
    if (read_at(ledger, i)->reader == tenure[-1].reader &&
        read_at(ledger, i)->offset + 1 == read_at(ledger, first)->offset)
      return TRUE;
  return FALSE;
}

static gboolean both_commit(const Ledger *ledger, const LedgerTenure *tenure) {
  return last_commit(ledger, tenure->reader) && last_commit(ledger, tenure[-1].reader);
}

/* ---- One anomaly each ---- */

/* A tenure begins one record earlier. */
static void begin_earlier(Ledger *ledger, guint32 reader) {
  guint first = first_read(ledger, reader);
  LedgerRead read = *read_at(ledger, first);
  read.offset--;
  for (guint i = 0; i < ledger->reads->len; i++) {
    const LedgerRead *other = read_at(ledger, i);
    if (other->partition == read.partition && other->offset == read.offset) {
      read.value = other->value;
      break;
    }
  }
  g_array_insert_val(ledger->reads, first, read);
}

static gboolean spoil_skip(Ledger *ledger, GRand *random) {
  guint at = any_tenure(ledger, MOST, random, begins_at_most);
  if (at)
    g_array_remove_index(ledger->reads, first_read(ledger, tenure_at(ledger, at)->reader));
  return at > 0;
}

static gboolean spoil_back(Ledger *ledger, GRand *random) {
  guint at = any_tenure(ledger, !MOST, random, begins_at_commit);
  if (at)
    begin_earlier(ledger, tenure_at(ledger, at)->reader);
  return at > 0;
}

/* The last record of a partition is not processed by the group. */
static gboolean spoil_unprocessed(Ledger *ledger, GRand *random) {
  guint count = ledger->sends->len, first = below(random, count);
  for (guint i = 0; i < count; i++) {
    const LedgerSend *send = &g_array_index(ledger->sends, LedgerSend, (first + i) % count);
    gboolean is_last = send->outcome == LEDGER_OK;
    for (guint j = 0; j < ledger->reads->len; j++)
      is_last &= read_at(ledger, j)->partition != send->partition || read_at(ledger, j)->offset <= send->offset;
    if (!is_last)
      continue;
    for (guint j = ledger->reads->len; j > 0; j--) {
      const LedgerRead *read = read_at(ledger, j - 1);
      if (read->partition == send->partition && read->offset == send->offset && read->reader >= SYNTHETIC_GROUP_READER)
        g_array_remove_index(ledger->reads, j - 1);
    }
    return TRUE;
  }
  return FALSE;
}

/* Nobody knows of the commits any more that would have told the next owner where to begin. */
static gboolean spoil_twice(Ledger *ledger, GRand *random) {
  guint at = any_tenure(ledger, MOST, random, follows_whole);
  if (!at)
    return FALSE;
  const LedgerTenure *tenure = tenure_at(ledger, at);
  gint64 begin = read_at(ledger, first_read(ledger, tenure->reader))->offset;
  for (guint i = 0; i < ledger->commits->len; i++)
    if (commit_at(ledger, i)->reader == tenure[-1].reader && commit_at(ledger, i)->offset >= begin)
      commit_at(ledger, i)->outcome = LEDGER_UNKNOWN;
  begin_earlier(ledger, tenure->reader);
  return TRUE;
}

/* The one before commits once more, amid the commits of its successor. */
static gboolean spoil_owners(Ledger *ledger, GRand *random) {
  guint at = any_tenure(ledger, below(random, GROUPS), random, both_commit);
  if (!at)
    return FALSE;
  LedgerCommit late = *last_commit(ledger, tenure_at(ledger, at - 1)->reader);
  late.invoke_us = last_commit(ledger, tenure_at(ledger, at)->reader)->return_us + 1;
  late.return_us = late.invoke_us + 10;
  g_array_append_val(ledger->commits, late);
  return TRUE;
}

gboolean synthetic_spoil_group(Ledger *ledger, AnomalyKind kind, GRand *random) {
  switch (kind) {
  case ANOMALY_TAKEOVER_SKIP:
    return spoil_skip(ledger, random);
  case ANOMALY_TAKEOVER_BACK:
    return spoil_back(ledger, random);
  case ANOMALY_UNPROCESSED:
    return spoil_unprocessed(ledger, random);
  case ANOMALY_PROCESSED_TWICE:
    return spoil_twice(ledger, random);
  case ANOMALY_TWO_OWNERS:
    return spoil_owners(ledger, random);
  default:
    return FALSE;
  }
}
