/* Reads a partition of __consumer_offsets from its start up to its owner's fence: everything that any owner before ever
 * made durable.
 *
 * Thread: the loop given at the start. */
#pragma once

#include "milena/v1/consumer_service.pb-c.h"
#include "services/base/timers.h"
#include "services/rpc/client.h"

G_BEGIN_DECLS

typedef struct Replay Replay;

typedef struct {
  /* A record, in the order of the log. @value: NULL for a tombstone; both borrowed. A failure, owned by the caller,
   * ends the replay, and is told to `done`. */
  Failure *(*record)(GBytes *key, GBytes *value, gint64 offset, gpointer data);
  /* The end; no more callbacks. @failure: NULL, or what the data is wrong about; borrowed. What passes is waited for.
   */
  void (*done)(const Failure *failure, gpointer data);
} ReplayEvents;

typedef struct {
  RpcClient *client;
  Loop *loop;
  Timers *timers;
  const char *topic, *topic_id; /* copied */
  gint32 partition;
  gint64 from, to; /* offsets: from this one, to this one with it */
  const ReplayEvents *events;
  gpointer data;
} ReplayOptions;

/* Begins once it knows the leader. */
Replay *replay_new(const ReplayOptions *options);
/* Hears nothing more. Within `done` too. NULL is fine. */
void replay_free(Replay *replay);
/* As the metadata has it. @address: the leader's peer address; copied; NULL: there is none now */
void replay_set_leader(Replay *replay, const char *address);

G_END_DECLS
