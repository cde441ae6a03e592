/* GoogleTest for C: tests are C functions, this shim registers them. The only C++ in the repository is shim.cc.
 *
 *   TEST(batch, rejects_wrong_crc) {
 *     EXPECT_EQ_INT(1, 1);
 *   }
 *
 *   static const struct { const char *name; int in, out; } ROWS[] = {{"zero", 0, 0}, {"one", 1, 2}};
 *   TEST_ROWS(twice, ROWS) { EXPECT_EQ_INT(2 * ROWS[row].in, ROWS[row].out); }     // one test a row, named by row.name
 *
 * EXPECT_ goes on after a failure, ASSERT_ returns from the function. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

void shim_register(const char *suite, const char *name, const char *file, int line, void (*func)(size_t), size_t row);
void shim_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* End this test as skipped, with a reason that names what is missing; return from the function right after it. */
void shim_skip(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool shim_test_has_failed(void);
/* A folder of this test's own, made anew, removed at its end when the test passed. Valid until the end of the test. */
const char *shim_temp_dir(void);
/* Path of a file below the repository, for data files named in the target's `data`. */
const char *shim_source_path(const char *relative);

bool shim_eq_int(const char *file, int line, const char *want_text, const char *got_text, int64_t want, int64_t got);
bool shim_eq_str(const char *file, int line, const char *want_text, const char *got_text, const char *want,
                 const char *got);
bool shim_eq_bytes(const char *file, int line, const char *got_text, const void *want, size_t want_len, const void *got,
                   size_t got_len);
bool shim_true(const char *file, int line, const char *text, bool got);
bool shim_contains(const char *file, int line, const char *text, const char *haystack, const char *needle);

#define TEST(suite, name)                                                                                              \
  static void suite##_##name(void);                                                                                    \
  static void suite##_##name##_run(size_t row) {                                                                       \
    (void)row;                                                                                                         \
    suite##_##name();                                                                                                  \
  }                                                                                                                    \
  __attribute__((constructor)) static void suite##_##name##_register(void) {                                           \
    shim_register(#suite, #name, __FILE__, __LINE__, suite##_##name##_run, 0);                                         \
  }                                                                                                                    \
  static void suite##_##name(void)

#define TEST_ROWS(suite, rows)                                                                                         \
  static void suite##_##rows(size_t row);                                                                              \
  __attribute__((constructor)) static void suite##_##rows##_register(void) {                                           \
    for (size_t i = 0; i < sizeof(rows) / sizeof((rows)[0]); i++)                                                      \
      shim_register(#suite, (rows)[i].name, __FILE__, __LINE__, suite##_##rows, i);                                    \
  }                                                                                                                    \
  static void suite##_##rows(size_t row)

#define EXPECT_EQ_INT(want, got) shim_eq_int(__FILE__, __LINE__, #want, #got, (int64_t)(want), (int64_t)(got))
#define EXPECT_EQ_STR(want, got) shim_eq_str(__FILE__, __LINE__, #want, #got, (want), (got))
#define EXPECT_EQ_BYTES(want, want_len, got, got_len)                                                                  \
  shim_eq_bytes(__FILE__, __LINE__, #got, (want), (want_len), (got), (got_len))
#define EXPECT_TRUE(got) shim_true(__FILE__, __LINE__, #got, (got))
#define EXPECT_FALSE(got) shim_true(__FILE__, __LINE__, "not " #got, !(got))
#define EXPECT_NULL(got) shim_true(__FILE__, __LINE__, #got " is NULL", (got) == NULL)
#define EXPECT_CONTAINS(haystack, needle) shim_contains(__FILE__, __LINE__, #haystack, (haystack), (needle))
#define ASSERT_EQ_INT(want, got)                                                                                       \
  do {                                                                                                                 \
    if (!EXPECT_EQ_INT(want, got))                                                                                     \
      return;                                                                                                          \
  } while (0)
#define ASSERT_EQ_STR(want, got)                                                                                       \
  do {                                                                                                                 \
    if (!EXPECT_EQ_STR(want, got))                                                                                     \
      return;                                                                                                          \
  } while (0)
#define ASSERT_TRUE(got)                                                                                               \
  do {                                                                                                                 \
    if (!EXPECT_TRUE(got))                                                                                             \
      return;                                                                                                          \
  } while (0)
#define ASSERT_NULL(got)                                                                                               \
  do {                                                                                                                 \
    if (!EXPECT_NULL(got))                                                                                             \
      return;                                                                                                          \
  } while (0)
#define FAIL(...)                                                                                                      \
  do {                                                                                                                 \
    shim_fail(__FILE__, __LINE__, __VA_ARGS__);                                                                        \
    return;                                                                                                            \
  } while (0)
#define SKIP(...)                                                                                                      \
  do {                                                                                                                 \
    shim_skip(__FILE__, __LINE__, __VA_ARGS__);                                                                        \
    return;                                                                                                            \
  } while (0)

#ifdef __cplusplus
}
#endif
