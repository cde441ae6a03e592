"""What a group refuses, on a real cluster: each mistake has its own clear error, and costs nobody else anything: after each
check a bystander of another group beats and commits. Prints a line "ok NAME" or "not ok NAME" for each check."""

from groups_client import *

TOPIC = create("refusals")
FOREIGN = create("refusals.foreign")
write(TOPIC, 0, 60)
bystander = Smart(0, "bystander", TOPIC)
bystander.beat_until(lambda: len(bystander.position) == PARTITIONS)


def others_go_on(function):
    """A check, and a look at the bystander behind it."""
    def checked():
        function()
        bystander.beat(0)
        bystander.fetch()
        bystander.commit()
    checked.__name__ = function.__name__
    return check(checked)


def said(error):
    return error.details()


def violation(status):
    """The field that BadRequest names, of a failed call or of an item's status."""
    if isinstance(status, grpc.RpcError):
        status = status_pb2.Status.FromString(dict(status.trailing_metadata())["grpc-status-details-bin"])
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in status.details), status
    return bad.field_violations[0].field


def beat(name, **fields):
    return groups[1].Heartbeat(group.HeartbeatRequest(group=name, **fields))


def join(name, member_id="", topic=TOPIC):
    return beat(name, member_id=member_id, subscription=subscription(topic), owned=group.OwnedPartitions())


def settled(name, topic=TOPIC):
    """A member that has all partitions, and says so."""
    member = Smart(1, name, topic)
    member.beat_until(lambda: len(member.position) == PARTITIONS)
    return member


def commit(member, offset=1, topic=TOPIC, partition=0, epoch=None, **fields):
    """The answer to a commit of one offset; its one result."""
    return groups[2].CommitOffsets(group.CommitOffsetsRequest(
        group=member.name, member_id=member.member_id, member_epoch=member.epoch if epoch is None else epoch,
        offsets=[group.OffsetCommit(topic=topic, partition=partition, offset=offset, **fields)])).results[0]


@others_go_on
def an_unknown_member_is_told_to_join():
    member = settled("unknown")
    error = refused("UNKNOWN_MEMBER", beat, "unknown", member_id="nobody", member_epoch=1)
    assert error.code() == grpc.StatusCode.NOT_FOUND and "nobody" in said(error) and "join" in said(error), error
    member.member_id, known = "nobody", member.member_id
    error = refused("UNKNOWN_MEMBER", commit, member)
    assert error.code() == grpc.StatusCode.NOT_FOUND, error
    member.member_id = known
    member.leave()
    error = refused("UNKNOWN_MEMBER", commit, member)  # nor is it one any more


@others_go_on
def a_stale_epoch_is_fenced():
    member = settled("stale")
    first = member.epoch
    for number in range(3):  # another comes, is given half, and goes: epochs rise
        other = Smart(2, "stale", TOPIC)
        while len(other.position) != PARTITIONS // 2:
            member.beat(0)
            other.beat(0)
        other.leave()
        member.beat_until(lambda: len(member.position) == PARTITIONS)
    assert member.epoch > first + 2, (first, member.epoch)
    error = refused("FENCED", beat, "stale", member_id=member.member_id, member_epoch=first)
    assert error.code() == grpc.StatusCode.ABORTED and f"not {first}" in said(error), error
    fenced = set()
    for partition in member.position:  # some never left: the old epoch is good for these. Others went, and came back
        try:
            assert commit(member, partition=partition, epoch=first).status.code == 0
        except grpc.RpcError as error:
            assert reason(error) == "FENCED" and error.code() == grpc.StatusCode.ABORTED, error
            fenced.add(partition)
    assert len(fenced) == PARTITIONS // 2, fenced
    refused("FENCED", commit, member, epoch=member.epoch + 1)  # nor is one good that never was
    member.leave()


@others_go_on
def foreign_partitions_in_a_commit_are_refused_one_by_one():
    member = settled("foreign")
    results = groups[0].CommitOffsets(group.CommitOffsetsRequest(
        group="foreign", member_id=member.member_id, member_epoch=member.epoch, offsets=[
            group.OffsetCommit(topic=TOPIC, partition=0, offset=3),
            group.OffsetCommit(topic=FOREIGN, partition=0, offset=0)])).results
    assert results[0].status.code == 0, results
    assert reason(results[1].status) == "NOT_ASSIGNED" and FOREIGN in results[1].status.message, results
    assert committed("foreign", TOPIC) == {0: 3}
    other = Smart(2, "foreign", TOPIC)
    while len(other.position) != PARTITIONS // 2:
        member.beat(0)
        other.beat(0)
    theirs = next(iter(other.position))
    assert reason(commit(member, partition=theirs).status) == "NOT_ASSIGNED"
    member.leave()
    other.leave()


@others_go_on
def an_offset_beyond_the_end_is_refused_with_the_end():
    member = settled("beyond")
    assert commit(member, offset=10).status.code == 0  # the end itself: everything was read
    status = commit(member, offset=11).status
    assert reason(status) == "OFFSET_OUT_OF_RANGE" and "11" in status.message and "10" in status.message, status
    assert committed("beyond", TOPIC) == {0: 10}
    member.leave()


@others_go_on
def a_negative_offset_is_refused():
    member = settled("negative")
    status = commit(member, offset=-1).status
    assert reason(status) == "INVALID_FIELD" and violation(status) == "offset", status
    member.leave()


@others_go_on
def metadata_over_the_limit_are_refused():
    member = settled("metadata")
    assert commit(member, metadata="m" * 4096).status.code == 0
    status = commit(member, metadata="m" * 4097).status
    assert reason(status) == "INVALID_FIELD" and violation(status) == "metadata" and "4,096" in status.message, status
    member.leave()


@others_go_on
def a_pattern_that_does_not_compile_is_refused():
    error = refused("INVALID_FIELD", beat, "pattern", subscription=subscription(pattern="orders-[0-9"))
    assert violation(error) == "subscription.topic_pattern", error
    refused("UNKNOWN_GROUP", groups[0].GetGroup, group.GetGroupRequest(group="pattern"))


@others_go_on
def more_members_than_there_may_be_are_refused():
    error = refused("INVALID_FIELD", groups[0].UpdateGroup, group.UpdateGroupRequest(
        group="crowd", config=group.GroupConfig(max_members=100001)))
    assert violation(error) == "config.max_members" and "100,000" in said(error), error
    first = [groups[number % 3].Heartbeat.future(group.HeartbeatRequest(
        group="crowd", subscription=subscription(TOPIC), member_id=f"m{number}")) for number in range(1000)]
    assert {one.result(WAIT).member_id for one in first} == {f"m{number}" for number in range(1000)}
    error = refused("LIMIT_EXCEEDED", join, "crowd", "m1000")
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and "1000" in said(error), error
    join("crowd", "m7")  # who is in may say so again
    gone = [groups[number % 3].Heartbeat.future(group.HeartbeatRequest(
        group="crowd", member_id=f"m{number}", leave=group.LEAVE_FOR_GOOD)) for number in range(1000)]
    assert all(one.result(WAIT).member_epoch == 0 for one in gone)


@others_go_on
def a_group_id_of_10_kb_is_refused_by_every_call():
    name = "g" * 10240
    calls = [
        (groups[0].Heartbeat, group.HeartbeatRequest(group=name, subscription=subscription(TOPIC))),
        (groups[0].CommitOffsets, group.CommitOffsetsRequest(
            group=name, offsets=[group.OffsetCommit(topic=TOPIC, partition=0, offset=1)])),
        (groups[0].FetchOffsets, group.FetchOffsetsRequest(group=name)),
        (groups[0].GetGroup, group.GetGroupRequest(group=name)),
        (groups[0].UpdateGroup, group.UpdateGroupRequest(group=name, config=group.GroupConfig())),
        (groups[0].ResetOffsets, group.ResetOffsetsRequest(group=name, shift=1)),
        (groups[0].DeleteOffsets, group.DeleteOffsetsRequest(
            group=name, topics=[group.TopicPartitions(topic=TOPIC, partitions=[0])])),
        (groups[0].DeleteGroup, group.DeleteGroupRequest(group=name)),
        (groups[0].GetCoordinator, group.GetCoordinatorRequest(group=name)),
    ]
    for call, request in calls:
        error = refused("INVALID_FIELD", call, request)
        assert violation(error).endswith("group") and "255" in said(error), error
    error = refused("INVALID_FIELD", lambda: list(readers[0].Subscribe(iter([consumer.SubscribeRequest(
        init=consumer.SubscribeInit(group=name, membership=consumer.SubscribeMembership(
            subscription=subscription(TOPIC))))]), timeout=WAIT)))
    assert violation(error).endswith("group"), error


@others_go_on
def a_group_in_use_is_not_deleted_nor_moved():
    member = settled("used")
    member.fetch()
    member.commit()
    error = refused("GROUP_IN_USE", groups[0].DeleteGroup, group.DeleteGroupRequest(group="used"))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION and "1 member" in said(error), error
    refused("GROUP_IN_USE", groups[0].ResetOffsets, group.ResetOffsetsRequest(group="used", shift=-1))
    refused("GROUP_IN_USE", groups[0].CommitOffsets, group.CommitOffsetsRequest(
        group="used", offsets=[group.OffsetCommit(topic=TOPIC, partition=0, offset=1)]))
    answer = groups[0].DeleteOffsets(group.DeleteOffsetsRequest(
        group="used", topics=[group.TopicPartitions(topic=TOPIC, partitions=[0])]))
    assert reason(answer.results[0].status) == "GROUP_IN_USE", answer
    assert committed("used", TOPIC) == {partition: 10 for partition in range(PARTITIONS)}
    member.beat(0)
    member.leave()
    groups[0].DeleteGroup(group.DeleteGroupRequest(group="used"))


run("refusals of groups")
