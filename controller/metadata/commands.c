/* What the commands share: ids, refusals of fields; the cluster and its controllers. No state. */
#include "controller/metadata/commands.h"

#include <stdarg.h>
#include <string.h>

#include "controller/metadata/commands_internal.h"
#include "controller/metadata/records.h"

void metadata_uuid(const guint8 random[16], char ret_id[METADATA_ID_BYTES]) {
  guint8 bytes[16];
  memcpy(bytes, random, sizeof bytes);
  bytes[6] = (bytes[6] & 0x0f) | 0x40; /* version 4: random */
  bytes[8] = (bytes[8] & 0x3f) | 0x80; /* the variant of RFC 4122 */
  char *out = ret_id;
  for (guint i = 0; i < sizeof bytes; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10)
      *out++ = '-';
    out += g_snprintf(out, 3, "%02x", bytes[i]);
  }
}

gboolean metadata_uuid_valid(const char *text) {
  for (guint i = 0; i < METADATA_ID_BYTES - 1; i++) {
    gboolean dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !g_ascii_isxdigit(text[i]))
      return FALSE; /* the end of a text that is too short too */
  }
  return text[METADATA_ID_BYTES - 1] == '\0';
}

Failure *metadata_invalid_field(const char *path, const char *rule, const char *sentence, ...) {
  va_list args;
  va_start(args, sentence);
  g_autofree char *message = g_strdup_vprintf(sentence, args);
  va_end(args);
  return failure_add_violation(failure_new(FAILURE(INVALID_FIELD), "%s", message), path, rule);
}

/* ---- The cluster and its controllers ---- */

Failure *metadata_command_bootstrap(const MetadataImage *image, const MetadataContext *context, const char *cluster_id,
                                    const MetadataController *controller, GPtrArray *records) {
  if (*metadata_image_cluster_id(image))
    return failure_new(FAILURE(CLUSTER_MISMATCH), "The cluster %s exists already: it is born once.",
                       metadata_image_cluster_id(image));
  char made[METADATA_ID_BYTES];
  metadata_uuid(context->random, made);
  if (*cluster_id && !metadata_uuid_valid(cluster_id))
    return metadata_invalid_field("cluster-id", "a UUID",
                                  "The cluster id \"%s\" is not a UUID: give one like %s, or none, and one is made.",
                                  cluster_id, made);
  g_autofree char *lower = g_ascii_strdown(*cluster_id ? cluster_id : made, -1);
  g_ptr_array_add(records, metadata_record_cluster(lower, context->now_ms));
  g_ptr_array_add(records, metadata_record_controller(controller));
  return NULL;
}

Failure *metadata_command_controller(const MetadataImage *image, const MetadataController *controller,
                                     GPtrArray *records) {
  const MetadataController *known = metadata_image_controller(image, controller->id);
  if (!known || strcmp(known->address, controller->address) != 0 ||
      strcmp(known->peer_address, controller->peer_address) != 0)
    g_ptr_array_add(records, metadata_record_controller(controller));
  return NULL;
}

Failure *metadata_command_remove_controller(const MetadataImage *image, gint32 id, GPtrArray *records) {
  if (metadata_image_controller(image, id))
    g_ptr_array_add(records, metadata_record_remove_controller(id));
  return NULL;
}
