#include "google/rpc/error_details.pb-c.h"
#include "services/base/failure.h"
#include "tests/shim/shim.h"

static const struct {
  const char *name;
  FailureReason reason;
  int code;
  bool retriable;
} CODES[] = {
    {"unknown_topic", FAILURE(UNKNOWN_TOPIC), 5, false},
    {"not_leader", FAILURE(NOT_LEADER), 9, true},
    {"offset_out_of_range", FAILURE(OFFSET_OUT_OF_RANGE), 11, false},
    {"overloaded", FAILURE(OVERLOADED), 14, true},
    {"unknown_outcome_is_never_retried_blindly", FAILURE(UNKNOWN_OUTCOME), 2, false},
    {"unsupported", FAILURE(UNSUPPORTED), 12, false},
    {"corrupt_log", FAILURE(CORRUPT_LOG), 15, false},
};

TEST_ROWS(failure, CODES) {
  g_autoptr(Failure) failure = failure_new(CODES[row].reason, "because");
  EXPECT_EQ_INT(CODES[row].code, failure_code(failure));
  EXPECT_EQ_INT(CODES[row].retriable, failure_is_retriable(failure));
}

TEST(failure, every_reason_of_the_api_has_a_code) {
  for (unsigned i = 0; i < milena__v1__error_reason__descriptor.n_values; i++) {
    g_autoptr(Failure) failure =
        failure_new((FailureReason)milena__v1__error_reason__descriptor.values[i].value, "because");
    EXPECT_TRUE(failure_code(failure) > 0 && failure_code(failure) <= 16);
  }
}

TEST(failure, survives_the_wire_with_all_details) {
  g_autoptr(Failure) failure = failure_new(FAILURE(OFFSET_OUT_OF_RANGE), "offset %d is gone", 7);
  failure_add(failure, "earliest", "%d", 10);
  failure_add_violation(failure, "partitions[0].offset", "too small");
  failure_set_resource(failure, "partition", "topics/a/0");
  failure_set_retry_delay(failure, 1500);
  Google__Rpc__Status *status = failure_to_status(failure);
  g_autoptr(Failure) back = failure_from_status(status);
  google__rpc__status__free_unpacked(status, NULL);
  EXPECT_EQ_INT(FAILURE(OFFSET_OUT_OF_RANGE), failure_reason(back));
  EXPECT_EQ_STR("offset 7 is gone", failure_message(back));
  EXPECT_EQ_STR("10", failure_get(back, "earliest"));
  EXPECT_EQ_INT(1500, failure_retry_delay_ms(back));
}

TEST(failure, ignores_details_that_do_not_parse) {
  Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
  any.type_url = (char *)"type.googleapis.com/google.rpc.ErrorInfo";
  any.value.data = (uint8_t *)"\xff\xff\xff";
  any.value.len = 3;
  Google__Protobuf__Any *details[] = {&any};
  Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
  status.code = 5;
  status.message = (char *)"gone";
  status.n_details = 1;
  status.details = details;
  g_autoptr(Failure) failure = failure_from_status(&status);
  EXPECT_EQ_INT(5, failure_code(failure));
  EXPECT_EQ_INT(FAILURE(UNSPECIFIED), failure_reason(failure));
}

TEST(failure, of_two_tries_the_one_that_was_cut_short_says_less) {
  g_autoptr(Failure) first = failure_more_telling(NULL, failure_new(FAILURE(PEER_UNREACHABLE), "nobody there"));
  EXPECT_EQ_STR("nobody there", failure_message(first));
  Failure *late = failure_new(FAILURE(DEADLINE_EXCEEDED), "late");
  g_autoptr(Failure) second = failure_more_telling(g_steal_pointer(&first), late);
  EXPECT_EQ_STR("nobody there", failure_message(second));
  g_autoptr(Failure) third =
      failure_more_telling(g_steal_pointer(&second), failure_new(FAILURE(UNKNOWN_TOPIC), "no topic"));
  EXPECT_EQ_STR("no topic", failure_message(third));
}

TEST(failure, an_outcome_is_unknown_when_the_answer_was_lost) {
  g_autoptr(Failure) lost = failure_new_code(14, "connection reset");
  g_autoptr(Failure) unimplemented = failure_new_code(12, "no such method");
  g_autoptr(Failure) refused = failure_new(FAILURE(OVERLOADED), "later");
  EXPECT_TRUE(failure_is_outcome_unknown(lost));
  EXPECT_FALSE(failure_is_outcome_unknown(unimplemented));
  EXPECT_FALSE(failure_is_outcome_unknown(refused));
  EXPECT_FALSE(failure_is_outcome_unknown(NULL));
}

TEST(failure, success_is_null) {
  Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
  EXPECT_NULL(failure_from_status(&status));
  EXPECT_EQ_INT(0, failure_code(NULL));
}
