/* See replication.h. Thread: the shard's loop. */
#include "services/broker/replication/replication_internal.h"

Replication *replication_new(Shard *shard) {
  Replication *replication = g_new0(Replication, 1);
  replication->shard = shard;
  replication->links = g_hash_table_new_full(NULL, NULL, NULL, replication_link_free);
  replication->in_sync = in_sync_new(shard);
  replication->damage = damage_new(shard);
  replication->progress = progress_new(shard);
  return replication;
}

void replication_free(Replication *replication) {
  if (!replication)
    return;
  g_hash_table_unref(replication->links);
  in_sync_free(replication->in_sync);
  damage_free(replication->damage);
  progress_free(replication->progress);
  g_free(replication);
}

void replication_metadata_changed(Replication *replication) {
  GHashTableIter iter;
  gpointer link;
  g_hash_table_iter_init(&iter, replication->links);
  while (g_hash_table_iter_next(&iter, NULL, &link))
    replication_link_look(link);
  damage_look(replication->damage);
  if (!replication->stopped)
    progress_look_soon(replication->progress);
}

void replication_look_soon(Replication *replication) {
  in_sync_look_soon(replication->in_sync);
}

void replication_found_damage(Replication *replication) {
  damage_look(replication->damage);
}

void replication_stop(Replication *replication) {
  replication->stopped = TRUE;
  in_sync_stop(replication->in_sync);
  damage_stop(replication->damage);
  progress_stop(replication->progress);
}
