/* Records of __consumer_offsets.
 *
 * Input: length of the key (2 bytes), the key, then the value; an odd first byte of the rest makes it a tombstone. */
#include "tests/fuzz/fuzz.h"

#include "services/group_coordinator/groups/groups.h"
#include "services/group_coordinator/groups/record.h"

static gboolean find_topic(const char *name, GroupsTopic *ret_topic, gpointer data) {
  (void)name, (void)ret_topic, (void)data;
  return FALSE;
}

static void each_topic(void (*func)(const GroupsTopic *topic, gpointer func_data), gpointer func_data, gpointer data) {
  (void)func, (void)func_data, (void)data;
}

/* What is accepted can be loaded, told and written again. */
static void load(GBytes *key, GBytes *value) {
  GroupsHost host = {.find_topic = find_topic, .each_topic = each_topic};
  g_autoptr(Groups) groups = groups_new(&host);
  FUZZ_HOLDS(fuzz_accepted(groups_replay(groups, key, value, 0, NULL)));
  groups_start(groups, (GroupsTime){1000, 2000});
  g_auto(GroupsOut) out;
  groups_out_init(&out);
  groups_list(groups, 1, NULL, 10, NULL, 0);
  groups_turn(groups, (GroupsTime){1000, 2000}, &out);
  groups_turn(groups, (GroupsTime){G_GINT64_CONSTANT(1) << 40, G_GINT64_CONSTANT(1) << 41}, &out);
  FUZZ_HOLDS(out.answers->len >= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  FuzzInput input = {data, data + size};
  gsize len = fuzz_number(&input, 2);
  FuzzInput taken = fuzz_take(&input, len);
  g_autoptr(GBytes) key = g_bytes_new(taken.at, fuzz_left(&taken));
  gboolean tombstone = fuzz_u8(&input) % 2 == 1;
  g_autoptr(GBytes) value = tombstone ? NULL : g_bytes_new(input.at, fuzz_left(&input));
  g_auto(GroupsDecoded) decoded = {0};
  if (!fuzz_accepted(groups_record_decode(key, value, &decoded)))
    return 0;
  g_autoptr(GBytes) again = groups_record_key(decoded.kind, decoded.group, decoded.name, decoded.partition);
  FUZZ_HOLDS(g_bytes_equal(key, again));
  load(key, value);
  return 0;
}
