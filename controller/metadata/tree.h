/* A persistent balanced tree: an ordered map whose versions share what they have in common.
 *
 * Setting or removing a value makes a new tree of O(log n) new nodes; the old one stays as it was. Nodes and values are
 * reference-counted atomically, so trees may be shared and dropped on any thread. Weight-balanced as described by
 * Adams (1993), with the parameters of Hirai and Yamamoto (2011): the depth is below 2.5 log2(n). Pure. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* NULL is the empty tree. */
typedef struct MetadataTree MetadataTree;

/* What the tree needs to know about its values. */
typedef struct {
  int (*compare)(gconstpointer key, gconstpointer value); /* as strcmp, of a key with a value's key */
  gconstpointer (*key)(gconstpointer value);
  gpointer (*ref)(gpointer value);
  void (*unref)(gpointer value);
} MetadataTreeType;

MetadataTree *metadata_tree_ref(MetadataTree *tree);
void metadata_tree_unref(const MetadataTreeType *type, MetadataTree *tree);
guint metadata_tree_count(const MetadataTree *tree);
/* The value, borrowed, or NULL. */
gpointer metadata_tree_get(const MetadataTreeType *type, const MetadataTree *tree, gconstpointer key);
/* Put @value in place of the one with its key, or beside the others. Both @tree and @value are taken. */
MetadataTree *metadata_tree_set(const MetadataTreeType *type, MetadataTree *tree, gpointer value);
/* Without the value of @key, if there is one. @tree is taken. */
MetadataTree *metadata_tree_remove(const MetadataTreeType *type, MetadataTree *tree, gconstpointer key);

/* In order, with an explicit stack of nodes that are still to come.
 * @from: the first key that is wanted, or NULL for all
 * Returns the stack's new depth. */
guint metadata_tree_seek(const MetadataTreeType *type, const MetadataTree *tree, gconstpointer from,
                         const MetadataTree **stack, guint stack_max);
/* The next value, borrowed, or NULL at the end. */
gpointer metadata_tree_next(const MetadataTree **stack, guint *depth, guint stack_max);

/* Tell each value that differs between two trees, by key: @func gets NULL for the side that has none. Subtrees that the
 * trees share are skipped, so two versions that are near each other cost only their difference. */
typedef void (*MetadataTreeDiff)(gpointer before, gpointer after, gpointer user_data);
void metadata_tree_diff(const MetadataTreeType *type, const MetadataTree *before, const MetadataTree *after,
                        MetadataTreeDiff func, gpointer user_data);

G_END_DECLS
