/* Writes corpus/: seeds of the log's formats here, of messages in seeds_messages.c, of text in seeds_words.c. */
#include "tests/fuzz/seeds.h"

#include <stdio.h>
#include <string.h>

#include "storage/log/hot.h"
#include "storage/log/key.h"
#include "storage/log/producers.h"
#include "storage/log/records.h"
#include "storage/rocks/bulk_mark.h"
#include "storage/rocks/catalog.h"

static const char *corpus;

void seed_write(const char *target, const char *name, Seed *seed) {
  g_autofree char *folder = g_build_filename(corpus, target, NULL);
  g_autofree char *path = g_build_filename(folder, name, NULL);
  g_autoptr(GError) error = NULL;
  if (g_mkdir_with_parents(folder, 0755) != 0 ||
      !g_file_set_contents(path, (const char *)seed->data, seed->len, &error))
    g_error("%s can't be written", path);
  g_byte_array_unref(seed);
}

void seed_message(Seed *seed, const ProtobufCMessage *message, gboolean chunk) {
  gsize len = protobuf_c_message_get_packed_size(message);
  g_autofree guint8 *bytes = g_malloc(len + 1);
  protobuf_c_message_pack(message, bytes);
  if (chunk)
    seed_chunk(seed, bytes, len);
  else
    seed_bytes(seed, bytes, len);
}

/* A sealed, stamped batch of four records. */
static void make_batch(Milena__V1__Compression compression, LogBatch *ret_batch) {
  g_autoptr(LogRecordsBuilder) builder = log_records_builder_new();
  LogHeader header = {"trace", 5, log_field("\x01\x02", 2)};
  log_records_builder_add(builder, log_field("k", 1), log_field("value", 5), &header, 1, 1700000000000);
  log_records_builder_add(builder, LOG_FIELD_NONE, log_field("", 0), NULL, 0, 1700000000001);
  log_records_builder_add(builder, log_field("gone", 4), LOG_FIELD_NONE, NULL, 0, 1699999999999);
  log_records_builder_add(builder, LOG_FIELD_NONE, log_field("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 32), NULL, 0,
                          1700000000000);
  if (log_records_builder_finish(builder, compression, ret_batch))
    g_error("a batch can't be made");
  ret_batch->producer_id = 5000;
  ret_batch->base_offset = 1000;
  ret_batch->leader_epoch = 3;
  ret_batch->append_timestamp_ms = 1700000000005;
  log_batch_seal(ret_batch);
}

static void seeds_of_batch(const char *name, Milena__V1__Compression compression) {
  g_auto(LogBatch) batch = LOG_BATCH_INIT;
  make_batch(compression, &batch);
  LogBatchProto proto;
  log_batch_to_proto(&batch, &proto);
  Seed *seed = seed_new();
  seed_number(seed, 1, 1);
  seed_message(seed, &proto.batch.base, FALSE);
  seed_write("batch", name, seed);

  guint8 header[LOG_STORED_HEADER_BYTES];
  log_batch_stored_header(&batch, 7, header);
  seed = seed_new();
  seed_number(seed, 6, 8); /* the target adds one */
  seed_number(seed, 1000, 8);
  seed_bytes(seed, header, sizeof header);
  seed_gbytes(seed, batch.records);
  seed_write("stored", name, seed);

  seed = seed_new();
  seed_number(seed, compression, 1);
  seed_number(seed, batch.record_count, 2);
  seed_number(seed, batch.uncompressed_bytes, 4);
  seed_gbytes(seed, batch.records);
  seed_write("records", name, seed);

  seed = seed_new();
  seed_number(seed, compression, 1);
  seed_number(seed, batch.uncompressed_bytes, 4);
  seed_gbytes(seed, batch.records);
  seed_write("codec", name, seed);
}

static void seeds_of_keys(void) {
  guint8 key[LOG_KEY_BYTES], value[LOG_TIME_VALUE_BYTES], hot[LOG_HOT_KEY_BYTES], producer[LOG_PRODUCER_KEY_BYTES];
  Seed *seed = seed_new();
  log_key_encode(LOG_KEY_BATCH, 7, 1000, key);
  seed_number(seed, sizeof key, 1);
  seed_bytes(seed, key, sizeof key);
  seed_write("keys", "batch", seed);
  seed = seed_new();
  log_key_encode(LOG_KEY_TIME, 7, 1000, key);
  log_time_value_encode(7, 1000, 1700000000000, value);
  seed_number(seed, sizeof key, 1);
  seed_bytes(seed, key, sizeof key);
  seed_bytes(seed, value, sizeof value);
  seed_write("keys", "time", seed);
  seed = seed_new();
  log_hot_key_encode(7, hot);
  seed_number(seed, sizeof hot, 1);
  seed_bytes(seed, hot, sizeof hot);
  seed_write("keys", "hot", seed);
  seed = seed_new();
  log_producer_key_encode(7, 5000, producer);
  seed_number(seed, sizeof producer, 1);
  seed_bytes(seed, producer, sizeof producer);
  seed_write("keys", "producer", seed);
}

static void seeds_of_hot(void) {
  g_auto(LogHot) hot = {0};
  log_hot_init(&hot);
  g_autoptr(GByteArray) bytes = g_byte_array_new();
  log_hot_encode(&hot, 7, bytes);
  Seed *seed = seed_new();
  seed_bytes(seed, bytes->data, bytes->len);
  seed_write("hot", "empty", seed);
  log_epochs_append(hot.epochs, 0, 0);
  log_epochs_append(hot.epochs, 3, 500);
  log_epochs_append(hot.epochs, 9, 900);
  hot.log_end_offset = 1000;
  hot.high_watermark = 990;
  hot.max_timestamp_ms = hot.last_append_timestamp_ms = 1700000000000;
  log_hot_encode(&hot, 7, bytes);
  seed = seed_new();
  seed_bytes(seed, bytes->data, bytes->len);
  seed_write("hot", "epochs", seed);
  g_byte_array_set_size(bytes, 0);
  log_epochs_encode(hot.epochs, bytes);
  seed = seed_new();
  seed_number(seed, 3, 4);
  seed_number(seed, 700, 8);
  seed_bytes(seed, bytes->data, bytes->len);
  seed_write("epochs", "three", seed);
}

static void seeds_of_producers(void) {
  g_autoptr(LogProducers) producers = log_producers_new();
  const LogProducer *producer = NULL;
  for (guint i = 0; i < LOG_PRODUCER_BATCHES; i++) {
    LogBatch batch = LOG_BATCH_INIT;
    batch.producer_id = 5000;
    batch.producer_epoch = 2;
    batch.first_sequence = i * 10;
    batch.record_count = 10;
    batch.base_offset = 100 + i * 10;
    batch.append_timestamp_ms = 1700000000000 + i;
    producer = log_producers_add(producers, &batch);
    guint8 value[LOG_PRODUCER_VALUE_BYTES_MAX];
    gsize len = log_producer_encode(producer, 7, value);
    Seed *seed = seed_new();
    seed_number(seed, 2, 4);
    seed_number(seed, 10 * (i + 1), 4);
    seed_number(seed, 9, 2);
    seed_bytes(seed, value, len);
    g_autofree char *name = g_strdup_printf("batches-%u", i + 1);
    seed_write("producers", name, seed);
  }
}

static void seeds_of_catalog(void) {
  static const CatalogEntry ENTRIES[] = {
      {.kind = CATALOG_SEGMENT, .segment = 3, .time_ms = 1700000000000},
      {.kind = CATALOG_SPAN, .segment = 3, .log_id = 7, .first_offset = 1000, .max_timestamp_before = 1700000000000},
      {.kind = CATALOG_DROPPED, .log_id = 7, .time_ms = 1700000000000},
      {.kind = CATALOG_GONE, .segment = 3, .time_ms = 1700000000000},
      {.kind = CATALOG_BULK, .group = 12},
  };
  for (guint i = 0; i < G_N_ELEMENTS(ENTRIES); i++) {
    CatalogBytes bytes;
    catalog_encode(&ENTRIES[i], &bytes);
    Seed *seed = seed_new();
    seed_number(seed, bytes.key_len, 1);
    seed_bytes(seed, bytes.key, bytes.key_len);
    seed_bytes(seed, bytes.value, bytes.value_len);
    const char name[] = {(char)ENTRIES[i].kind, '\0'};
    seed_write("catalog", name, seed);
  }
  BulkMark mark = {.group = 12, .log_id = 7, .first_offset = 1000};
  guint8 key[BULK_MARK_KEY_BYTES], value[BULK_MARK_PADDED_BYTES];
  for (gboolean padded = FALSE; padded <= TRUE; padded++) {
    gsize value_len = bulk_mark_encode(&mark, padded, key, value);
    Seed *seed = seed_new();
    seed_number(seed, sizeof key, 1);
    seed_bytes(seed, key, sizeof key);
    seed_bytes(seed, value, value_len);
    seed_write("catalog", padded ? "mark-padded" : "mark", seed);
  }
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  corpus = argv[1];
  seeds_of_batch("plain", MILENA__V1__COMPRESSION__COMPRESSION_NONE);
  seeds_of_batch("zstd", MILENA__V1__COMPRESSION__COMPRESSION_ZSTD);
  seeds_of_batch("lz4", MILENA__V1__COMPRESSION__COMPRESSION_LZ4);
  seeds_of_keys();
  seeds_of_hot();
  seeds_of_producers();
  seeds_of_catalog();
  seeds_messages();
  seeds_words();
  seeds_groups();
  return 0;
}
