/* CommitOffsets: who commits beyond a partition's end is told so.
 *
 *   all within the ends that are known ──────────────────────────────────────────────► groups_commit
 *   else: waits ──the ask before ended──► one ask to the leaders for all who wait ──► groups_commit, with fresh ends
 *
 * Ends only rise, so an offset within an end that was seen once is fine. One beyond it may be as well: the leaders are
 * asked, and what they say then is no older than the commit. One ask is under way at a time, however many commit.
 *
 * Invariants: a call that waits is in `waiting` or in `asking`; only a call whose ask was answered whole is judged by
 * it. Owner: the coordinator's loop. Failure modes: leaders that do not answer stop nobody: then nothing is asked for a
 * while, and commits are taken as they come. */
#include "services/group_coordinator/group_call.h"

#define ASK_TIMEOUT_MS 300
#define PAUSE_US G_GINT64_CONSTANT(5000000)
#define KNOWN_MAX 200000

struct CommitEnds {
  Coordinator *coordinator;
  GHashTable *known;  /* "partition topic-id" → gint64: an end that was seen */
  GPtrArray *waiting; /* of GroupCall: for the next ask */
  GPtrArray *asking;  /* of GroupCall: for the one that is under way */
  EndsAsk *ask;
  gint64 pause_us; /* until then nothing is asked */
  gboolean judges; /* the commit that is given to the groups now was asked about */
};

/* ---- what is known ---- */

static char *end_key(const char *topic_id, gint32 partition) {
  return g_strdup_printf("%d %s", partition, topic_id);
}

static gboolean find_end(const CommitEnds *ends, const char *topic_id, gint32 partition, gint64 *ret_end) {
  g_autofree char *key = end_key(topic_id, partition);
  const gint64 *end = g_hash_table_lookup(ends->known, key);
  if (end)
    *ret_end = *end;
  return end != NULL;
}

static void learn_end(CommitEnds *ends, const EndsQuery *query) {
  if (g_hash_table_size(ends->known) >= KNOWN_MAX)
    g_hash_table_remove_all(ends->known); /* of topics that are gone, most likely */
  g_hash_table_replace(ends->known, end_key(query->topic_id, query->partition),
                       g_memdup2(&query->offset, sizeof query->offset));
}

gboolean commit_ends_judge(const CommitEnds *ends, const char *topic_id, gint32 partition, gint64 *ret_end) {
  return ends->judges && find_end(ends, topic_id, partition, ret_end);
}

/* Add the partitions of a commit whose end is not known to be far enough. Returns FALSE when there is none. */
static gboolean add_queries(const CommitEnds *ends, const GroupCall *call, GArray *queries) {
  const Milena__V1__CommitOffsetsRequest *request = rpc_message_body(call->message);
  guint before = queries->len;
  for (gsize i = 0; i < request->n_offsets; i++) {
    const Milena__V1__OffsetCommit *commit = request->offsets[i];
    const MetadataTopic *topic = NULL;
    g_autoptr(Failure) unknown =
        metadata_image_find_topic(ends->coordinator->image, commit->topic, commit->topic_id, &topic);
    gint64 end = -1;
    if (unknown || !metadata_topic_partition(topic, commit->partition) || commit->offset <= 0)
      continue; /* the groups say what is wrong with it, if anything is */
    if (!find_end(ends, topic->id, commit->partition, &end) || commit->offset > end)
      ends_query_end(queries, topic->name, topic->id, commit->partition, MILENA__V1__LOG_END__LOG_END_LATEST, 0);
  }
  return queries->len > before;
}

/* ---- asking ---- */

static void commit_now(GroupCall *call, gboolean judges) {
  const Milena__V1__CommitOffsetsRequest *request = rpc_message_body(call->message);
  CommitEnds *ends = call->coordinator->commit_ends;
  Tenure *tenure;
  if (!group_call_find(call, request->group, &tenure))
    return;
  ends->judges = judges;
  groups_commit(tenure_groups(tenure), tenure_ask(tenure, &call->ask), request, tenure_now());
  ends->judges = FALSE;
}

static void ask(CommitEnds *ends);

static void on_ends(const GArray *queries, gpointer data) {
  CommitEnds *ends = data;
  gboolean whole = TRUE;
  ends->ask = NULL;
  for (guint i = 0; i < queries->len; i++) {
    const EndsQuery *query = &g_array_index(queries, EndsQuery, i);
    whole &= query->failure == NULL;
    if (!query->failure)
      learn_end(ends, query);
  }
  if (!whole)
    ends->pause_us = g_get_monotonic_time() + PAUSE_US;
  g_autoptr(GPtrArray) asked = g_steal_pointer(&ends->asking);
  ends->asking = g_ptr_array_new();
  for (guint i = 0; i < asked->len; i++)
    commit_now(asked->pdata[i], whole);
  ask(ends);
}

static void ask(CommitEnds *ends) {
  if (ends->ask || ends->waiting->len == 0)
    return;
  GArray *queries = ends_queries_new();
  for (guint i = 0; i < ends->waiting->len; i++)
    add_queries(ends, ends->waiting->pdata[i], queries);
  g_ptr_array_extend_and_steal(ends->asking, ends->waiting);
  ends->waiting = g_ptr_array_new();
  ends->ask = ends_ask(ends->coordinator->client, ends->coordinator->loop, ends->coordinator->image, queries,
                       ASK_TIMEOUT_MS, on_ends, ends);
}

void commit_ends_forget(CommitEnds *ends, GroupCall *call) {
  g_ptr_array_remove_fast(ends->waiting, call);
  g_ptr_array_remove_fast(ends->asking, call);
}

void group_commit(RpcCall *rpc, RpcMessage *message, gpointer user_data) {
  const Milena__V1__CommitOffsetsRequest *request = rpc_message_body(message);
  GroupCall *call = group_call_new(user_data, rpc, message, TRUE);
  CommitEnds *ends = call->coordinator->commit_ends;
  Tenure *tenure;
  if (!group_call_find(call, request->group, &tenure))
    return;
  g_autoptr(GArray) queries = ends_queries_new();
  if (g_get_monotonic_time() < ends->pause_us || !add_queries(ends, call, queries)) {
    commit_now(call, FALSE);
    return;
  }
  g_ptr_array_add(ends->waiting, call);
  ask(ends);
}

/* ---- life ---- */

CommitEnds *commit_ends_new(Coordinator *coordinator) {
  CommitEnds *ends = g_new0(CommitEnds, 1);
  *ends = (CommitEnds){.coordinator = coordinator,
                       .known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free),
                       .waiting = g_ptr_array_new(),
                       .asking = g_ptr_array_new()};
  return ends;
}

void commit_ends_free(CommitEnds *ends) {
  if (!ends)
    return;
  ends_abandon(ends->ask);
  g_hash_table_unref(ends->known);
  g_ptr_array_unref(ends->waiting);
  g_ptr_array_unref(ends->asking);
  g_free(ends);
}
