#include "controller/metadata/tree.h"

#include <string.h>

#include "tests/shim/shim.h"

/* A value is a number that counts its references, to see that none is lost. */
typedef struct {
  gint refs;
  gint32 key, payload;
} Number;

static gint g_alive;

static int compare(gconstpointer key, gconstpointer value) {
  gint32 a = *(const gint32 *)key, b = ((const Number *)value)->key;
  return a < b ? -1 : a > b;
}

static gconstpointer key_of(gconstpointer value) {
  return &((const Number *)value)->key;
}

static gpointer number_ref(gpointer value) {
  ((Number *)value)->refs++;
  return value;
}

static void number_unref(gpointer value) {
  if (--((Number *)value)->refs > 0)
    return;
  g_alive--;
  g_free(value);
}

static const MetadataTreeType TYPE = {compare, key_of, number_ref, number_unref};

static MetadataTree *set(MetadataTree *tree, gint32 key, gint32 payload) {
  Number *number = g_new(Number, 1);
  *number = (Number){1, key, payload};
  g_alive++;
  return metadata_tree_set(&TYPE, tree, number);
}

/* Compare the tree with a sorted array of what it should hold; also the depth of the walk. */
static void expect_same(const MetadataTree *tree, const gint32 *payloads, gint32 count) {
  const MetadataTree *stack[96];
  guint depth = metadata_tree_seek(&TYPE, tree, NULL, stack, 96);
  guint present = 0;
  for (gint32 key = 0; key < count; key++) {
    const Number *found = metadata_tree_get(&TYPE, tree, &key);
    EXPECT_EQ_INT(payloads[key], found ? found->payload : 0);
    if (!payloads[key])
      continue;
    present++;
    const Number *next = metadata_tree_next(stack, &depth, 96);
    EXPECT_EQ_INT(key, next ? next->key : -1);
  }
  EXPECT_NULL(metadata_tree_next(stack, &depth, 96));
  EXPECT_EQ_INT(present, metadata_tree_count(tree));
}

#define KEYS 500

TEST(tree, holds_what_was_set_through_random_changes) {
  g_autoptr(GRand) rand = g_rand_new_with_seed(7);
  gint32 payloads[KEYS] = {0}, old_payloads[KEYS];
  MetadataTree *tree = NULL, *old = NULL;
  for (int step = 1; step <= 5000; step++) {
    gint32 key = g_rand_int_range(rand, 0, KEYS);
    if (g_rand_boolean(rand)) {
      tree = set(tree, key, step);
      payloads[key] = step;
    } else {
      tree = metadata_tree_remove(&TYPE, tree, &key);
      payloads[key] = 0;
    }
    if (step == 2500) { /* a version that is kept must not change any more */
      old = metadata_tree_ref(tree);
      memcpy(old_payloads, payloads, sizeof payloads);
    }
  }
  expect_same(tree, payloads, KEYS);
  expect_same(old, old_payloads, KEYS);
  metadata_tree_unref(&TYPE, tree);
  metadata_tree_unref(&TYPE, old);
  EXPECT_EQ_INT(0, g_alive);
}

TEST(tree, stays_balanced_when_keys_rise) {
  MetadataTree *tree = NULL;
  for (gint32 key = 0; key < 100000; key++)
    tree = set(tree, key, 1);
  const MetadataTree *stack[96];
  EXPECT_TRUE(metadata_tree_seek(&TYPE, tree, NULL, stack, 96) <= 42); /* 2.5 log2(100,000) */
  metadata_tree_unref(&TYPE, tree);
  EXPECT_EQ_INT(0, g_alive);
}

TEST(tree, seeks_to_a_key_or_the_next) {
  MetadataTree *tree = NULL;
  for (gint32 key = 0; key < 100; key += 10)
    tree = set(tree, key, 1);
  static const struct {
    gint32 from, want;
  } CASES[] = {{-5, 0}, {0, 0}, {1, 10}, {50, 50}, {51, 60}, {90, 90}, {91, -1}};
  for (guint i = 0; i < G_N_ELEMENTS(CASES); i++) {
    const MetadataTree *stack[96];
    guint depth = metadata_tree_seek(&TYPE, tree, &CASES[i].from, stack, 96);
    const Number *next = metadata_tree_next(stack, &depth, 96);
    EXPECT_EQ_INT(CASES[i].want, next ? next->key : -1);
  }
  metadata_tree_unref(&TYPE, tree);
}

/* ---- Differences ---- */

typedef struct {
  gint32 before[KEYS], after[KEYS];
  guint count;
} Differences;

static void on_difference(gpointer before, gpointer after, gpointer user_data) {
  Differences *differences = user_data;
  const Number *old = before, *new = after;
  gint32 key = old ? old->key : new->key;
  differences->count++;
  differences->before[key] = old ? old->payload : 0;
  differences->after[key] = new ? new->payload : 0;
}

TEST(tree, tells_exactly_the_differences) {
  g_autoptr(GRand) rand = g_rand_new_with_seed(11);
  for (int round = 0; round < 200; round++) {
    gint32 before[KEYS] = {0}, after[KEYS];
    MetadataTree *tree = NULL;
    for (int i = 0; i < 300; i++) {
      gint32 key = g_rand_int_range(rand, 0, KEYS);
      before[key] = i + 1;
      tree = set(tree, key, i + 1);
    }
    memcpy(after, before, sizeof before);
    MetadataTree *changed = metadata_tree_ref(tree);
    for (int i = g_rand_int_range(rand, 0, 20); i > 0; i--) {
      gint32 key = g_rand_int_range(rand, 0, KEYS);
      gboolean keep = g_rand_boolean(rand);
      after[key] = keep ? 1000 + i : 0;
      changed = keep ? set(changed, key, 1000 + i) : metadata_tree_remove(&TYPE, changed, &key);
    }
    Differences got = {.count = 0};
    metadata_tree_diff(&TYPE, tree, changed, on_difference, &got);
    guint want = 0;
    for (gint32 key = 0; key < KEYS; key++) {
      want += before[key] != after[key];
      if (before[key] != after[key]) {
        EXPECT_EQ_INT(before[key], got.before[key]);
        EXPECT_EQ_INT(after[key], got.after[key]);
      }
    }
    EXPECT_EQ_INT(want, got.count);
    metadata_tree_unref(&TYPE, tree);
    metadata_tree_unref(&TYPE, changed);
  }
  EXPECT_EQ_INT(0, g_alive);
}
