/* The leader epoch cache.
 *
 * A sorted array: it is short (an entry for each leader change that retention has not passed), read by binary search,
 * changed at its ends. Invariants: epochs >= 0, offsets >= 0, both rise strictly; checked whenever entries come in, and
 * refused as corrupt when they come from disk. Owned by its partition's thread. */
#include "storage/log/epochs.h"

#include "services/base/invariant.h"
#include "storage/log/bytes.h"

#define EPOCHS_FORMAT 1
#define EPOCHS_HEADER_BYTES 5
#define EPOCHS_ENTRY_BYTES 12

struct LogEpochs {
  GArray *entries; /* of LogEpoch */
};

#define AT(epochs, i) (&g_array_index((epochs)->entries, LogEpoch, (i)))

LogEpochs *log_epochs_new(void) {
  LogEpochs *epochs = g_new(LogEpochs, 1);
  epochs->entries = g_array_new(FALSE, FALSE, sizeof(LogEpoch));
  return epochs;
}

LogEpochs *log_epochs_copy(const LogEpochs *epochs) {
  LogEpochs *copy = g_new(LogEpochs, 1);
  copy->entries = g_array_copy(epochs->entries);
  return copy;
}

void log_epochs_free(LogEpochs *epochs) {
  if (epochs == NULL)
    return;
  g_array_unref(epochs->entries);
  g_free(epochs);
}

guint log_epochs_count(const LogEpochs *epochs) {
  return epochs->entries->len;
}

LogEpoch log_epochs_get(const LogEpochs *epochs, guint index) {
  INVARIANT(index < epochs->entries->len, "asked for an epoch that is not there");
  return *AT(epochs, index);
}

gint32 log_epochs_latest(const LogEpochs *epochs) {
  return epochs->entries->len > 0 ? AT(epochs, epochs->entries->len - 1)->epoch : LOG_EPOCH_NONE;
}

gboolean log_epochs_accepts(const LogEpochs *epochs, gint32 epoch, gint64 start_offset) {
  if (epoch < 0 || start_offset < 0)
    return FALSE;
  if (epochs->entries->len == 0)
    return TRUE;
  const LogEpoch *last = AT(epochs, epochs->entries->len - 1);
  return epoch >= last->epoch && start_offset >= last->start_offset;
}

gboolean log_epochs_append(LogEpochs *epochs, gint32 epoch, gint64 start_offset) {
  INVARIANT(log_epochs_accepts(epochs, epoch, start_offset), "leader epochs and their offsets never go back in a log");
  if (log_epochs_latest(epochs) == epoch)
    return FALSE;
  /* Nothing was written in an epoch that begins where the next one does. */
  guint len = epochs->entries->len;
  if (len > 0 && AT(epochs, len - 1)->start_offset == start_offset)
    g_array_set_size(epochs->entries, len - 1);
  LogEpoch entry = {epoch, start_offset};
  g_array_append_val(epochs->entries, entry);
  return TRUE;
}

/* How many entries have an epoch of at most @epoch. */
static guint count_up_to_epoch(const LogEpochs *epochs, gint32 epoch) {
  guint low = 0, high = epochs->entries->len;
  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (AT(epochs, middle)->epoch <= epoch)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* How many entries start at or before @offset. */
static guint count_up_to_offset(const LogEpochs *epochs, gint64 offset) {
  guint low = 0, high = epochs->entries->len;
  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (AT(epochs, middle)->start_offset <= offset)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

gboolean log_epochs_end_offset(const LogEpochs *epochs, gint32 epoch, gint64 log_end_offset, gint32 *ret_epoch,
                               gint64 *ret_end_offset) {
  guint len = epochs->entries->len;
  if (len == 0 || epoch < 0 || epoch > log_epochs_latest(epochs))
    return FALSE;
  guint below = count_up_to_epoch(epochs, epoch);
  *ret_epoch = below > 0 ? AT(epochs, below - 1)->epoch : epoch;
  *ret_end_offset = below < len ? AT(epochs, below)->start_offset : log_end_offset;
  return TRUE;
}

gint32 log_epochs_at(const LogEpochs *epochs, gint64 offset) {
  guint below = count_up_to_offset(epochs, offset);
  return below > 0 ? AT(epochs, below - 1)->epoch : LOG_EPOCH_NONE;
}

gboolean log_epochs_truncate_end(LogEpochs *epochs, gint64 end_offset) {
  /* Epochs that start below the end have at least one record left. */
  guint keep = end_offset > 0 ? count_up_to_offset(epochs, end_offset - 1) : 0;
  if (keep == epochs->entries->len)
    return FALSE;
  g_array_set_size(epochs->entries, keep);
  return TRUE;
}

gboolean log_epochs_truncate_start(LogEpochs *epochs, gint64 start_offset) {
  guint before = count_up_to_offset(epochs, start_offset);
  if (before == 0)
    return FALSE;
  LogEpoch *holder = AT(epochs, before - 1);
  if (before == 1 && holder->start_offset == start_offset)
    return FALSE;
  holder->start_offset = start_offset;
  if (before > 1)
    g_array_remove_range(epochs->entries, 0, before - 1);
  return TRUE;
}

void log_epochs_encode(const LogEpochs *epochs, GByteArray *out) {
  guint len = epochs->entries->len;
  guint at_start = out->len;
  g_byte_array_set_size(out, at_start + EPOCHS_HEADER_BYTES + len * EPOCHS_ENTRY_BYTES);
  guint8 *at = out->data + at_start;
  *at++ = EPOCHS_FORMAT;
  at = log_put_u32(at, len);
  for (guint i = 0; i < len; i++) {
    at = log_put_u32(at, (guint32)AT(epochs, i)->epoch);
    at = log_put_u64(at, (guint64)AT(epochs, i)->start_offset);
  }
}

static LogEpoch read_entry(const guint8 *at) {
  return (LogEpoch){(gint32)log_get_u32(at), (gint64)log_get_u64(at + 4)};
}

static Failure *check_entries(const guint8 *at, guint32 count) {
  LogEpoch last = {LOG_EPOCH_NONE, -1};
  for (guint32 i = 0; i < count; i++, at += EPOCHS_ENTRY_BYTES) {
    LogEpoch entry = read_entry(at);
    if (entry.epoch <= last.epoch || entry.start_offset <= last.start_offset)
      return failure_new(FAILURE(CORRUPT_LOG),
                         "the leader epochs are damaged: epoch %d at offset %" G_GINT64_FORMAT
                         " follows epoch %d at offset %" G_GINT64_FORMAT,
                         entry.epoch, entry.start_offset, last.epoch, last.start_offset);
    last = entry;
  }
  return NULL;
}

Failure *log_epochs_decode(const guint8 *data, gsize len, LogEpochs **ret_epochs, gsize *ret_used) {
  if (len >= 1 && data[0] > EPOCHS_FORMAT)
    return failure_new(FAILURE(UNSUPPORTED),
                       "the leader epochs have format %d; this version reads up to %d: start the version that wrote "
                       "them",
                       data[0], EPOCHS_FORMAT);
  if (len < EPOCHS_HEADER_BYTES || data[0] != EPOCHS_FORMAT)
    return failure_new(FAILURE(CORRUPT_LOG), "the leader epochs are damaged: their header is not one");
  guint32 count = log_get_u32(data + 1);
  if (count > (len - EPOCHS_HEADER_BYTES) / EPOCHS_ENTRY_BYTES)
    return failure_new(FAILURE(CORRUPT_LOG),
                       "the leader epochs are damaged: %u entries do not fit into %" G_GSIZE_FORMAT " bytes", count,
                       len);
  const guint8 *at = data + EPOCHS_HEADER_BYTES;
  Failure *failure = check_entries(at, count);
  if (failure != NULL)
    return failure;

  LogEpochs *epochs = log_epochs_new();
  for (guint32 i = 0; i < count; i++, at += EPOCHS_ENTRY_BYTES) {
    LogEpoch entry = read_entry(at);
    g_array_append_val(epochs->entries, entry);
  }
  *ret_epochs = epochs;
  if (ret_used != NULL)
    *ret_used = (gsize)(at - data);
  return NULL;
}
