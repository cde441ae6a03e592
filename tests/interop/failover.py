"""A client of generated stubs, which knows some addresses and nothing of leaders: the broker that it is connected to is
killed under it, and it goes on at another address, from its next offset."""

import subprocess
import sys
import threading
import time

import grpc
from milena.v1 import admin_service_pb2 as admin, admin_service_pb2_grpc as admin_grpc
from milena.v1 import common_pb2 as common
from milena.v1 import consumer_service_pb2 as consumer, consumer_service_pb2_grpc as consumer_grpc
from milena.v1 import producer_service_pb2 as producer, producer_service_pb2_grpc as producer_grpc
from milena.v1 import record_pb2 as record

MILENA, FOLDER, *ADDRESSES = sys.argv[1:]
TOPIC, BEFORE, AFTER, DEADLINE_S = "followed", 300, 300, 60
# A channel whose broker is gone tries again soon.
OPTIONS = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 500)]


class Anywhere:
    """One address at a time; the next one when a call fails."""

    def __init__(self, first):
        self.place = first
        self.moves = 0
        self.connect()

    def connect(self):
        self.channel = grpc.insecure_channel(ADDRESSES[self.place], options=OPTIONS)

    def move(self):
        self.channel.close()
        self.place = (self.place + 1) % len(ADDRESSES)
        self.moves += 1
        self.connect()
        time.sleep(0.05)


class Reader(threading.Thread):
    """Reads partition 0 with Consume, and remembers its next offset: all that a client has to remember."""

    def __init__(self):
        super().__init__(daemon=True)
        self.where, self.next, self.values = Anywhere(0), 0, []

    def run(self):
        while True:
            try:
                stub = consumer_grpc.ConsumerServiceStub(self.where.channel)
                for frame in stub.Consume(consumer.ConsumeRequest(topic=TOPIC, partitions=[0], format=consumer.FORMAT_TEXT,
                                                                  start=common.Position(offset=self.next))):
                    for r in frame.data.records:
                        assert r.offset == self.next, (r.offset, self.next)
                        self.values.append(r.value_text)
                        self.next = r.offset + 1
            except grpc.RpcError:
                pass
            self.where.move()


class Writer(threading.Thread):
    """Writes numbered values one by one. A try of which nobody knows the outcome is not repeated: the next value is."""

    def __init__(self):
        super().__init__(daemon=True)
        self.where, self.number, self.acknowledged, self.stop = Anywhere(0), 0, {}, False

    def run(self):
        while not self.stop:
            self.number += 1
            try:
                stub = producer_grpc.ProducerServiceStub(self.where.channel)
                result = stub.Produce(producer.ProduceRequest(topic=TOPIC, records=[
                    record.Record(value_text=str(self.number), partition=0)]), timeout=5).results[0]
                if result.status.code == 0:
                    self.acknowledged[result.base_offset] = str(self.number)
                    time.sleep(0.002)
                    continue
            except grpc.RpcError:
                pass
            self.where.move()


def wait_until(what, holds):
    until = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.01)


def goes_on():
    with grpc.insecure_channel(ADDRESSES[0]) as channel:
        admin_grpc.AdminServiceStub(channel).CreateTopic(admin.CreateTopicRequest(
            name=TOPIC, partitions=1, replication_factor=3))
    reader, writer = Reader(), Writer()
    reader.start()
    writer.start()
    wait_until("nothing is read", lambda: len(reader.values) > BEFORE)
    subprocess.run([MILENA, "local", "stop", "broker-1", "--kill", "--data", FOLDER], check=True, capture_output=True)
    read = len(reader.values)
    wait_until("the reader does not go on", lambda: len(reader.values) > read + AFTER and reader.where.moves > 0)
    writer.stop = True
    writer.join()
    last = max(writer.acknowledged)
    wait_until("what was acknowledged last is not read", lambda: reader.next > last)
    assert writer.where.moves > 0 and reader.where.place != 0, (writer.where.moves, reader.where.place)
    missing = [v for offset, v in writer.acknowledged.items() if reader.values[offset] != v]
    assert not missing, missing[:10]
    assert len(set(reader.values)) == len(reader.values), "a value was read twice"
    print(f"{read} records before, {len(reader.values) - read} after, {reader.where.moves} moves of the reader")


goes_on()
