/* Sets of partitions; see parts.h. No state. */
#include "services/group_coordinator/groups/parts.h"

#include <string.h>

G_STATIC_ASSERT(sizeof(gpointer) >= sizeof(GroupsPart)); /* tables keep partitions in their keys, not behind them */

GArray *groups_parts_new(void) {
  return g_array_new(FALSE, FALSE, sizeof(GroupsPart));
}

GArray *groups_parts_copy(const GArray *parts) {
  GArray *copy = g_array_sized_new(FALSE, FALSE, sizeof(GroupsPart), parts->len);
  return g_array_append_vals(copy, parts->data, parts->len);
}

static int compare(gconstpointer a, gconstpointer b) {
  GroupsPart one = *(const GroupsPart *)a, other = *(const GroupsPart *)b;
  return one < other ? -1 : one > other;
}

void groups_parts_sort(GArray *parts) {
  g_array_sort(parts, compare);
  guint kept = 0;
  for (guint i = 0; i < parts->len; i++)
    if (kept == 0 || groups_parts_at(parts, i) != groups_parts_at(parts, kept - 1))
      g_array_index(parts, GroupsPart, kept++) = groups_parts_at(parts, i);
  g_array_set_size(parts, kept);
}

gboolean groups_parts_contain(const GArray *parts, GroupsPart part) {
  return g_array_binary_search((GArray *)parts, &part, compare, NULL);
}

gboolean groups_parts_equal(const GArray *one, const GArray *other) {
  return one->len == other->len &&
         (one->len == 0 || memcmp(one->data, other->data, one->len * sizeof(GroupsPart)) == 0);
}

GArray *groups_parts_without(const GArray *parts, const GArray *other) {
  GArray *rest = groups_parts_new();
  for (guint i = 0, k = 0; i < parts->len; i++) {
    GroupsPart part = groups_parts_at(parts, i);
    while (k < other->len && groups_parts_at(other, k) < part)
      k++;
    if (k == other->len || groups_parts_at(other, k) != part)
      g_array_append_val(rest, part);
  }
  return rest;
}

static gpointer as_key(GroupsPart part) {
  return (gpointer)(guintptr)part;
}

/* glib's own hash of pointers drops the upper half, where the topic is. */
static guint hash_part(gconstpointer key) {
  guint64 mixed = (guint64)(guintptr)key * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
  return (guint)(mixed >> 32);
}

GHashTable *groups_part_table_new(GDestroyNotify free_value) {
  return g_hash_table_new_full(hash_part, g_direct_equal, NULL, free_value);
}

gpointer groups_part_table_get(GHashTable *table, GroupsPart part) {
  return g_hash_table_lookup(table, as_key(part));
}

void groups_part_table_set(GHashTable *table, GroupsPart part, gpointer value) {
  if (value)
    g_hash_table_insert(table, as_key(part), value);
  else
    g_hash_table_remove(table, as_key(part));
}

GArray *groups_part_table_keys(GHashTable *table) {
  GArray *keys = groups_parts_new();
  GHashTableIter iter;
  gpointer key;
  g_hash_table_iter_init(&iter, table);
  while (g_hash_table_iter_next(&iter, &key, NULL)) {
    GroupsPart part = (GroupsPart)(guintptr)key;
    g_array_append_val(keys, part);
  }
  g_array_sort(keys, compare);
  return keys;
}
