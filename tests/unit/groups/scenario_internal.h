/* What the files of the scenario share. */
#pragma once

#include "tests/unit/groups/scenario.h"

G_BEGIN_DECLS

/* A member as its process knows it. */
typedef struct {
  char *id;
  guint32 epoch, version;
  Milena__V1__Assignment *assignment; /* what it was told last, or NULL */
} ScenarioClient;

/* A request under way. */
typedef struct {
  char *label;            /* what its answer is told as */
  ScenarioClient *client; /* who hears it, or NULL; borrowed */
} ScenarioCall;

struct Scenario {
  FakeHost *host;
  Groups *groups;
  GroupsTime time;
  gboolean holding;
  GHashTable *clients; /* "G/M" → ScenarioClient, owned */
  GHashTable *calls;   /* token → ScenarioCall, owned */
  GroupsToken last_token;
  GString *out; /* what happened in this command */
};

/* ---- scenario_words.c ---- */

/* The value of "key=value" among the words, or NULL; "" for the key alone. */
const char *scenario_word(char *const *words, const char *key);
gint64 scenario_number(char *const *words, const char *key, gint64 missing);
/* "t:0,1" or "t"; owned by the caller. */
Milena__V1__TopicPartitions *scenario_parts(const char *text);
/* "t:0=15"; owned by the caller. */
Milena__V1__OffsetCommit *scenario_offset(const char *text, char *const *words);
/* Does it look like partitions: no "=" and no plain word? */
gboolean scenario_is_parts(const char *word);

/* ---- scenario_tell.c ---- */

void scenario_tell_record(Scenario *scenario, const GroupsRecord *record);
void scenario_tell_answer(Scenario *scenario, const char *label, const GroupsAnswer *answer);

G_END_DECLS
