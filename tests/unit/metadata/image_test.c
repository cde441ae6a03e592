#include "controller/metadata/image.h"

#include <string.h>

#include "controller/metadata/view.h"
#include "tests/unit/metadata/fixture.h"

static void small_cluster(Cluster *cluster) {
  cluster_init(cluster);
  cluster_add_broker(cluster, 1, "east");
  cluster_add_broker(cluster, 2, "west");
  cluster_create_topic(cluster, "b", 3);
  cluster_create_topic(cluster, "a", 2);
  cluster_fence(cluster, 2, TRUE);
}

TEST(snapshot, gives_the_same_image_back) {
  Cluster cluster;
  small_cluster(&cluster);
  g_autoptr(GBytes) bytes = metadata_snapshot_encode(cluster.image);
  gsize size;
  const void *data = g_bytes_get_data(bytes, &size);
  g_autoptr(MetadataImage) copy = NULL;
  EXPECT_NULL(metadata_snapshot_decode(data, size, &copy));
  g_autoptr(GBytes) again = metadata_snapshot_encode(copy);
  gsize again_size;
  const void *again_data = g_bytes_get_data(again, &again_size);
  EXPECT_EQ_BYTES(data, size, again_data, again_size);
  EXPECT_EQ_INT(metadata_image_version(cluster.image), metadata_image_version(copy));
  EXPECT_EQ_INT(metadata_image_next_log_id(cluster.image), metadata_image_next_log_id(copy));
  EXPECT_EQ_INT(metadata_image_broker(cluster.image, 1)->leader_count, metadata_image_broker(copy, 1)->leader_count);
  EXPECT_EQ_INT(5, metadata_image_partition_count(copy));
  cluster_clear(&cluster);
}

TEST(snapshot, a_newer_format_is_refused) {
  static const guint8 NEWER[] = {0x08, 0x02, 0x10, 0x05}; /* format 2, version 5 */
  static const guint8 CUT[] = {0x08, 0x01, 0x1a, 0x20};
  g_autoptr(MetadataImage) image = NULL;
  g_autoptr(Failure) newer = metadata_snapshot_decode(NEWER, sizeof NEWER, &image);
  EXPECT_EQ_INT(FAILURE(UNSUPPORTED), failure_reason(newer));
  g_autoptr(Failure) cut = metadata_snapshot_decode(CUT, sizeof CUT, &image);
  EXPECT_EQ_INT(FAILURE(CORRUPT_LOG), failure_reason(cut));
}

TEST(transaction, has_these_bytes) {
  g_autoptr(GPtrArray) records = metadata_records_new();
  g_ptr_array_add(records, metadata_record_fence_broker(3, 7, TRUE));
  g_ptr_array_add(records, metadata_record_next_log_id(300));
  g_autoptr(GBytes) bytes = metadata_transaction_encode((MetadataRecord **)records->pdata, records->len);
  static const guint8 GOLDEN[] = {0x08, 0x01,                                                 /* format 1 */
                                  0x12, 0x08, 0x1a, 0x06, 0x08, 0x03, 0x10, 0x07, 0x18, 0x01, /* fence_broker */
                                  0x12, 0x05, 0x5a, 0x03, 0x08, 0xac, 0x02};                  /* next_log_id */
  gsize size;
  const void *data = g_bytes_get_data(bytes, &size);
  EXPECT_EQ_BYTES(GOLDEN, sizeof GOLDEN, data, size);
  g_autoptr(GPtrArray) back = NULL;
  EXPECT_NULL(metadata_transaction_decode(data, size, &back));
  EXPECT_EQ_INT(2, back->len);
}

TEST(apply, records_of_a_newer_version_are_refused_and_leave_nothing) {
  Cluster cluster;
  small_cluster(&cluster);
  MetadataRecord unknown = MILENA__INTERNAL__V1__METADATA_RECORD__INIT;
  g_autoptr(GPtrArray) records = metadata_records_new();
  g_ptr_array_add(records, metadata_record_remove_topic(metadata_image_topic_by_name(cluster.image, "a")->id));
  MetadataRecord *both[] = {records->pdata[0], &unknown};
  MetadataImage *image = NULL;
  g_autoptr(Failure) failure = metadata_image_apply(cluster.image, both, 2, 100, &image);
  EXPECT_EQ_INT(FAILURE(UNSUPPORTED), failure_reason(failure));
  EXPECT_NULL(image);
  EXPECT_TRUE(metadata_image_topic_by_name(cluster.image, "a") != NULL);
  cluster_clear(&cluster);
}

static MetadataRecord *stray_partition(void) {
  MetadataPartition partition = {.log_id = 1};
  g_strlcpy(partition.topic_id, fake_uuid(99), sizeof partition.topic_id);
  return metadata_record_partition(&partition);
}
static MetadataRecord *stray_removal(void) {
  return metadata_record_remove_topic(fake_uuid(99));
}
static MetadataRecord *stray_config(void) {
  return metadata_record_topic_config(fake_uuid(99), NULL);
}
static MetadataRecord *second_cluster(void) {
  return metadata_record_cluster(fake_uuid(99), 1);
}
static MetadataRecord *nameless_topic(void) {
  MetadataTopic topic = {.name = (char *)"", .request_id = (char *)""};
  g_strlcpy(topic.id, fake_uuid(99), sizeof topic.id);
  return metadata_record_topic(&topic);
}
static MetadataRecord *second_topic(void) {
  MetadataTopic topic = {.name = (char *)"a", .request_id = (char *)""};
  g_strlcpy(topic.id, fake_uuid(99), sizeof topic.id);
  return metadata_record_topic(&topic);
}

static const struct {
  const char *name;
  MetadataRecord *(*make)(void);
} MISFITS[] = {
    {"partition_of_no_topic", stray_partition}, {"removal_of_no_topic", stray_removal},
    {"config_of_no_topic", stray_config},       {"second_cluster", second_cluster},
    {"topic_without_a_name", nameless_topic},   {"second_topic_of_a_name", second_topic},
};

TEST_ROWS(apply_refused, MISFITS) {
  Cluster cluster;
  small_cluster(&cluster);
  g_autoptr(GPtrArray) records = metadata_records_new();
  g_ptr_array_add(records, MISFITS[row].make());
  MetadataImage *image = NULL;
  g_autoptr(Failure) failure = metadata_image_apply(cluster.image, (MetadataRecord **)records->pdata, 1, 100, &image);
  EXPECT_EQ_INT(FAILURE(CORRUPT_LOG), failure_reason(failure));
  EXPECT_NULL(image);
  cluster_clear(&cluster);
}

TEST(apply, an_image_that_is_kept_does_not_change) {
  Cluster cluster;
  small_cluster(&cluster);
  g_autoptr(MetadataImage) kept = metadata_image_ref(cluster.image);
  g_autoptr(GBytes) before = metadata_snapshot_encode(kept);
  cluster_create_topic(&cluster, "c", 4);
  cluster_fence(&cluster, 1, TRUE);
  cluster_fence(&cluster, 2, FALSE);
  g_autoptr(GBytes) after = metadata_snapshot_encode(kept);
  EXPECT_TRUE(g_bytes_equal(before, after));
  cluster_clear(&cluster);
}

TEST(apply, parts_of_a_snapshot_one_by_one_make_the_whole) {
  Cluster cluster;
  small_cluster(&cluster);
  g_autoptr(GPtrArray) records = metadata_image_to_records(cluster.image);
  MetadataImage *image = metadata_image_new();
  for (guint i = 0; i < records->len; i++) {
    MetadataImage *next = NULL;
    EXPECT_NULL(metadata_image_apply(image, (MetadataRecord **)&records->pdata[i], 1, cluster.version, &next));
    metadata_image_unref(image);
    image = next;
  }
  g_autoptr(GBytes) want = metadata_snapshot_encode(cluster.image), got = metadata_snapshot_encode(image);
  EXPECT_TRUE(g_bytes_equal(want, got));
  metadata_image_unref(image);
  cluster_clear(&cluster);
}

/* ---- Views ---- */

TEST(view, lists_topics_in_pages_by_name) {
  Cluster cluster;
  cluster_init(&cluster);
  cluster_add_broker(&cluster, 1, "");
  for (guint i = 0; i < 5; i++) {
    g_autofree char *name = g_strdup_printf("t%u", (i * 3) % 5);
    cluster_create_topic(&cluster, name, 1);
  }
  g_autoptr(GString) names = g_string_new(NULL);
  g_autofree char *token = g_strdup("");
  guint pages = 0;
  do {
    Milena__V1__ListTopicsRequest request = MILENA__V1__LIST_TOPICS_REQUEST__INIT;
    request.page_size = 2;
    request.page_token = token;
    Milena__V1__ListTopicsResponse *response = NULL;
    EXPECT_NULL(metadata_view_list_topics(cluster.image, &request, &response));
    for (gsize i = 0; i < response->n_topics; i++)
      g_string_append_printf(names, "%s ", response->topics[i]->name);
    g_free(token);
    token = g_strdup(response->next_page_token);
    milena__v1__list_topics_response__free_unpacked(response, NULL);
    pages++;
  } while (*token && pages < 10);
  EXPECT_EQ_STR("t0 t1 t2 t3 t4 ", names->str);
  EXPECT_EQ_INT(3, pages);
  cluster_clear(&cluster);
}

TEST(view, a_foreign_page_token_or_a_huge_page_is_refused) {
  Cluster cluster;
  small_cluster(&cluster);
  Milena__V1__ListTopicsRequest request = MILENA__V1__LIST_TOPICS_REQUEST__INIT;
  request.page_token = (char *)"broker:1";
  Milena__V1__ListTopicsResponse *response = NULL;
  g_autoptr(Failure) foreign = metadata_view_list_topics(cluster.image, &request, &response);
  EXPECT_EQ_INT(FAILURE(STALE_PAGE_TOKEN), failure_reason(foreign));
  request.page_token = (char *)"";
  request.page_size = 1001;
  g_autoptr(Failure) huge = metadata_view_list_topics(cluster.image, &request, &response);
  EXPECT_EQ_INT(FAILURE(INVALID_FIELD), failure_reason(huge));
  cluster_clear(&cluster);
}

TEST(view, tells_the_cluster_in_pages_when_asked_to) {
  Cluster cluster;
  cluster_init(&cluster);
  cluster_add_broker(&cluster, 1, "");
  for (guint i = 0; i < 3; i++) {
    g_autofree char *name = g_strdup_printf("t%u", i);
    cluster_create_topic(&cluster, name, 2);
  }
  static const struct {
    guint page_size;
    const char *token, *names, *next;
  } PAGES[] = {
      {0, "", "t0 t1 t2 ", ""},
      {2, "", "t0 t1 ", "topic:t2"},
      {2, "topic:t2", "t2 ", ""},
      {2, "topic:x", "", ""},
  };
  for (guint page = 0; page < G_N_ELEMENTS(PAGES); page++) {
    Milena__V1__GetMetadataRequest request = MILENA__V1__GET_METADATA_REQUEST__INIT;
    request.page_size = PAGES[page].page_size;
    request.page_token = (char *)PAGES[page].token;
    Milena__V1__GetMetadataResponse *response = NULL;
    ASSERT_NULL(metadata_view_get_metadata(cluster.image, 1, &request, &response));
    g_autoptr(GString) names = g_string_new(NULL);
    for (gsize i = 0; i < response->cluster->n_topics; i++)
      g_string_append_printf(names, "%s ", response->cluster->topics[i]->name);
    EXPECT_EQ_STR(PAGES[page].names, names->str);
    EXPECT_EQ_STR(PAGES[page].next, response->next_page_token);
    EXPECT_EQ_INT(1, response->cluster->n_brokers);
    milena__v1__get_metadata_response__free_unpacked(response, NULL);
  }
  cluster_clear(&cluster);
}

static void note_frame(const Milena__V1__WatchMetadataResponse *frame, gpointer user_data) {
  gboolean image = frame->frame_case == MILENA__V1__WATCH_METADATA_RESPONSE__FRAME_IMAGE;
  g_string_append_printf(user_data, "%s %u brokers %u%s;", image ? "image" : "change",
                         (guint)(image ? frame->image->n_topics : frame->change->n_topics),
                         (guint)(image ? frame->image->n_brokers : frame->change->n_brokers),
                         (image ? frame->image->more : frame->change->more) ? " more" : "");
}

TEST(view, a_large_image_or_change_is_told_in_parts) {
  Milena__V1__Topic topics[6], *pointers[6];
  Milena__V1__Broker broker = MILENA__V1__BROKER__INIT, *brokers[] = {&broker};
  for (guint i = 0; i < G_N_ELEMENTS(topics); i++) {
    milena__v1__topic__init(&topics[i]);
    topics[i].n_partitions = i == 5 ? 30000 : 9000; /* the last is alone too large, and goes alone */
    pointers[i] = &topics[i];
  }
  g_autoptr(GString) told = g_string_new(NULL);
  Milena__V1__ClusterMetadata image = MILENA__V1__CLUSTER_METADATA__INIT;
  image.brokers = brokers;
  image.n_brokers = 1;
  image.topics = pointers;
  metadata_view_image_frames(&image, note_frame, told);
  EXPECT_EQ_STR("image 0 brokers 1;", told->str);
  image.n_topics = 6;
  g_string_truncate(told, 0);
  metadata_view_image_frames(&image, note_frame, told);
  EXPECT_EQ_STR("image 2 brokers 1 more;change 2 brokers 0 more;change 1 brokers 0 more;change 1 brokers 0;",
                told->str);
  Milena__V1__MetadataChange change = MILENA__V1__METADATA_CHANGE__INIT;
  change.brokers = brokers;
  change.n_brokers = 1;
  change.topics = pointers;
  change.n_topics = 3;
  g_string_truncate(told, 0);
  metadata_view_change_frames(&change, note_frame, told);
  EXPECT_EQ_STR("change 2 brokers 1 more;change 1 brokers 0;", told->str);
}

TEST(view, fills_in_the_defaults) {
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  Milena__V1__TopicConfig *effective = metadata_view_effective_config(&config, 3);
  EXPECT_EQ_INT(MILENA__V1__FLUSH__FLUSH_ALWAYS, effective->flush);
  EXPECT_EQ_INT(1, effective->flush_interval->seconds);
  EXPECT_EQ_INT(1048576, effective->max_message_bytes);
  EXPECT_EQ_INT(2, effective->min_insync_replicas);
  EXPECT_EQ_INT(7 * 24 * 60 * 60, effective->retention->seconds);
  EXPECT_EQ_INT(-1, effective->retention_bytes);
  EXPECT_EQ_INT(24 * 60 * 60, effective->delete_retention->seconds);
  EXPECT_EQ_INT(0, effective->min_compaction_lag->seconds);
  EXPECT_TRUE(effective->min_cleanable_dirty_ratio == 0.5);
  milena__v1__topic_config__free_unpacked(effective, NULL);
}

TEST(view, a_change_tells_what_came_what_changed_and_what_went) {
  Cluster cluster;
  small_cluster(&cluster);
  g_autoptr(MetadataImage) from = metadata_image_ref(cluster.image);
  g_autofree char *gone = g_strdup(metadata_image_topic_by_name(from, "a")->id);
  GPtrArray *records = metadata_records_new();
  g_ptr_array_add(records, metadata_record_remove_topic(gone));
  cluster_apply(&cluster, NULL, records);
  cluster_create_topic(&cluster, "a", 1);
  cluster_fence(&cluster, 2, FALSE); /* changes "b", and the broker */
  Milena__V1__MetadataChange *change = metadata_view_change(from, cluster.image, 1, NULL, 0);
  ASSERT_EQ_INT(2, change->n_topics);
  EXPECT_EQ_STR("a", change->topics[0]->name);
  EXPECT_EQ_STR("b", change->topics[1]->name);
  ASSERT_EQ_INT(1, change->n_removed_topic_ids);
  EXPECT_EQ_STR(gone, change->removed_topic_ids[0]);
  EXPECT_EQ_INT(2, change->n_brokers); /* the counts of broker 1 changed too */
  EXPECT_EQ_INT(cluster.version, change->version);
  milena__v1__metadata_change__free_unpacked(change, NULL);
  char *names[] = {(char *)"b"};
  change = metadata_view_change(from, cluster.image, 1, names, 1);
  EXPECT_EQ_INT(1, change->n_topics);
  EXPECT_EQ_INT(0, change->n_removed_topic_ids);
  milena__v1__metadata_change__free_unpacked(change, NULL);
  cluster_clear(&cluster);
}

TEST(view, a_topic_that_does_not_exist_is_refused_or_skipped) {
  Cluster cluster;
  small_cluster(&cluster);
  char *names[] = {(char *)"a", (char *)"missing"};
  Milena__V1__ClusterMetadata *metadata = NULL;
  g_autoptr(Failure) failure = metadata_view_cluster(cluster.image, 1, names, 2, FALSE, &metadata);
  EXPECT_EQ_INT(FAILURE(UNKNOWN_TOPIC), failure_reason(failure));
  EXPECT_NULL(metadata_view_cluster(cluster.image, 1, names, 2, TRUE, &metadata));
  EXPECT_EQ_INT(1, metadata->n_topics);
  EXPECT_EQ_INT(2, metadata->n_brokers);
  EXPECT_EQ_INT(1, metadata->n_controllers);
  milena__v1__cluster_metadata__free_unpacked(metadata, NULL);
  cluster_clear(&cluster);
}

/* ---- Scale ---- */

TEST(scale, one_change_among_100000_partitions_costs_little) {
  Cluster cluster;
  cluster_init(&cluster);
  for (gint32 id = 1; id <= 3; id++)
    cluster_add_broker(&cluster, id, "");
  for (guint i = 0; i < 100; i++) {
    g_autofree char *name = g_strdup_printf("topic-%03u", i);
    cluster_create_topic(&cluster, name, 1000);
  }
  EXPECT_EQ_INT(100000, metadata_image_partition_count(cluster.image));
  gint64 start_us = g_get_monotonic_time();
  for (guint i = 0; i < 100; i++) {
    g_autofree char *name = g_strdup_printf("small-%03u", i);
    cluster_create_topic(&cluster, name, 1);
  }
  /* Copying all partitions a hundred times would take seconds; a wide margin, since machines differ. */
  EXPECT_TRUE(g_get_monotonic_time() - start_us < (gint64)500 * 1000);
  cluster_clear(&cluster);
}

/* What a shard of a broker does with the image that it has, while the main loop makes the next from it. */
static gpointer let_go(gpointer data) {
  MetadataImage *image = data;
  for (guint i = 0; i < 200; i++)
    metadata_image_unref(metadata_image_ref(image));
  metadata_image_unref(image);
  return NULL;
}

/* ThreadSanitizer sees what this is about. */
TEST(image, is_followed_by_the_next_while_other_threads_let_go_of_it) {
  Cluster cluster;
  small_cluster(&cluster);
  for (guint i = 0; i < 20; i++) {
    GThread *thread = g_thread_new("shard", let_go, metadata_image_ref(cluster.image));
    cluster_fence(&cluster, 2, i % 2 == 1);
    g_thread_join(thread);
  }
  EXPECT_TRUE(metadata_image_broker(cluster.image, 2)->fenced);
  cluster_clear(&cluster);
}
