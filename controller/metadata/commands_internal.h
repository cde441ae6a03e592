/* Shared by the commands alone. */
#pragma once

#include "controller/metadata/commands.h"

G_BEGIN_DECLS

/* INVALID_FIELD with a violation of one field: @sentence is the message, @rule what the field must be. */
Failure *metadata_invalid_field(const char *path, const char *rule, const char *sentence, ...) G_GNUC_PRINTF(3, 4);

/* The partition with the leader that it should have, now that @unfenced says which brokers may lead: its record is
 * appended when that is another one. */
void metadata_elect(const MetadataPartition *partition, gboolean (*may_lead)(gint32 broker_id, gpointer user_data),
                    gpointer user_data, GPtrArray *records);

G_END_DECLS
