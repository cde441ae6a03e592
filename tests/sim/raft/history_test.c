/* The checker of histories finds what it must, and agrees with trying every order. */
#include "tests/sim/raft/history.h"

#include "tests/shim/shim.h"
#include "tests/sim/kernel.h"

/* One client's operation: "w" or "r" of a value, from call to answer; answer 0: none. */
typedef struct {
  char kind;
  guint64 value, call, answer;
} Row;
#define ROW_MAX 8

static const struct {
  const char *name;
  gboolean linearizable;
  Row rows[ROW_MAX];
} HISTORIES[] = {
    {"empty", TRUE, {{0}}},
    {"one_after_the_other", TRUE, {{'w', 1, 1, 2}, {'r', 1, 3, 4}, {'w', 2, 5, 6}, {'r', 2, 7, 8}}},
    {"nothing_written_yet", TRUE, {{'r', 0, 1, 2}, {'w', 1, 3, 4}}},
    {"either_while_it_is_written", TRUE, {{'w', 1, 1, 8}, {'r', 0, 2, 3}, {'r', 1, 4, 5}}},
    {"back_to_the_old_while_it_is_written", FALSE, {{'w', 1, 1, 8}, {'r', 1, 2, 3}, {'r', 0, 4, 5}}},
    {"stale_read", FALSE, {{'w', 1, 1, 2}, {'w', 2, 3, 4}, {'r', 1, 5, 6}}},
    {"lost_write", FALSE, {{'w', 1, 1, 2}, {'r', 0, 3, 4}}},
    {"read_of_the_future", FALSE, {{'r', 1, 1, 2}, {'w', 1, 3, 4}}},
    {"read_of_nothing", FALSE, {{'w', 1, 1, 2}, {'r', 7, 3, 4}}},
    {"unknown_write_seen_later", TRUE, {{'w', 1, 1, 0}, {'r', 0, 2, 3}, {'r', 1, 4, 5}}},
    {"unknown_write_seen_and_lost", FALSE, {{'w', 1, 1, 0}, {'r', 1, 2, 3}, {'r', 0, 4, 5}}},
    {"unknown_write_never_seen", TRUE, {{'w', 1, 1, 0}, {'w', 2, 2, 3}, {'r', 2, 4, 5}}},
    {"unknown_write_returns_from_the_dead", TRUE, {{'w', 1, 1, 0}, {'w', 2, 2, 3}, {'r', 2, 4, 5}, {'r', 1, 6, 7}}},
    {"two_readers_disagree", FALSE, {{'w', 1, 1, 9}, {'w', 2, 2, 10}, {'r', 1, 3, 4}, {'r', 2, 5, 6}, {'r', 1, 7, 8}}},
    {"write_hidden_between_reads", FALSE, {{'w', 1, 1, 2}, {'r', 1, 3, 4}, {'w', 2, 5, 6}, {'r', 1, 7, 8}}},
};

static History *build(const Row *rows) {
  History *history = history_new();
  guint numbers[ROW_MAX];
  for (guint i = 0; i < ROW_MAX && rows[i].kind; i++)
    numbers[i] =
        rows[i].kind == 'w' ? history_write(history, rows[i].call, rows[i].value) : history_read(history, rows[i].call);
  for (guint i = 0; i < ROW_MAX && rows[i].kind; i++) {
    if (rows[i].answer && rows[i].kind == 'w')
      history_written(history, numbers[i], rows[i].answer);
    else if (rows[i].answer)
      history_has_read(history, numbers[i], rows[i].answer, rows[i].value);
  }
  return history;
}

TEST_ROWS(history, HISTORIES) {
  g_autoptr(History) history = build(HISTORIES[row].rows);
  g_autofree char *why = history_check(history);
  if (HISTORIES[row].linearizable)
    EXPECT_NULL(why);
  else
    EXPECT_TRUE(why != NULL);
}

TEST(history_checker, a_refused_write_must_not_be_seen) {
  g_autoptr(History) history = history_new();
  history_refused(history, history_write(history, 1, 5));
  g_autofree char *fine = history_check(history);
  EXPECT_NULL(fine);
  history_has_read(history, history_read(history, 3), 4, 5);
  g_autofree char *why = history_check(history);
  EXPECT_TRUE(why != NULL);
}

/* Try every order: place one operation after the other, each only when none that is left was answered before its call.
 */
static gboolean explain(const Row *rows, guint count, guint placed, guint64 value) {
  gboolean all = TRUE;
  for (guint i = 0; i < count; i++)
    all = all && ((placed >> i & 1) || !rows[i].answer);
  if (all)
    return TRUE; /* what has no answer need not happen */
  for (guint i = 0; i < count; i++) {
    if (placed >> i & 1)
      continue;
    gboolean first = TRUE;
    for (guint k = 0; k < count; k++)
      first = first && ((placed >> k & 1) || !rows[k].answer || rows[k].answer > rows[i].call);
    if (!first || (rows[i].kind == 'r' && (!rows[i].answer || rows[i].value != value)))
      continue;
    if (explain(rows, count, placed | 1u << i, rows[i].kind == 'w' ? rows[i].value : value))
      return TRUE;
  }
  return FALSE;
}

/* Calls and answers of up to three clients in a random order; reads see anything. */
static guint invent(Sim *sim, Row *rows) {
  guint count = 2 + sim_below(sim, ROW_MAX - 2), next = 0, written = 0;
  gint open[3] = {-1, -1, -1};
  for (guint64 at = 1; at < 200; at++) {
    guint client = sim_below(sim, 3);
    if (open[client] >= 0) {
      if (!sim_chance(sim, 100)) /* else it gave up, and calls again */
        rows[open[client]].answer = at;
      open[client] = -1;
    } else if (next < count) {
      gboolean write = sim_chance(sim, 400);
      rows[next] = (Row){write ? 'w' : 'r', write ? ++written : 0, at, 0};
      open[client] = (gint)next++;
    }
  }
  for (guint i = 0; i < count; i++)
    if (rows[i].kind == 'r')
      rows[i].value = sim_below(sim, written + 1);
  return count;
}

TEST(history_checker, agrees_with_trying_every_order) {
  g_autoptr(Sim) sim = sim_new(1);
  guint linearizable = 0;
  for (guint i = 0; i < 20000; i++) {
    Row rows[ROW_MAX] = {0};
    guint count = invent(sim, rows);
    g_autoptr(History) history = build(rows);
    g_autofree char *why = history_check(history);
    gboolean wanted = explain(rows, count, 0, 0);
    linearizable += wanted;
    if (wanted != (why == NULL))
      FAIL("history %u: %s, and trying every order says the opposite", i, why ? why : "linearizable");
  }
  EXPECT_TRUE(linearizable > 2000 && linearizable < 18000);
}
