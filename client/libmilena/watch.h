/* Follows the cluster's metadata on one broker's WatchMetadata stream, and goes on at another when that one fails.
 * Belongs to the client's loop. */
#pragma once

#include "client/libmilena/client.h"

G_BEGIN_DECLS

typedef struct Watch Watch;

Watch *watch_new(MilenaClient *client);
/* Begin; more than once is fine. */
void watch_start(Watch *watch);
/* The broker at @address knows more: go on there, unless the stream was moved a moment ago. If it is there already it
 * is opened anew, should it not tell by itself soon; so this is called again while there is need. */
void watch_move(Watch *watch, const char *address);
/* The broker at @address does not answer others in time: go on elsewhere, if the stream is there. */
void watch_suspect(Watch *watch, const char *address);
/* The broker at @address is silent to others: if the stream is there, ask it for a sign of life, once at a time. */
void watch_check(Watch *watch, const char *address);
/* End the stream: nothing is published any more. */
void watch_stop(Watch *watch);
/* After watch_stop. NULL is fine. */
void watch_free(Watch *watch);

G_END_DECLS
