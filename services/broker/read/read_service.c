/* The table of ConsumerService's methods: see read_service.h. */
#include "services/broker/read/service.h"

const RpcMethodHandler READ_SERVICE_HANDLERS[] = {
    {.name = "Fetch", .unary = read_fetch},
    {.name = "Consume", .unary = read_consume},
    {.name = "Subscribe", .stream = read_subscribe},
    {.name = "ListOffsets", .unary = read_list_offsets},
    {.name = NULL},
};

ReadService *read_service_new(Front *front, GroupDoor *door) {
  ReadService *service = g_new0(ReadService, 1);
  service->front = front;
  service->door = door;
  return service;
}

void read_service_free(ReadService *service) {
  g_free(service);
}

gint64 read_deadline_us(RpcCall *call, gint64 most_ms) {
  return MIN(g_get_monotonic_time() + most_ms * 1000, rpc_call_answer_by_us(call));
}

Failure *read_check_draining(const ReadService *service) {
  return !front_is_draining(service->front)
             ? NULL
             : failure_new(FAILURE(DRAINING), "broker %d is stopping; call another broker",
                           front_broker_id(service->front));
}
