/* Times on the wire and times in the code: milliseconds, as everything here counts them.
 *
 * Pure. What comes from the wire may be any number: a time outside of what fits is taken for the nearest that does, so
 * nothing overflows. Who must refuse such a time looks at the message first. */
#pragma once

#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"
#include <glib.h>

G_BEGIN_DECLS

/* Parts of a millisecond are dropped: the past, before 1970 too. @timestamp, @duration: NULL gives @missing_ms */
gint64 times_timestamp_ms(const Google__Protobuf__Timestamp *timestamp, gint64 missing_ms);
gint64 times_duration_ms(const Google__Protobuf__Duration *duration, gint64 missing_ms);

/* Initialise and set. A duration is 0 or more. */
void times_timestamp_set(Google__Protobuf__Timestamp *timestamp, gint64 ms);
void times_duration_set(Google__Protobuf__Duration *duration, gint64 ms);

G_END_DECLS
