/* Reassignments under way as the public API shows them. No state. */
#include <string.h>

#include "controller/metadata/view_internal.h"

static gboolean is_in_sync(const MetadataPartition *partition, gint32 id) {
  for (guint i = 0; i < partition->isr_count; i++)
    if (partition->isr[i] == id)
      return TRUE;
  return FALSE;
}

Milena__V1__Reassignment *metadata_view_reassignment(const MetadataTopic *topic, const MetadataPartition *partition) {
  Milena__V1__Reassignment *message = g_new(Milena__V1__Reassignment, 1);
  milena__v1__reassignment__init(message);
  message->topic = g_strdup(topic->name);
  message->partition = partition->partition;
  message->n_target_replicas = partition->target_count;
  message->target_replicas = g_memdup2(partition->target, partition->target_count * sizeof(gint32));
  message->n_replicas_before = partition->before_count;
  message->replicas_before = g_memdup2(partition->before, partition->before_count * sizeof(gint32));
  message->throttle_bytes_per_second = partition->throttle_bytes;
  message->pending_replicas = g_new(gint32, MAX(partition->target_count, 1));
  for (guint i = 0; i < partition->target_count; i++)
    if (!is_in_sync(partition, partition->target[i]))
      message->pending_replicas[message->n_pending_replicas++] = partition->target[i];
  return message;
}

void metadata_view_reassignment_free(Milena__V1__Reassignment *reassignment) {
  milena__v1__reassignment__free_unpacked(reassignment, NULL);
}

/* The token is "move:", a partition, ":", and the name of its topic: the first that is on the page. */
static Failure *take_token(const char *token, char **ret_topic, guint *ret_partition) {
  *ret_topic = NULL;
  *ret_partition = 0;
  if (!*token)
    return NULL;
  g_auto(GStrv) parts = g_strsplit(token, ":", 3);
  guint64 partition = 0;
  if (g_strv_length(parts) != 3 || strcmp(parts[0], "move") != 0 ||
      !g_ascii_string_to_unsigned(parts[1], 10, 0, G_MAXINT32, &partition, NULL))
    return failure_new(FAILURE(STALE_PAGE_TOKEN), "The page token is not from a listing of reassignments. Start again "
                                                  "without a token.");
  *ret_topic = g_strdup(parts[2]);
  *ret_partition = (guint)partition;
  return NULL;
}

Failure *metadata_view_list_reassignments(const MetadataImage *image,
                                          const Milena__V1__ListReassignmentsRequest *request,
                                          Milena__V1__ListReassignmentsResponse **ret_response) {
  guint limit = 0, from_partition = 0;
  g_autofree char *from = NULL;
  Failure *failure = metadata_view_page_limit(request->page_size, &limit);
  if (!failure)
    failure = take_token(request->page_token, &from, &from_partition);
  if (failure)
    return failure;
  Milena__V1__ListReassignmentsResponse *response = g_new(Milena__V1__ListReassignmentsResponse, 1);
  milena__v1__list_reassignments_response__init(response);
  GPtrArray *page = g_ptr_array_new();
  gboolean full = FALSE;
  MetadataIter iter;
  metadata_iter_topics(&iter, image, from);
  for (const MetadataTopic *topic; !full && (topic = metadata_iter_next_topic(&iter));) {
    guint first = from && strcmp(topic->name, from) == 0 ? from_partition : 0;
    for (guint i = first; i < topic->partition_count && !full; i++) {
      const MetadataPartition *partition = topic->partitions[i];
      if (partition->target_count == 0)
        continue;
      full = page->len == limit;
      if (full)
        response->next_page_token = g_strdup_printf("move:%u:%s", i, topic->name);
      else
        g_ptr_array_add(page, metadata_view_reassignment(topic, partition));
    }
  }
  response->n_reassignments = page->len;
  response->reassignments = (Milena__V1__Reassignment **)g_ptr_array_free(page, FALSE);
  *ret_response = response;
  return NULL;
}
