"""Consumer groups over generated stubs alone, both ways: as streams (Subscribe), where the broker is the member, and by
Heartbeat, Fetch and CommitOffsets, where the client is. Prints a line "ok NAME" or "not ok NAME" for each check."""

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


@check
def two_streams_share_the_partitions_and_one_leaves():
    topic = create("py.streams")
    write(topic, 0, 60)
    first = Stream(1, "py-streams", topic, client_id="first")
    first.wait_owned(PARTITIONS)
    first.wait_values(range(60))
    done = first.commit(1)
    assert done.status.code == 0 and len(done.results) == PARTITIONS, done
    assert all(one.status.code == 0 for one in done.results), done
    second = Stream(2, "py-streams", topic, client_id="second")
    second.wait_owned(PARTITIONS // 2)
    first.wait_owned(PARTITIONS // 2)
    assert not first.owned & second.owned
    assert len(first.changes) == 2, first.changes  # what it was given, and what was taken: nothing else moved
    assert all(start.committed and start.offset == 10 for change in second.changes for start in change.gained)
    write(topic, 60, 60)
    until(lambda: sorted(first.values + second.values) == list(range(120)), lambda: (first.values, second.values))
    assert first.commit(2).status.code == 0 and second.commit(1).status.code == 0
    second.close()
    first.wait_owned(PARTITIONS)
    write(topic, 120, 6)
    until(lambda: set(range(120, 126)) <= set(first.values), lambda: first.values)
    first.close()


@check
def a_stream_resumes_from_what_was_committed():
    topic = create("py.resume")
    write(topic, 0, 60)
    first = Stream(1, "py-resume", topic)
    first.wait_values(range(60))
    first.commit(1, {partition: 4 for partition in range(PARTITIONS)})
    first.vanish()
    second = Stream(2, "py-resume", topic)
    second.wait_values(range(24, 60))  # 4 of each were processed
    assert all(start.committed and start.offset == 4 for change in second.changes for start in change.gained)
    second.close()
    assert committed("py-resume", topic) == {partition: 4 for partition in range(PARTITIONS)}


@check
def heartbeat_fetch_and_commit_by_hand():
    topic = create("py.smart")
    write(topic, 0, 60)
    first = Smart(1, "py-smart", topic)
    first.beat_until(lambda: len(first.position) == PARTITIONS)
    first.fetch()
    assert sorted(first.values) == list(range(60)), first.values
    first.commit()
    second = Smart(2, "py-smart", topic)
    end = time.monotonic() + WAIT
    while len(second.position) != PARTITIONS // 2 or len(first.position) != PARTITIONS // 2:
        assert time.monotonic() < end, (first.position, second.position)
        first.beat(0)
        second.beat(0)
    assert not set(first.position) & set(second.position)
    assert set(second.position.values()) == {10}, second.position
    write(topic, 60, 60)
    for member in (first, second):
        member.fetch()
        member.commit()
    assert sorted(first.values + second.values) == list(range(120))
    refused("FENCED", groups[0].CommitOffsets, group.CommitOffsetsRequest(
        group="py-smart", member_id=first.member_id, member_epoch=first.epoch + 7,
        offsets=[group.OffsetCommit(topic=topic, partition=next(iter(first.position)), offset=1)]))
    second.leave()
    first.beat_until(lambda: len(first.position) == PARTITIONS)
    assert set(first.position.values()) == {20}, first.position
    first.leave()
    assert committed("py-smart", topic) == {partition: 20 for partition in range(PARTITIONS)}


@check
def a_stream_and_a_smart_client_share_a_group():
    topic = create("py.mixed")
    stream = Stream(1, "py-mixed", topic)
    stream.wait_owned(PARTITIONS)
    smart = Smart(2, "py-mixed", topic)
    smart.beat_until(lambda: len(smart.position) == PARTITIONS // 2)
    stream.wait_owned(PARTITIONS // 2)
    described = groups[0].GetGroup(group.GetGroupRequest(group="py-mixed")).group
    assert len(described.members) == 2, described
    assert all("127.0.0.1" in member.client_address for member in described.members), described
    assert {member.client_id for member in described.members} == {"", "python"}, described
    smart.leave()
    stream.wait_owned(PARTITIONS)
    stream.close()


@check
def a_change_that_is_never_acknowledged_ends_the_stream():
    topic = create("py.silent")
    silent = Stream(1, "py-silent", topic, acknowledges=False, rebalance_timeout=seconds(1))
    assert silent.ended.wait(WAIT), "it goes on"
    assert silent.error.code() == grpc.StatusCode.ABORTED and reason(silent.error) == "FENCED", silent.error
    assert "rebalance_timeout" in silent.error.details(), silent.error
    other = Stream(2, "py-silent", topic)
    other.wait_owned(PARTITIONS)
    other.close()


@check
def a_pattern_finds_topics_that_are_made_later():
    member = Stream(1, "py-pattern", "py.later.0")
    member.close()
    call = queue.Queue()
    call.put(consumer.SubscribeRequest(init=consumer.SubscribeInit(
        group="py-pattern", membership=consumer.SubscribeMembership(
            subscription=subscription(pattern="py\\.later\\.[0-9]+"), offset_reset=group.OFFSET_RESET_EARLIEST))))
    stream = readers[2].Subscribe(iter(call.get, None), timeout=WAIT)
    assert next(stream).HasField("ready")
    create("py.later.1")
    gained = set()
    while len(gained) < PARTITIONS:
        change = next(stream).assignment
        gained |= {(start.topic, start.partition) for start in change.gained}
        call.put(consumer.SubscribeRequest(
            acknowledgement=consumer.AssignmentAcknowledgement(assignment_id=change.assignment_id)))
    assert gained == {("py.later.1", partition) for partition in range(PARTITIONS)}, gained
    call.put(None)
    stream.cancel()


@check
def without_reset_nothing_committed_is_told_in_the_stream():
    topic = create("py.none")
    call = queue.Queue()
    call.put(consumer.SubscribeRequest(init=consumer.SubscribeInit(group="py-none", membership=consumer.SubscribeMembership(
        subscription=subscription(topic), offset_reset=group.OFFSET_RESET_NONE))))
    stream = readers[0].Subscribe(iter(call.get, None), timeout=WAIT)
    ready = next(stream).ready
    assert ready.offset_reset == group.OFFSET_RESET_NONE, ready
    change = next(stream).assignment
    assert {start.offset for start in change.gained} == {-1}, change
    call.put(consumer.SubscribeRequest(
        acknowledgement=consumer.AssignmentAcknowledgement(assignment_id=change.assignment_id)))
    told = next(stream).data
    assert reason(told.status) == "OFFSET_OUT_OF_RANGE" and "offset_reset" in told.status.message, told
    call.put(consumer.SubscribeRequest(seek=consumer.Seek(
        topic=topic, partition=told.partition, seek_id=7, position=common.Position(end=common.LOG_END_EARLIEST))))
    while (frame := next(stream)).WhichOneof("frame") != "seek_done":
        assert frame.data.status.code != 0, frame
    assert frame.seek_done.seek_id == 7 and frame.seek_done.status.code == 0, frame
    call.put(None)
    stream.cancel()


@check
def a_stream_is_told_what_is_wrong_with_its_wishes():
    def subscribe(**membership):
        wants = consumer.SubscribeMembership(**membership)
        list(readers[0].Subscribe(iter([consumer.SubscribeRequest(init=consumer.SubscribeInit(
            group="py-wrong", membership=wants))]), timeout=WAIT))

    refused("INVALID_FIELD", subscribe)
    error = refused("INVALID_FIELD", subscribe, subscription=subscription(pattern="a(b"))
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in status.details), status
    assert bad.field_violations[0].field == "init.membership.subscription.topic_pattern", bad
    refused("INVALID_FIELD", subscribe, subscription=subscription("t"), rebalance_timeout=seconds(0))


for function in CHECKS:
    name = function.__name__.replace("_", " ")
    try:
        function()
        print(f"ok python groups: {name}", flush=True)
    except Exception:
        print(f"not ok python groups: {name}")
        print("   " + traceback.format_exc().replace("\n", "\n   "), flush=True)
for channel in channels:
    channel.close()
