"""What happens to groups in the course of time, on a real cluster: topics grow, there are more members than partitions, an instance
comes back, offsets expire. Prints a line "ok NAME" or "not ok NAME" for each check."""

from groups_client import *


@check
def partitions_that_are_added_are_read():
    topic = create("life.grows")
    write(topic, 0, 6)
    member = Stream(1, "life-grows", topic)
    member.wait_owned(PARTITIONS)
    member.wait_values(range(6))
    topics.AddPartitions(admin.AddPartitionsRequest(name=topic, total_partitions=PARTITIONS + 2))
    member.wait_owned(PARTITIONS + 2)
    writer.Produce(producer.ProduceRequest(topic=topic, records=[record.Record(value=b"6", partition=PARTITIONS + 1)]))
    member.wait_values(range(7))
    member.close()


@check
def a_topic_that_is_made_later_is_read():
    member = Stream(2, "life-later", "life.later")
    until(lambda: member.member_id, lambda: member.error)
    create("life.later")
    member.wait_owned(PARTITIONS)
    member.close()


@check
def who_is_idle_takes_over():
    topic = create("life.idle")
    write(topic, 0, 60)
    members = [Stream(number % 3, "life-idle", topic) for number in range(PARTITIONS + 1)]
    until(lambda: sorted(len(member.owned) for member in members) == [0] + [1] * PARTITIONS,
          lambda: [member.owned for member in members])
    idle = next(member for member in members if not member.owned)
    told = groups[0].GetGroup(group.GetGroupRequest(group="life-idle")).group
    assert len(told.members) == PARTITIONS + 1 and told.state == group.GROUP_STATE_STABLE, told
    leaver = next(member for member in members if member.owned)
    theirs = set(leaver.owned)
    changes = {member: len(member.changes) for member in members}
    leaver.vanish()
    until(lambda: idle.owned == theirs, lambda: idle.owned)
    assert all(len(member.changes) == changes[member] for member in members if member not in (idle, leaver)), "others moved"
    for member in members:
        if member is not leaver:
            member.close()


@check
def an_instance_comes_back_and_nobody_moves():
    topic = create("life.static")
    first = Stream(0, "life-static", topic, instance_id="left")
    other = Stream(1, "life-static", topic, instance_id="right")
    first.wait_owned(PARTITIONS // 2)
    other.wait_owned(PARTITIONS // 2)
    had, changes = set(first.owned), len(other.changes)
    first.close()
    again = Stream(2, "life-static", topic, instance_id="left")
    again.wait_owned(PARTITIONS // 2)
    assert again.owned == had and again.member_id != first.member_id
    assert len(other.changes) == changes, other.changes
    rival = Stream(0, "life-static", topic, instance_id="left")
    assert rival.ended.wait(WAIT) and reason(rival.error) == "DUPLICATE_ID", rival.error
    again.close()
    other.close()


@check
def range_meets_and_is_chosen_by_the_group():
    one, two = create("life.range.1"), create("life.range.2")
    groups[0].UpdateGroup(group.UpdateGroupRequest(
        group="life-range", config=group.GroupConfig(assignor=group.ASSIGNOR_RANGE)))

    def joined(number):
        answer = groups[number].Heartbeat(group.HeartbeatRequest(
            group="life-range", subscription=subscription(one, two), owned=group.OwnedPartitions()))
        return {"group": "life-range", "member_id": answer.member_id, "member_epoch": answer.member_epoch}

    def owned(topics_of):
        return group.OwnedPartitions(topics=[group.TopicPartitions(
            topic=topic.topic, partitions=[part.partition for part in topic.partitions]) for topic in topics_of])

    members, has = [joined(0), joined(1)], [[], []]
    end = time.monotonic() + WAIT
    while [sum(len(topic.partitions) for topic in some) for some in has] != [PARTITIONS, PARTITIONS]:
        assert time.monotonic() < end, has
        for number in range(2):
            answer = groups[0].Heartbeat(group.HeartbeatRequest(
                tell_assignment=True, owned=owned(has[number]), **members[number]))
            members[number]["member_epoch"] = answer.member_epoch
            has[number] = list(answer.assignment.topics)
    for some in has:  # the same numbers of both topics
        numbers = [sorted(part.partition for part in topic.partitions) for topic in some]
        assert len(numbers) == 2 and numbers[0] == numbers[1], has


@check
def offsets_expire_once_the_group_is_empty_for_its_retention():
    topic = create("life.expires")
    write(topic, 0, 60)
    groups[0].UpdateGroup(group.UpdateGroupRequest(
        group="life-expires", config=group.GroupConfig(offsets_retention=seconds(2))))
    member = Stream(1, "life-expires", topic)
    member.wait_values(range(60))
    member.commit(1)
    began = time.monotonic()
    while time.monotonic() < began + 3:  # longer than they are kept, but somebody is there
        assert len(committed("life-expires", topic)) == PARTITIONS
        time.sleep(0.1)
    member.close()
    until(lambda: not committed("life-expires", topic), lambda: committed("life-expires", topic))
    # What somebody set stays.
    config = groups[0].GetGroup(group.GetGroupRequest(group="life-expires")).group.config
    assert config.offsets_retention.seconds == 2, config


@check
def the_topic_of_offsets_has_50_partitions_on_three_brokers():
    told = topics.GetTopic(admin.GetTopicRequest(name="__consumer_offsets")).topic
    assert len(told.partitions) == 50 and all(len(one.replicas) == 3 for one in told.partitions), told


run("life of groups")
