/* See care.h.
 *
 * A learner catches up in rounds, as in Raft's thesis (4.2.1): a round ends when it has what the log held at the
 * round's beginning, and when one took less than an election timeout, the vote that it gets costs the cluster no pause.
 *
 *   learner ──first look──► round 1 ──► ... ──a short round──► PROMOTE proposed ──► voter
 *
 * Invariants: one change of the membership at a time; each round is of the learner's present folder. Owning thread: the
 * host's loop. Failure modes: a proposal that fails is tried again at a later look; a learner that is still too slow
 * after ROUNDS_MAX rounds is told of in the log and by ListControllers, and stays one. */
#include "services/controller/care.h"

#include <string.h>

#include "services/base/slog.h"

#define LOOK_MS 50
#define ROUNDS_MAX 10

typedef struct {
  guint64 id;
  RaftDirectory directory;
  guint round;
  guint64 target; /* the round's end */
  gint64 began_us;
  gboolean told; /* that it is too slow */
  char *text;
} Learner;

struct Care {
  Host *host;
  GSource *timer;
  GPtrArray *learners; /* of Learner */
  gboolean changing;   /* a change of ours is under way */
  gboolean recording;  /* a ControllerRecord of ours is */
  char *last_error;    /* of a change, as was logged; NULL: none since one that went well */
};

/* ---- Changes ---- */

static void change_done(const Failure *failure, MetadataImage *image, gpointer data) {
  (void)image;
  Care *care = data;
  care->changing = FALSE;
  const char *error = failure ? failure_message(failure) : NULL;
  if (error && g_strcmp0(error, care->last_error) != 0)
    slog_info("a change of the controllers is tried again", "error", error, NULL);
  g_free(care->last_error);
  care->last_error = g_strdup(error);
}

static void change(Care *care, RaftChangeKind kind, guint64 id, const RaftDirectory *directory, const char *address) {
  RaftChange wanted = {.kind = kind, .member = {.id = id, .directory = *directory}};
  g_strlcpy(wanted.member.address, address, sizeof wanted.member.address);
  care->changing = TRUE;
  host_change(care->host, &wanted, change_done, care);
}

/* ---- Learners ---- */

static void learner_free(gpointer value) {
  Learner *learner = value;
  g_free(learner->text);
  g_free(learner);
}

static Learner *get_learner(Care *care, const RaftPeerState *peer) {
  for (guint i = 0; i < care->learners->len; i++) {
    Learner *learner = care->learners->pdata[i];
    if (learner->id == peer->id && raft_directory_equal(&learner->directory, &peer->directory))
      return learner;
  }
  Learner *learner = g_new0(Learner, 1);
  learner->id = peer->id;
  learner->directory = peer->directory;
  g_ptr_array_add(care->learners, learner);
  return learner;
}

static void begin_round(Learner *learner, guint64 target, gint64 now_us) {
  learner->round++;
  learner->target = target;
  learner->began_us = now_us;
}

static void explain(Learner *learner, const RaftPeerState *peer, guint64 last) {
  g_free(learner->text);
  if (!peer->heard)
    learner->text = g_strdup("It has not been heard: start it, and see to its peer address.");
  else if (peer->snapshot_index)
    learner->text =
        g_strdup_printf("It is being sent the snapshot: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " bytes.",
                        peer->snapshot_offset, peer->snapshot_size);
  else if (learner->round > ROUNDS_MAX)
    learner->text = g_strdup_printf("After %d rounds it still lacks %" G_GUINT64_FORMAT
                                    " entries: it, or the way to it, is too slow. It votes once it keeps up.",
                                    ROUNDS_MAX, last - MIN(peer->match, last));
  else
    learner->text =
        g_strdup_printf("It catches up, round %u: it lacks %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " entries.",
                        learner->round, last - MIN(peer->match, last), last);
}

static void look_at_learner(Care *care, const RaftPeerState *peer, guint64 last, gint64 now_us) {
  Learner *learner = get_learner(care, peer);
  if (learner->round == 0)
    begin_round(learner, last, now_us);
  gboolean over = peer->heard && peer->match >= learner->target;
  gboolean quick = now_us - learner->began_us < (gint64)host_election_timeout_ms(care->host) * 1000;
  explain(learner, peer, last);
  if (learner->round > ROUNDS_MAX && !learner->told) {
    learner->told = TRUE;
    slog_warning("a new controller does not catch up", "controller", SLOG_INT(peer->id), "why", learner->text, NULL);
  }
  if (!over)
    return;
  if (!quick) {
    begin_round(learner, last, now_us);
  } else if (!care->changing) {
    change(care, RAFT_CHANGE_PROMOTE, peer->id, &peer->directory, "");
  }
}

/* Those that are learners no more, or whose folder was replaced, begin anew if they come back. */
static void forget_others(Care *care) {
  const RaftConfiguration *configuration = host_configuration(care->host);
  for (guint i = care->learners->len; i > 0; i--) {
    const Learner *learner = care->learners->pdata[i - 1];
    const RaftMember *member = raft_configuration_find_exact(configuration, learner->id, &learner->directory);
    if (!member || !member->learner)
      g_ptr_array_remove_index(care->learners, i - 1);
  }
}

const char *care_catch_up(const Care *care, guint64 id) {
  for (guint i = 0; i < care->learners->len; i++) {
    const Learner *learner = care->learners->pdata[i];
    if (learner->id == id && learner->text)
      return learner->text;
  }
  return "";
}

/* ---- Addresses ---- */

static void record_done(const Failure *failure, MetadataImage *image, gpointer data) {
  (void)image;
  Care *care = data;
  care->recording = FALSE;
  if (failure)
    slog_info("a controller's addresses are written down later", "error", failure_message(failure), NULL);
}

/* @records: taken */
static void record(Care *care, GPtrArray *records) {
  g_autoptr(GPtrArray) mine = records;
  if (mine->len == 0 || care->recording)
    return;
  care->recording = TRUE;
  host_propose(care->host, g_steal_pointer(&mine), record_done, care);
}

/* Its record in the metadata: what clients and brokers are told. */
static void record_addresses(Care *care, guint64 id, const char *address, const char *peer_address) {
  MetadataController controller = {.id = (gint32)id, .address = (char *)address, .peer_address = (char *)peer_address};
  GPtrArray *records = metadata_records_new();
  failure_free(metadata_command_controller(host_tip(care->host), &controller, records));
  record(care, records);
}

/* Nobody is sent to controllers that were removed. */
static void forget_removed(Care *care, const RaftConfiguration *configuration) {
  GPtrArray *records = metadata_records_new();
  MetadataImage *tip = host_tip(care->host);
  MetadataIter iter;
  metadata_iter_controllers(&iter, tip);
  for (const MetadataController *controller; (controller = metadata_iter_next_controller(&iter));)
    if (!raft_configuration_find(configuration, (guint64)controller->id))
      failure_free(metadata_command_remove_controller(tip, controller->id, records));
  record(care, records);
}

static void look_at_addresses(Care *care, const RaftMember *member) {
  Host *host = care->host;
  gboolean self = member->id == (guint64)host_id(host);
  TransportPeer peer = transport_peer(host_transport(host), member->id, &member->directory);
  const char *address = self ? host_address(host) : peer.address;
  const char *peer_address = self ? host_peer_address(host) : peer.peer_address;
  if (!address || !peer_address || !*peer_address)
    return;
  /* The only voter of a log of the first release has no directory yet. */
  RaftDirectory directory = self ? *host_directory(host) : member->directory;
  gboolean moved = strcmp(member->address, peer_address) != 0 || raft_directory_is_unknown(&member->directory);
  if (moved && !care->changing && strlen(peer_address) <= RAFT_ADDRESS_BYTES_MAX)
    change(care, RAFT_CHANGE_UPDATE, member->id, &directory, peer_address);
  record_addresses(care, member->id, address, peer_address);
}

/* ---- Looking ---- */

static gboolean look(gpointer data) {
  Care *care = data;
  if (!host_is_active(care->host)) {
    g_ptr_array_set_size(care->learners, 0);
    return G_SOURCE_CONTINUE;
  }
  forget_others(care);
  RaftConfiguration configuration = *host_configuration(care->host); /* changes may come while it is walked */
  for (guint i = 0; i < configuration.member_count; i++)
    look_at_addresses(care, &configuration.members[i]);
  RaftState state = host_state(care->host);
  if (state.configuration_index <= state.commit)
    forget_removed(care, &configuration);
  gint64 now_us = g_get_monotonic_time();
  for (guint i = 0; i < state.peer_count; i++)
    if (state.peers[i].learner)
      look_at_learner(care, &state.peers[i], state.last, now_us);
  return G_SOURCE_CONTINUE;
}

Care *care_new(Host *host) {
  Care *care = g_new0(Care, 1);
  care->host = host;
  care->learners = g_ptr_array_new_with_free_func(learner_free);
  return care;
}

void care_start(Care *care) {
  care->timer = loop_add_timeout(host_loop(care->host), LOOK_MS, look, care);
}

void care_stop(Care *care) {
  g_source_destroy(care->timer);
  g_clear_pointer(&care->timer, g_source_unref);
}

void care_free(Care *care) {
  if (!care)
    return;
  g_ptr_array_unref(care->learners);
  g_free(care->last_error);
  g_free(care);
}
