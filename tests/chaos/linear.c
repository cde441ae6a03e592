/* The search for a linear order; see linear.h.
 *
 * Purpose: place the operations of one topic one after the other. An operation may be placed next when every operation
 * that had ended before it began is placed. The moments of begin and end are a list in the order of time; placing an
 * operation takes its two moments out, taking it back puts them in again. Standing at an end whose operation is not
 * placed means that the last choice was wrong.
 *
 * Invariants:
 *   - what was tried is known by the set of placed operations and the state after them: the same pair is not tried
 * again
 *   - an operation of unknown outcome has no end: it may be placed anywhere after its begin, or never
 *   - a write that may be placed or not changes nothing when its condition does not hold: nobody saw its answer
 *
 * Failure modes: a history in which hundreds of unknown operations overlap takes longer than anybody waits: the bound
 * on steps says so, and nothing is called correct that was not decided. */
#include "tests/chaos/linear.h"

#include <string.h>

#include "services/base/invariant.h"

#define STEPS_MAX_DEFAULT 20000000
#define EXPLAIN_OPS_MAX 40

typedef struct Moment Moment;
struct Moment {
  Moment *previous, *next;
  Moment *end; /* of a begin: its end, or NULL when unknown. Of an end: NULL */
  gboolean is_begin;
  gint64 time_us;
  guint op; /* number within the topic */
};

/* An operation that was placed. */
typedef struct {
  Moment *begin;
  guint64 state_before;
} Placed;

typedef struct {
  const GPtrArray *ops; /* of HistoryOp: one topic's, those that count */
  Moment head;          /* before the first */
  Moment *moments;
  guint words;       /* of the set of placed operations */
  guint64 *key;      /* state, then the set: one bit each */
  GHashTable *tried; /* of such keys */
  GArray *placed;    /* of Placed */
  guint known_left;  /* operations with an end that are not placed */
  guint64 steps;
  /* For the explanation: how far the best try came. */
  guint best_count;
  guint best_blocked; /* the operation whose end could not be passed */
  guint64 best_state;
} Search;

/* ---- The model: a topic is absent (0) or has the tag of the last write ---- */

static gboolean step(const HistoryOp *op, guint64 state, guint64 *ret_state) {
  gboolean is_there = state != 0, unknown = op->result == HISTORY_UNKNOWN, ok = op->result == HISTORY_OK;
  *ret_state = state;
  switch (op->kind) {
  case HISTORY_CREATE:
    if (!is_there && (ok || unknown))
      *ret_state = op->tag;
    return unknown || ok == !is_there;
  case HISTORY_UPDATE:
    if (is_there && (ok || unknown))
      *ret_state = op->tag;
    return unknown || ok == is_there;
  case HISTORY_DELETE:
    if (ok || unknown)
      *ret_state = 0;
    return unknown || ok == is_there;
  case HISTORY_READ:
    break;
  }
  return state == op->tag;
}

/* ---- What was tried ---- */

static guint key_hash(gconstpointer data) {
  const guint64 *key = data;
  guint64 hash = 0xcbf29ce484222325;
  for (guint64 i = 0; i <= key[0]; i++)
    hash = (hash ^ key[i]) * 0x9e3779b97f4a7c15, hash ^= hash >> 29;
  return (guint)hash;
}

static gboolean key_equal(gconstpointer a, gconstpointer b) {
  const guint64 *x = a, *y = b;
  return memcmp(x, y, sizeof(guint64) * (x[0] + 1)) == 0;
}

/* key[0]: how many words follow; key[1]: the state; then the set. */
static void key_flip(Search *search, guint op) {
  search->key[2 + op / 64] ^= G_GUINT64_CONSTANT(1) << (op % 64);
}

/* Note that the set with @op, in @state, is tried now; FALSE when it was before. */
static gboolean note_tried(Search *search, guint op, guint64 state) {
  key_flip(search, op);
  search->key[1] = state;
  gboolean is_new = !g_hash_table_contains(search->tried, search->key);
  if (is_new)
    g_hash_table_add(search->tried, g_memdup2(search->key, sizeof(guint64) * (search->words + 2)));
  key_flip(search, op);
  return is_new;
}

/* ---- The list of moments ---- */

static gint compare_moments(gconstpointer a, gconstpointer b) {
  const Moment *x = *(Moment *const *)a, *y = *(Moment *const *)b;
  if (x->time_us != y->time_us)
    return x->time_us < y->time_us ? -1 : 1;
  return (int)y->is_begin - (int)x->is_begin; /* at one moment: they overlap */
}

static void unlink_moment(Moment *moment) {
  moment->previous->next = moment->next;
  if (moment->next)
    moment->next->previous = moment->previous;
}

static void relink_moment(Moment *moment) {
  moment->previous->next = moment;
  if (moment->next)
    moment->next->previous = moment;
}

static void lift(Moment *begin) {
  unlink_moment(begin);
  if (begin->end)
    unlink_moment(begin->end);
}

static void put_back(Moment *begin) {
  if (begin->end)
    relink_moment(begin->end);
  relink_moment(begin);
}

static void make_list(Search *search) {
  search->moments = g_new0(Moment, 2 * search->ops->len + 1);
  g_autoptr(GPtrArray) order = g_ptr_array_new();
  for (guint i = 0; i < search->ops->len; i++) {
    const HistoryOp *op = g_ptr_array_index(search->ops, i);
    Moment *begin = &search->moments[2 * i], *end = begin + 1;
    *begin = (Moment){.is_begin = TRUE, .time_us = op->invoke_us, .op = i};
    g_ptr_array_add(order, begin);
    if (op->result == HISTORY_UNKNOWN)
      continue;
    *end = (Moment){.time_us = op->return_us, .op = i};
    begin->end = end;
    g_ptr_array_add(order, end);
    search->known_left++;
  }
  g_ptr_array_sort(order, compare_moments);
  Moment *last = &search->head;
  for (guint i = 0; i < order->len; i++) {
    Moment *moment = g_ptr_array_index(order, i);
    last->next = moment;
    moment->previous = last;
    last = moment;
  }
}

/* ---- The search ---- */

/* Place the operation that begins here, if it fits and was not tried. */
static gboolean place(Search *search, Moment *begin, guint64 *state) {
  const HistoryOp *op = g_ptr_array_index(search->ops, begin->op);
  guint64 next;
  if (!step(op, *state, &next) || !note_tried(search, begin->op, next))
    return FALSE;
  Placed placed = {begin, *state};
  g_array_append_val(search->placed, placed);
  key_flip(search, begin->op);
  lift(begin);
  search->known_left -= begin->end != NULL;
  *state = next;
  return TRUE;
}

/* Take the last one back. Returns where to go on from, or NULL when nothing was placed. */
static Moment *take_back(Search *search, guint64 *state) {
  if (search->placed->len == 0)
    return NULL;
  Placed last = g_array_index(search->placed, Placed, search->placed->len - 1);
  g_array_set_size(search->placed, search->placed->len - 1);
  key_flip(search, last.begin->op);
  put_back(last.begin);
  search->known_left += last.begin->end != NULL;
  *state = last.state_before;
  return last.begin->next;
}

static void note_best(Search *search, const Moment *end, guint64 state) {
  if (search->placed->len < search->best_count)
    return;
  search->best_count = search->placed->len;
  search->best_blocked = end->op;
  search->best_state = state;
}

static LinearVerdict run(Search *search, guint64 steps_max) {
  guint64 state = 0;
  Moment *at = search->head.next;
  while (search->known_left > 0) {
    if (++search->steps > steps_max)
      return LINEAR_UNDECIDED;
    INVARIANT(at, "while an operation with an end is left, the list reaches to that end");
    if (!at->is_begin) {
      note_best(search, at, state);
      at = take_back(search, &state);
      if (!at)
        return LINEAR_VIOLATION;
    } else if (place(search, at, &state)) {
      at = search->head.next;
    } else {
      at = at->next;
    }
  }
  return LINEAR_OK;
}

static void explain_violation(const Search *search, guint topic, GString *explain) {
  const HistoryOp *blocked = g_ptr_array_index(search->ops, search->best_blocked);
  g_autofree char *line = history_op_to_text(blocked);
  g_autofree char *state = search->best_state ? g_strdup_printf("its tag %" G_GUINT64_FORMAT, search->best_state)
                                              : g_strdup("no such topic");
  g_string_append_printf(explain,
                         "topic %u is not linearizable: no order explains\n  ! %s\nThe best one has %u operations "
                         "before it, and then %s. What went before:\n",
                         topic, line, search->best_count, state);
  guint from = search->ops->len;
  while (from > 0 && ((const HistoryOp *)g_ptr_array_index(search->ops, from - 1))->invoke_us > blocked->return_us)
    from--;
  guint to = from;
  from = from > EXPLAIN_OPS_MAX ? from - EXPLAIN_OPS_MAX : 0;
  for (guint i = from; i < to; i++) {
    g_autofree char *before = history_op_to_text(g_ptr_array_index(search->ops, i));
    g_string_append_printf(explain, "  %c %s\n", i == search->best_blocked ? '!' : ' ', before);
  }
}

static LinearVerdict check_topic(guint topic, const GPtrArray *ops, guint64 steps_max, GString *explain,
                                 guint64 *steps) {
  Search search = {.ops = ops, .words = (ops->len + 63) / 64};
  search.key = g_new0(guint64, search.words + 2);
  search.key[0] = search.words + 1;
  search.tried = g_hash_table_new_full(key_hash, key_equal, g_free, NULL);
  search.placed = g_array_new(FALSE, FALSE, sizeof(Placed));
  make_list(&search);
  LinearVerdict verdict = run(&search, steps_max);
  if (verdict == LINEAR_VIOLATION && explain)
    explain_violation(&search, topic, explain);
  else if (verdict == LINEAR_UNDECIDED && explain)
    g_string_append_printf(explain,
                           "topic %u is undecided: its %u operations took more than %" G_GUINT64_FORMAT " steps\n",
                           topic, ops->len, steps_max);
  *steps += search.steps;
  g_array_unref(search.placed);
  g_hash_table_unref(search.tried);
  g_free(search.key);
  g_free(search.moments);
  return verdict;
}

/* ---- Ids ---- */

/* A tag comes from one write, and that found one topic: it always has the same id. Returns how many have two. */
static guint check_ids(const GArray *ops, GString *explain) {
  g_autoptr(GHashTable) ids = g_hash_table_new(g_int64_hash, g_int64_equal);
  guint bad = 0;
  for (guint i = 0; i < ops->len; i++) {
    const HistoryOp *op = &g_array_index(ops, HistoryOp, i);
    if (!op->tag || !*op->id)
      continue;
    const HistoryOp *first = g_hash_table_lookup(ids, &op->tag);
    if (!first) {
      g_hash_table_insert(ids, (gpointer)&op->tag, (gpointer)op);
      continue;
    }
    if (strcmp(first->id, op->id) == 0)
      continue;
    bad++;
    if (explain) {
      g_autofree char *one = history_op_to_text(first), *other = history_op_to_text(op);
      g_string_append_printf(explain, "tag %" G_GUINT64_FORMAT " was seen with two ids:\n  ! %s\n  ! %s\n", op->tag,
                             one, other);
    }
  }
  return bad;
}

/* ---- All topics ---- */

static gint compare_ops(gconstpointer a, gconstpointer b) {
  const HistoryOp *x = *(const HistoryOp *const *)a, *y = *(const HistoryOp *const *)b;
  return x->invoke_us < y->invoke_us ? -1 : x->invoke_us > y->invoke_us;
}

/* A read that got no answer says nothing; what was not done for sure must not be seen. */
static gboolean counts(const HistoryOp *op) {
  return op->result != HISTORY_FAILED && !(op->kind == HISTORY_READ && op->result != HISTORY_OK);
}

static GHashTable *by_topic(const GArray *ops) {
  GHashTable *topics = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)g_ptr_array_unref);
  for (guint i = 0; i < ops->len; i++) {
    const HistoryOp *op = &g_array_index(ops, HistoryOp, i);
    if (!counts(op))
      continue;
    GPtrArray *mine = g_hash_table_lookup(topics, GUINT_TO_POINTER(op->topic));
    if (!mine) {
      mine = g_ptr_array_new();
      g_hash_table_insert(topics, GUINT_TO_POINTER(op->topic), mine);
    }
    g_ptr_array_add(mine, (gpointer)op);
  }
  return topics;
}

LinearVerdict linear_check(const GArray *ops, guint64 steps_max, GString *explain, LinearReport *ret_report) {
  LinearReport report = {.violations = check_ids(ops, explain)};
  g_autoptr(GHashTable) topics = by_topic(ops);
  GHashTableIter iter;
  gpointer topic, data;
  g_hash_table_iter_init(&iter, topics);
  while (g_hash_table_iter_next(&iter, &topic, &data)) {
    GPtrArray *mine = data;
    g_ptr_array_sort(mine, compare_ops);
    LinearVerdict verdict =
        check_topic(GPOINTER_TO_UINT(topic), mine, steps_max ? steps_max : STEPS_MAX_DEFAULT, explain, &report.steps);
    report.topics++;
    report.ops += mine->len;
    report.violations += verdict == LINEAR_VIOLATION;
    report.undecided += verdict == LINEAR_UNDECIDED;
  }
  if (ret_report)
    *ret_report = report;
  return report.violations ? LINEAR_VIOLATION : report.undecided ? LINEAR_UNDECIDED : LINEAR_OK;
}
