/* Partitions of topics as numbers, and sets of them as sorted arrays. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The topic's number (groups_topic_*) in the upper half, the partition in the lower one. */
typedef guint64 GroupsPart;

static inline GroupsPart groups_part(guint32 topic, gint32 partition) {
  return (guint64)topic << 32 | (guint32)partition;
}
static inline guint32 groups_part_topic(GroupsPart part) {
  return (guint32)(part >> 32);
}
static inline gint32 groups_part_partition(GroupsPart part) {
  return (gint32)(guint32)part;
}

/* Sets: GArray of GroupsPart, rising, none twice. */
GArray *groups_parts_new(void);
GArray *groups_parts_copy(const GArray *parts);
/* Sort what was appended in any order, and drop what is there twice. */
void groups_parts_sort(GArray *parts);
gboolean groups_parts_contain(const GArray *parts, GroupsPart part);
gboolean groups_parts_equal(const GArray *one, const GArray *other);
/* What is in @parts and not in @other; owned by the caller. */
GArray *groups_parts_without(const GArray *parts, const GArray *other);
static inline GroupsPart groups_parts_at(const GArray *parts, guint index) {
  return g_array_index(parts, GroupsPart, index);
}

/* A hash table with partitions as keys; values are borrowed, or freed with @free_value. */
GHashTable *groups_part_table_new(GDestroyNotify free_value);
gpointer groups_part_table_get(GHashTable *table, GroupsPart part);
/* @value: NULL removes it */
void groups_part_table_set(GHashTable *table, GroupsPart part, gpointer value);
/* All keys, sorted; owned by the caller. */
GArray *groups_part_table_keys(GHashTable *table);

G_END_DECLS
