/* The fetcher from the inside: fetcher.c has its life and its requests, fetcher_pump.c decides what is asked for,
 * fetcher_answers.c asks, and takes the answers. See fetcher.c for its invariants; all of it on the client's loop,
 * parts and chunks under the consumer's mutex. */
#pragma once

#include <stdatomic.h>

#include "client/libmilena/consumer.h"

G_BEGIN_DECLS

typedef enum { ASK_FETCH, ASK_OFFSETS } AskKind;

/* A request under way. */
typedef struct {
  Fetcher *fetcher;
  AskKind kind;
  gint32 broker_id;
  char *address;
  guint64 reserved_bytes;
  gint64 sent_us;
  gint64 answer_us; /* when it should have been answered */
  gboolean at_end;  /* of all its parts everything was read, and none was in a fetch that was given up */
  RpcClientCall *call;
  GPtrArray *parts;    /* of Part, a reference each */
  GArray *generations; /* of guint32, one for each part */
} Ask;

struct Fetcher {
  MilenaConsumer *consumer;
  LoopTask wake_task; /* users' threads, and ourselves → the loop */
  atomic_bool woken;
  GPtrArray *asks; /* of Ask, owned */
  guint64 reserved_bytes;
  GSource *timer;
  gint64 timer_us; /* when it fires */
  guint rotation;
  gboolean closed;
};

MilenaClient *fetcher_client(const Fetcher *fetcher);

/* ---- requests; the mutex is held ---- */

Ask *ask_new(Fetcher *fetcher, AskKind kind, gint32 broker_id, const char *address);
void ask_add(Ask *ask, Part *part);
/* The part, if the answer still counts for it. */
Part *ask_part(const Ask *ask, guint index);
void ask_free(Ask *ask);
/* It was answered, or given up: forget it. */
void ask_finish(Ask *ask);

/* ---- asking; the mutex is held ---- */

/* @max_bytes: of the answer */
void ask_send_fetch(Ask *ask, guint32 max_bytes);
void ask_send_list_offsets(Ask *ask);
/* Its parts are tried again later, or rest. */
void ask_failed(Ask *ask, const Failure *failure);
/* Why nothing comes, for milena_consumer_trouble; copied. */
void fetcher_set_trouble(Fetcher *fetcher, const Failure *failure);

/* ---- the pump; the mutex is not held ---- */

/* Ask for what may be asked for now. */
void fetcher_pump(Fetcher *fetcher);
void fetcher_clear_timer(Fetcher *fetcher);

G_END_DECLS
