"""A script as a user of Milena would write it: stubs from the protos, records in, the same records out."""
import sys

import grpc
from milena.v1 import admin_service_pb2 as admin, admin_service_pb2_grpc as admin_grpc
from milena.v1 import common_pb2 as common
from milena.v1 import consumer_service_pb2 as consumer, consumer_service_pb2_grpc as consumer_grpc
from milena.v1 import producer_service_pb2 as producer, producer_service_pb2_grpc as producer_grpc
from milena.v1 import record_pb2 as record

with grpc.insecure_channel(sys.argv[1]) as channel:
    admin_grpc.AdminServiceStub(channel).CreateTopic(admin.CreateTopicRequest(name="readings", partitions=3))
    records = [record.Record(key_text=f"sensor-{i % 5}", value_text=f"reading {i}") for i in range(100)]
    answer = producer_grpc.ProducerServiceStub(channel).Produce(
        producer.ProduceRequest(topic="readings", records=records))
    for result in answer.results:
        print(f"partition {result.partition}: {result.record_count} records from offset {result.base_offset}")
    until_now = common.Position(end=common.LOG_END_LATEST)
    seen = []
    for frame in consumer_grpc.ConsumerServiceStub(channel).Consume(
            consumer.ConsumeRequest(topic="readings", stop=until_now, format=consumer.FORMAT_TEXT)):
        seen += [(r.key_text, r.value_text) for r in frame.data.records]
    assert sorted(seen) == sorted((r.key_text, r.value_text) for r in records), seen
    print(f"read back {len(seen)} records")
