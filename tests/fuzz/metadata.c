/* The cluster's metadata as controllers store it and brokers receive it: transactions on top of a snapshot.
 *
 * Input: a chunk with a MetadataSnapshot (may be empty), then chunks with MetadataTransactions. */
#include "tests/fuzz/fuzz.h"

#include "controller/metadata/records.h"
#include "controller/metadata/view.h"

/* What is done with any image: shown, written, read again. */
static void use(const MetadataImage *image) {
  Milena__V1__ClusterMetadata *cluster = NULL;
  if (fuzz_accepted(metadata_view_cluster(image, -1, NULL, 0, TRUE, &cluster)))
    milena__v1__cluster_metadata__free_unpacked(cluster, NULL);
  g_autoptr(GBytes) bytes = metadata_snapshot_encode(image);
  MetadataImage *again = NULL;
  FUZZ_HOLDS(fuzz_accepted(metadata_snapshot_decode(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &again)));
  g_autoptr(GBytes) second = metadata_snapshot_encode(again);
  FUZZ_HOLDS(g_bytes_equal(bytes, second));
  metadata_image_unref(again);
}

static void apply(MetadataImage **image, const FuzzInput *chunk) {
  g_autoptr(GPtrArray) records = NULL;
  if (!fuzz_accepted(metadata_transaction_decode(chunk->at, fuzz_left(chunk), &records)))
    return;
  MetadataImage *next = NULL;
  guint64 version = metadata_image_version(*image);
  if (version == G_MAXUINT64 || !fuzz_accepted(metadata_image_apply(*image, (MetadataRecord *const *)records->pdata,
                                                                    records->len, version + 1, &next)))
    return;
  Milena__V1__MetadataChange *change = metadata_view_change(*image, next, 1, NULL, 0);
  milena__v1__metadata_change__free_unpacked(change, NULL);
  metadata_image_unref(*image);
  *image = next;
  use(next);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  FuzzInput input = {data, data + size};
  FuzzInput snapshot = fuzz_chunk(&input);
  g_autoptr(MetadataImage) image = NULL;
  if (fuzz_left(&snapshot) == 0 || !fuzz_accepted(metadata_snapshot_decode(snapshot.at, fuzz_left(&snapshot), &image)))
    image = metadata_image_new();
  else
    use(image);
  while (fuzz_left(&input) > 0) {
    FuzzInput chunk = fuzz_chunk(&input);
    apply(&image, &chunk);
  }
  return 0;
}
