/* The checker is checked: in histories of a cluster that keeps its promises it finds nothing, and in the same ones with
 * one anomaly put in, that anomaly and no other. */
#include "tests/chaos/records/anomalies.h"

#include <string.h>

#include "tests/chaos/records/synthetic.h"
#include "tests/shim/shim.h"

#define SEEDS 300

TEST(anomalies, none_in_clean_histories) {
  for (guint seed = 0; seed < SEEDS; seed++) {
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);
    g_autoptr(Ledger) ledger = synthetic_new(random);
    g_autoptr(GString) explain = g_string_new(NULL);
    AnomalyReport report;
    if (anomalies_find(ledger, explain, &report) != 0)
      FAIL("seed %u: %s", seed, explain->str);
    ASSERT_EQ_INT(ledger->sends->len, report.sends);
    ASSERT_EQ_INT(ledger->reads->len, report.reads);
    ASSERT_TRUE(report.acknowledged > 0 && report.polls > 0 && report.partitions > 0);
    ASSERT_TRUE(report.tenures > 0 && report.takeovers > 0 && report.commits > 0);
  }
}

static const struct {
  const char *name;
  AnomalyKind kind;
} KINDS[] = {
    {"inconsistent_offsets", ANOMALY_INCONSISTENT_OFFSETS},
    {"duplicate", ANOMALY_DUPLICATE},
    {"lost_write", ANOMALY_LOST_WRITE},
    {"unseen", ANOMALY_UNSEEN},
    {"aborted_read", ANOMALY_ABORTED_READ},
    {"vanished", ANOMALY_VANISHED},
    {"unsent", ANOMALY_UNSENT},
    {"poll_skip", ANOMALY_POLL_SKIP},
    {"non_monotonic_poll", ANOMALY_NON_MONOTONIC_POLL},
    {"internal_poll_skip", ANOMALY_INTERNAL_POLL_SKIP},
    {"internal_non_monotonic_poll", ANOMALY_INTERNAL_NON_MONOTONIC_POLL},
    {"non_monotonic_send", ANOMALY_NON_MONOTONIC_SEND},
    {"takeover_skip", ANOMALY_TAKEOVER_SKIP},
    {"takeover_back", ANOMALY_TAKEOVER_BACK},
    {"unprocessed", ANOMALY_UNPROCESSED},
    {"processed_twice", ANOMALY_PROCESSED_TWICE},
    {"two_owners", ANOMALY_TWO_OWNERS},
};

TEST_ROWS(anomalies_found, KINDS) {
  AnomalyKind kind = KINDS[row].kind;
  guint spoilt = 0;
  for (guint seed = 0; seed < SEEDS; seed++) {
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);
    g_autoptr(Ledger) ledger = synthetic_new(random);
    if (!synthetic_spoil(ledger, kind, random))
      continue;
    spoilt++;
    g_autoptr(GString) explain = g_string_new(NULL);
    AnomalyReport report;
    guint sum = anomalies_find(ledger, explain, &report);
    if (report.counts[kind] == 0 || sum != report.counts[kind])
      FAIL("seed %u: %u anomalies, %u of them are '%s': %s", seed, sum, report.counts[kind], anomaly_name(kind),
           explain->str);
    EXPECT_CONTAINS(explain->str, anomaly_name(kind));
  }
  EXPECT_TRUE(spoilt > 20);
}

/* A reader who should have read all and got nothing. */
TEST(anomalies, an_empty_whole_reading_lacks_everything) {
  g_autoptr(GRand) random = g_rand_new_with_seed(1);
  g_autoptr(Ledger) ledger = synthetic_new(random);
  LedgerWhole whole = {77, 0};
  g_array_append_val(ledger->wholes, whole);
  AnomalyReport report;
  guint sum = anomalies_find(ledger, NULL, &report);
  EXPECT_TRUE(sum > 0 && report.counts[ANOMALY_VANISHED] == sum);
}

/* A group whose members were stopped before they had read all owes nothing yet. */
TEST(anomalies, an_unfinished_group_may_lack_records) {
  g_autoptr(GRand) random = g_rand_new_with_seed(1);
  g_autoptr(Ledger) ledger = synthetic_new(random);
  ASSERT_TRUE(synthetic_spoil(ledger, ANOMALY_UNPROCESSED, random));
  for (guint i = 0; i < ledger->groups->len; i++)
    g_array_index(ledger->groups, LedgerGroup, i).is_complete = FALSE;
  EXPECT_EQ_INT(0, anomalies_find(ledger, NULL, NULL));
}

TEST(ledger, comes_back_from_text) {
  for (guint seed = 0; seed < 10; seed++) {
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);
    g_autoptr(Ledger) ledger = synthetic_new(random);
    g_autofree char *path = g_build_filename(shim_temp_dir(), "ledger", NULL);
    ASSERT_TRUE(ledger_save(ledger, path, NULL));
    g_autoptr(Ledger) back = ledger_load(path, NULL);
    ASSERT_TRUE(back != NULL);
    ASSERT_EQ_INT(ledger->sends->len, back->sends->len);
    for (guint i = 0; i < back->sends->len; i++) {
      LedgerSend want = g_array_index(ledger->sends, LedgerSend, i), got = g_array_index(back->sends, LedgerSend, i);
      ASSERT_TRUE(want.value == got.value && want.outcome == got.outcome && want.offset == got.offset &&
                  want.process == got.process && want.partition == got.partition &&
                  want.is_idempotent == got.is_idempotent && want.invoke_us == got.invoke_us &&
                  want.return_us == got.return_us);
    }
    ASSERT_EQ_INT(ledger->reads->len, back->reads->len);
    ASSERT_EQ_INT(ledger->wholes->len, back->wholes->len);
    ASSERT_EQ_INT(0, memcmp(ledger->groups->data, back->groups->data, ledger->groups->len * sizeof(LedgerGroup)));
    ASSERT_EQ_INT(ledger->tenures->len, back->tenures->len);
    ASSERT_EQ_INT(ledger->commits->len, back->commits->len);
    AnomalyReport before, after;
    anomalies_find(ledger, NULL, &before);
    anomalies_find(back, NULL, &after);
    ASSERT_TRUE(before.takeovers == after.takeovers && before.commits == after.commits);
    ASSERT_EQ_INT(0, anomalies_find(back, NULL, NULL));
  }
}

TEST(ledger, refuses_what_is_no_line) {
  g_autofree char *path = g_build_filename(shim_temp_dir(), "ledger", NULL);
  ASSERT_TRUE(g_file_set_contents(path, "# fine\nsend nothing\n", -1, NULL));
  g_autoptr(GError) error = NULL;
  EXPECT_TRUE(ledger_load(path, &error) == NULL);
  EXPECT_CONTAINS(error ? error->message : "", ":2: 'send nothing' is no line of a ledger");
}

TEST(ledger, an_outage_ends_with_a_send_that_began_in_it) {
  g_autoptr(Ledger) ledger = ledger_new();
  const LedgerSend sends[] = {
      {.partition = 1, .outcome = LEDGER_OK, .invoke_us = 90, .return_us = 150}, /* was on its way */
      {.partition = 1, .outcome = LEDGER_UNKNOWN, .invoke_us = 110, .return_us = 160},
      {.partition = 2, .outcome = LEDGER_OK, .invoke_us = 110, .return_us = 170}, /* elsewhere */
      {.partition = 1, .outcome = LEDGER_OK, .invoke_us = 120, .return_us = 400},
      {.partition = 1, .outcome = LEDGER_OK, .invoke_us = 130, .return_us = 390},
  };
  g_array_append_vals(ledger->sends, sends, G_N_ELEMENTS(sends));
  EXPECT_EQ_INT(290, ledger_outage_us(ledger, 1, 100));
  EXPECT_EQ_INT(-1, ledger_outage_us(ledger, 1, 131));
  EXPECT_EQ_INT(-1, ledger_outage_us(ledger, 3, 0));
}
