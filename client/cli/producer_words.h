/* The words of options by which a producer is set up, as libmilena takes them. Pure. */
#pragma once

#include <glib.h>
#include <milena/milena.h>

#include "services/base/failure.h"

G_BEGIN_DECLS

/* As they were given; NULL: not. Borrowed. */
typedef struct {
  const char *acks, *compression, *partitioner, *idempotent;
} ProducerWords;

/* Set in @options what was given. Returns NULL, or INVALID_FIELD. */
Failure *producer_words_apply(const ProducerWords *words, MilenaProducerOptions *options);

G_END_DECLS
