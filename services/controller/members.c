/* See members.h. */
#include "services/controller/members.h"

#include <stdlib.h>

#include "services/base/times.h"

static const RaftPeerState *find_peer(const RaftState *state, guint64 id) {
  for (guint i = 0; i < state->peer_count; i++)
    if (state->peers[i].id == id)
      return &state->peers[i];
  return NULL;
}

/* ---- Listing ---- */

static int compare_ids(const void *a, const void *b) {
  const RaftMember *x = a, *y = b;
  return x->id < y->id ? -1 : x->id > y->id;
}

static void fill_addresses(const Host *host, const RaftMember *member, const TransportPeer *peer,
                           Milena__V1__ControllerState *body) {
  const MetadataController *record = metadata_image_controller(host_image(host), (gint32)member->id);
  gboolean self = member->id == (guint64)host_id(host);
  const char *address = self ? host_address(host) : record ? record->address : peer->address;
  const char *peer_address = *member->address ? member->address : peer->peer_address;
  body->address = (char *)(address ? address : "");
  body->peer_address = (char *)(self ? host_peer_address(host) : peer_address ? peer_address : "");
}

static void fill_progress(const RaftState *state, const RaftMember *member, Milena__V1__ControllerState *body) {
  const RaftPeerState *peer = find_peer(state, member->id);
  if (!peer || !raft_directory_equal(&peer->directory, &member->directory))
    return;
  guint64 match = peer->self ? state->stable : peer->match;
  body->match_index = match;
  body->lag = state->last - MIN(match, state->last);
}

static void fill_member(const Host *host, const Care *care, const RaftState *state, const RaftMember *member,
                        MemberList *list) {
  guint i = list->count++;
  Milena__V1__ControllerState *body = &list->bodies[i];
  *body = (Milena__V1__ControllerState)MILENA__V1__CONTROLLER_STATE__INIT;
  list->pointers[i] = body;
  TransportPeer peer = transport_peer(host_transport(host), member->id, &member->directory);
  directory_text(&member->directory, list->directories[i]);
  body->id = (gint32)member->id;
  body->directory_id = list->directories[i];
  body->role = member->learner ? MILENA__V1__CONTROLLER_ROLE__CONTROLLER_ROLE_LEARNER
                               : MILENA__V1__CONTROLLER_ROLE__CONTROLLER_ROLE_VOTER;
  body->active = (guint64)host_active_id(host) == member->id;
  fill_addresses(host, member, &peer, body);
  fill_progress(state, member, body);
  if (peer.heard_us) {
    times_duration_set(&list->heard[i], (g_get_monotonic_time() - peer.heard_us) / 1000);
    body->heard_ago = &list->heard[i];
  }
  body->link_error = (char *)(peer.error ? peer.error : "");
  body->catch_up = (char *)(member->learner ? care_catch_up(care, member->id) : "");
}

void members_fill(const Host *host, const Care *care, MemberList *ret_list) {
  RaftState state = host_state(host);
  RaftConfiguration *configuration = &ret_list->configuration;
  *configuration = *host_configuration(host);
  qsort(configuration->members, configuration->member_count, sizeof *configuration->members, compare_ids);
  ret_list->count = 0;
  for (guint i = 0; i < configuration->member_count; i++)
    fill_member(host, care, &state, &configuration->members[i], ret_list);
}

Milena__V1__ControllerState *members_find(MemberList *list, guint64 id) {
  for (guint i = 0; i < list->count; i++)
    if ((guint64)list->bodies[i].id == id)
      return &list->bodies[i];
  return NULL;
}

/* ---- Removal ---- */

/* How the voters would stand without the member. */
typedef struct {
  guint voters, answering;
  guint64 silent; /* one that does not answer; 0: all do */
} Rest;

static Rest rest_without(const Host *host, guint64 id) {
  const RaftConfiguration *configuration = host_configuration(host);
  RaftState state = host_state(host);
  Rest rest = {0};
  for (guint i = 0; i < configuration->member_count; i++) {
    const RaftMember *member = &configuration->members[i];
    const RaftPeerState *peer = find_peer(&state, member->id);
    if (member->learner || member->id == id)
      continue;
    rest.voters++;
    if (peer && (peer->self || peer->heard))
      rest.answering++;
    else
      rest.silent = member->id;
  }
  return rest;
}

Failure *members_check_removal(const Host *host, guint64 id, gboolean force) {
  const RaftMember *member = raft_configuration_find(host_configuration(host), id);
  if (!member || member->learner)
    return NULL;
  Rest rest = rest_without(host, id);
  guint majority = rest.voters / 2 + 1;
  if (rest.voters == 0)
    return failure_new(FAILURE(QUORUM_AT_RISK),
                       "The controller %" G_GUINT64_FORMAT " is the last one with a vote: without it there is no "
                       "cluster. Add another first.",
                       id);
  if (rest.answering < majority)
    return failure_new(FAILURE(QUORUM_AT_RISK),
                       "Without the controller %" G_GUINT64_FORMAT " only %u of %u voters would answer, which is no "
                       "majority: nothing could be changed any more. Bring the others back, or add others, first.",
                       id, rest.answering, rest.voters);
  TransportPeer peer = transport_peer(host_transport(host), id, &member->directory);
  gboolean answers = id == (guint64)host_id(host) || (!peer.down && !peer.error);
  if (!force && rest.silent && answers)
    return failure_new(FAILURE(QUORUM_AT_RISK),
                       "The controller %" G_GUINT64_FORMAT " answers, and %" G_GUINT64_FORMAT " does not: without the "
                       "first, fewer failures would be survived. Remove or mend the silent one first, or say force.",
                       id, rest.silent);
  return NULL;
}
