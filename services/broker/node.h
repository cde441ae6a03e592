/* The broker as a node of its cluster: what its membership says goes to the store's identity and to the shards. */
#pragma once

#include "services/broker/broker.h"
#include "services/membership/membership.h"

G_BEGIN_DECLS

typedef struct Node Node;

/* What happens to it; on the main loop. */
typedef struct {
  /* It may lead from now on, or no more. */
  void (*fenced)(gboolean fenced, gpointer data);
  /* For the first time since its start every replica of its is in sync, but where nobody leads: other brokers may stop.
   */
  void (*caught_up)(gpointer data);
  /* The cluster will never take it: stop. @failure: borrowed */
  void (*refused)(const Failure *failure, gpointer data);
} NodeEvents;

typedef struct {
  const char *rack;
  const char *address, *peer_address; /* advertised */
  const char *const *controllers;     /* peer addresses, NULL-terminated */
} NodeOptions;

/* @loop: the main loop; everything is called on it. @broker: its shards' loops run */
Node *node_new(Broker *broker, Loop *loop, const NodeOptions *options, const NodeEvents *events, gpointer data);
void node_start(Node *node);
/* Tell the cluster whether its disk is nearly full. */
void node_set_disk_low(Node *node, gboolean low);
/* Tell the cluster that the broker stops; @left is called once its partitions are led by others, or in the end. */
void node_leave(Node *node, guint timeout_ms, void (*left)(gpointer data), gpointer data);
/* Publish no more images; @stopped is called, maybe at once, when none is on its way. Before the main loop ends. */
void node_stop(Node *node, void (*stopped)(gpointer data), gpointer data);
/* On the main loop, or after it ended. NULL is fine. */
void node_free(Node *node);

G_END_DECLS
