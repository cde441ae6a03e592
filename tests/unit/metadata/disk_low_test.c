/* A broker whose disk is nearly full gives its leaderships away where others are in sync, gets no replicas by
 * reassignments but those of new topics, and takes part again once it has room. */
#include "controller/metadata/image.h"
#include "tests/unit/metadata/fixture.h"

static void set_low(Cluster *cluster, gint32 id, gboolean low) {
  GPtrArray *records = metadata_records_new();
  guint64 epoch = metadata_image_broker(cluster->image, id)->epoch;
  cluster_apply(cluster, metadata_command_set_disk_low(cluster->image, id, epoch, low, records), records);
}

/* Brokers 1 to 3, and the topic "a" with a replica on each, led by the one that is returned. */
static gint32 replicated(Cluster *cluster) {
  cluster_init(cluster);
  for (gint32 id = 1; id <= 3; id++)
    cluster_add_broker(cluster, id, "");
  cluster_create_replicated(cluster, "a", 1, 3);
  return metadata_image_topic_by_name(cluster->image, "a")->partitions[0]->leader_id;
}

static const MetadataPartition *partition_of(const Cluster *cluster) {
  return metadata_image_topic_by_name(cluster->image, "a")->partitions[0];
}

TEST(disk_low, gives_leaderships_away_and_stays_in_sync) {
  Cluster cluster;
  gint32 leader = replicated(&cluster);
  set_low(&cluster, leader, TRUE);
  EXPECT_TRUE(metadata_image_broker(cluster.image, leader)->disk_low);
  EXPECT_TRUE(partition_of(&cluster)->leader_id != leader);
  EXPECT_EQ_INT(3, partition_of(&cluster)->isr_count);
  set_low(&cluster, leader, FALSE);
  EXPECT_FALSE(metadata_image_broker(cluster.image, leader)->disk_low);
  cluster_clear(&cluster);
}

TEST(disk_low, leads_on_when_all_are) {
  Cluster cluster;
  gint32 leader = replicated(&cluster);
  for (gint32 id = 1; id <= 3; id++)
    if (id != leader)
      set_low(&cluster, id, TRUE);
  gint32 epoch = partition_of(&cluster)->leader_epoch;
  set_low(&cluster, leader, TRUE);
  EXPECT_EQ_INT(leader, partition_of(&cluster)->leader_id);
  EXPECT_EQ_INT(epoch, partition_of(&cluster)->leader_epoch);
  /* A new topic is empty: it may be made there. */
  cluster_create_replicated(&cluster, "b", 1, 3);
  EXPECT_TRUE(metadata_image_topic_by_name(cluster.image, "b") != NULL);
  cluster_clear(&cluster);
}

TEST(disk_low, says_nothing_twice_and_nothing_of_another_registration) {
  Cluster cluster;
  (void)replicated(&cluster);
  set_low(&cluster, 2, TRUE);
  guint64 epoch = metadata_image_broker(cluster.image, 2)->epoch;
  g_autoptr(GPtrArray) records = metadata_records_new();
  EXPECT_NULL(metadata_command_set_disk_low(cluster.image, 2, epoch, TRUE, records));
  EXPECT_EQ_INT(0, records->len);
  g_autoptr(Failure) stale = metadata_command_set_disk_low(cluster.image, 2, epoch - 1, FALSE, records);
  EXPECT_EQ_STR("FENCED", failure_reason_name(failure_reason(stale)));
  EXPECT_EQ_INT(0, records->len);
  cluster_clear(&cluster);
}

TEST(disk_low, is_in_snapshots) {
  Cluster cluster;
  (void)replicated(&cluster);
  set_low(&cluster, 2, TRUE);
  g_autoptr(GBytes) bytes = metadata_snapshot_encode(cluster.image);
  gsize size;
  const guint8 *data = g_bytes_get_data(bytes, &size);
  MetadataImage *copy = NULL;
  ASSERT_TRUE(metadata_snapshot_decode(data, size, &copy) == NULL);
  EXPECT_TRUE(metadata_image_broker(copy, 2)->disk_low);
  EXPECT_FALSE(metadata_image_broker(copy, 1)->disk_low);
  metadata_image_unref(copy);
  cluster_clear(&cluster);
}
