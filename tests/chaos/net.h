/* A small network of network namespaces: a bridge, on which this process is, and hosts on it, each with a namespace of
 * its own. Links between them are cut and mended.
 *
 *            this process, 10.77.0.254
 *        ────────────┬─ bridge ─┬────────────
 *   host 0, 10.77.0.1    host 1, 10.77.0.2   ...
 *
 * The namespaces have no names: they live in descriptors of this process and end with it, whatever ends it. No
 * privilege is needed where users may make namespaces. Threads: net_enter before any other thread is started; then any,
 * one at a time. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct Net Net;

#define NET_OUTSIDE G_MAXUINT /* this process, as a host */

/* Go into a network namespace of this process's own. Returns NULL, or a sentence why that may not be, owned by the
 * caller: then nothing has changed. */
char *net_enter(void);

/* @hosts: how many. Returns NULL, or a sentence, owned by the caller. After net_enter. */
char *net_new(guint hosts, Net **ret_net);
/* Without namespaces: the hosts are addresses on loopback, and nothing can be cut. */
Net *net_new_loopback(guint hosts);
void net_free(Net *net); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Net, net_free)

gboolean net_can_cut(const Net *net);
/* An IPv4 address; borrowed. */
const char *net_address(const Net *net, guint host);
/* For a GSpawnChildSetupFunc: go to this host. Calls only what may be called between fork and exec; ends the process
 * when that fails. */
void net_go_to_host(const Net *net, guint host);

/* Packets of @from to @to are lost, silently; those of @to to @from arrive. Either may be NET_OUTSIDE. */
void net_block(Net *net, guint from, guint to);
/* The host's cable is pulled, or put in again. */
void net_unplug(Net *net, guint host);
void net_plug(Net *net, guint host);
/* Everything is as in the beginning. */
void net_heal(Net *net);

G_END_DECLS
