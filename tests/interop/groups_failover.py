"""Members of a group that are streams of generated stubs, which know some addresses and nothing else, while the group's
coordinator is killed, then the broker of one of them, then one of themselves, then the last coordinator. What was acknowledged by
commits is not read again without need, and nothing is missed."""

import queue
import subprocess
import sys
import threading
import time

import grpc
from google.rpc import error_details_pb2, status_pb2
from milena.v1 import admin_service_pb2 as admin, admin_service_pb2_grpc as admin_grpc
from milena.v1 import consumer_service_pb2 as consumer, consumer_service_pb2_grpc as consumer_grpc
from milena.v1 import group_service_pb2 as group, group_service_pb2_grpc as group_grpc
from milena.v1 import producer_service_pb2 as producer, producer_service_pb2_grpc as producer_grpc
from milena.v1 import record_pb2 as record

MILENA, FOLDER, *ADDRESSES = sys.argv[1:]
TOPIC, GROUP, PARTITIONS, DEADLINE_S = "survivors", "survivors", 6, 60
# A channel whose broker is gone tries again soon.
OPTIONS = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 500)]


class Member(threading.Thread):
    """Processes what it is given, then commits it: at least once."""

    def __init__(self, place):
        super().__init__(daemon=True)
        self.place, self.member_id, self.owned, self.values = place, "", set(), []
        self.streams, self.fenced, self.refused, self.stopped, self.call = 0, 0, [], False, None
        self.start()

    def run(self):
        while not self.stopped:
            try:
                self.stream()
            except grpc.RpcError as error:
                self.ended = error
            self.owned = set()
            self.place = (self.place + 1) % len(ADDRESSES)
            time.sleep(0.05)

    def stream(self):
        out = queue.Queue()
        out.put(consumer.SubscribeRequest(init=consumer.SubscribeInit(group=GROUP, membership=consumer.SubscribeMembership(
            subscription=group.GroupSubscription(topics=[TOPIC]), member_id=self.member_id,
            offset_reset=group.OFFSET_RESET_EARLIEST))))
        with grpc.insecure_channel(ADDRESSES[self.place], options=OPTIONS) as channel:
            self.call = consumer_grpc.ConsumerServiceStub(channel).Subscribe(iter(out.get, None))
            self.streams += 1
            last = {}
            for frame in self.call:
                self.take(frame, out, last)

    def take(self, frame, out, last):
        kind = frame.WhichOneof("frame")
        if kind == "ready":
            self.member_id = frame.ready.member_id
        elif kind == "assignment":
            change = frame.assignment
            self.fenced += change.fenced
            self.owned -= {number for lost in change.lost for number in lost.partitions}
            self.owned |= {start.partition for start in change.gained}
            for start in change.gained:
                last.pop(start.partition, None)
            out.put(consumer.SubscribeRequest(
                acknowledgement=consumer.AssignmentAcknowledgement(assignment_id=change.assignment_id)))
        elif kind == "data":
            number = frame.data.partition
            for one in frame.data.records:
                assert one.offset == last.get(number, one.offset), f"{number}: {one.offset} after {last[number]}"
                last[number] = one.offset + 1
                self.values.append(int(one.value))
            out.put(consumer.SubscribeRequest(commit=consumer.SubscribeCommit(commit_id=1, offsets=[
                group.OffsetCommit(topic=TOPIC, partition=number, offset=frame.data.next_offset)])))
        elif kind == "commit_done" and frame.commit_done.status.code:
            self.refused.append(frame.commit_done.status.message)

    def vanish(self):
        self.stopped = True
        self.call.cancel()


channel = grpc.insecure_channel(ADDRESSES[-1], options=OPTIONS)
groups = group_grpc.GroupServiceStub(channel)
written = 0


def write(count):
    global written
    producer_grpc.ProducerServiceStub(channel).Produce(producer.ProduceRequest(topic=TOPIC, records=[
        record.Record(value=b"%d" % i, partition=i % PARTITIONS) for i in range(written, written + count)]), timeout=DEADLINE_S)
    written += count


def until(condition, what):
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"{what}: {[(m.member_id, m.owned, len(m.values), m.refused) for m in members]}"
        time.sleep(0.02)


def all_is_read(what):
    """Everything was processed, and committed."""
    until(lambda: {value for member in members for value in member.values} == set(range(written)), what)
    until(lambda: {one.committed.offset for one in groups.FetchOffsets(
        group.FetchOffsetsRequest(group=GROUP), timeout=DEADLINE_S).offsets} == {written // PARTITIONS}, what + ", committed")


def details(error, kind):
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    for detail in status.details:
        told = kind()
        if detail.Unpack(told):
            yield told


def reasons(error):
    return [told.reason for told in details(error, error_details_pb2.ErrorInfo)]


def delays(error):
    """When to try again, in seconds."""
    return [told.retry_delay.ToNanoseconds() / 1e9 for told in details(error, error_details_pb2.RetryInfo)]


def kill(process):
    subprocess.run([MILENA, "local", "stop", process, "--kill", "--data", FOLDER], check=True, capture_output=True)


def is_shared(among):
    owned = [member.owned for member in among]
    return all(len(few) == PARTITIONS // len(among) for few in owned) and set.union(*owned) == set(range(PARTITIONS))


admin_grpc.AdminServiceStub(channel).CreateTopic(
    admin.CreateTopicRequest(name=TOPIC, partitions=PARTITIONS, replication_factor=3))
members = [Member(place) for place in range(3)]
until(lambda: is_shared(members), "three share six partitions")
write(600)
all_is_read("at first")

before = [set(member.owned) for member in members]
coordinator = groups.GetCoordinator(group.GetCoordinatorRequest(group=GROUP)).coordinator.id
began = time.monotonic()
kill(f"coordinator-{coordinator}")
write(600)
all_is_read("after the coordinator was killed")
print(f"read and committed {time.monotonic() - began:.1f} s after the coordinator was killed")
assert [member.owned for member in members] == before, f"partitions moved: {before} {[m.owned for m in members]}"
assert [member.fenced for member in members] == [0, 0, 0] and [member.streams for member in members] == [1, 1, 1]
assert groups.GetCoordinator(group.GetCoordinatorRequest(group=GROUP)).coordinator.id != coordinator

names = [member.member_id for member in members]
began = time.monotonic()
kill("broker-1")
until(lambda: members[0].streams > 1 and is_shared(members), "the stream of the killed broker goes on elsewhere")
write(600)
all_is_read("after the broker was killed")
print(f"read and committed {time.monotonic() - began:.1f} s after the broker was killed")
assert [member.member_id for member in members] == names, "the same member"
assert members[1].fenced == members[2].fenced == 0

subprocess.run([MILENA, "local", "start", "broker-1", "--data", FOLDER], check=True, capture_output=True)
until(lambda: is_shared(members), "all is calm")
before = [set(member.owned) for member in members]
moved = [member for member in members if member.place == 1]
began = time.monotonic()
subprocess.run([MILENA, "local", "stop", "broker-2", "--data", FOLDER], check=True, capture_output=True)
until(lambda: is_shared(members) and all(member.place != 1 for member in moved), "the stream of the stopped broker goes on")
write(600)
all_is_read("after a broker was stopped")
print(f"read and committed {time.monotonic() - began:.1f} s after a broker was told to stop")
assert [member.owned for member in members] == before, f"partitions moved: {before} {[m.owned for m in members]}"
assert [member.member_id for member in members] == names and not any(member.fenced for member in members[1:])

began = time.monotonic()
members[1].vanish()
until(lambda: is_shared([members[0], members[2]]), "two share what three had")
print(f"two share what three had {time.monotonic() - began:.2f} s after one vanished")
write(600)
all_is_read("after a member vanished")

# No coordinator is left: reading goes on, and calls are told to come back.
left = groups.GetCoordinator(group.GetCoordinatorRequest(group=GROUP)).coordinator.id
kill(f"coordinator-{left}")
write(600)
until(lambda: {value for member in members for value in member.values} == set(range(written)), "reading goes on")
try:
    groups.FetchOffsets(group.FetchOffsetsRequest(group=GROUP), timeout=3)
    raise AssertionError("offsets without a coordinator")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.UNAVAILABLE and "COORDINATOR_NOT_AVAILABLE" in str(reasons(error)), error
    assert any(delay > 0 for delay in delays(error)), f"no hint when to come back: {error}"
for number in (coordinator, left):
    subprocess.run([MILENA, "local", "start", f"coordinator-{number}", "--data", FOLDER], check=True, capture_output=True)
write(600)
all_is_read("after the coordinators came back")
again = sum(len(member.values) for member in members) - written
print(f"{written} values, {again} of them twice")
channel.close()
