/* The sending half of a call, for servers and clients: messages that wait for the one write that may be outstanding.
 *
 *   idle ──push, end──► sending (one thread holds the turn: it takes the next step and starts it) ──nothing left──►
 * idle any ──stop──► stopped (what waits is dropped, pushes say CLOSED)
 *
 * Whoever is told to start holds the turn until its write completed and rpc_sender_next said that nothing is left. So
 * writes are started by one thread at a time without a lock around the core. Threads: any; a pthread mutex is held for
 * the time of a queue operation. */
#pragma once

#include <glib.h>
#include <pthread.h>

#include "services/rpc/message.h"
#include "services/rpc/server.h" /* RpcSendResult */

G_BEGIN_DECLS

typedef struct {
  pthread_mutex_t mutex; /* guards what follows */
  GQueue waiting;        /* RpcMessage, owned */
  gsize queued_bytes;    /* waiting and outstanding */
  gsize outstanding_bytes;
  guint64 most_bytes;
  gboolean has_turn;    /* someone sends */
  gboolean is_blocked;  /* someone was told BUSY */
  gboolean is_ended;    /* nothing more will be pushed */
  gboolean end_started; /* the end was handed out */
  gboolean is_stopped;
} RpcSender;

typedef struct {
  RpcMessage *message; /* to be sent, owned; or NULL */
  gboolean end;        /* then the end is to be sent, with or after the message */
  gboolean more;       /* another step follows at once: this one's bytes may wait for it */
} RpcSendStep;

/* @has_turn: the caller sends something of its own first, and holds the turn */
void rpc_sender_init(RpcSender *sender, guint64 most_bytes, gboolean has_turn);
void rpc_sender_clear(RpcSender *sender);
/* @ret_start: the caller now holds the turn, and must call rpc_sender_next */
RpcSendResult rpc_sender_push(RpcSender *sender, RpcMessage *message, gboolean *ret_start);
/* A last message and the end in one go, so that they leave in one write. @message: borrowed. As rpc_sender_end. */
gboolean rpc_sender_push_last(RpcSender *sender, RpcMessage *message, gboolean *ret_start);
/* No more pushes. FALSE when it had ended or was stopped before: then nothing changes and @ret_start is FALSE. */
gboolean rpc_sender_end(RpcSender *sender, gboolean *ret_start);
/* The next step, for the one who holds the turn, after its last write completed. FALSE: there is none, and the turn is
 * given back. @ret_writable: someone was told BUSY, and there is room again. */
gboolean rpc_sender_next(RpcSender *sender, RpcSendStep *ret_step, gboolean *ret_writable);
/* Drop what waits; the peer is gone. */
void rpc_sender_stop(RpcSender *sender);

G_END_DECLS
