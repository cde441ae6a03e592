/* A broker as several commands show it. */
#pragma once

#include "client/cli/cli.h"

G_BEGIN_DECLS

/* "up", "fenced", "fenced, drained", "stopping", "drained", "drained, disk low" or "disk low"; static. */
const char *broker_view_state(const MilenaBroker *broker);
/* An object, in an array or at the top. */
void broker_view_to_json(const MilenaBroker *broker, Json *json);

G_END_DECLS
