/* What every fuzz target is made of: one function that takes any bytes at all.
 *
 * libFuzzer calls it (./dev fuzz, built with clang), and corpus_test.c does with what lies in corpus/ (./dev test,
 * built like the product). A target must not crash, leak, or break a promise: FUZZ_HOLDS names the promises. */
#pragma once

#include <glib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/base/failure.h"

/* libFuzzer's entry. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise of the code under test, for any input. */
#define FUZZ_HOLDS(cond)                                                                                               \
  do {                                                                                                                 \
    if (!(cond)) {                                                                                                     \
      fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #cond);                                        \
      abort();                                                                                                         \
    }                                                                                                                  \
  } while (0)

/* What is left of an input; reads behind the end give zeros. */
typedef struct {
  const guint8 *at, *end;
} FuzzInput;

static inline gsize fuzz_left(const FuzzInput *input) {
  return (gsize)(input->end - input->at);
}

static inline guint8 fuzz_u8(FuzzInput *input) {
  return input->at < input->end ? *input->at++ : 0;
}

/* Little endian, as most of the corpus was written on such machines. */
static inline guint64 fuzz_number(FuzzInput *input, guint bytes) {
  guint64 number = 0;
  for (guint i = 0; i < bytes; i++)
    number |= (guint64)fuzz_u8(input) << (8 * i);
  return number;
}

/* The next @len bytes, or what there is; borrowed from the input. */
static inline FuzzInput fuzz_take(FuzzInput *input, gsize len) {
  len = MIN(len, fuzz_left(input));
  FuzzInput taken = {input->at, input->at + len};
  input->at += len;
  return taken;
}

/* The next bytes, behind their length in two bytes; borrowed from the input. */
static inline FuzzInput fuzz_chunk(FuzzInput *input) {
  gsize len = (gsize)fuzz_number(input, 2);
  return fuzz_take(input, len);
}

/* A chunk as text, up to a NUL; owned by the caller. */
static inline char *fuzz_text(FuzzInput *input) {
  FuzzInput chunk = fuzz_chunk(input);
  return g_strndup((const char *)chunk.at, fuzz_left(&chunk));
}

/* Read every byte, so that a sanitizer sees what must not be read. */
static inline void fuzz_touch(gconstpointer data, gsize len) {
  static volatile guint8 sink;
  guint8 sum = 0;
  for (gsize i = 0; i < len; i++)
    sum ^= ((const guint8 *)data)[i];
  sink = sum;
  (void)sink;
}

/* A refusal is fine when it is a sentence. Frees it. Returns TRUE when there was none. */
static inline gboolean fuzz_accepted(Failure *failure) {
  if (!failure)
    return TRUE;
  FUZZ_HOLDS(*failure_message(failure) != '\0');
  FUZZ_HOLDS(failure_code(failure) != 0);
  failure_free(failure);
  return FALSE;
}
