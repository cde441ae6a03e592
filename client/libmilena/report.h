/* Tells users what became of their records. On the client's loop, with nothing locked. */
#pragma once

#include "client/libmilena/accumulator.h"
#include "client/libmilena/error.h"
#include "milena/v1/producer_service.pb-c.h"

G_BEGIN_DECLS

/* What a leader's answer says, as users see it. @acks: as asked for */
MilenaReceipt report_receipt(const Batch *batch, const Milena__V1__ProduceResult *result, MilenaAcks acks);
/* Its records were written, as batch->receipt says. @batch: taken */
void report_written(Accumulator *accumulator, Batch *batch);
/* They were not, or nobody knows. @batch, @failure: taken. @outcome: of the latest try; an earlier one that is unknown
 * stays so. */
void report_failed(Accumulator *accumulator, Batch *batch, Failure *failure, Outcome outcome);
/* Why a batch is given up that is not in flight: what held it up until its time was over. Owned by the caller. */
Failure *report_why_expired(Accumulator *accumulator, const Batch *batch, gint32 timeout_ms);

G_END_DECLS
