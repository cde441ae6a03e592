"""What the tests of consumer groups share: stubs, members that are streams, members that call Heartbeat, Fetch and CommitOffsets
themselves, and checks that print a line "ok NAME" or "not ok NAME" each. The brokers' addresses come as arguments."""

import queue
import sys
import threading
import time
import traceback

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2
from milena.v1 import admin_service_pb2 as admin, admin_service_pb2_grpc as admin_grpc
from milena.v1 import common_pb2 as common
from milena.v1 import consumer_service_pb2 as consumer, consumer_service_pb2_grpc as consumer_grpc
from milena.v1 import group_service_pb2 as group, group_service_pb2_grpc as group_grpc
from milena.v1 import producer_service_pb2 as producer, producer_service_pb2_grpc as producer_grpc
from milena.v1 import record_pb2 as record

BROKERS = sys.argv[1:]
channels = [grpc.insecure_channel(address) for address in BROKERS]
topics = admin_grpc.AdminServiceStub(channels[0])
writer = producer_grpc.ProducerServiceStub(channels[0])
groups = [group_grpc.GroupServiceStub(channel) for channel in channels]
readers = [consumer_grpc.ConsumerServiceStub(channel) for channel in channels]
PARTITIONS = 6
WAIT = 30
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def reason(error):
    """The ErrorInfo reason of a failed call, or of an item's status."""
    status = error
    if isinstance(error, grpc.RpcError):
        details = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
        status = status_pb2.Status.FromString(details)
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason
    return None


def refused(want, call, *args, **kwargs):
    try:
        answer = call(*args, **kwargs)
    except grpc.RpcError as error:
        assert reason(error) == want, (reason(error), error.details())
        return error
    raise AssertionError(f"it worked: {answer}")


def create(name):
    """A topic of six partitions, whose leaders are spread over the brokers: whoever reads all of it through one broker reads
    through one that does not lead."""
    answer = topics.CreateTopic(admin.CreateTopicRequest(name=name, partitions=PARTITIONS, replication_factor=1))
    leaders = {partition.leader_id for partition in answer.topic.partitions}
    assert len(leaders) > 1, leaders
    return name


def write(topic, start, count):
    """Values start, start+1, ... in turns over the partitions."""
    writer.Produce(producer.ProduceRequest(topic=topic, records=[
        record.Record(value=b"%d" % i, partition=i % PARTITIONS) for i in range(start, start + count)]))


def seconds(count):
    return duration_pb2.Duration(seconds=count)


def subscription(*names, pattern=""):
    return group.GroupSubscription(topics=names, topic_pattern=pattern)


def until(condition, what):
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"not within {WAIT} s: {what()}")


class Stream:
    """A member that is a stream: it acknowledges what it is told, and keeps what it is given."""

    def __init__(self, broker, name, topic, acknowledges=True, **membership):
        self.out = queue.Queue()
        self.lock = threading.Lock()
        self.owned, self.values, self.changes, self.commits, self.next = set(), [], [], {}, {}
        self.member_id, self.error, self.ended = None, None, threading.Event()
        self.acknowledges = acknowledges
        membership.setdefault("offset_reset", group.OFFSET_RESET_EARLIEST)
        self.out.put(consumer.SubscribeRequest(init=consumer.SubscribeInit(
            group=name, membership=consumer.SubscribeMembership(subscription=subscription(topic), **membership))))
        self.topic = topic
        self.call = readers[broker].Subscribe(iter(self.out.get, None))
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for frame in self.call:
                with self.lock:
                    self.take(frame)
        except grpc.RpcError as error:
            self.error = error
        self.ended.set()

    def take(self, frame):
        kind = frame.WhichOneof("frame")
        if kind == "ready":
            self.member_id = frame.ready.member_id
        elif kind == "assignment":
            change = frame.assignment
            self.changes.append(change)
            for lost in change.lost:
                self.owned -= {partition for partition in lost.partitions}
            self.owned |= {start.partition for start in change.gained}
            if self.acknowledges:
                self.out.put(consumer.SubscribeRequest(
                    acknowledgement=consumer.AssignmentAcknowledgement(assignment_id=change.assignment_id)))
        elif kind == "commit_done":
            self.commits[frame.commit_done.commit_id] = frame.commit_done
        elif kind == "data":
            assert frame.data.status.code == 0, frame.data.status
            assert frame.data.partition in self.owned, "records of a partition that was taken away"
            self.values += [int(one.value) for one in frame.data.records]
            self.next[frame.data.partition] = frame.data.next_offset

    def commit(self, commit_id, offsets=None):
        """Commits, and gives the answer."""
        with self.lock:
            offsets = dict(self.next) if offsets is None else offsets
        self.out.put(consumer.SubscribeRequest(commit=consumer.SubscribeCommit(commit_id=commit_id, offsets=[
            group.OffsetCommit(topic=self.topic, partition=partition, offset=offset, metadata="by python")
            for partition, offset in offsets.items()])))
        until(lambda: commit_id in self.commits or self.ended.is_set(), lambda: self.commits)
        return self.commits[commit_id]

    def wait_owned(self, count):
        until(lambda: len(self.owned) == count, lambda: (self.owned, self.changes, self.error))

    def wait_values(self, values):
        until(lambda: sorted(self.values) == sorted(values), lambda: (sorted(self.values), self.error))

    def close(self):
        """Half-close; the stream ends well."""
        self.out.put(None)
        assert self.ended.wait(WAIT), "the stream did not end"
        assert self.error is None, self.error

    def vanish(self):
        self.call.cancel()
        assert self.ended.wait(WAIT)


class Smart:
    """A member that calls Heartbeat, Fetch and CommitOffsets itself."""

    def __init__(self, broker, name, topic):
        self.groups, self.reader, self.name, self.topic = groups[broker], readers[broker], name, topic
        self.position, self.values = {}, []
        answer = self.groups.Heartbeat(group.HeartbeatRequest(
            group=name, subscription=subscription(topic), rebalance_timeout=seconds(30),
            offset_reset=group.OFFSET_RESET_EARLIEST, owned=group.OwnedPartitions(), client_id="python"))
        self.member_id, self.epoch, self.version = answer.member_id, answer.member_epoch, 0
        assert answer.offset_reset == group.OFFSET_RESET_EARLIEST, answer
        self.take(answer)

    def take(self, answer):
        self.epoch = answer.member_epoch
        if not answer.HasField("assignment"):
            return
        self.version = answer.assignment.version
        given = {one.partition: one for topic in answer.assignment.topics for one in topic.partitions}
        self.position = {number: self.position.get(number, one.committed.offset if one.HasField("committed") else 0)
                         for number, one in given.items()}

    def beat(self, wait=1):
        """Says what it owns; hears what it shall own."""
        owned = group.OwnedPartitions(topics=[
            group.TopicPartitions(topic=self.topic, partitions=sorted(self.position))] if self.position else [])
        self.take(self.groups.Heartbeat(group.HeartbeatRequest(
            group=self.name, member_id=self.member_id, member_epoch=self.epoch, assignment_version=self.version,
            owned=owned, max_wait=seconds(wait))))

    def beat_until(self, condition):
        end = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < end, (self.position, self.values)
            self.beat()

    def fetch(self):
        if not self.position:
            return
        answer = self.reader.Fetch(consumer.FetchRequest(format=consumer.FORMAT_RECORDS, partitions=[
            consumer.FetchPartition(topic=self.topic, partition=number, offset=offset)
            for number, offset in self.position.items()]))
        for one in answer.partitions:
            assert one.status.code == 0, one
            self.values += [int(got.value) for got in one.records]
            self.position[one.partition] = one.next_offset

    def commit(self):
        answer = self.groups.CommitOffsets(group.CommitOffsetsRequest(
            group=self.name, member_id=self.member_id, member_epoch=self.epoch, offsets=[
                group.OffsetCommit(topic=self.topic, partition=number, offset=offset)
                for number, offset in self.position.items()]))
        assert all(one.status.code == 0 for one in answer.results), answer

    def leave(self):
        answer = self.groups.Heartbeat(group.HeartbeatRequest(
            group=self.name, member_id=self.member_id, member_epoch=self.epoch, leave=group.LEAVE_FOR_GOOD))
        assert answer.member_epoch == 0, answer


def committed(name, topic):
    answer = groups[1].FetchOffsets(group.FetchOffsetsRequest(group=name))
    return {one.partition: one.committed.offset for one in answer.offsets if one.topic == topic}


def run(what):
    """All checks, in their order."""
    for function in CHECKS:
        name = function.__name__.replace("_", " ")
        try:
            function()
            print(f"ok python {what}: {name}", flush=True)
        except Exception:
            print(f"not ok python {what}: {name}")
            print("   " + traceback.format_exc().replace("\n", "\n   "), flush=True)
    for channel in channels:
        channel.close()
