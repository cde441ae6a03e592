/* What the formats of raft.proto share; for entry.c and configuration.c alone. Pure. */
#pragma once

#include "controller/raft/entry.h"

G_BEGIN_DECLS

GBytes *raft_pack(const ProtobufCMessage *message);
/* CORRUPT_LOG. @what: "entry" */
Failure *raft_damaged(const char *what);
/* NULL, CORRUPT_LOG for a format that never was, UNSUPPORTED for a newer one. */
Failure *raft_check_format(const char *what, guint32 format, guint32 newest);

/* A view of @directory, which must outlive it. */
ProtobufCBinaryData raft_directory_field(const RaftDirectory *directory);
/* Empty is unknown. Returns NULL or CORRUPT_LOG. */
Failure *raft_directory_read(const ProtobufCBinaryData *field, const char *what, RaftDirectory *ret_directory);

/* A configuration as a message, with room for all that it points to. */
typedef struct {
  Milena__Internal__V1__RaftConfiguration base;
  Milena__Internal__V1__RaftMember members[RAFT_MEMBERS_MAX];
  Milena__Internal__V1__RaftMember *pointers[RAFT_MEMBERS_MAX];
} RaftConfigurationMessage;

/* @configuration must outlive @message. */
void raft_configuration_fill(const RaftConfiguration *configuration, RaftConfigurationMessage *message);
Failure *raft_configuration_read(const Milena__Internal__V1__RaftConfiguration *message,
                                 RaftConfiguration *ret_configuration);

G_END_DECLS
