#include "client/cli/local_begin.h"

#define ASK_TIMEOUT_MS 1000

G_DEFINE_AUTOPTR_CLEANUP_FUNC(MilenaQuorum, milena_quorum_free)

/* The controllers are asked directly: there is no broker yet. */
static MilenaError *begin(Cli *cli, const LocalPlan *plan, MilenaClient *client) {
  g_autoptr(MilenaQuorum) quorum = NULL;
  MilenaError *error = milena_admin_list_controllers(client, cli_timeout_ms(cli), &quorum);
  if (error || *quorum->cluster_id)
    return error;
  g_autoptr(GPtrArray) addresses = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(GArray) members = g_array_new(FALSE, FALSE, sizeof(MilenaInitialController));
  for (guint i = 0; i < plan->nodes->len; i++) {
    const LocalNode *node = plan->nodes->pdata[i];
    if (node->kind != LOCAL_CONTROLLER)
      continue;
    g_ptr_array_add(addresses, local_node_peer_address(node));
    MilenaInitialController member = {node->id, addresses->pdata[addresses->len - 1]};
    g_array_append_val(members, member);
  }
  return milena_admin_bootstrap_cluster(client, (const MilenaInitialController *)members->data, members->len, NULL,
                                        FALSE, cli_timeout_ms(cli), NULL);
}

int local_begin(Cli *cli, LocalPlan *plan) {
  if (plan->bootstrapped)
    return CLI_OK;
  g_autofree char *address = local_node_address(local_plan_find(plan, "controller-1"));
  g_autoptr(MilenaClient) client = NULL;
  MilenaError *error = milena_client_new(address, NULL, &client);
  if (!error)
    error = begin(cli, plan, client);
  if (error)
    return cli_failed(cli, error);
  plan->bootstrapped = TRUE;
  g_autoptr(Failure) failure = local_plan_save(plan);
  return failure ? cli_failed_text(cli, "%s", failure_message(failure)) : CLI_OK;
}

gboolean local_waits_to_be_added(const LocalNode *node) {
  if (node->kind != LOCAL_CONTROLLER)
    return FALSE;
  g_autofree char *address = local_node_address(node);
  g_autoptr(MilenaClient) client = NULL;
  g_autoptr(MilenaQuorum) quorum = NULL;
  g_autoptr(MilenaError) error = milena_client_new(address, NULL, &client);
  if (!error)
    error = milena_admin_list_controllers(client, ASK_TIMEOUT_MS, &quorum);
  return !error && !*quorum->cluster_id;
}
