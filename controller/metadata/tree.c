/* Persistent weight-balanced tree; see tree.h.
 *
 * Invariants:
 *  1. A node never changes once it can be reached from two places: set and remove make new nodes along one path.
 *  2. Keys of the left subtree < the node's < those of the right one.
 *  3. weight(left) <= DELTA * weight(right) and the other way round, where weight = count + 1.
 *
 * Functions that build take references to the parts that they are given. Failure modes: none but memory. */
#include "controller/metadata/tree.h"

#include "services/base/invariant.h"

#define DELTA 3
#define GAMMA 2

struct MetadataTree {
  gint refs;
  guint count;
  gpointer value;
  MetadataTree *left, *right;
};

MetadataTree *metadata_tree_ref(MetadataTree *tree) {
  if (tree)
    g_atomic_int_inc(&tree->refs);
  return tree;
}

void metadata_tree_unref(const MetadataTreeType *type, MetadataTree *tree) {
  if (!tree || !g_atomic_int_dec_and_test(&tree->refs))
    return;
  metadata_tree_unref(type, tree->left);
  metadata_tree_unref(type, tree->right);
  type->unref(tree->value);
  g_free(tree);
}

guint metadata_tree_count(const MetadataTree *tree) {
  return tree ? tree->count : 0;
}

static guint64 weight(const MetadataTree *tree) {
  return (guint64)metadata_tree_count(tree) + 1;
}

gpointer metadata_tree_get(const MetadataTreeType *type, const MetadataTree *tree, gconstpointer key) {
  while (tree) {
    int order = type->compare(key, tree->value);
    if (order == 0)
      return tree->value;
    tree = order < 0 ? tree->left : tree->right;
  }
  return NULL;
}

/* Takes all three. */
static MetadataTree *node_new(MetadataTree *left, gpointer value, MetadataTree *right) {
  MetadataTree *node = g_new(MetadataTree, 1);
  *node = (MetadataTree){
      .refs = 1,
      .count = metadata_tree_count(left) + 1 + metadata_tree_count(right),
      .value = value,
      .left = left,
      .right = right,
  };
  return node;
}

/* Give up a node for references to its parts. */
static void node_open(const MetadataTreeType *type, MetadataTree *node, MetadataTree **ret_left, gpointer *ret_value,
                      MetadataTree **ret_right) {
  INVARIANT(node, "only a node can be opened");
  *ret_left = metadata_tree_ref(node->left);
  *ret_value = type->ref(node->value);
  *ret_right = metadata_tree_ref(node->right);
  metadata_tree_unref(type, node);
}

/* The right side has become too heavy. Takes all three. */
static MetadataTree *rotate_left(const MetadataTreeType *type, MetadataTree *left, gpointer value,
                                 MetadataTree *right) {
  MetadataTree *inner, *outer;
  gpointer right_value;
  node_open(type, right, &inner, &right_value, &outer);
  if (weight(inner) < GAMMA * weight(outer))
    return node_new(node_new(left, value, inner), right_value, outer);
  MetadataTree *inner_left, *inner_right;
  gpointer inner_value;
  node_open(type, inner, &inner_left, &inner_value, &inner_right);
  return node_new(node_new(left, value, inner_left), inner_value, node_new(inner_right, right_value, outer));
}

/* The left side has become too heavy. Takes all three. */
static MetadataTree *rotate_right(const MetadataTreeType *type, MetadataTree *left, gpointer value,
                                  MetadataTree *right) {
  MetadataTree *inner, *outer;
  gpointer left_value;
  node_open(type, left, &outer, &left_value, &inner);
  if (weight(inner) < GAMMA * weight(outer))
    return node_new(outer, left_value, node_new(inner, value, right));
  MetadataTree *inner_left, *inner_right;
  gpointer inner_value;
  node_open(type, inner, &inner_left, &inner_value, &inner_right);
  return node_new(node_new(outer, left_value, inner_left), inner_value, node_new(inner_right, value, right));
}

/* A node of parts whose counts are off by one at most. Takes all three. */
static MetadataTree *balance(const MetadataTreeType *type, MetadataTree *left, gpointer value, MetadataTree *right) {
  if (weight(right) > DELTA * weight(left))
    return rotate_left(type, left, value, right);
  if (weight(left) > DELTA * weight(right))
    return rotate_right(type, left, value, right);
  return node_new(left, value, right);
}

MetadataTree *metadata_tree_set(const MetadataTreeType *type, MetadataTree *tree, gpointer value) {
  if (!tree)
    return node_new(NULL, value, NULL);
  int order = type->compare(type->key(value), tree->value);
  MetadataTree *left, *right;
  gpointer here;
  node_open(type, tree, &left, &here, &right);
  if (order < 0)
    return balance(type, metadata_tree_set(type, left, value), here, right);
  if (order > 0)
    return balance(type, left, here, metadata_tree_set(type, right, value));
  type->unref(here);
  return node_new(left, value, right);
}

/* Take the first value out of a tree that is not empty. Takes @tree. */
static MetadataTree *take_first(const MetadataTreeType *type, MetadataTree *tree, gpointer *ret_value) {
  MetadataTree *left, *right;
  gpointer here;
  node_open(type, tree, &left, &here, &right);
  if (!left) {
    *ret_value = here;
    return right;
  }
  left = take_first(type, left, ret_value);
  return balance(type, left, here, right);
}

static MetadataTree *remove_present(const MetadataTreeType *type, MetadataTree *tree, gconstpointer key) {
  INVARIANT(tree, "the key was looked up before");
  int order = type->compare(key, tree->value);
  MetadataTree *left, *right;
  gpointer here;
  node_open(type, tree, &left, &here, &right);
  if (order < 0)
    return balance(type, remove_present(type, left, key), here, right);
  if (order > 0)
    return balance(type, left, here, remove_present(type, right, key));
  type->unref(here);
  if (!right)
    return left;
  gpointer next = NULL;
  right = take_first(type, right, &next);
  return balance(type, left, next, right);
}

MetadataTree *metadata_tree_remove(const MetadataTreeType *type, MetadataTree *tree, gconstpointer key) {
  return metadata_tree_get(type, tree, key) ? remove_present(type, tree, key) : tree;
}

guint metadata_tree_seek(const MetadataTreeType *type, const MetadataTree *tree, gconstpointer from,
                         const MetadataTree **stack, guint stack_max) {
  guint depth = 0;
  while (tree) {
    if (from && type->compare(from, tree->value) > 0) {
      tree = tree->right;
      continue;
    }
    INVARIANT(depth < stack_max, "a balanced tree is not that deep");
    stack[depth++] = tree;
    tree = tree->left;
  }
  return depth;
}

gpointer metadata_tree_next(const MetadataTree **stack, guint *depth, guint stack_max) {
  if (*depth == 0)
    return NULL;
  const MetadataTree *node = stack[--*depth];
  for (const MetadataTree *below = node->right; below; below = below->left) {
    INVARIANT(*depth < stack_max, "a balanced tree is not that deep");
    stack[(*depth)++] = below;
  }
  return node->value;
}

/* ---- Differences: both trees are walked in order; a subtree that stands at the same place in both is skipped. ---- */

#define DIFF_DEPTH 96

/* Entries of the stack are subtrees still to be walked, smallest keys on top; a node that was opened stands for its
 * value alone. */
typedef struct {
  const MetadataTree *tree;
  gboolean opened;
} DiffEntry;

typedef struct {
  DiffEntry entries[2 * DIFF_DEPTH];
  guint depth;
} DiffWalk;

static void diff_push(DiffWalk *walk, const MetadataTree *tree, gboolean opened) {
  if (!tree)
    return;
  INVARIANT(walk->depth < G_N_ELEMENTS(walk->entries), "a balanced tree is not that deep");
  walk->entries[walk->depth++] = (DiffEntry){tree, opened};
}

static DiffEntry *diff_top(DiffWalk *walk) {
  return walk->depth ? &walk->entries[walk->depth - 1] : NULL;
}

/* Put the top subtree's left side, value and right side in its place. */
static void diff_open(DiffWalk *walk) {
  const MetadataTree *tree = walk->entries[--walk->depth].tree;
  INVARIANT(tree, "empty subtrees are never pushed");
  diff_push(walk, tree->right, FALSE);
  diff_push(walk, tree, TRUE);
  diff_push(walk, tree->left, FALSE);
}

/* Open the larger of two subtrees, so that equal ones meet. Returns FALSE when both tops are values. */
static gboolean diff_descend(DiffWalk *a, DiffWalk *b) {
  DiffEntry *x = diff_top(a), *y = diff_top(b);
  gboolean x_closed = x && !x->opened, y_closed = y && !y->opened;
  if (!x_closed && !y_closed)
    return FALSE;
  if (x_closed && (!y_closed || x->tree->count >= y->tree->count))
    diff_open(a);
  else
    diff_open(b);
  return TRUE;
}

void metadata_tree_diff(const MetadataTreeType *type, const MetadataTree *before, const MetadataTree *after,
                        MetadataTreeDiff func, gpointer user_data) {
  DiffWalk a = {.depth = 0}, b = {.depth = 0};
  diff_push(&a, before, FALSE);
  diff_push(&b, after, FALSE);
  while (a.depth || b.depth) {
    DiffEntry *x = diff_top(&a), *y = diff_top(&b);
    if (x && y && !x->opened && !y->opened && x->tree == y->tree) {
      a.depth--;
      b.depth--;
      continue;
    }
    if (diff_descend(&a, &b))
      continue;
    gpointer old = x ? x->tree->value : NULL, new = y ? y->tree->value : NULL;
    int order = !old ? 1 : !new ? -1 : type->compare(type->key(old), new);
    if (order <= 0)
      a.depth--;
    if (order >= 0)
      b.depth--;
    if (order < 0)
      func(old, NULL, user_data);
    else if (order > 0)
      func(NULL, new, user_data);
    else if (old != new)
      func(old, new, user_data);
  }
}
