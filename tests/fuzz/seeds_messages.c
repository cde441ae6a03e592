/* Seeds of protobuf messages: off the wire, of the Raft log, of the metadata. */
#include "tests/fuzz/seeds.h"

#include <string.h>

#include "controller/metadata/commands.h"
#include "controller/metadata/records.h"
#include "controller/raft/entry.h"
#include "milena/internal/v1/raft_service.pb-c.h"
#include "milena/v1/consumer_service.pb-c.h"
#include "milena/v1/metadata_service.pb-c.h"
#include "milena/v1/producer_service.pb-c.h"
#include "storage/rocks/raft/note.h"

/* Places in wire.c's TYPES and commands.c's COMMANDS. */
enum { WIRE_PRODUCE = 0, WIRE_FETCH = 2, WIRE_SUBSCRIBE = 4, WIRE_CREATE = 7, WIRE_WATCH = 9, WIRE_STATUS = 15 };
enum { CREATE_TOPIC, UPDATE_TOPIC, DELETE_TOPIC, ADD_PARTITIONS, REGISTER_NODE, HEARTBEAT, LIST_TOPICS, LIST_BROKERS };

static ProtobufCBinaryData binary(const char *text) {
  return (ProtobufCBinaryData){strlen(text), (guint8 *)text};
}

static void wire(const char *name, guint type, guint piece_bytes, const ProtobufCMessage *message) {
  Seed *seed = seed_new();
  seed_number(seed, type, 1);
  seed_number(seed, piece_bytes, 1);
  seed_message(seed, message, FALSE);
  seed_write("wire", name, seed);
}

static void produce(void) {
  Milena__V1__Header header = MILENA__V1__HEADER__INIT;
  header.key = (char *)"trace";
  header.value_kind_case = MILENA__V1__HEADER__VALUE_KIND_VALUE_TEXT;
  header.value_text = (char *)"on";
  Milena__V1__Header *headers[] = {&header};
  Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  time.seconds = 1700000000;
  Milena__V1__Record record = MILENA__V1__RECORD__INIT;
  record.key_kind_case = MILENA__V1__RECORD__KEY_KIND_KEY;
  record.key = binary("k");
  record.value_kind_case = MILENA__V1__RECORD__VALUE_KIND_VALUE_TEXT;
  record.value_text = (char *)"h\xc3\xa4llo";
  record.headers = headers;
  record.n_headers = 1;
  record.timestamp = &time;
  record.partition_choice_case = MILENA__V1__RECORD__PARTITION_CHOICE_PARTITION;
  record.partition = 3;
  Milena__V1__Record *records[] = {&record, &record};
  Milena__V1__BatchHeader batch_header = MILENA__V1__BATCH_HEADER__INIT;
  batch_header.format = 1;
  batch_header.record_count = 1;
  batch_header.crc32c = 0x12345678;
  Milena__V1__EncodedBatch batch = MILENA__V1__ENCODED_BATCH__INIT;
  batch.header = &batch_header;
  batch.records = binary("0123456789");
  Milena__V1__PartitionBatch part = MILENA__V1__PARTITION_BATCH__INIT;
  part.topic = (char *)"orders";
  part.batch = &batch;
  Milena__V1__PartitionBatch *parts[] = {&part};
  Milena__V1__ProduceRequest request = MILENA__V1__PRODUCE_REQUEST__INIT;
  request.topic = (char *)"orders";
  request.records = records;
  request.n_records = 2;
  wire("produce", WIRE_PRODUCE, 0, &request.base);
  request.batches = parts;
  request.n_batches = 1;
  wire("produce-pieces", WIRE_PRODUCE, 5, &request.base);
}

static void reading(void) {
  Milena__V1__FetchPartition partition = MILENA__V1__FETCH_PARTITION__INIT;
  partition.topic = (char *)"orders";
  partition.offset = 42;
  Milena__V1__FetchPartition *partitions[] = {&partition};
  Milena__V1__FetchRequest fetch = MILENA__V1__FETCH_REQUEST__INIT;
  fetch.partitions = partitions;
  fetch.n_partitions = 1;
  fetch.max_bytes = 1 << 20;
  wire("fetch", WIRE_FETCH, 0, &fetch.base);
  Milena__V1__Credit credit = MILENA__V1__CREDIT__INIT;
  credit.records = 100;
  Milena__V1__SubscribeRequest frame = MILENA__V1__SUBSCRIBE_REQUEST__INIT;
  frame.frame_case = MILENA__V1__SUBSCRIBE_REQUEST__FRAME_CREDIT;
  frame.credit = &credit;
  wire("credit", WIRE_SUBSCRIBE, 1, &frame.base);
}

static void statuses(void) {
  g_autoptr(Failure) failure = failure_new(FAILURE(INVALID_FIELD), "the name is not one");
  failure_add(failure, "topic", "orders");
  failure_add_violation(failure, "name", "letters and digits");
  failure_set_resource(failure, "topic", "orders");
  failure_set_retry_delay(failure, 1500);
  g_autoptr(GBytes) bytes = failure_to_bytes(failure);
  Seed *seed = seed_new();
  seed_gbytes(seed, bytes);
  seed_write("status", "all-details", seed);
  g_autoptr(Failure) plain = failure_new_code(14, "no route");
  g_autoptr(GBytes) plain_bytes = failure_to_bytes(plain);
  seed = seed_new();
  seed_gbytes(seed, plain_bytes);
  seed_write("status", "foreign", seed);
  seed = seed_new();
  seed_number(seed, WIRE_STATUS, 1);
  seed_number(seed, 0, 1);
  seed_gbytes(seed, bytes);
  seed_write("wire", "status", seed);
}

static void raft_seed(const char *name, guint which, GBytes *bytes) {
  Seed *seed = seed_new();
  seed_number(seed, which, 1);
  seed_gbytes(seed, bytes);
  seed_write("raft", name, seed);
  g_bytes_unref(bytes);
}

static void raft(void) {
  g_autoptr(RaftEntry) entry = raft_entry_new(5, 2, RAFT_ENTRY_KIND(METADATA), g_bytes_new_static("data", 4));
  RaftHardState state = {.term = 2, .vote = 1, .commit = 4};
  RaftSnapshotMeta meta = {.index = 4,
                           .term = 2,
                           .configuration = {.members = {{.id = 1}, {.id = 2}}, .member_count = 2},
                           .size_bytes = 4,
                           .crc32c = 0x12345678};
  raft_seed("entry", 0, raft_entry_encode(entry));
  raft_seed("hard-state", 1, raft_hard_state_encode(&state));
  raft_seed("configuration", 2, raft_configuration_encode(&meta.configuration));
  raft_seed("snapshot-meta", 3, raft_snapshot_meta_encode(&meta));
}

/* What CONTROLLER says of a new folder, and of one in use. */
static void notes(void) {
  RaftNote note = {.sequence = 1, .identity = {.node_id = 1, .directory = {{1, 2, 3}}}};
  guint8 bytes[RAFT_NOTE_BYTES];
  raft_note_encode(&note, bytes);
  Seed *seed = seed_new();
  seed_bytes(seed, bytes, sizeof bytes);
  seed_write("note", "new", seed);
  g_strlcpy(note.identity.cluster_id, "00000000-0000-4000-8000-000000000001", sizeof note.identity.cluster_id);
  note.made = TRUE;
  note.term = 7;
  note.vote = 2;
  note.end_index = 1000;
  note.end_chain = G_GUINT64_CONSTANT(0x123456789abcdef0);
  raft_note_encode(&note, bytes);
  seed = seed_new();
  seed_bytes(seed, bytes, sizeof bytes);
  seed_write("note", "in-use", seed);
}

/* A cluster with a broker and a topic, as one transaction; and what it is as a snapshot. */
static void metadata(void) {
  static const char ID[] = "00000000-0000-4000-8000-000000000001";
  gint32 one[] = {1};
  MetadataBroker broker = {.id = 1,
                           .epoch = 2,
                           .incarnation = (char *)ID,
                           .process_id = (char *)ID,
                           .rack = (char *)"r",
                           .address = (char *)"b:7600",
                           .peer_address = (char *)"b:7650"};
  MetadataController controller = {.id = 1, .address = (char *)"c:7700", .peer_address = (char *)"c:7750"};
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  MetadataTopic topic = {
      .name = (char *)"orders", .request_id = (char *)"", .replication_factor = 1, .config = &config};
  MetadataPartition partition = {
      .log_id = 1, .leader_id = 1, .replica_count = 1, .isr_count = 1, .replicas = one, .isr = one};
  g_strlcpy(topic.id, ID, sizeof topic.id);
  g_strlcpy(partition.topic_id, ID, sizeof partition.topic_id);
  g_autoptr(GPtrArray) records = metadata_records_new();
  g_ptr_array_add(records, metadata_record_cluster(ID, 1700000000000));
  g_ptr_array_add(records, metadata_record_controller(&controller));
  g_ptr_array_add(records, metadata_record_register_broker(&broker));
  g_ptr_array_add(records, metadata_record_topic(&topic));
  g_ptr_array_add(records, metadata_record_partition(&partition));
  g_ptr_array_add(records, metadata_record_fence_broker(1, 2, FALSE));
  g_autoptr(GBytes) transaction = metadata_transaction_encode((MetadataRecord **)records->pdata, records->len);
  MetadataImage *image = metadata_image_new(), *next = NULL;
  Failure *failure = metadata_image_apply(image, (MetadataRecord **)records->pdata, records->len, 2, &next);
  if (failure)
    g_error("the seed's records make no image: %s", failure_message(failure));
  g_autoptr(GBytes) snapshot = metadata_snapshot_encode(next);
  metadata_image_unref(image);
  metadata_image_unref(next);
  g_autoptr(GPtrArray) removal = metadata_records_new();
  g_ptr_array_add(removal, metadata_record_remove_topic(ID));
  g_autoptr(GBytes) second = metadata_transaction_encode((MetadataRecord **)removal->pdata, removal->len);

  Seed *seed = seed_new();
  seed_number(seed, 0, 2);
  seed_chunk(seed, g_bytes_get_data(transaction, NULL), g_bytes_get_size(transaction));
  seed_chunk(seed, g_bytes_get_data(second, NULL), g_bytes_get_size(second));
  seed_write("metadata", "transactions", seed);
  seed = seed_new();
  seed_chunk(seed, g_bytes_get_data(snapshot, NULL), g_bytes_get_size(snapshot));
  seed_chunk(seed, g_bytes_get_data(second, NULL), g_bytes_get_size(second));
  seed_write("metadata", "snapshot", seed);
}

static void command(Seed *seed, guint which, const ProtobufCMessage *request) {
  seed_number(seed, which, 1);
  seed_message(seed, request, TRUE);
}

static void commands(void) {
  Milena__Internal__V1__RegisterNodeRequest node = MILENA__INTERNAL__V1__REGISTER_NODE_REQUEST__INIT;
  node.kind = MILENA__INTERNAL__V1__NODE_KIND__NODE_KIND_BROKER;
  node.id = 1;
  node.incarnation = node.process_id = (char *)"00000000-0000-4000-8000-000000000001";
  node.address = (char *)"b:7600";
  node.peer_address = (char *)"b:7650";
  Milena__Internal__V1__HeartbeatRequest beat = MILENA__INTERNAL__V1__HEARTBEAT_REQUEST__INIT;
  beat.kind = node.kind;
  beat.id = 1;
  beat.epoch = 2;
  Milena__V1__CreateTopicRequest create = MILENA__V1__CREATE_TOPIC_REQUEST__INIT;
  create.name = (char *)"orders";
  create.partitions = 3;
  Milena__V1__AddPartitionsRequest add = MILENA__V1__ADD_PARTITIONS_REQUEST__INIT;
  add.name = (char *)"orders";
  add.total_partitions = 5;
  Milena__V1__DeleteTopicRequest delete = MILENA__V1__DELETE_TOPIC_REQUEST__INIT;
  delete.name = (char *)"orders";
  Milena__V1__TopicConfig config = MILENA__V1__TOPIC_CONFIG__INIT;
  char *paths[] = {(char *)"flush"};
  Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
  mask.paths = paths;
  mask.n_paths = 1;
  Milena__V1__UpdateTopicRequest update = MILENA__V1__UPDATE_TOPIC_REQUEST__INIT;
  update.name = (char *)"orders";
  update.config = &config;
  update.update_mask = &mask;
  Milena__V1__ListTopicsRequest list = MILENA__V1__LIST_TOPICS_REQUEST__INIT;
  list.page_size = 1;
  Seed *seed = seed_new();
  command(seed, REGISTER_NODE, &node.base);
  command(seed, HEARTBEAT, &beat.base);
  command(seed, CREATE_TOPIC, &create.base);
  command(seed, LIST_TOPICS, &list.base);
  command(seed, UPDATE_TOPIC, &update.base);
  command(seed, ADD_PARTITIONS, &add.base);
  command(seed, DELETE_TOPIC, &delete.base);
  seed_write("commands", "life-of-a-topic", seed);
  wire("create-topic", WIRE_CREATE, 0, &create.base);
}

static void views(void) {
  Milena__V1__Broker broker = MILENA__V1__BROKER__INIT;
  broker.id = 1;
  broker.address = (char *)"b:7600";
  Milena__V1__Broker *brokers[] = {&broker};
  Milena__V1__Partition partition = MILENA__V1__PARTITION__INIT;
  partition.leader_id = 1;
  Milena__V1__Partition *partitions[] = {&partition};
  Milena__V1__Topic topic = MILENA__V1__TOPIC__INIT;
  topic.name = (char *)"orders";
  topic.id = (char *)"00000000-0000-4000-8000-000000000001";
  topic.partitions = partitions;
  topic.n_partitions = 1;
  Milena__V1__Topic *topics[] = {&topic};
  Milena__V1__ClusterMetadata cluster = MILENA__V1__CLUSTER_METADATA__INIT;
  cluster.version = 2;
  cluster.brokers = brokers;
  cluster.topics = topics;
  cluster.n_brokers = cluster.n_topics = 1;
  Milena__V1__WatchMetadataResponse image = MILENA__V1__WATCH_METADATA_RESPONSE__INIT;
  image.frame_case = MILENA__V1__WATCH_METADATA_RESPONSE__FRAME_IMAGE;
  image.image = &cluster;
  gint32 removed[] = {1};
  Milena__V1__MetadataChange what = MILENA__V1__METADATA_CHANGE__INIT;
  what.version = 3;
  what.removed_broker_ids = removed;
  what.n_removed_broker_ids = 1;
  what.removed_topic_ids = &topic.id;
  what.n_removed_topic_ids = 1;
  Milena__V1__WatchMetadataResponse change = MILENA__V1__WATCH_METADATA_RESPONSE__INIT;
  change.frame_case = MILENA__V1__WATCH_METADATA_RESPONSE__FRAME_CHANGE;
  change.change = &what;
  Seed *seed = seed_new();
  seed_message(seed, &image.base, TRUE);
  seed_message(seed, &change.base, TRUE);
  seed_write("view", "image-and-change", seed);
  wire("watch", WIRE_WATCH, 0, &image.base);
}

/* Frames between controllers. */
static void exchanges(void) {
  Milena__Internal__V1__ExchangeRequest request = MILENA__INTERNAL__V1__EXCHANGE_REQUEST__INIT;
  Milena__Internal__V1__ExchangeHello hello = MILENA__INTERNAL__V1__EXCHANGE_HELLO__INIT;
  hello.format = 1;
  hello.cluster_id = (char *)"00000000-0000-4000-8000-000000000000";
  hello.from_id = 1;
  hello.from_directory_id = hello.to_directory_id = (char *)"12345678-9abc-def0-0102-0304050607ff";
  hello.to_id = 2;
  request.frame_case = MILENA__INTERNAL__V1__EXCHANGE_REQUEST__FRAME_HELLO;
  request.hello = &hello;
  Seed *seed = seed_new();
  seed_message(seed, &request.base, FALSE);
  seed_write("exchange", "hello", seed);

  Milena__Internal__V1__RaftEntry entry = MILENA__INTERNAL__V1__RAFT_ENTRY__INIT, *entries[] = {&entry};
  entry.format = 1;
  entry.index = 12;
  entry.term = 3;
  entry.kind = MILENA__INTERNAL__V1__RAFT_ENTRY_KIND__RAFT_ENTRY_KIND_METADATA;
  entry.data = binary("records");
  Milena__Internal__V1__RaftMessage append = MILENA__INTERNAL__V1__RAFT_MESSAGE__INIT, piece = append;
  append.kind = MILENA__INTERNAL__V1__RAFT_MESSAGE_KIND__RAFT_MESSAGE_KIND_APPEND;
  append.term = append.log_term = 3;
  append.index = append.commit = 11;
  append.n_entries = 1;
  append.entries = entries;
  RaftSnapshotMeta meta = {.index = 9, .term = 2, .size_bytes = 100, .crc32c = 7};
  meta.configuration =
      (RaftConfiguration){.members = {{.id = 1, .directory = {{1}}, .address = "a:1"}}, .member_count = 1};
  g_autoptr(GBytes) encoded = raft_snapshot_meta_encode(&meta);
  piece.kind = MILENA__INTERNAL__V1__RAFT_MESSAGE_KIND__RAFT_MESSAGE_KIND_SNAPSHOT;
  piece.snapshot.data = (guint8 *)g_bytes_get_data(encoded, &piece.snapshot.len);
  piece.offset = 10;
  piece.chunk = binary("a piece of it");
  Milena__Internal__V1__RaftMessage *messages[] = {&append, &piece};
  Milena__Internal__V1__RaftMessageBatch batch = MILENA__INTERNAL__V1__RAFT_MESSAGE_BATCH__INIT;
  batch.n_messages = G_N_ELEMENTS(messages);
  batch.messages = messages;
  request.frame_case = MILENA__INTERNAL__V1__EXCHANGE_REQUEST__FRAME_BATCH;
  request.batch = &batch;
  seed = seed_new();
  seed_message(seed, &request.base, FALSE);
  seed_write("exchange", "batch", seed);
}

void seeds_messages(void) {
  produce();
  reading();
  statuses();
  raft();
  exchanges();
  notes();
  metadata();
  commands();
  views();
}
