/* ListGroups: a page of this coordinator's groups. Each tenure gives a page of its own; together, in the order of
 * names, they give one.
 *
 * The token of a page is "group:" and the last name before it: it holds when groups come and go, and when leases move.
 * Invariant: `open` counts the tenures that have not answered, and one for the beginning. Owner: the coordinator's
 * loop. Failure modes: partitions that can't be asked now are counted in `missing`, by the reason; their groups may be
 * on no page. */
#include <string.h>

#include "services/group_coordinator/group_call.h"

#define PAGE_DEFAULT 100

typedef struct GroupListing GroupListing;

/* One tenure's part. */
typedef struct {
  GroupAsk ask; /* first */
  GroupListing *listing;
} ListPart;

/* Why some of the partitions can't be asked. */
typedef struct {
  Failure *failure; /* of the first of them; owned */
  guint partitions;
} Missing;

struct GroupListing {
  Coordinator *coordinator;
  RpcCall *rpc;
  guint limit;
  guint open;
  GPtrArray *parts; /* of ListPart, owned */
  GPtrArray *pages; /* of ListGroupsResponse, owned */
  GArray *missing;  /* of Missing, by reason */
};

/* ---- the answer ---- */

static gint compare_names(gconstpointer a, gconstpointer b) {
  return strcmp((*(Milena__V1__GroupSummary *const *)a)->group, (*(Milena__V1__GroupSummary *const *)b)->group);
}

static void add_missing(GroupListing *listing, const Failure *failure) {
  for (guint i = 0; i < listing->missing->len; i++) {
    Missing *missing = &g_array_index(listing->missing, Missing, i);
    if (failure_reason(missing->failure) == failure_reason(failure)) {
      missing->partitions++;
      return;
    }
  }
  Missing missing = {failure_copy(failure), 1};
  g_array_append_val(listing->missing, missing);
}

static void free_status(gpointer status) {
  google__rpc__status__free_unpacked(status, NULL);
}

/* A sentence for each reason. Returns an array of Google__Rpc__Status, owned by the caller. */
static GPtrArray *missing_statuses(const GroupListing *listing) {
  GPtrArray *statuses = g_ptr_array_new_with_free_func(free_status);
  for (guint i = 0; i < listing->missing->len; i++) {
    const Missing *missing = &g_array_index(listing->missing, Missing, i);
    g_autoptr(Failure) counted =
        failure_prefix(failure_copy(missing->failure), "the groups of %u %s of __consumer_offsets are missing",
                       missing->partitions, missing->partitions == 1 ? "partition" : "partitions");
    g_ptr_array_add(statuses, failure_to_status(counted));
  }
  return statuses;
}

static void reply(GroupListing *listing) {
  g_autoptr(GPtrArray) groups = g_ptr_array_new();
  gboolean more = FALSE;
  for (guint i = 0; i < listing->pages->len; i++) {
    const Milena__V1__ListGroupsResponse *page = listing->pages->pdata[i];
    more |= *page->next_page_token != '\0';
    for (gsize j = 0; j < page->n_groups; j++) {
      page->groups[j]->coordinator_id = listing->coordinator->id;
      g_ptr_array_add(groups, page->groups[j]);
    }
  }
  g_ptr_array_sort(groups, compare_names);
  Milena__V1__ListGroupsResponse response = MILENA__V1__LIST_GROUPS_RESPONSE__INIT;
  g_autofree char *token = NULL;
  response.n_groups = MIN(groups->len, listing->limit);
  response.groups = (Milena__V1__GroupSummary **)groups->pdata;
  if (response.n_groups > 0 && (more || response.n_groups < groups->len)) {
    token = g_strconcat("group:", response.groups[response.n_groups - 1]->group, NULL);
    response.next_page_token = token;
  }
  g_autoptr(GPtrArray) missing = missing_statuses(listing);
  response.n_missing = missing->len;
  response.missing = (Google__Rpc__Status **)missing->pdata;
  rpc_call_reply(listing->rpc, &response.base, NULL, 0);
}

static void part_over(GroupListing *listing) {
  if (--listing->open == 0)
    reply(listing);
}

static void on_answered(GroupAsk *ask, ProtobufCMessage *response, Failure *failure) {
  GroupListing *listing = ((ListPart *)ask)->listing;
  if (response)
    g_ptr_array_add(listing->pages, response);
  else
    add_missing(listing, failure);
  failure_free(failure);
  part_over(listing);
}

/* ---- life ---- */

static void clear_missing(gpointer missing) {
  failure_free(((Missing *)missing)->failure);
}

static void free_page(gpointer page) {
  protobuf_c_message_free_unpacked(page, NULL);
}

static void free_part(gpointer part) {
  tenure_forget(part);
  g_free(part);
}

static void on_closed(RpcCall *rpc, gboolean cancelled, gpointer state) {
  (void)rpc;
  (void)cancelled;
  GroupListing *listing = state;
  g_ptr_array_unref(listing->parts);
  g_ptr_array_unref(listing->pages);
  g_array_unref(listing->missing);
  g_free(listing);
}

/* ---- asking ---- */

static Failure *check_request(const Milena__V1__ListGroupsRequest *request, guint *ret_limit, const char **ret_after) {
  if (request->page_size > GROUPS_PAGE_MAX)
    return failure_add_violation(failure_new(FAILURE(INVALID_FIELD),
                                             "A page holds at most %d groups, and %u were asked for: ask for less, and "
                                             "take the rest from the next pages.",
                                             GROUPS_PAGE_MAX, request->page_size),
                                 "page_size", "at most 1,000");
  if (*request->page_token && !g_str_has_prefix(request->page_token, "group:"))
    return failure_new(FAILURE(STALE_PAGE_TOKEN), "The page token is not from a listing of groups. Start again without "
                                                  "a token.");
  *ret_limit = request->page_size ? request->page_size : PAGE_DEFAULT;
  *ret_after = *request->page_token ? request->page_token + strlen("group:") : NULL;
  return NULL;
}

static void ask_tenure(GroupListing *listing, Tenure *tenure, const Milena__V1__ListGroupsRequest *request,
                       const char *after) {
  g_autoptr(Failure) failure = tenure_check(tenure);
  if (failure) {
    add_missing(listing, failure);
    return;
  }
  ListPart *part = g_new0(ListPart, 1);
  part->listing = listing;
  part->ask.answered = on_answered;
  g_ptr_array_add(listing->parts, part);
  listing->open++;
  groups_list(tenure_groups(tenure), tenure_ask(tenure, &part->ask), after, listing->limit, request->states,
              request->n_states);
}

void group_list(RpcCall *rpc, RpcMessage *message, gpointer user_data) {
  static const RpcCallEvents EVENTS = {.closed = on_closed};
  Coordinator *coordinator = user_data;
  const Milena__V1__ListGroupsRequest *request = rpc_message_body(message);
  guint limit = 0;
  const char *after = NULL;
  Failure *failure = coordinator_check(coordinator);
  if (!failure)
    failure = check_request(request, &limit, &after);
  if (failure) {
    rpc_call_finish(rpc, failure);
    return;
  }
  GroupListing *listing = g_new0(GroupListing, 1);
  *listing = (GroupListing){.coordinator = coordinator,
                            .rpc = rpc,
                            .limit = limit,
                            .open = 1,
                            .parts = g_ptr_array_new_with_free_func(free_part),
                            .pages = g_ptr_array_new_with_free_func(free_page),
                            .missing = g_array_new(FALSE, FALSE, sizeof(Missing))};
  g_array_set_clear_func(listing->missing, clear_missing);
  rpc_call_set_events(rpc, &EVENTS, listing);
  GHashTableIter iter;
  gpointer tenure;
  g_hash_table_iter_init(&iter, coordinator->tenures);
  while (g_hash_table_iter_next(&iter, NULL, &tenure))
    ask_tenure(listing, tenure, request, after);
  part_over(listing);
}
