#include "client/cli/broker_view.h"

const char *broker_view_state(const MilenaBroker *broker) {
  if (broker->fenced)
    return broker->drained ? "fenced, drained" : "fenced";
  if (broker->stopping)
    return "stopping";
  if (broker->disk_low)
    return broker->drained ? "drained, disk low" : "disk low";
  return broker->drained ? "drained" : "up";
}

void broker_view_to_json(const MilenaBroker *broker, Json *json) {
  json_open(json, NULL, '{');
  json_int(json, "id", broker->id);
  json_string(json, "address", broker->address);
  json_string(json, "rack", broker->rack);
  json_uint(json, "epoch", broker->epoch);
  json_bool(json, "fenced", broker->fenced);
  json_bool(json, "drained", broker->drained);
  json_bool(json, "stopping", broker->stopping);
  json_bool(json, "disk_low", broker->disk_low);
  json_uint(json, "leaders", broker->leader_count);
  json_uint(json, "replicas", broker->replica_count);
  json_close(json);
}
