/* Leases: which coordinator has which partition of __consumer_offsets, through registrations, fencing and yielding. */
#include "services/membership/coordinators.h"
#include "tests/unit/metadata/fixture.h"

#define COORDINATOR MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_COORDINATOR

static void register_coordinator(Cluster *cluster, gint32 id, guint8 process) {
  GPtrArray *records = metadata_records_new();
  MetadataContext context = cluster_context(cluster);
  Milena__Internal__V1__RegisterNodeRequest request = MILENA__INTERNAL__V1__REGISTER_NODE_REQUEST__INIT;
  request.kind = COORDINATOR;
  request.id = id;
  request.process_id = fake_uuid(process);
  request.address = (char *)"g:7800";
  guint64 epoch = 0;
  cluster_apply(cluster, metadata_command_register_node(cluster->image, &context, &request, FALSE, records, &epoch),
                records);
}

static void set_fenced(Cluster *cluster, gint32 id, gboolean fenced) {
  GPtrArray *records = metadata_records_new();
  const MetadataCoordinator *coordinator = metadata_image_coordinator(cluster->image, id);
  cluster_apply(cluster,
                metadata_command_fence_node(cluster->image, COORDINATOR, id, coordinator->epoch, fenced, records),
                records);
}

static void add_coordinator(Cluster *cluster, gint32 id) {
  register_coordinator(cluster, id, (guint8)(200 + id));
  set_fenced(cluster, id, FALSE);
}

static void ensure_topic(Cluster *cluster, guint32 partitions) {
  GPtrArray *records = metadata_records_new();
  MetadataContext context = cluster_context(cluster);
  cluster_apply(cluster, metadata_command_ensure_group_topic(cluster->image, &context, partitions, records), records);
}

/* Three brokers, these coordinators from 1 on, and the topic. */
static void make(Cluster *cluster, guint coordinators, guint32 partitions) {
  cluster_init(cluster);
  for (gint32 id = 1; id <= 3; id++)
    cluster_add_broker(cluster, id, "");
  for (guint id = 1; id <= coordinators; id++)
    add_coordinator(cluster, (gint32)id);
  ensure_topic(cluster, partitions);
}

static guint held_by(const Cluster *cluster, gint32 id) {
  MetadataIter iter;
  guint count = 0;
  metadata_iter_leases(&iter, cluster->image);
  for (const MetadataLease *lease; (lease = metadata_iter_next_lease(&iter));)
    count += lease->coordinator_id == id;
  return count;
}

/* How many leases have another owner or epoch than before. */
static guint moved_since(const MetadataImage *before, const Cluster *cluster) {
  MetadataIter iter;
  guint count = 0;
  metadata_iter_leases(&iter, cluster->image);
  for (const MetadataLease *lease; (lease = metadata_iter_next_lease(&iter));) {
    const MetadataLease *old = metadata_image_lease(before, lease->partition);
    if (old && old->coordinator_id == lease->coordinator_id && old->lease_epoch == lease->lease_epoch)
      continue;
    count++;
    if (old && lease->coordinator_id >= 0)
      EXPECT_EQ_INT(old->lease_epoch + 1, lease->lease_epoch);
  }
  return count;
}

TEST(leases, the_topic_is_made_compacted_once) {
  Cluster cluster;
  make(&cluster, 0, 50);
  const MetadataTopic *topic = metadata_image_topic_by_name(cluster.image, METADATA_GROUP_TOPIC);
  ASSERT_TRUE(topic != NULL);
  EXPECT_EQ_INT(50, topic->partition_count);
  EXPECT_EQ_INT(3, topic->replication_factor);
  EXPECT_EQ_INT(MILENA__V1__CLEANUP_POLICY__CLEANUP_POLICY_COMPACT, topic->config->cleanup_policy);
  g_autoptr(MetadataImage) before = metadata_image_ref(cluster.image);
  ensure_topic(&cluster, 20);
  EXPECT_EQ_INT(50, metadata_image_topic_by_name(cluster.image, METADATA_GROUP_TOPIC)->partition_count);
  EXPECT_EQ_INT(0, held_by(&cluster, 1));
  cluster_clear(&cluster);
}

TEST(leases, without_a_broker_there_is_no_topic) {
  Cluster cluster;
  cluster_init(&cluster);
  g_autoptr(GPtrArray) records = metadata_records_new();
  MetadataContext context = cluster_context(&cluster);
  g_autoptr(Failure) failure = metadata_command_ensure_group_topic(cluster.image, &context, 50, records);
  EXPECT_EQ_INT(FAILURE(NOT_ENOUGH_BROKERS), failure_reason(failure));
  EXPECT_EQ_INT(0, records->len);
  cluster_clear(&cluster);
}

TEST(leases, shares_are_fair_and_moves_few) {
  Cluster cluster;
  make(&cluster, 1, 50);
  EXPECT_EQ_INT(50, held_by(&cluster, 1));
  g_autoptr(MetadataImage) one = metadata_image_ref(cluster.image);
  add_coordinator(&cluster, 2);
  EXPECT_EQ_INT(25, held_by(&cluster, 1));
  EXPECT_EQ_INT(25, moved_since(one, &cluster));
  g_autoptr(MetadataImage) two = metadata_image_ref(cluster.image);
  add_coordinator(&cluster, 3);
  EXPECT_EQ_INT(16, held_by(&cluster, 3));
  EXPECT_EQ_INT(16, moved_since(two, &cluster));
  cluster_clear(&cluster);
}

TEST(leases, those_of_a_fenced_one_go_to_the_others) {
  Cluster cluster;
  make(&cluster, 3, 50);
  g_autoptr(MetadataImage) before = metadata_image_ref(cluster.image);
  guint held = held_by(&cluster, 2);
  set_fenced(&cluster, 2, TRUE);
  EXPECT_EQ_INT(0, held_by(&cluster, 2));
  EXPECT_EQ_INT(25, held_by(&cluster, 1));
  EXPECT_EQ_INT(25, held_by(&cluster, 3));
  EXPECT_EQ_INT(held, moved_since(before, &cluster));
  set_fenced(&cluster, 2, FALSE);
  EXPECT_EQ_INT(16, held_by(&cluster, 2));
  cluster_clear(&cluster);
}

TEST(leases, nobody_has_them_while_nobody_is_there) {
  Cluster cluster;
  make(&cluster, 1, 4);
  set_fenced(&cluster, 1, TRUE);
  EXPECT_EQ_INT(4, held_by(&cluster, -1));
  CoordinatorPlace place;
  g_autoptr(Failure) failure = coordinators_find(cluster.image, "g", &place);
  EXPECT_EQ_INT(FAILURE(COORDINATOR_NOT_AVAILABLE), failure_reason(failure));
  EXPECT_TRUE(failure_retry_delay_ms(failure) > 0);
  /* The same one again has a higher epoch: what its appends of before were worth, they are not any more. */
  set_fenced(&cluster, 1, FALSE);
  EXPECT_EQ_INT(4, held_by(&cluster, 1));
  EXPECT_EQ_INT(2, metadata_image_lease(cluster.image, 0)->lease_epoch);
  cluster_clear(&cluster);
}

TEST(leases, a_new_process_of_an_id_has_none_of_the_old_ones) {
  Cluster cluster;
  make(&cluster, 2, 10);
  register_coordinator(&cluster, 1, 99);
  EXPECT_EQ_INT(0, held_by(&cluster, 1));
  EXPECT_EQ_INT(10, held_by(&cluster, 2));
  cluster_clear(&cluster);
}

static Failure *yield_one(Cluster *cluster, gint32 id, guint64 epoch, gint32 partition, guint32 lease_epoch) {
  Milena__Internal__V1__YieldedLease lease = MILENA__INTERNAL__V1__YIELDED_LEASE__INIT, *leases[] = {&lease, &lease};
  Milena__Internal__V1__YieldLeasesRequest request = MILENA__INTERNAL__V1__YIELD_LEASES_REQUEST__INIT;
  lease.partition = partition;
  lease.lease_epoch = lease_epoch;
  request.coordinator_id = id;
  request.coordinator_epoch = epoch;
  request.n_leases = 2; /* named twice, granted once */
  request.leases = leases;
  GPtrArray *records = metadata_records_new();
  Failure *failure = metadata_command_yield_leases(cluster->image, &request, records);
  if (failure)
    g_ptr_array_unref(records);
  else
    cluster_apply(cluster, NULL, records);
  return failure;
}

TEST(leases, a_yielded_one_goes_to_another) {
  Cluster cluster;
  make(&cluster, 2, 10);
  const MetadataLease *lease = metadata_image_lease(cluster.image, 0);
  gint32 owner = lease->coordinator_id, other = 3 - owner;
  guint64 epoch = metadata_image_coordinator(cluster.image, owner)->epoch;
  guint32 lease_epoch = lease->lease_epoch;
  failure_free(yield_one(&cluster, owner, epoch, 0, lease_epoch));
  EXPECT_EQ_INT(other, metadata_image_lease(cluster.image, 0)->coordinator_id);
  EXPECT_EQ_INT(lease_epoch + 1, metadata_image_lease(cluster.image, 0)->lease_epoch);
  /* Once more, as a retry: it is not its to give any more. */
  failure_free(yield_one(&cluster, owner, epoch, 0, lease_epoch));
  EXPECT_EQ_INT(lease_epoch + 1, metadata_image_lease(cluster.image, 0)->lease_epoch);
  /* By a process that is gone. */
  g_autoptr(Failure) stale = yield_one(&cluster, other, 1, 0, lease_epoch + 1);
  EXPECT_EQ_INT(FAILURE(FENCED), failure_reason(stale));
  /* Of no such partition. */
  failure_free(yield_one(&cluster, owner, epoch, 77, 1));
  failure_free(yield_one(&cluster, owner, epoch, -1, 1));
  cluster_clear(&cluster);
}

TEST(leases, the_only_one_gets_it_back_with_a_higher_epoch) {
  Cluster cluster;
  make(&cluster, 1, 2);
  guint64 epoch = metadata_image_coordinator(cluster.image, 1)->epoch;
  failure_free(yield_one(&cluster, 1, epoch, 1, 1));
  EXPECT_EQ_INT(1, metadata_image_lease(cluster.image, 1)->coordinator_id);
  EXPECT_EQ_INT(2, metadata_image_lease(cluster.image, 1)->lease_epoch);
  EXPECT_EQ_INT(1, metadata_image_lease(cluster.image, 0)->lease_epoch);
  cluster_clear(&cluster);
}

TEST(leases, a_snapshot_keeps_them) {
  Cluster cluster;
  make(&cluster, 2, 6);
  set_fenced(&cluster, 2, TRUE);
  g_autoptr(GBytes) bytes = metadata_snapshot_encode(cluster.image);
  g_autoptr(MetadataImage) copy = NULL;
  Failure *failure = metadata_snapshot_decode(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &copy);
  ASSERT_TRUE(failure == NULL);
  for (gint32 i = 0; i < 6; i++) {
    const MetadataLease *kept = metadata_image_lease(copy, i), *was = metadata_image_lease(cluster.image, i);
    EXPECT_EQ_INT(was->coordinator_id, kept->coordinator_id);
    EXPECT_EQ_INT(was->lease_epoch, kept->lease_epoch);
  }
  cluster_clear(&cluster);
}

TEST(leases, an_epoch_never_goes_back) {
  Cluster cluster;
  make(&cluster, 1, 2);
  g_autoptr(GPtrArray) records = metadata_records_new();
  set_fenced(&cluster, 1, TRUE);
  set_fenced(&cluster, 1, FALSE);
  g_ptr_array_add(records, metadata_record_lease(0, 1, 1));
  g_autoptr(MetadataImage) image = NULL;
  g_autoptr(Failure) failure =
      metadata_image_apply(cluster.image, (MetadataRecord **)records->pdata, records->len, 1000, &image);
  EXPECT_EQ_INT(FAILURE(CORRUPT_LOG), failure_reason(failure));
  cluster_clear(&cluster);
}

TEST(leases, a_group_finds_its_coordinator) {
  Cluster cluster;
  make(&cluster, 2, 50);
  CoordinatorPlace place;
  Failure *failure = coordinators_find(cluster.image, "orders", &place);
  ASSERT_TRUE(failure == NULL);
  EXPECT_EQ_INT(coordinators_partition("orders", 50), place.lease->partition);
  EXPECT_EQ_INT(place.lease->coordinator_id, place.coordinator->id);
  g_autoptr(Failure) refusal = coordinators_refuse(cluster.image, place.lease->partition, 3 - place.coordinator->id);
  EXPECT_EQ_INT(FAILURE(NOT_COORDINATOR), failure_reason(refusal));
  EXPECT_EQ_STR("g:7800", failure_get(refusal, "coordinator_address"));
  cluster_clear(&cluster);
}

TEST(leases, internal_topics_are_left_alone) {
  Cluster cluster;
  make(&cluster, 1, 2);
  g_autoptr(GPtrArray) records = metadata_records_new();
  const MetadataTopic *topic = NULL;
  Milena__V1__DeleteTopicRequest delete = MILENA__V1__DELETE_TOPIC_REQUEST__INIT;
  delete.name = (char *)METADATA_GROUP_TOPIC;
  g_autoptr(Failure) deleted = metadata_command_delete_topic(cluster.image, &delete, records, &topic);
  EXPECT_EQ_INT(FAILURE(INTERNAL_TOPIC), failure_reason(deleted));
  Milena__V1__AddPartitionsRequest add = MILENA__V1__ADD_PARTITIONS_REQUEST__INIT;
  add.name = (char *)METADATA_GROUP_TOPIC;
  add.total_partitions = 9;
  g_autoptr(Failure) added = metadata_command_add_partitions(cluster.image, &add, records, &topic);
  EXPECT_EQ_INT(FAILURE(INTERNAL_TOPIC), failure_reason(added));
  EXPECT_EQ_INT(0, records->len);
  cluster_clear(&cluster);
}
