"""Consumer groups over generated stubs alone, both ways: as streams (Subscribe), where the broker is the member, and by
Heartbeat, Fetch and CommitOffsets, where the client is. Prints a line "ok NAME" or "not ok NAME" for each check."""

from groups_client import *


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


run("groups")
