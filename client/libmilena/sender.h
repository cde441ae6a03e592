/* The producer's half on the client's loop: takes batches from the accumulator, sends them to their leaders, hears what
 * became of them, and tries again what may be tried again. */
#pragma once

#include "client/libmilena/accumulator.h"
#include "client/libmilena/client.h"
#include "milena/v1/producer_service.pb-c.h"

G_BEGIN_DECLS

typedef struct Sender Sender;
typedef struct Link Link;

/* @client, @accumulator, @options: borrowed, outlive it. Any thread. */
Sender *sender_new(MilenaClient *client, Accumulator *accumulator, const MilenaProducerOptions *options);
/* Look at the accumulator, soon. Any thread; cheap when it will anyway. */
void sender_wake(Sender *sender);
/* Report what is left, and end all streams. On any thread but the loop's; then sender_free. */
void sender_close(Sender *sender);
void sender_free(Sender *sender);

/* ---- from the links, on the loop ---- */

MilenaClient *sender_client(Sender *sender);
const MilenaProducerOptions *sender_options(Sender *sender);
/* A link can take more, or has ended. */
void sender_link_changed(Sender *sender);
/* @result: the broker's answer for the batch; @failure: why there is none, or what the answer says; taken. One of the
 * two is NULL. @batch: taken. */
void sender_batch_answered(Sender *sender, Batch *batch, const Milena__V1__ProduceResult *result, Failure *failure,
                           Outcome outcome);

G_END_DECLS
