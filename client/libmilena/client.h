/* What producers, consumers and administration share: the client's loop, its channels, its view of the cluster, and
 * which broker to ask.
 *
 * Threads: see each function. The mutex in MilenaClient guards the view and the addresses; it is held for moments and
 * never while something else is called. */
#pragma once

#include <glib.h>
#include <milena/milena.h>

#include "client/libmilena/error.h"
#include "client/libmilena/view.h"
#include "services/base/loop.h"
#include "services/rpc/client.h"

G_BEGIN_DECLS

Loop *client_loop(MilenaClient *client);
RpcClient *client_rpc(MilenaClient *client);
const MilenaClientOptions *client_options(MilenaClient *client);
/* Leaders and coordinators are called themselves, rather than a broker that forwards. */
gboolean client_is_direct(MilenaClient *client);

/* ---- time ---- */

/* Monotonic microseconds at which a call that may take @timeout_ms must end; G_MAXINT64 for -1. */
gint64 client_deadline_us(gint32 timeout_ms);
/* How long to pause before try number @attempt (1: the first retry): doubles up to the bound, with a random half. */
gint64 client_backoff_ms(MilenaClient *client, guint attempt);

/* ---- the view, followed ---- */

/* The latest view: a reference of the caller's. Any thread. */
View *client_view(MilenaClient *client);
/* Follow the metadata from now on; more than once is fine. Any thread. */
void client_follow(MilenaClient *client);
/* The view seems old: a broker refused what it should lead. @hint_version: that the broker knows, or 0;
 * @address: that broker, which then is followed. On the client's loop. */
void client_refresh(MilenaClient *client, guint64 hint_version, const char *address);
/* A broker does not answer in time. If it is the one whose metadata is followed, another one is: it may know who leads
 * now. On the client's loop. */
void client_suspect(MilenaClient *client, const char *address);
/* A broker has not answered since @since_us. When that is long, and it is the one whose metadata is followed, it is
 * asked for a sign of life; without one, another broker is followed.
 *
 * Returns when to say so again, monotonic. On the client's loop. */
gint64 client_check(MilenaClient *client, const char *address, gint64 since_us);
/* How long the metadata may lack a topic or partition that somebody asks for, or a broker what the metadata has: they
 * learn of changes one after the other. */
#define CLIENT_MISSING_GRACE_US (3 * G_TIME_SPAN_SECOND)
/* Wait until the view knows @topic.
 *
 * @ret_view: a reference of the caller's
 *
 * Returns NULL, UNKNOWN_TOPIC when a broker says so, or why none could be asked. Any thread but the client's. */
Failure *client_wait_topic(MilenaClient *client, const char *topic, gint64 deadline_us, View **ret_view);

/* Called on the loop after each new view. Register and unregister: any thread but the client's; no call comes after
 * unregister has returned. */
typedef void (*ClientViewFunc)(gpointer data);
void client_listen(MilenaClient *client, ClientViewFunc func, gpointer data);
void client_unlisten(MilenaClient *client, ClientViewFunc func, gpointer data);
/* From the watch, on the loop. @view: taken; @address: the broker that told it */
void client_publish_view(MilenaClient *client, View *view, const char *address);
/* From the watch: why there is nothing to follow; taken; NULL when all is well. Any thread. */
void client_set_trouble(MilenaClient *client, Failure *trouble);

/* ---- addresses ---- */

/* An address to ask: the one that answered last, or the next in turn after client_address_failed; of the bootstrap list
 * alone with `bootstrap_only`. Owned by the caller. Any thread. */
char *client_address(MilenaClient *client);
void client_address_answered(MilenaClient *client, const char *address);
void client_address_failed(MilenaClient *client, const char *address);
/* How many addresses are known: so many tries make a round. */
guint client_address_count(MilenaClient *client);

/* ---- calls that wait ---- */

typedef enum {
  CALL_READ,             /* changes nothing: any broker may be asked again and again */
  CALL_WRITE_IDEMPOTENT, /* a second one does no harm, but may take its time */
  CALL_WRITE,            /* sent once; tried again only where nothing was changed */
  CALL_CONTROLLERS,      /* changes the controllers: idempotent; also for one that waits for its cluster */
} CallKind;

/* Call a unary method of some broker, others when it fails, until the deadline.
 *
 * @ret_response: rpc_message_unref; may be NULL; untouched on failure
 *
 * Returns NULL or an error that says whether the outcome is known. Any thread but the client's. */
MilenaError *client_call(MilenaClient *client, const ProtobufCServiceDescriptor *service, const char *method,
                         const ProtobufCMessage *request, CallKind kind, gint64 deadline_us, RpcMessage **ret_response);

/* The same for a change whose repetition is refused with @done_by: where an earlier try may have made it, that means
 * that it did, and is success; without a response then. */
MilenaError *client_call_done_by(MilenaClient *client, const ProtobufCServiceDescriptor *service, const char *method,
                                 const ProtobufCMessage *request, CallKind kind, FailureReason done_by,
                                 gint64 deadline_us, RpcMessage **ret_response);

G_END_DECLS
