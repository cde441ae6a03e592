/* The witness; see witness.h. Owning threads: its own while it runs, else the caller's. */
#include "tests/chaos/witness.h"

#include "tests/chaos/caller.h"
#include "tests/chaos/load.h"

#define LOOK_MS 1000

/* What was seen at a version. */
typedef struct {
  guint64 version;
  char *digest;
  char *address;
} Seen;

struct Witness {
  Fleet *fleet;
  Caller caller;
  GThread *thread;
  gint stopping; /* atomic */
  guint pause_ms;
  GHashTable *seen; /* of Seen by version */
  guint images;
  char *contradiction;
};

static void seen_free(gpointer data) {
  Seen *seen = data;
  g_free(seen->digest);
  g_free(seen->address);
  g_free(seen);
}

Witness *witness_new(Fleet *fleet) {
  Witness *witness = g_new0(Witness, 1);
  witness->fleet = fleet;
  witness->seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, seen_free);
  caller_init(&witness->caller);
  return witness;
}

void witness_free(Witness *witness) {
  if (!witness)
    return;
  caller_clear(&witness->caller);
  g_hash_table_unref(witness->seen);
  g_free(witness->contradiction);
  g_free(witness);
}

static char *digest_of(Milena__V1__ClusterMetadata *cluster) {
  gint32 active = cluster->active_controller_id;
  cluster->active_controller_id = -1; /* who is active is no part of the metadata */
  gsize size = milena__v1__cluster_metadata__get_packed_size(cluster);
  g_autofree guint8 *bytes = g_malloc(size + 1);
  milena__v1__cluster_metadata__pack(cluster, bytes);
  cluster->active_controller_id = active;
  return g_compute_checksum_for_data(G_CHECKSUM_SHA256, bytes, size);
}

gboolean witness_look(Witness *witness, const char *address, guint64 *ret_version, char **ret_digest) {
  g_autoptr(RpcMessage) answer = NULL;
  g_autoptr(Failure) failure = caller_metadata(&witness->caller, address, LOOK_MS, &answer);
  if (failure)
    return FALSE;
  const Milena__V1__GetMetadataResponse *response = rpc_message_body(answer);
  if (!response->cluster)
    return FALSE;
  *ret_version = response->cluster->version;
  *ret_digest = digest_of(response->cluster);
  return TRUE;
}

static void compare(Witness *witness, const char *address, guint64 version, const char *digest) {
  witness->images++;
  Seen *seen = g_hash_table_lookup(witness->seen, &version);
  if (!seen) {
    seen = g_new0(Seen, 1);
    *seen = (Seen){version, g_strdup(digest), g_strdup(address)};
    g_hash_table_insert(witness->seen, &seen->version, seen);
  } else if (!g_str_equal(seen->digest, digest) && !witness->contradiction) {
    witness->contradiction = g_strdup_printf("version %" G_GUINT64_FORMAT " is %s at %s, and was %s at %s", version,
                                             digest, address, seen->digest, seen->address);
  }
}

static gpointer witness_main(gpointer data) {
  Witness *witness = data;
  for (guint i = 0; !g_atomic_int_get(&witness->stopping); i++) {
    guint controller = i % fleet_controllers(witness->fleet);
    const char *address = fleet_client_address(witness->fleet, controller);
    guint64 version;
    g_autofree char *digest = NULL;
    if (fleet_state(witness->fleet, controller) == FLEET_RUNNING && witness_look(witness, address, &version, &digest) &&
        version > 0)
      compare(witness, address, version, digest);
    g_usleep((gulong)witness->pause_ms * 1000);
  }
  return NULL;
}

void witness_start(Witness *witness, guint pause_ms) {
  witness->pause_ms = pause_ms;
  witness->thread = g_thread_new("witness", witness_main, witness);
}

void witness_stop(Witness *witness) {
  g_atomic_int_set(&witness->stopping, 1);
  if (witness->thread)
    g_thread_join(g_steal_pointer(&witness->thread));
}

guint witness_images(const Witness *witness) {
  return witness->images;
}

const char *witness_contradiction(const Witness *witness) {
  return witness->contradiction;
}

gboolean witness_read_all(Witness *witness, const char *address, guint client, guint topics, GArray *ops) {
  gint64 invoke_us = g_get_monotonic_time();
  g_autoptr(RpcMessage) answer = NULL;
  g_autoptr(Failure) failure = caller_metadata(&witness->caller, address, LOOK_MS, &answer);
  if (failure)
    return FALSE;
  gint64 return_us = g_get_monotonic_time();
  const Milena__V1__GetMetadataResponse *response = rpc_message_body(answer);
  g_autoptr(GPtrArray) by_number = g_ptr_array_new();
  g_ptr_array_set_size(by_number, (gint)topics);
  for (gsize i = 0; response->cluster && i < response->cluster->n_topics; i++) {
    guint topic = load_topic_of_name(response->cluster->topics[i]->name);
    if (topic < topics)
      by_number->pdata[topic] = response->cluster->topics[i];
  }
  for (guint topic = 0; topic < topics; topic++) {
    const Milena__V1__Topic *found = by_number->pdata[topic];
    HistoryOp op = {.client = client,
                    .kind = HISTORY_READ,
                    .topic = topic,
                    .tag = caller_tag_of_topic(found),
                    .invoke_us = invoke_us,
                    .return_us = return_us};
    g_strlcpy(op.id, found ? found->id : "", sizeof op.id);
    g_array_append_val(ops, op);
  }
  return TRUE;
}
