/* ListGroups: a page of the groups of all coordinators, one coordinator after the other in the order of their ids.
 *
 *   next coordinator ──► asked for what the page still holds ──answer──► its groups; has it more? ─no─► next
 * coordinator └─failure─► told in `missing` ─────────► next coordinator page full, or no coordinator left ──► answered
 *
 * A page token is "groups:<coordinator>:<its token>": where the next page goes on. A group that moves to another
 * coordinator between two pages may come twice or not at all; a coordinator that is gone is passed over.
 *
 * Thread: the front's loop. The state lives until the caller's call is closed. */
#include <string.h>

#include "services/base/invariant.h"
#include "services/broker/groups/group_internal.h"
#include "services/broker/groups/group_service.h"

/* One coordinator; the others' groups are worth having without it. */
#define TRY_MS 5000
#define PAGE_DEFAULT 100
#define PAGE_MAX 1000
#define TOKEN "groups:"

typedef struct {
  GroupDoor *door;
  RpcCall *call;
  RpcMessage *request;
  MetadataImage *image; /* the coordinators are those of one version */
  guint left;           /* groups that the page still holds */
  gint32 coordinator;   /* that is asked, or is next: the first with such an id or a higher one */
  char *token;          /* its own; "" for its first groups */
  RpcClientCall *ask;
  GPtrArray *answers; /* of RpcMessage: groups point into them */
  GPtrArray *groups;  /* of Milena__V1__GroupSummary, borrowed from the answers */
  GPtrArray *missing; /* of Google__Rpc__Status */
  char *next_token;   /* NULL: this is the last page */
} Listing;

static void status_free(gpointer status) {
  google__rpc__status__free_unpacked(status, NULL);
}

static void closed(RpcCall *call, gboolean cancelled, gpointer state) {
  (void)call;
  (void)cancelled;
  Listing *listing = state;
  if (listing->ask != NULL) {
    rpc_client_call_abandon(listing->ask);
    rpc_client_call_unref(listing->ask);
  }
  rpc_message_unref(listing->request);
  metadata_image_unref(listing->image);
  g_ptr_array_unref(listing->groups);
  g_ptr_array_unref(listing->answers);
  g_ptr_array_unref(listing->missing);
  g_free(listing->token);
  g_free(listing->next_token);
  g_free(listing);
}

static void add_missing(Listing *listing, Failure *failure) {
  g_ptr_array_add(listing->missing, failure_to_status(failure));
  failure_free(failure);
}

/* Partitions of groups that nobody has now: told once, on the first page. */
static void add_orphans(Listing *listing) {
  MetadataIter iter;
  metadata_iter_leases(&iter, listing->image);
  guint count = 0;
  for (const MetadataLease *lease; (lease = metadata_iter_next_lease(&iter));) {
    const MetadataCoordinator *coordinator = metadata_image_coordinator(listing->image, lease->coordinator_id);
    count += coordinator == NULL || coordinator->fenced;
  }
  if (count > 0)
    add_missing(listing, failure_new(FAILURE(COORDINATOR_NOT_AVAILABLE),
                                     "%u partitions of " METADATA_GROUP_TOPIC
                                     " have no coordinator now: the groups in them are missing",
                                     count));
}

static void answer(Listing *listing) {
  Milena__V1__ListGroupsResponse response = MILENA__V1__LIST_GROUPS_RESPONSE__INIT;
  response.n_groups = listing->groups->len;
  response.groups = (Milena__V1__GroupSummary **)listing->groups->pdata;
  response.n_missing = listing->missing->len;
  response.missing = (Google__Rpc__Status **)listing->missing->pdata;
  if (listing->next_token != NULL)
    response.next_page_token = listing->next_token;
  rpc_call_reply(listing->call, &response.base, NULL, 0);
}

static const MetadataCoordinator *coordinator_from(const Listing *listing) {
  MetadataIter iter;
  metadata_iter_coordinators(&iter, listing->image);
  for (const MetadataCoordinator *coordinator; (coordinator = metadata_iter_next_coordinator(&iter));)
    if (coordinator->id >= listing->coordinator && !coordinator->fenced)
      return coordinator;
  return NULL;
}

static void go_on(Listing *listing);

static void turn_to(Listing *listing, gint32 coordinator, const char *token) {
  listing->coordinator = coordinator;
  g_free(listing->token);
  listing->token = g_strdup(token);
}

static void answered(RpcMessage *response, const Failure *failure, gpointer user_data) {
  Listing *listing = user_data;
  g_clear_pointer(&listing->ask, rpc_client_call_unref);
  if (failure != NULL) {
    add_missing(listing, failure_prefix(failure_copy(failure), "groups of coordinator %d", listing->coordinator));
    turn_to(listing, listing->coordinator + 1, "");
    go_on(listing);
    return;
  }
  g_ptr_array_add(listing->answers, rpc_message_ref(response));
  const Milena__V1__ListGroupsResponse *page = rpc_message_body(response);
  for (gsize i = 0; i < page->n_groups; i++)
    g_ptr_array_add(listing->groups, page->groups[i]);
  listing->left -= (guint)MIN(page->n_groups, listing->left);
  for (gsize i = 0; i < page->n_missing; i++) {
    Failure *missing = failure_from_status(page->missing[i]);
    if (missing != NULL)
      add_missing(listing, missing);
  }
  gboolean has_more = *page->next_page_token != '\0';
  turn_to(listing, listing->coordinator + (has_more ? 0 : 1), has_more ? page->next_page_token : "");
  if (has_more && page->n_groups == 0)
    listing->left = 0; /* it gives the word back: the caller asks on */
  go_on(listing);
}

static void go_on(Listing *listing) {
  const MetadataCoordinator *coordinator = coordinator_from(listing);
  if (coordinator == NULL) {
    answer(listing);
    return;
  }
  if (coordinator->id != listing->coordinator)
    turn_to(listing, coordinator->id, "");
  if (listing->left == 0) {
    listing->next_token = g_strdup_printf(TOKEN "%d:%s", listing->coordinator, listing->token);
    answer(listing);
    return;
  }
  Milena__V1__ListGroupsRequest request = *(const Milena__V1__ListGroupsRequest *)rpc_message_body(listing->request);
  request.page_size = listing->left;
  request.page_token = listing->token;
  g_autoptr(RpcMessage) message = rpc_message_pack(&request.base, NULL, 0);
  gint64 until_us =
      MIN(rpc_call_answer_by_us(listing->call), g_get_monotonic_time() + TRY_MS * G_TIME_SPAN_MILLISECOND);
  Front *front = listing->door->front;
  listing->ask = rpc_client_unary_for(front_client(front), rpc_call_client(listing->call), coordinator->address,
                                      &milena__v1__group_service__descriptor, "ListGroups", message, until_us,
                                      front_loop(front), answered, listing);
}

/* @token: "groups:7:..." or "" */
static Failure *take_token(Listing *listing, const char *token) {
  if (*token == '\0') {
    turn_to(listing, 0, "");
    add_orphans(listing);
    return NULL;
  }
  char *end = NULL;
  gint64 id = g_str_has_prefix(token, TOKEN) ? g_ascii_strtoll(token + strlen(TOKEN), &end, 10) : -1;
  if (id < 0 || id > G_MAXINT32 || end == NULL || *end != ':')
    return failure_new(FAILURE(STALE_PAGE_TOKEN),
                       "The page token is not from a listing of groups. Start again without one.");
  turn_to(listing, (gint32)id, end + 1);
  return NULL;
}

static Failure *take_page_size(Listing *listing, guint32 page_size) {
  listing->left = page_size > 0 ? page_size : PAGE_DEFAULT;
  if (page_size <= PAGE_MAX)
    return NULL;
  Failure *failure =
      failure_new(FAILURE(INVALID_FIELD), "page_size: a page has at most %d groups, not %u", PAGE_MAX, page_size);
  return failure_add_violation(failure, "page_size", "at most 1,000");
}

void group_list_begin(GroupDoor *door, RpcCall *call, RpcMessage *request) {
  static const RpcCallEvents EVENTS = {.closed = closed};
  const Milena__V1__ListGroupsRequest *body = rpc_message_body(request);
  Listing *listing = g_new0(Listing, 1);
  *listing = (Listing){.door = door, .call = call, .request = rpc_message_ref(request)};
  listing->image = metadata_image_ref(front_image(door->front));
  listing->answers = g_ptr_array_new_with_free_func((GDestroyNotify)rpc_message_unref);
  listing->groups = g_ptr_array_new();
  listing->missing = g_ptr_array_new_with_free_func(status_free);
  rpc_call_set_events(call, &EVENTS, listing);
  Failure *failure = take_page_size(listing, body->page_size);
  if (failure == NULL)
    failure = take_token(listing, body->page_token);
  if (failure != NULL)
    rpc_call_finish(call, failure);
  else
    go_on(listing);
}
