/* Frames of WatchMetadata; see view.h. No state. */
#include "controller/metadata/view.h"

/* A partition takes some 40 bytes, what a topic has besides some 200: so a frame stays near 1 MiB. */
#define FRAME_WEIGHT_MAX 20000
#define TOPIC_WEIGHT 5

/* How many of the topics go into one frame; at least one. */
static gsize part_of(Milena__V1__Topic *const *topics, gsize count) {
  gsize length = 0, weight = 0;
  while (length < count && (length == 0 || weight + TOPIC_WEIGHT + topics[length]->n_partitions <= FRAME_WEIGHT_MAX))
    weight += TOPIC_WEIGHT + topics[length++]->n_partitions;
  return length;
}

/* The change's topics in parts; what else is in it goes with the first. */
void metadata_view_change_frames(Milena__V1__MetadataChange *change, MetadataFrameFunc func, gpointer user_data) {
  Milena__V1__MetadataChange part = *change;
  gsize sent = 0;
  do {
    part.topics = change->topics + sent;
    part.n_topics = part_of(part.topics, change->n_topics - sent);
    sent += part.n_topics;
    part.more = sent < change->n_topics;
    Milena__V1__WatchMetadataResponse frame = MILENA__V1__WATCH_METADATA_RESPONSE__INIT;
    frame.frame_case = MILENA__V1__WATCH_METADATA_RESPONSE__FRAME_CHANGE;
    frame.change = &part;
    func(&frame, user_data);
    part.n_removed_topic_ids = part.n_removed_broker_ids = part.n_brokers = part.n_coordinators = 0;
  } while (sent < change->n_topics);
}

void metadata_view_image_frames(Milena__V1__ClusterMetadata *image, MetadataFrameFunc func, gpointer user_data) {
  Milena__V1__ClusterMetadata first = *image;
  first.n_topics = part_of(image->topics, image->n_topics);
  first.more = first.n_topics < image->n_topics;
  Milena__V1__WatchMetadataResponse frame = MILENA__V1__WATCH_METADATA_RESPONSE__INIT;
  frame.frame_case = MILENA__V1__WATCH_METADATA_RESPONSE__FRAME_IMAGE;
  frame.image = &first;
  func(&frame, user_data);
  if (!first.more)
    return;
  Milena__V1__MetadataChange rest = MILENA__V1__METADATA_CHANGE__INIT;
  rest.version = image->version;
  rest.active_controller_id = image->active_controller_id;
  rest.topics = image->topics + first.n_topics;
  rest.n_topics = image->n_topics - first.n_topics;
  metadata_view_change_frames(&rest, func, user_data);
}
