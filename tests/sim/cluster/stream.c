/* See broker.h: streams between a follower and a leader, as services/broker/replication/{link,feed,following}.c have
 * them.
 *
 *   follower: closed ──► opening ──ready──► open ──lost──► closed
 *     a log:  WANTS ──position told──► ASKED ──goes on──► FOLLOWS;  cut, refused, link lost: WANTS again
 *   leader:   a feed for each log that goes on, until it is asked anew, leaves, or the stream is lost
 *
 * A stream keeps its order, and loses nothing but its end: from the first frame that does not get through nothing does
 * in that direction, and each side hears of it sooner or later, while a new stream may be open already.
 *
 * Invariants: what comes from a former life of either process is nobody's. */
#include "tests/sim/cluster/office.h"
#include "tests/sim/cluster/rules.h"

#define RETRY_US 60000
#define REOPEN_US 50000
#define NOTICED_MAX_US 1500000
#define BATCHES_MAX 4
#define READ_MAX_US 2000

typedef enum { TO_LEADER, TO_FOLLOWER } Direction;
typedef enum { FRAME_INIT, FRAME_BEGIN, FRAME_PROGRESS, FRAME_END, FRAME_READY, FRAME_MATCH, FRAME_RECORDS } FrameKind;
#define REFUSED (-1)

struct Stream {
  Cluster *cluster;
  gint32 ids[2];    /* of the leader, of the follower: by where frames go */
  guint lives[2];   /* of the two processes */
  gboolean open[2]; /* for the two */
  gboolean ready;   /* the follower knows that the leader has it */
  gboolean dead[2]; /* nothing more gets through there */
  gint64 arrival_us[2];
  guint64 broker_epoch; /* of the follower */
  GHashTable *feeds;    /* log_id -> Feed; the leader's */
};

typedef struct {
  guint64 log_id; /* first: the key */
  gint32 leader_epoch;
  guint64 visit;
  gint64 next_offset, told_watermark;
} Feed;

typedef struct {
  Stream *stream;
  Direction to;
  FrameKind kind;
  guint64 log_id;
  gint32 leader_epoch;
  ReplicaPosition position;       /* BEGIN */
  gint64 written_end, synced_end; /* PROGRESS */
  int match;                      /* MATCH: of ReplicaMatch, or REFUSED */
  gint32 epoch;
  gint64 end_offset;
  GPtrArray *batches; /* RECORDS */
  gint64 high_watermark;
} Frame;

static void stream_clear(gpointer data) {
  Stream *stream = data;
  g_hash_table_unref(stream->feeds);
}

void stream_unref(gpointer stream) {
  g_rc_box_release_full(stream, stream_clear);
}

static void frame_free(gpointer data) {
  Frame *frame = data;
  g_clear_pointer(&frame->batches, g_ptr_array_unref);
  stream_unref(frame->stream);
  g_free(frame);
}

static Broker *side(const Stream *stream, Direction to) {
  Broker *broker = stream->cluster->brokers[stream->ids[to]];
  return broker->up && broker->life == stream->lives[to] ? broker : NULL;
}

/* ---- Sending ---- */

static void lost(Stream *stream, Direction at);

typedef struct {
  Stream *stream;
  Direction at;
} Notice;

static void notice_free(gpointer data) {
  Notice *notice = data;
  stream_unref(notice->stream);
  g_free(notice);
}

static void hears_of_end(Broker *broker, gpointer data) {
  (void)broker;
  const Notice *notice = data;
  lost(notice->stream, notice->at);
}

static void end_is_noticed(gpointer data) {
  const Notice *notice = data;
  Broker *broker = side(notice->stream, notice->at);
  if (!broker)
    return;
  Notice *again = g_new(Notice, 1);
  *again = (Notice){g_rc_box_acquire(notice->stream), notice->at};
  broker_post(broker, hears_of_end, again, notice_free);
}

static void notice_later(Stream *stream, Direction at) {
  Sim *sim = stream->cluster->sim;
  Notice *notice = g_new(Notice, 1);
  *notice = (Notice){g_rc_box_acquire(stream), at};
  gint64 delay_us = sim_chance(sim, 500) ? sim_between(sim, 0, 5000) : sim_between(sim, 0, NOTICED_MAX_US);
  sim_after(sim, delay_us, end_is_noticed, notice, notice_free);
}

static void arrives(gpointer data);

static Frame *frame_new(Stream *stream, Direction to, FrameKind kind, guint64 log_id, gint32 leader_epoch) {
  Frame *frame = g_new0(Frame, 1);
  frame->stream = g_rc_box_acquire(stream);
  frame->to = to;
  frame->kind = kind;
  frame->log_id = log_id;
  frame->leader_epoch = leader_epoch;
  return frame;
}

static void frame_send(Frame *frame) {
  Stream *stream = frame->stream;
  Cluster *cluster = stream->cluster;
  const World *world = cluster->world;
  Direction to = frame->to;
  guint target = broker_endpoint(stream->ids[to]), source = broker_endpoint(stream->ids[!to]);
  if (!stream->dead[to] &&
      (world->cut[source][target] || sim_chance(cluster->sim, world->faults.drop_per_mille / 20))) {
    stream->dead[to] = TRUE;
    notice_later(stream, TO_LEADER);
    notice_later(stream, TO_FOLLOWER);
  }
  if (stream->dead[to]) {
    frame_free(frame);
    return;
  }
  gint64 delay_us = sim_between(cluster->sim, world->faults.delay_min_us, world->faults.delay_max_us) +
                    cluster->brokers[stream->ids[0]]->slow_us + cluster->brokers[stream->ids[1]]->slow_us;
  if (sim_chance(cluster->sim, world->faults.late_per_mille / 4))
    delay_us += sim_between(cluster->sim, 0, world->faults.late_max_us);
  gint64 now_us = sim_now_us(cluster->sim);
  stream->arrival_us[to] = MAX(stream->arrival_us[to], now_us + delay_us);
  sim_after(cluster->sim, stream->arrival_us[to] - now_us, arrives, frame, NULL);
}

/* ---- The leader's side ---- */

static void end_visit(Broker *leader, const Stream *stream, const Feed *feed) {
  Log *log = log_find(leader, feed->log_id);
  if (log && feed->visit > 0)
    replica_follower_left(log->replica, stream->ids[TO_FOLLOWER], feed->visit);
}

static void forget(Broker *leader, Stream *stream, guint64 log_id) {
  const Feed *feed = g_hash_table_lookup(stream->feeds, &log_id);
  if (!feed)
    return;
  end_visit(leader, stream, feed);
  g_hash_table_remove(stream->feeds, &log_id);
}

static void send_match(Stream *stream, const Frame *begin, int match, gint32 epoch, gint64 end_offset) {
  Frame *frame = frame_new(stream, TO_FOLLOWER, FRAME_MATCH, begin->log_id, begin->leader_epoch);
  frame->match = match;
  frame->epoch = epoch;
  frame->end_offset = end_offset;
  frame_send(frame);
}

static Log *find_led(const Broker *broker, guint64 log_id, gint32 leader_epoch) {
  Log *log = log_find(broker, log_id);
  return log && replica_leads(log->replica) && replica_leader_epoch(log->replica) == leader_epoch ? log : NULL;
}

static void take_begin(Broker *leader, Stream *stream, const Frame *begin) {
  forget(leader, stream, begin->log_id);
  Log *log = find_led(leader, begin->log_id, begin->position.leader_epoch);
  ReplicaMatch match = REPLICA_GOES_ON;
  gint32 epoch = 0;
  gint64 end = 0;
  g_autoptr(Failure) failure = log ? replica_match(log->replica, &begin->position, &match, &epoch, &end) : NULL;
  if (!log || failure) {
    send_match(stream, begin, REFUSED, 0, 0);
    return;
  }
  if (match != REPLICA_GOES_ON) {
    send_match(stream, begin, (int)match, epoch, end);
    return;
  }
  ReplicaOut out = REPLICA_OUT_INIT;
  guint64 visit = replica_follower_begins(log->replica, stream->ids[TO_FOLLOWER], stream->broker_epoch,
                                          &begin->position, broker_now_ms(leader), &out);
  send_match(stream, begin, visit ? (int)REPLICA_GOES_ON : REFUSED, 0, 0);
  if (visit) {
    Feed *feed = g_new0(Feed, 1);
    *feed = (Feed){begin->log_id, begin->leader_epoch, visit, begin->position.end_offset, -1};
    g_hash_table_replace(stream->feeds, &feed->log_id, feed);
  }
  log_settle(log, &out);
  proposals_look_soon(leader);
  stream_log_moved(log);
}

static void take_progress(Broker *leader, const Stream *stream, const Frame *frame) {
  Log *log = find_led(leader, frame->log_id, frame->leader_epoch);
  if (!log)
    return;
  ReplicaOut out = REPLICA_OUT_INIT;
  if (replica_follower_progress(log->replica, stream->ids[TO_FOLLOWER], stream->broker_epoch, frame->written_end,
                                frame->synced_end, broker_now_ms(leader), &out))
    proposals_look_soon(leader);
  log_settle(log, &out);
}

static guint place_of(const Log *log, gint64 offset) {
  guint place = log->batches->len;
  while (place > 0 && ((const Batch *)log->batches->pdata[place - 1])->batch.base_offset >= offset)
    place--;
  return place;
}

/* Returns FALSE when there is nothing (more) to send. */
static gboolean push_chunk(Log *log, Stream *stream, Feed *feed) {
  gint64 high_watermark = replica_high_watermark(log->replica);
  gint64 end = replica_log_end(log->replica);
  if (feed->next_offset >= end && high_watermark <= feed->told_watermark)
    return FALSE;
  Frame *frame = frame_new(stream, TO_FOLLOWER, FRAME_RECORDS, log->log_id, feed->leader_epoch);
  frame->batches = g_ptr_array_new_with_free_func(batch_unref);
  frame->high_watermark = feed->told_watermark = high_watermark;
  guint first = place_of(log, feed->next_offset), most = 1 + sim_below(stream->cluster->sim, BATCHES_MAX);
  for (guint i = first; i < log->batches->len && i < first + most; i++) {
    Batch *batch = log->batches->pdata[i];
    g_ptr_array_add(frame->batches, batch_ref(batch));
    feed->next_offset = log_batch_next_offset(&batch->batch);
  }
  frame_send(frame);
  return TRUE;
}

static void push_to(Broker *leader, Log *log, Stream *stream) {
  Feed *feed = g_hash_table_lookup(stream->feeds, &log->log_id);
  if (!feed || !stream->open[TO_LEADER])
    return;
  if (!find_led(leader, log->log_id, feed->leader_epoch)) {
    const Frame asked = {.log_id = log->log_id, .leader_epoch = feed->leader_epoch};
    forget(leader, stream, log->log_id);
    send_match(stream, &asked, REFUSED, 0, 0);
    return;
  }
  while (push_chunk(log, stream, feed))
    ;
}

static void push(Broker *leader, gpointer data) {
  Log *log = log_find(leader, GPOINTER_TO_SIZE(data));
  if (!log)
    return;
  log->pushing = FALSE;
  for (guint i = 0; i < leader->streams->len; i++)
    push_to(leader, log, leader->streams->pdata[i]);
}

/* ---- The follower's side ---- */

static void try_begin(Log *log);

static void retry(Broker *broker, gpointer data) {
  Log *log = log_find(broker, GPOINTER_TO_SIZE(data));
  if (!log)
    return;
  log->retrying = FALSE;
  try_begin(log);
}

static void ask_anew(Log *log, gint64 delay_us) {
  log->state = LOG_WANTS;
  if (delay_us == 0) {
    try_begin(log);
  } else if (!log->retrying) {
    log->retrying = TRUE;
    broker_after(log->broker, delay_us, retry, GSIZE_TO_POINTER(log->log_id), NULL);
  }
}

static void try_begin(Log *log) {
  Stream *link = log->leader > 0 ? log->broker->links[log->leader] : NULL;
  ReplicaPosition position;
  if (log->state != LOG_WANTS || log->retrying || !link || !link->ready)
    return;
  if (replica_damage(log->replica))
    log_mend(log);
  if (!replica_position(log->replica, &position))
    return;
  log->state = LOG_ASKED;
  Frame *frame = frame_new(link, TO_LEADER, FRAME_BEGIN, log->log_id, position.leader_epoch);
  frame->position = position;
  frame_send(frame);
}

static void leave(Log *log) {
  if (log->state == LOG_OFF)
    return;
  Stream *link = log->broker->links[log->leader];
  log->state = LOG_OFF;
  if (link && link->ready)
    frame_send(frame_new(link, TO_LEADER, FRAME_END, log->log_id, log->following_epoch));
}

void following_assigned(Log *log) {
  gint32 leader = replica_follows(log->replica), epoch = replica_leader_epoch(log->replica);
  if (leader >= 0 && log->state != LOG_OFF && log->following_epoch == epoch) {
    try_begin(log);
    return;
  }
  leave(log);
  log->leader = leader;
  if (leader < 0)
    return;
  log->following_epoch = epoch;
  log->state = LOG_WANTS;
  try_begin(log);
}

static void take_match(Log *log, const Frame *frame) {
  if (frame->leader_epoch != log->following_epoch || log->state == LOG_WANTS || log->state == LOG_OFF)
    return;
  if (frame->match == REFUSED || frame->match == REPLICA_TOO_OLD) {
    ask_anew(log, RETRY_US);
  } else if (frame->match == REPLICA_DIVERGED) {
    log_cut(log, frame->epoch, frame->end_offset);
    ask_anew(log, 0);
  } else {
    log->state = LOG_FOLLOWS;
    rules_log_changed(log);
    stream_log_moved(log); /* what was synced since it asked would else be told with the next write alone */
  }
}

static void take_records(Log *log, const Frame *frame) {
  if (log->state != LOG_FOLLOWS || frame->leader_epoch != log->following_epoch)
    return;
  for (guint i = 0; i < frame->batches->len; i++) {
    if (!log_follow(log, frame->leader_epoch, frame->batches->pdata[i])) {
      sim_violated(log->broker->cluster->sim, "broker %d, which goes on in log %d, refuses the next batch",
                   log->broker->id, (int)log->log_id);
      ask_anew(log, RETRY_US);
      return;
    }
  }
  ReplicaOut out = REPLICA_OUT_INIT;
  replica_follow_watermark(log->replica, frame->leader_epoch, frame->high_watermark, &out);
  log_settle(log, &out);
}

static void flush(Broker *broker, gpointer data) {
  (void)data;
  broker->flushing = FALSE;
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, broker->logs);
  while (g_hash_table_iter_next(&iter, NULL, &value)) {
    Log *log = value;
    Stream *link = log->state == LOG_FOLLOWS ? broker->links[log->leader] : NULL;
    if (!log->dirty || !link)
      continue;
    log->dirty = FALSE;
    Frame *frame = frame_new(link, TO_LEADER, FRAME_PROGRESS, log->log_id, log->following_epoch);
    replica_progress(log->replica, &frame->written_end, &frame->synced_end);
    frame_send(frame);
  }
}

void stream_log_moved(Log *log) {
  Broker *broker = log->broker;
  if (!log->pushing && broker->streams->len > 0) {
    log->pushing = TRUE;
    broker_after(broker, sim_between(broker->cluster->sim, 0, READ_MAX_US), push, GSIZE_TO_POINTER(log->log_id), NULL);
  }
  if (log->state == LOG_WANTS)
    try_begin(log);
  if (log->state != LOG_FOLLOWS)
    return;
  log->dirty = TRUE;
  if (!broker->flushing) {
    broker->flushing = TRUE;
    broker_after(broker, 0, flush, NULL, NULL);
  }
}

/* ---- Frames ---- */

static void take_frame(Broker *broker, gpointer data) {
  const Frame *frame = data;
  Stream *stream = frame->stream;
  Log *log = log_find(broker, frame->log_id);
  if (!stream->open[frame->to] || (frame->to == TO_FOLLOWER && broker->links[stream->ids[TO_LEADER]] != stream))
    return;
  broker->cluster->events++;
  gboolean ours = log && frame->to == TO_FOLLOWER && log->leader == stream->ids[TO_LEADER];
  if (frame->kind == FRAME_INIT) {
    g_ptr_array_add(broker->streams, g_rc_box_acquire(stream));
    frame_send(frame_new(stream, TO_FOLLOWER, FRAME_READY, 0, 0));
  } else if (frame->kind == FRAME_BEGIN) {
    take_begin(broker, stream, frame);
  } else if (frame->kind == FRAME_PROGRESS) {
    take_progress(broker, stream, frame);
  } else if (frame->kind == FRAME_END) {
    forget(broker, stream, frame->log_id);
  } else if (frame->kind == FRAME_READY) {
    stream->ready = TRUE;
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, broker->logs);
    while (g_hash_table_iter_next(&iter, NULL, &value))
      if (((Log *)value)->leader == stream->ids[TO_LEADER] && ((Log *)value)->state != LOG_OFF)
        ask_anew(value, 0);
  } else if (frame->kind == FRAME_MATCH && ours) {
    take_match(log, frame);
  } else if (frame->kind == FRAME_RECORDS && ours) {
    take_records(log, frame);
  }
}

static void arrives(gpointer data) {
  Frame *frame = data;
  Broker *broker = side(frame->stream, frame->to);
  if (broker) {
    broker_post(broker, take_frame, frame, frame_free);
    return;
  }
  /* Nobody is there, or another process, which knows nothing of the connection. */
  frame->stream->dead[frame->to] = TRUE;
  notice_later(frame->stream, !frame->to);
  frame_free(frame);
}

/* ---- Opening and closing ---- */

static void look_again(Broker *broker, gpointer data) {
  (void)data;
  streams_look(broker);
}

/* Nothing of the stream comes to this side any more. */
static void lost(Stream *stream, Direction at) {
  Broker *broker = side(stream, at);
  if (!broker || !stream->open[at])
    return;
  stream->open[at] = FALSE;
  if (at == TO_LEADER) {
    GHashTableIter iter;
    gpointer feed;
    g_hash_table_iter_init(&iter, stream->feeds);
    while (g_hash_table_iter_next(&iter, NULL, &feed))
      end_visit(broker, stream, feed);
    g_hash_table_remove_all(stream->feeds);
    g_ptr_array_remove(broker->streams, stream);
    return;
  }
  gint32 leader = stream->ids[TO_LEADER];
  if (broker->links[leader] != stream)
    return;
  broker->links[leader] = NULL;
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, broker->logs);
  while (g_hash_table_iter_next(&iter, NULL, &value))
    if (((Log *)value)->leader == leader && ((Log *)value)->state != LOG_OFF)
      ((Log *)value)->state = LOG_WANTS;
  broker->reopen_us[leader] = sim_now_us(broker->cluster->sim) + REOPEN_US;
  broker_after(broker, REOPEN_US * 2, look_again, NULL, NULL);
  stream_unref(stream);
}

/* This side ends it: the other one hears of it, sooner or later. */
static void close_stream(Stream *stream, Direction at) {
  g_rc_box_acquire(stream);
  lost(stream, at);
  notice_later(stream, at == TO_LEADER ? TO_FOLLOWER : TO_LEADER);
  stream_unref(stream);
}

static void open_link(Broker *broker, gint32 leader) {
  Cluster *cluster = broker->cluster;
  Stream *stream = g_rc_box_new0(Stream);
  *stream = (Stream){.cluster = cluster,
                     .ids = {[TO_LEADER] = leader, [TO_FOLLOWER] = broker->id},
                     .lives = {[TO_LEADER] = cluster->brokers[leader]->life, [TO_FOLLOWER] = broker->life},
                     .open = {TRUE, TRUE},
                     .broker_epoch = broker->epoch};
  stream->feeds = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
  broker->links[leader] = stream;
  if (!cluster->brokers[leader]->up)
    notice_later(stream, TO_FOLLOWER); /* nobody listens there */
  frame_send(frame_new(stream, TO_LEADER, FRAME_INIT, 0, 0));
}

static gboolean is_needed(const Broker *broker, gint32 leader) {
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init(&iter, broker->logs);
  while (g_hash_table_iter_next(&iter, NULL, &value))
    if (((Log *)value)->leader == leader && ((Log *)value)->state != LOG_OFF)
      return TRUE;
  return FALSE;
}

void streams_look(Broker *broker) {
  for (gint32 id = 1; id <= (gint32)broker->cluster->shape.brokers; id++) {
    Stream *link = broker->links[id];
    gboolean needed = is_needed(broker, id);
    if (link && (!needed || link->broker_epoch != broker->epoch))
      close_stream(link, TO_FOLLOWER);
    if (needed && !broker->links[id] && sim_now_us(broker->cluster->sim) >= broker->reopen_us[id])
      open_link(broker, id);
  }
}

void streams_end(Broker *broker) {
  for (gint32 id = 1; id <= (gint32)broker->cluster->shape.brokers; id++) {
    Stream *link = broker->links[id];
    if (link) {
      link->open[TO_FOLLOWER] = FALSE;
      broker->links[id] = NULL;
      notice_later(link, TO_LEADER);
      stream_unref(link);
    }
    broker->reopen_us[id] = 0;
    /* Also what has not come to its ears yet. */
    const Broker *other = broker->cluster->brokers[id];
    Stream *followed = other ? other->links[broker->id] : NULL;
    if (followed && followed->lives[TO_LEADER] == broker->life) {
      followed->open[TO_LEADER] = FALSE;
      notice_later(followed, TO_FOLLOWER);
    }
  }
  g_ptr_array_set_size(broker->streams, 0);
}
