/* The checker is checked: it finds each violation that was put into a history, and none in histories of a machine that
 * is right. */
#include "tests/chaos/linear.h"

#include "tests/shim/shim.h"

/* Operations of one topic, a line each, in tenths of a second: begin, end (- for never), client, what, tag, result. */
static const struct {
  const char *name;
  LinearVerdict verdict;
  const char *ops;
} ROWS[] = {
    {"nothing_happened", LINEAR_OK, ""},
    {"one_after_the_other", LINEAR_OK,
     "1 2 1 create 5 ok\n3 4 2 read 5 ok\n5 6 1 update 6 ok\n7 8 2 read 6 ok\n9 10 1 delete 0 ok\n11 12 2 read 0 ok"},
    {"a_read_before_anything", LINEAR_OK, "1 2 1 read 0 ok"},
    {"a_read_of_what_is_being_written", LINEAR_OK, "1 9 1 create 5 ok\n2 3 2 read 0 ok\n4 5 2 read 5 ok"},
    {"an_unknown_write_that_was_done", LINEAR_OK, "1 - 1 create 5 unknown\n3 4 2 read 5 ok"},
    {"an_unknown_write_that_was_not", LINEAR_OK, "1 - 1 create 5 unknown\n3 4 2 read 0 ok\n5 6 2 create 6 ok"},
    {"an_unknown_write_that_was_done_late", LINEAR_OK,
     "1 - 1 create 5 unknown\n3 4 2 read 0 ok\n5 6 2 read 5 ok\n7 8 2 read 5 ok"},
    {"an_unknown_delete_makes_room", LINEAR_OK, "1 2 1 create 5 ok\n3 - 1 delete 0 unknown\n4 5 2 create 6 ok"},
    {"an_unknown_update_of_nothing", LINEAR_OK, "1 - 1 update 5 unknown\n3 4 2 read 0 ok\n5 6 2 create 6 ok"},
    {"a_refusal_because_of_an_unknown_create", LINEAR_OK, "1 - 1 create 5 unknown\n3 4 2 create 6 refused"},
    {"two_deletes_one_refused", LINEAR_OK,
     "1 2 1 create 5 ok\n3 6 1 delete 0 ok\n3 6 2 delete 0 refused\n7 8 1 read 0 ok"},
    {"what_failed_was_not_done", LINEAR_OK, "1 2 1 create 5 failed\n3 4 2 read 0 ok"},
    {"a_read_without_an_answer", LINEAR_OK, "1 2 1 create 5 ok\n3 - 2 read 0 unknown\n5 6 2 read 5 ok"},
    {"they_touch_at_one_moment", LINEAR_OK, "1 2 1 create 5 ok\n2 3 2 read 0 ok"},

    {"lost_create", LINEAR_VIOLATION, "1 2 1 create 5 ok\n3 4 2 read 0 ok"},
    {"lost_update", LINEAR_VIOLATION, "1 2 1 create 5 ok\n3 4 1 update 6 ok\n5 6 2 read 5 ok"},
    {"lost_update_under_another", LINEAR_VIOLATION,
     "1 2 1 create 5 ok\n3 6 1 update 6 ok\n3 6 2 update 7 ok\n7 8 2 read 5 ok"},
    {"lost_delete", LINEAR_VIOLATION, "1 2 1 create 5 ok\n3 4 1 delete 0 ok\n5 6 2 read 5 ok"},
    {"stale_read", LINEAR_VIOLATION, "1 2 1 create 5 ok\n3 4 1 update 6 ok\n5 6 2 read 6 ok\n7 8 3 read 5 ok"},
    {"stale_read_of_an_unfinished_write", LINEAR_VIOLATION,
     "1 2 1 create 5 ok\n3 20 1 update 6 ok\n5 6 2 read 6 ok\n7 8 3 read 5 ok"},
    {"stale_read_of_an_unknown_write", LINEAR_VIOLATION, "1 - 1 create 5 unknown\n3 4 2 read 5 ok\n5 6 3 read 0 ok"},
    {"resurrected", LINEAR_VIOLATION, "1 2 1 create 5 ok\n3 4 1 delete 0 ok\n5 6 2 read 0 ok\n7 8 2 read 5 ok"},
    {"resurrected_under_a_new_one", LINEAR_VIOLATION,
     "1 2 1 create 5 ok\n3 4 1 delete 0 ok\n5 6 1 create 6 ok\n7 8 2 read 5 ok"},
    {"two_creates_both_ok", LINEAR_VIOLATION, "1 9 1 create 5 ok\n1 9 2 create 6 ok"},
    {"two_deletes_both_ok", LINEAR_VIOLATION, "1 2 1 create 5 ok\n3 9 1 delete 0 ok\n3 9 2 delete 0 ok"},
    {"update_of_nothing_ok", LINEAR_VIOLATION, "1 2 1 update 5 ok"},
    {"a_read_of_a_create_that_failed", LINEAR_VIOLATION, "1 2 1 create 5 failed\n3 4 2 read 5 ok"},
    {"a_read_of_what_nobody_wrote", LINEAR_VIOLATION, "1 2 1 create 5 ok\n3 4 2 read 77 ok"},
    {"a_read_from_the_future", LINEAR_VIOLATION, "1 2 1 read 5 ok\n3 4 2 create 5 ok"},
    {"refused_though_nothing_is_there", LINEAR_VIOLATION, "1 2 1 create 5 refused"},
    {"refused_because_of_a_create_that_was_lost", LINEAR_VIOLATION,
     "1 - 1 create 5 unknown\n2 3 2 create 6 refused\n4 5 2 read 0 ok"},
    {"delete_refused_though_it_is_there", LINEAR_VIOLATION, "1 2 1 create 5 ok\n3 4 1 delete 0 refused"},
    {"an_unknown_write_done_twice", LINEAR_VIOLATION,
     "1 2 1 create 5 ok\n3 - 1 update 6 unknown\n5 6 2 read 6 ok\n7 8 1 update 7 ok\n9 10 2 read 7 ok\n11 12 2 read 6 "
     "ok"},
    {"reads_in_two_orders", LINEAR_VIOLATION,
     "1 2 1 create 5 ok\n3 20 1 update 6 ok\n3 20 2 update 7 ok\n4 5 3 read 6 ok\n6 7 3 read 7 ok\n8 9 3 read 6 ok"},
};

static GArray *ops_of_row(const char *text) {
  GArray *ops = g_array_new(FALSE, FALSE, sizeof(HistoryOp));
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  for (guint i = 0; lines[i] && *lines[i]; i++) {
    g_auto(GStrv) words = g_strsplit(lines[i], " ", 6);
    g_autofree char *end = *words[1] == '-' ? g_strdup("never") : g_strconcat(words[1], ".000000", NULL);
    g_autofree char *line = g_strdup_printf("%s.000000 %s client %s %s topic 1 tag %s %s -", words[0], end, words[2],
                                            words[3], words[4], words[5]);
    HistoryOp op;
    if (!EXPECT_TRUE(history_op_from_text(line, &op)))
      continue;
    g_array_append_val(ops, op);
  }
  return ops;
}

TEST_ROWS(linear, ROWS) {
  g_autoptr(GArray) ops = ops_of_row(ROWS[row].ops);
  g_autoptr(GString) explain = g_string_new(NULL);
  EXPECT_EQ_INT(ROWS[row].verdict, linear_check(ops, 0, explain, NULL));
  EXPECT_EQ_INT(ROWS[row].verdict == LINEAR_VIOLATION, explain->len > 0);
}

TEST(linear, a_tag_with_two_ids_is_a_violation) {
  g_autoptr(GArray) ops = ops_of_row("1 2 1 create 5 ok\n3 4 2 read 5 ok");
  g_strlcpy(g_array_index(ops, HistoryOp, 0).id, "one", HISTORY_ID_BYTES);
  g_strlcpy(g_array_index(ops, HistoryOp, 1).id, "two", HISTORY_ID_BYTES);
  LinearReport report;
  EXPECT_EQ_INT(LINEAR_VIOLATION, linear_check(ops, 0, NULL, &report));
  EXPECT_EQ_INT(1, report.violations);
}

/* ---- Histories of a machine ---- */

typedef enum { RIGHT, LOSES_A_WRITE, READS_STALE, RESURRECTS, BREAKS_A_REFUSAL, SHOWS_A_FAILURE } Machine;

#define CLIENTS 5

typedef struct {
  GRand *random;
  Machine machine;
  gboolean one_at_a_time; /* so that what the machine does wrong can't be explained */
  guint64 state, before, deleted, next_tag;
  gboolean went_wrong, was_shown;
  gint64 free_us[CLIENTS]; /* when the client may begin another */
} Run;

/* When an operation begins, takes effect and ends. */
typedef struct {
  HistoryOp op;
  gint64 effect_us;
  gboolean applied;
} Planned;

static gboolean chance(Run *run, double share) {
  return g_rand_double(run->random) < share;
}

static Planned plan(Run *run, guint topic) {
  guint client = (guint)g_rand_int_range(run->random, 0, CLIENTS);
  Planned planned = {.op = {.client = client, .topic = topic}, .applied = TRUE};
  HistoryOp *op = &planned.op;
  gint64 from = run->free_us[client];
  for (guint i = 0; run->one_at_a_time && i < CLIENTS; i++)
    from = MAX(from, run->free_us[i]);
  op->kind = (HistoryKind)g_rand_int_range(run->random, 0, 4);
  op->invoke_us = from + g_rand_int_range(run->random, 1, 100);
  op->return_us = op->invoke_us + g_rand_int_range(run->random, 1, 300);
  planned.effect_us = g_rand_int_range(run->random, (gint32)op->invoke_us, (gint32)op->return_us);
  run->free_us[client] = op->return_us + 1;
  if (op->kind != HISTORY_READ && !run->one_at_a_time && chance(run, 0.03)) { /* no answer: done, not done, or late */
    op->result = HISTORY_UNKNOWN;
    planned.applied = chance(run, 0.6);
    planned.effect_us += chance(run, 0.5) ? g_rand_int_range(run->random, 0, 2000) : 0;
    op->return_us = HISTORY_NEVER_US;
  } else if (op->kind != HISTORY_READ && chance(run, 0.05)) {
    op->result = HISTORY_FAILED;
    planned.applied = FALSE;
  }
  if (op->kind == HISTORY_CREATE || op->kind == HISTORY_UPDATE)
    op->tag = run->next_tag++;
  return planned;
}

static gint by_effect(gconstpointer a, gconstpointer b) {
  const Planned *x = a, *y = b;
  return x->effect_us < y->effect_us ? -1 : x->effect_us > y->effect_us;
}

/* Once in a history, well after its start, the machine does wrong; the operation that shows it follows in most cases.
 */
static void go_wrong(Run *run, const HistoryOp *op) {
  if (run->went_wrong || run->machine == RIGHT || op->invoke_us < 2000)
    return;
  guint64 state = run->state;
  if (run->machine == LOSES_A_WRITE && run->before != state)
    run->state = run->before;
  else if (run->machine == RESURRECTS && state == 0 && run->deleted)
    run->state = run->deleted;
  run->went_wrong = run->state != state;
}

static void write_now(Run *run, guint64 state) {
  run->before = run->state;
  if (run->state && !state)
    run->deleted = run->state;
  run->state = state;
}

static void take_effect(Run *run, Planned *planned) {
  HistoryOp *op = &planned->op;
  gboolean unknown = op->result == HISTORY_UNKNOWN, is_there = run->state != 0;
  gboolean wrong_now = !run->went_wrong && op->invoke_us > 2000;
  if (op->result == HISTORY_FAILED && run->machine == SHOWS_A_FAILURE && op->tag && is_there && wrong_now) {
    write_now(run, op->tag);
    run->went_wrong = TRUE;
  }
  if (!planned->applied)
    return;
  if (run->went_wrong && !run->was_shown) {
    op->kind = HISTORY_READ;
    run->was_shown = TRUE;
  }
  if (op->kind == HISTORY_READ) {
    gboolean stale = run->machine == READS_STALE && wrong_now && run->before != run->state;
    op->tag = stale ? run->before : run->state;
    run->went_wrong |= stale;
    return;
  }
  gboolean refused = op->kind == HISTORY_CREATE ? is_there : !is_there;
  if (refused && run->machine == BREAKS_A_REFUSAL && wrong_now && !unknown)
    refused = FALSE, run->went_wrong = TRUE;
  if (!unknown)
    op->result = refused ? HISTORY_REFUSED : HISTORY_OK;
  if (!refused)
    write_now(run, op->kind == HISTORY_DELETE ? 0 : op->tag);
}

/* One topic's history of @count operations. */
static GArray *machine_history(guint64 seed, Machine machine, gboolean one_at_a_time, guint count) {
  Run run = {.random = g_rand_new_with_seed((guint32)seed),
             .machine = machine,
             .one_at_a_time = one_at_a_time,
             .next_tag = 1000};
  g_autoptr(GArray) plans = g_array_new(FALSE, FALSE, sizeof(Planned));
  for (guint i = 0; i < count; i++) {
    Planned planned = plan(&run, 1);
    g_array_append_val(plans, planned);
  }
  g_array_sort(plans, by_effect);
  GArray *ops = g_array_new(FALSE, FALSE, sizeof(HistoryOp));
  for (guint i = 0; i < plans->len; i++) {
    Planned *planned = &g_array_index(plans, Planned, i);
    go_wrong(&run, &planned->op);
    take_effect(&run, planned);
    g_array_append_val(ops, planned->op);
  }
  if (machine != RIGHT && !run.went_wrong)
    g_array_set_size(ops, 0);
  g_rand_free(run.random);
  return ops;
}

TEST(linear, a_machine_that_is_right_is_never_blamed) {
  for (guint64 seed = 1; seed <= 300; seed++) {
    g_autoptr(GArray) ops = machine_history(seed, RIGHT, FALSE, 200);
    g_autoptr(GString) explain = g_string_new(NULL);
    if (!EXPECT_EQ_INT(LINEAR_OK, linear_check(ops, 0, explain, NULL)))
      FAIL("seed %d: %s", (int)seed, explain->str);
  }
}

TEST(linear, a_long_history_is_decided) {
  g_autoptr(GArray) ops = machine_history(77, RIGHT, FALSE, 3000);
  LinearReport report;
  EXPECT_EQ_INT(LINEAR_OK, linear_check(ops, 0, NULL, &report));
}

static const struct {
  const char *name;
  Machine machine;
} WRONG[] = {
    {"a_write_is_lost", LOSES_A_WRITE},          {"a_read_is_stale", READS_STALE},
    {"a_topic_comes_back", RESURRECTS},          {"a_refusal_is_none", BREAKS_A_REFUSAL},
    {"a_failed_write_is_done", SHOWS_A_FAILURE},
};

TEST_ROWS(linear_wrong, WRONG) {
  guint found = 0, shown = 0;
  for (guint64 seed = 1; seed <= 200; seed++) {
    g_autoptr(GArray) ops = machine_history(seed, WRONG[row].machine, TRUE, 200);
    if (ops->len == 0)
      continue;
    shown++;
    found += linear_check(ops, 0, NULL, NULL) == LINEAR_VIOLATION;
  }
  EXPECT_TRUE(shown > 150);
  EXPECT_EQ_INT(shown, found);
}

TEST(linear, the_bound_on_steps_decides_nothing) {
  g_autoptr(GArray) ops = machine_history(5, RIGHT, FALSE, 200);
  EXPECT_EQ_INT(LINEAR_UNDECIDED, linear_check(ops, 50, NULL, NULL));
}

TEST(history, survives_a_file) {
  g_autoptr(GArray) ops = machine_history(3, RIGHT, FALSE, 100);
  g_autofree char *path = g_build_filename(shim_temp_dir(), "history", NULL);
  g_autoptr(GError) error = NULL;
  ASSERT_TRUE(history_save(ops, path, &error));
  g_autoptr(GArray) again = history_load(path, &error);
  if (!again)
    FAIL("%s", error->message);
  ASSERT_EQ_INT(ops->len, again->len);
  for (guint i = 0; i < ops->len; i++) {
    g_autofree char *want = history_op_to_text(&g_array_index(ops, HistoryOp, i));
    g_autofree char *got = history_op_to_text(&g_array_index(again, HistoryOp, i));
    EXPECT_EQ_STR(want, got);
  }
  EXPECT_TRUE(g_file_set_contents(path, "1.0 0.5 nonsense\n", -1, NULL));
  EXPECT_NULL(history_load(path, &error));
}
