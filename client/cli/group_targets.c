/* See group_targets.h. */
#include "client/cli/group_targets.h"

#include <string.h>

#include "client/cli/text.h"

void group_targets_init(GroupTargets *targets) {
  targets->partitions = g_array_new(FALSE, FALSE, sizeof(MilenaTopicPartition));
  targets->offsets = g_array_new(FALSE, FALSE, sizeof(MilenaOffset));
  targets->names = g_string_chunk_new(256);
}

void group_targets_clear(GroupTargets *targets) {
  g_clear_pointer(&targets->partitions, g_array_unref);
  g_clear_pointer(&targets->offsets, g_array_unref);
  g_clear_pointer(&targets->names, g_string_chunk_free);
}

Failure *group_targets_add(GroupTargets *targets, const char *text) {
  const char *colon = strchr(text, ':');
  gsize length = colon ? (gsize)(colon - text) : strlen(text);
  if (length == 0)
    return failure_new(FAILURE(INVALID_FIELD), "--topic '%s' names no topic: write orders, or orders:0,3.", text);
  MilenaTopicPartition partition = {g_string_chunk_insert_len(targets->names, text, (gssize)length), -1};
  if (!colon) {
    g_array_append_val(targets->partitions, partition);
    return NULL;
  }
  g_auto(GStrv) numbers = g_strsplit(colon + 1, ",", -1);
  for (char **at = numbers; *at; at++) {
    gint64 number = 0;
    Failure *failure = text_number("the partition in --topic", *at, 0, G_MAXINT32, &number);
    if (failure)
      return failure;
    partition.partition = (gint32)number;
    g_array_append_val(targets->partitions, partition);
  }
  return NULL;
}

/* One line, split at blanks. */
static Failure *add_line(GroupTargets *targets, char *line, guint number) {
  char *fields[4] = {NULL};
  guint count = 0;
  for (char *rest = line, *field; (field = strsep(&rest, " \t\r")) != NULL && count < G_N_ELEMENTS(fields);)
    if (*field)
      fields[count++] = field;
  if (count == 0 || fields[0][0] == '#')
    return NULL;
  gint64 partition = 0, offset = 0;
  Failure *failure = count == 3
                         ? text_number("the partition", fields[1], 0, G_MAXINT32, &partition)
                         : failure_new(FAILURE(INVALID_FIELD), "it must have a topic, a partition and an offset");
  if (!failure)
    failure = text_number("the offset", fields[2], 0, G_MAXINT64, &offset);
  if (failure)
    return failure_prefix(failure, "line %u", number);
  MilenaOffset item = {g_string_chunk_insert(targets->names, fields[0]), (gint32)partition, offset, -1, NULL};
  g_array_append_val(targets->offsets, item);
  return NULL;
}

Failure *group_targets_add_file(GroupTargets *targets, const char *text, gsize length) {
  if (!g_utf8_validate(text, (gssize)length, NULL))
    return failure_new(FAILURE(INVALID_FIELD), "the file is not UTF-8 text.");
  g_autofree char *copy = g_strndup(text, length);
  guint number = 1;
  for (char *rest = copy, *line; (line = strsep(&rest, "\n")) != NULL; number++) {
    Failure *failure = add_line(targets, line, number);
    if (failure)
      return failure;
  }
  if (targets->offsets->len == 0)
    return failure_new(FAILURE(INVALID_FIELD), "the file has no line of a topic, a partition and an offset.");
  return NULL;
}
