/* The splitter's buffer:
 *
 *   | consumed | searched, no separator in it | not searched yet |
 *   0        start                         searched            length
 *
 * Invariants: start <= searched <= length. `searched` stays a separator's length less one behind what was looked at, so
 * a separator that arrives in two pieces is found. While `dropping`, the bytes before `searched` belong to a record
 * that was reported as too large, and are dropped. One thread. */
#include "client/cli/splitter.h"

#include <string.h>

#include "services/base/invariant.h"

struct Splitter {
  GBytes *separator;
  gsize record_max_bytes;
  GByteArray *buffer;
  gsize start, searched;
  guint64 number;
  gboolean dropping, ended;
};

Splitter *splitter_new(GBytes *separator, gsize record_max_bytes) {
  INVARIANT(g_bytes_get_size(separator) > 0, "a separator has at least one byte");
  Splitter *splitter = g_new0(Splitter, 1);
  splitter->separator = g_bytes_ref(separator);
  splitter->record_max_bytes = record_max_bytes;
  splitter->buffer = g_byte_array_new();
  return splitter;
}

void splitter_free(Splitter *splitter) {
  if (!splitter)
    return;
  g_bytes_unref(splitter->separator);
  g_byte_array_unref(splitter->buffer);
  g_free(splitter);
}

void splitter_feed(Splitter *splitter, const void *data, gsize length) {
  INVARIANT(!splitter->ended, "nothing is fed after the end");
  if (splitter->start > 0) {
    gsize left = splitter->buffer->len - splitter->start;
    memmove(splitter->buffer->data, splitter->buffer->data + splitter->start, left);
    g_byte_array_set_size(splitter->buffer, (guint)left);
    splitter->searched -= splitter->start;
    splitter->start = 0;
  }
  g_byte_array_append(splitter->buffer, data, (guint)length);
}

void splitter_end(Splitter *splitter) {
  splitter->ended = TRUE;
}

guint64 splitter_number(const Splitter *splitter) {
  return splitter->number;
}

/* The record from `start` to @end is complete, its successor begins at @next. */
static SplitterResult cut(Splitter *splitter, gsize end, gsize next, const guint8 **ret_record, gsize *ret_length) {
  gsize begin = splitter->start;
  splitter->start = splitter->searched = next;
  splitter->number++;
  if (end - begin > splitter->record_max_bytes)
    return SPLITTER_TOO_LARGE;
  *ret_record = splitter->buffer->data + begin;
  *ret_length = end - begin;
  return SPLITTER_RECORD;
}

/* No separator is in the buffer, and more bytes may come. */
static SplitterResult wait_for_more(Splitter *splitter) {
  gsize kept = g_bytes_get_size(splitter->separator) - 1; /* may be the beginning of a separator */
  if (splitter->buffer->len - splitter->searched > kept)
    splitter->searched = splitter->buffer->len - kept;
  if (splitter->dropping) {
    splitter->start = splitter->searched;
    return SPLITTER_MORE;
  }
  if (splitter->searched - splitter->start <= splitter->record_max_bytes)
    return SPLITTER_MORE;
  splitter->dropping = TRUE;
  splitter->start = splitter->searched;
  splitter->number++;
  return SPLITTER_TOO_LARGE;
}

SplitterResult splitter_next(Splitter *splitter, const guint8 **ret_record, gsize *ret_length) {
  gsize separator_length;
  const guint8 *separator = g_bytes_get_data(splitter->separator, &separator_length);
  for (;;) {
    const guint8 *data = splitter->buffer->data;
    gsize length = splitter->buffer->len;
    const guint8 *found = length > splitter->searched ? memmem(data + splitter->searched, length - splitter->searched,
                                                               separator, separator_length)
                                                      : NULL;
    if (!found && !splitter->ended)
      return wait_for_more(splitter);
    if (!found && (splitter->start == length || splitter->dropping))
      return SPLITTER_END;
    if (!found)
      return cut(splitter, length, length, ret_record, ret_length);
    gsize end = (gsize)(found - data);
    if (!splitter->dropping)
      return cut(splitter, end, end + separator_length, ret_record, ret_length);
    splitter->dropping = FALSE;
    splitter->start = splitter->searched = end + separator_length;
  }
}
