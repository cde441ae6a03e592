/* A member of a consumer group that is a stream: Subscribe over the public protos alone, at any broker, at the next one
 * when that one is gone. It notes what it does (notes.h), and commits after it processes.
 *
 *   stream_member BROKER,BROKER... TOPIC GROUP FIRST FILE      FIRST: index of the broker to begin with
 *
 *   CLOSED ──open──► OPEN ──closed by anybody──► CLOSED (what it had is gone) ──after a while──► OPEN, elsewhere
 *   OPEN ──SIGTERM: half-close──► LEAVING ──closed──► the process ends
 *
 * Invariants: at most one commit of a partition is on its way; a partition that is not the member's has no entry in
 * `parts`. Who comes back with its member id is the same member: its partitions are given again, from what was
 * committed. Owner: the main thread, which runs the loop. */
#include <glib-unix.h>
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "milena/v1/consumer_service.pb-c.h"
#include "services/rpc/client.h"
#include "tests/chaos/groups/notes.h"

#define OPEN_AGAIN_MS 200
#define TICK_MS 200
#define CREDIT_RECORDS 200

typedef struct {
  gint64 position;   /* the next to read */
  gint64 committed;  /* what was answered, or where it began */
  guint64 commit_id; /* on its way; 0: none */
  gint64 committing; /* what that one says */
} Part;

typedef struct {
  Notes notes;
  Loop *loop;
  RpcClient *client;
  char **brokers;
  guint broker; /* index of the next one to try */
  char *topic, *group, *member_id;
  RpcClientCall *call; /* NULL: CLOSED */
  GHashTable *parts;   /* partition → Part */
  guint polls;
  gboolean is_leaving;
} Member;

static void open_stream(Member *member);

/* ---- Sending ---- */

static void send_frame(Member *member, Milena__V1__SubscribeRequest *frame) {
  if (rpc_client_call_send(member->call, &frame->base, NULL, 0) == RPC_BUSY)
    g_error("the stream takes no more: a member sends little");
}

static void commit(Member *member, gint32 partition, Part *part) {
  Milena__V1__OffsetCommit one = MILENA__V1__OFFSET_COMMIT__INIT, *offsets[] = {&one};
  Milena__V1__SubscribeCommit body = MILENA__V1__SUBSCRIBE_COMMIT__INIT;
  Milena__V1__SubscribeRequest frame = MILENA__V1__SUBSCRIBE_REQUEST__INIT;
  if (part->commit_id || part->position == part->committed || member->is_leaving)
    return;
  part->committing = part->position;
  part->commit_id = notes_asked(&member->notes, partition, part->committing);
  one.topic = member->topic;
  one.partition = partition;
  one.offset = part->committing;
  body.n_offsets = 1;
  body.offsets = offsets;
  body.commit_id = part->commit_id;
  frame.frame_case = MILENA__V1__SUBSCRIBE_REQUEST__FRAME_COMMIT;
  frame.commit = &body;
  send_frame(member, &frame);
}

static void send_credit(Member *member, gsize records) {
  Milena__V1__Credit credit = MILENA__V1__CREDIT__INIT;
  Milena__V1__SubscribeRequest frame = MILENA__V1__SUBSCRIBE_REQUEST__INIT;
  credit.records = records;
  frame.frame_case = MILENA__V1__SUBSCRIBE_REQUEST__FRAME_CREDIT;
  frame.credit = &credit;
  if (!member->is_leaving)
    send_frame(member, &frame);
}

static void acknowledge(Member *member, guint64 id) {
  Milena__V1__AssignmentAcknowledgement body = MILENA__V1__ASSIGNMENT_ACKNOWLEDGEMENT__INIT;
  Milena__V1__SubscribeRequest frame = MILENA__V1__SUBSCRIBE_REQUEST__INIT;
  body.assignment_id = id;
  frame.frame_case = MILENA__V1__SUBSCRIBE_REQUEST__FRAME_ACKNOWLEDGEMENT;
  frame.acknowledgement = &body;
  if (!member->is_leaving)
    send_frame(member, &frame);
}

/* ---- Hearing ---- */

static Part *part_find(const Member *member, gint32 partition) {
  return g_hash_table_lookup(member->parts, GINT_TO_POINTER(partition));
}

static void lose(Member *member, gint32 partition) {
  if (g_hash_table_remove(member->parts, GINT_TO_POINTER(partition)))
    notes_gone(&member->notes, partition);
}

static void take_assignment(Member *member, const Milena__V1__AssignmentChange *change) {
  for (gsize i = 0; i < change->n_lost; i++)
    for (gsize k = 0; k < change->lost[i]->n_partitions; k++)
      lose(member, change->lost[i]->partitions[k]);
  for (gsize i = 0; i < change->n_gained; i++) {
    const Milena__V1__SubscribeStart *start = change->gained[i];
    Part *part = g_new0(Part, 1);
    part->position = part->committed = start->offset;
    lose(member, start->partition); /* it is a tenure of its own, whatever was before */
    g_hash_table_insert(member->parts, GINT_TO_POINTER(start->partition), part);
    notes_given(&member->notes, start->partition);
  }
  acknowledge(member, change->assignment_id);
}

static void take_data(Member *member, const Milena__V1__FetchedPartition *data) {
  Part *part = part_find(member, data->partition);
  if (data->status || !part) { /* the broker goes on by itself */
    send_credit(member, data->n_records);
    return;
  }
  member->polls++;
  for (gsize i = 0; i < data->n_records; i++) {
    const Milena__V1__ConsumedRecord *record = data->records[i];
    notes_read(&member->notes, data->partition, member->polls, record->offset, record->value.data, record->value.len);
  }
  notes_write(&member->notes);
  part->position = data->next_offset;
  send_credit(member, data->n_records);
  commit(member, data->partition, part);
}

static void take_answer(Member *member, const Milena__V1__CommitDone *done) {
  const Google__Rpc__Status *status = done->status           ? done->status
                                      : done->n_results == 1 ? done->results[0]->status
                                                             : NULL;
  g_autoptr(Failure) failure = status ? failure_from_status(status) : NULL;
  notes_answered(&member->notes, done->commit_id, failure ? failure_reason_name(failure_reason(failure)) : NULL);
  GHashTableIter iter;
  gpointer key, data;
  g_hash_table_iter_init(&iter, member->parts);
  while (g_hash_table_iter_next(&iter, &key, &data)) {
    Part *part = data;
    if (part->commit_id != done->commit_id)
      continue;
    part->commit_id = 0;
    if (failure) /* the next tick tries again, if it is still the member's */
      return;
    part->committed = part->committing;
    commit(member, GPOINTER_TO_INT(key), part);
    return;
  }
}

static void on_message(RpcClientCall *call, RpcMessage *message, gpointer state) {
  Member *member = state;
  const Milena__V1__SubscribeResponse *frame = rpc_message_body(message);
  switch (frame->frame_case) {
  case MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_READY:
    g_free(member->member_id);
    member->member_id = g_strdup(frame->ready->member_id);
    break;
  case MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_ASSIGNMENT:
    take_assignment(member, frame->assignment);
    break;
  case MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_DATA:
    take_data(member, frame->data);
    break;
  case MILENA__V1__SUBSCRIBE_RESPONSE__FRAME_COMMIT_DONE:
    take_answer(member, frame->commit_done);
    break;
  default: /* draining: the broker closes the stream next */
    break;
  }
  rpc_client_call_read(call);
}

/* ---- Streams ---- */

static gboolean on_open_again(gpointer data) {
  open_stream(data);
  return G_SOURCE_REMOVE;
}

static void after(Member *member, guint delay_ms, GSourceFunc func) {
  GSource *source = loop_add_timeout(member->loop, delay_ms, func, member);
  g_source_unref(source);
}

static void lose_all(Member *member) {
  g_autoptr(GList) partitions = g_hash_table_get_keys(member->parts);
  for (GList *one = partitions; one; one = one->next)
    lose(member, GPOINTER_TO_INT(one->data));
}

static void on_closed(RpcClientCall *call, const Failure *failure, gpointer state) {
  Member *member = state;
  rpc_client_call_unref(call);
  member->call = NULL;
  lose_all(member);
  if (member->is_leaving) {
    loop_quit(member->loop);
    return;
  }
  if (failure)
    fprintf(stderr, "stream at %s: %s\n", member->brokers[member->broker], failure_message(failure));
  member->broker = (member->broker + 1) % g_strv_length(member->brokers);
  after(member, OPEN_AGAIN_MS, on_open_again);
}

static void open_stream(Member *member) {
  static const RpcClientEvents EVENTS = {.message = on_message, .closed = on_closed};
  Milena__V1__GroupSubscription subscription = MILENA__V1__GROUP_SUBSCRIPTION__INIT;
  Milena__V1__SubscribeMembership membership = MILENA__V1__SUBSCRIBE_MEMBERSHIP__INIT;
  Milena__V1__Credit credit = MILENA__V1__CREDIT__INIT;
  Milena__V1__SubscribeInit init = MILENA__V1__SUBSCRIBE_INIT__INIT;
  Milena__V1__SubscribeRequest frame = MILENA__V1__SUBSCRIBE_REQUEST__INIT;
  if (member->is_leaving) {
    loop_quit(member->loop);
    return;
  }
  subscription.n_topics = 1;
  subscription.topics = &member->topic;
  membership.subscription = &subscription;
  membership.offset_reset = MILENA__V1__OFFSET_RESET__OFFSET_RESET_EARLIEST;
  membership.member_id = member->member_id;
  credit.records = CREDIT_RECORDS;
  init.group = member->group;
  init.membership = &membership;
  init.format = MILENA__V1__FORMAT__FORMAT_RECORDS;
  init.initial_credit = &credit;
  frame.frame_case = MILENA__V1__SUBSCRIBE_REQUEST__FRAME_INIT;
  frame.init = &init;
  member->call =
      rpc_client_stream(member->client, member->brokers[member->broker], &milena__v1__consumer_service__descriptor,
                        "Subscribe", G_MAXINT64, member->loop, &EVENTS, member);
  send_frame(member, &frame);
  rpc_client_call_read(member->call);
}

/* Commits that failed. */
static gboolean on_tick(gpointer data) {
  Member *member = data;
  GHashTableIter iter;
  gpointer key, part;
  g_hash_table_iter_init(&iter, member->parts);
  while (member->call && g_hash_table_iter_next(&iter, &key, &part))
    commit(member, GPOINTER_TO_INT(key), part);
  return G_SOURCE_CONTINUE;
}

static gboolean on_asked_to_leave(gpointer data) {
  Member *member = data;
  if (member->is_leaving)
    return G_SOURCE_CONTINUE;
  member->is_leaving = TRUE;
  if (member->call)
    rpc_client_call_half_close(member->call);
  else
    loop_quit(member->loop);
  return G_SOURCE_CONTINUE;
}

int main(int argc, char **argv) {
  if (argc != 6) {
    fprintf(stderr, "usage: stream_member BROKER,BROKER... TOPIC GROUP FIRST FILE\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  signal(SIGUSR1, SIG_IGN); /* it has no polls to be slow with: credits hold back */
  Member member = {
      .loop = loop_new("stream", 1 << 12),
      .client = rpc_client_new(NULL),
      .brokers = g_strsplit(argv[1], ",", -1),
      .topic = argv[2],
      .group = argv[3],
      .member_id = g_uuid_string_random(),
      .parts = g_hash_table_new_full(NULL, NULL, NULL, g_free),
  };
  member.broker = (guint)g_ascii_strtoull(argv[4], NULL, 10) % g_strv_length(member.brokers);
  notes_open(&member.notes, argv[5]);
  GSource *term = g_unix_signal_source_new(SIGTERM);
  g_source_set_callback(term, on_asked_to_leave, &member, NULL);
  g_source_attach(term, loop_context(member.loop));
  GSource *ticks = loop_add_timeout(member.loop, TICK_MS, on_tick, &member);
  after(&member, 0, on_open_again);
  loop_run(member.loop);
  g_source_destroy(ticks);
  g_source_unref(ticks);
  g_source_destroy(term);
  g_source_unref(term);
  rpc_client_free(member.client);
  loop_free(member.loop);
  g_hash_table_unref(member.parts);
  g_strfreev(member.brokers);
  g_free(member.member_id);
  notes_close(&member.notes);
  return EXIT_SUCCESS;
}
