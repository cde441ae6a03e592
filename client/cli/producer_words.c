/* See producer_words.h. */
#include "client/cli/producer_words.h"

#include <string.h>

/* A word of a few, as its number; a NULL word ends them. */
typedef struct {
  const char *word;
  int value;
} Choice;

/* @ret_value: untouched when there is no word */
static Failure *choose(const char *option, const char *word, const Choice *choices, int *ret_value) {
  g_autoptr(GString) words = g_string_new(NULL);
  for (; choices->word; choices++) {
    if (word && !strcmp(word, choices->word)) {
      *ret_value = choices->value;
      return NULL;
    }
    g_string_append_printf(words, "%s%s", words->len ? ", " : "", choices->word);
  }
  return word ? failure_new(FAILURE(INVALID_FIELD), "%s is '%s', but must be one of %s.", option, word, words->str)
              : NULL;
}

Failure *producer_words_apply(const ProducerWords *words, MilenaProducerOptions *options) {
  static const Choice ACKS[] = {
      {"none", MILENA_ACKS_NONE}, {"leader", MILENA_ACKS_LEADER}, {"all", MILENA_ACKS_ALL}, {0}};
  static const Choice CODECS[] = {
      {"none", MILENA_COMPRESSION_NONE}, {"zstd", MILENA_COMPRESSION_ZSTD}, {"lz4", MILENA_COMPRESSION_LZ4}, {0}};
  static const Choice PARTITIONERS[] = {
      {"sticky", MILENA_PARTITIONER_STICKY}, {"round-robin", MILENA_PARTITIONER_ROUND_ROBIN}, {0}};
  static const Choice YES_NO[] = {{"true", TRUE}, {"false", FALSE}, {0}};
  int acks = (int)options->acks, codec = (int)options->compression, partitioner = (int)options->partitioner;
  int idempotent = options->idempotent;
  Failure *failure = choose("--acks", words->acks, ACKS, &acks);
  if (!failure)
    failure = choose("--compression", words->compression, CODECS, &codec);
  if (!failure)
    failure = choose("--partitioner", words->partitioner, PARTITIONERS, &partitioner);
  if (!failure)
    failure = choose("--idempotent", words->idempotent, YES_NO, &idempotent);
  if (!failure && words->idempotent && idempotent && acks == MILENA_ACKS_NONE)
    failure = failure_new(FAILURE(INVALID_FIELD), "--idempotent true needs answers: --acks leader or all.");
  if (failure)
    return failure;
  options->acks = (MilenaAcks)acks;
  options->compression = (MilenaCompression)codec;
  options->partitioner = (MilenaPartitioner)partitioner;
  options->idempotent = idempotent;
  return NULL;
}
