package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"milena/interop/pb"
)

var groupChecks = []check{
	{"two streams share a group's partitions, commit, and one takes over", groupStreams},
	{"Heartbeat, Fetch and CommitOffsets consume in a group", groupByHand},
	{"a commit of a member that is not there is refused", groupRefuses},
}

const groupPartitions = 6

// spread makes a topic whose leaders are several brokers: whoever reads all of it at one broker reads through it.
func (c *client) spread(ctx context.Context, name string) error {
	answer, err := c.admin.CreateTopic(ctx,
		&pb.CreateTopicRequest{Name: name, Partitions: groupPartitions, ReplicationFactor: 1})
	if err != nil {
		return err
	}
	leaders := map[int32]bool{}
	for _, partition := range answer.Topic.Partitions {
		leaders[partition.LeaderId] = true
	}
	if len(leaders) < 2 {
		return fmt.Errorf("all is led by one broker: %v", leaders)
	}
	return nil
}

// deal writes count values to each partition.
func (c *client) deal(ctx context.Context, topic string, count int) error {
	request := &pb.ProduceRequest{Topic: topic}
	for i := 0; i < count*groupPartitions; i++ {
		record := text(fmt.Sprint(i))
		record.PartitionChoice = &pb.Record_Partition{Partition: int32(i % groupPartitions)}
		request.Records = append(request.Records, record)
	}
	_, err := c.producer.Produce(ctx, request)
	return err
}

// groupStream is a member that is a stream.
type groupStream struct {
	pb.ConsumerService_SubscribeClient
	topic  string
	owned  map[int32]bool
	next   map[int32]int64
	starts map[int32]int64 // where partitions began that came with a committed offset
	read   int
}

func (c *client) joinStream(ctx context.Context, group, topic string) (*groupStream, error) {
	stream, err := c.consumer.Subscribe(ctx)
	if err != nil {
		return nil, err
	}
	init := &pb.SubscribeInit{Group: group, Membership: &pb.SubscribeMembership{ClientId: "go",
		Subscription: &pb.GroupSubscription{Topics: []string{topic}}, OffsetReset: pb.OffsetReset_OFFSET_RESET_EARLIEST}}
	err = stream.Send(&pb.SubscribeRequest{Frame: &pb.SubscribeRequest_Init{Init: init}})
	return &groupStream{stream, topic, map[int32]bool{}, map[int32]int64{}, map[int32]int64{}, 0}, err
}

func (s *groupStream) change(change *pb.AssignmentChange) error {
	for _, lost := range change.Lost {
		for _, partition := range lost.Partitions {
			delete(s.owned, partition)
			delete(s.next, partition)
		}
	}
	for _, start := range change.Gained {
		s.owned[start.Partition] = true
		if start.Committed {
			s.starts[start.Partition] = start.Offset
		}
	}
	return s.Send(&pb.SubscribeRequest{Frame: &pb.SubscribeRequest_Acknowledgement{
		Acknowledgement: &pb.AssignmentAcknowledgement{AssignmentId: change.AssignmentId}}})
}

// step takes one frame, and acknowledges what it changes. It gives the answer to a commit.
func (s *groupStream) step() (*pb.CommitDone, error) {
	frame, err := s.Recv()
	if err != nil {
		return nil, err
	}
	if change := frame.GetAssignment(); change != nil {
		return nil, s.change(change)
	}
	if data := frame.GetData(); data != nil {
		if data.Status.GetCode() != 0 || !s.owned[data.Partition] {
			return nil, fmt.Errorf("data of partition %d, of %v: %v", data.Partition, s.owned, data.Status)
		}
		s.read += len(data.Records)
		s.next[data.Partition] = data.NextOffset
	}
	return frame.GetCommitDone(), nil
}

// until takes frames until it is so.
func (s *groupStream) until(so func() bool) error {
	for !so() {
		if _, err := s.step(); err != nil {
			return fmt.Errorf("it owns %v and has read %d: %w", s.owned, s.read, err)
		}
	}
	return nil
}

func (s *groupStream) commit() error {
	commit := &pb.SubscribeCommit{CommitId: 1}
	for partition, offset := range s.next {
		commit.Offsets = append(commit.Offsets, &pb.OffsetCommit{Topic: s.topic, Partition: partition, Offset: offset})
	}
	if err := s.Send(&pb.SubscribeRequest{Frame: &pb.SubscribeRequest_Commit{Commit: commit}}); err != nil {
		return err
	}
	for {
		done, err := s.step()
		if err != nil {
			return err
		}
		if done == nil {
			continue
		}
		if done.Status.GetCode() != 0 || len(done.Results) != len(commit.Offsets) {
			return fmt.Errorf("the commit: %v", done)
		}
		return nil
	}
}

func groupStreams(ctx context.Context, c *client) error {
	if err := errors.Join(c.spread(ctx, "go.group"), c.deal(ctx, "go.group", 10)); err != nil {
		return err
	}
	gone, cancel := context.WithCancel(ctx)
	defer cancel()
	first, err := c.joinStream(gone, "go-streams", "go.group")
	if err != nil {
		return err
	}
	err = errors.Join(first.until(func() bool { return first.read == 60 }), first.commit())
	if err != nil {
		return err
	}
	second, err := c.joinStream(ctx, "go-streams", "go.group")
	if err != nil {
		return err
	}
	err = errors.Join(first.until(func() bool { return len(first.owned) == 3 }),
		second.until(func() bool { return len(second.owned) == 3 }))
	if err != nil {
		return err
	}
	cancel() // it vanishes
	if err := second.until(func() bool { return len(second.owned) == groupPartitions }); err != nil {
		return err
	}
	if err := c.deal(ctx, "go.group", 1); err != nil {
		return err
	}
	if err := second.until(func() bool { return second.read >= 6 }); err != nil {
		return err
	}
	for partition := int32(0); partition < groupPartitions; partition++ {
		if second.starts[partition] != 10 {
			return fmt.Errorf("it began at %v, and 10 of each were committed", second.starts)
		}
	}
	if err := second.commit(); err != nil || second.read != 6 {
		return fmt.Errorf("read %d: %w", second.read, err)
	}
	if err := second.CloseSend(); err != nil {
		return err
	}
	for {
		if _, err := second.step(); err != nil {
			return expectEnd(err)
		}
	}
}

func groupByHand(ctx context.Context, c *client) error {
	const name, topic = "go-by-hand", "go.byhand"
	if err := errors.Join(c.spread(ctx, topic), c.deal(ctx, topic, 4)); err != nil {
		return err
	}
	answer, err := c.groups.Heartbeat(ctx, &pb.HeartbeatRequest{Group: name, OffsetReset: pb.OffsetReset_OFFSET_RESET_EARLIEST,
		Subscription: &pb.GroupSubscription{Topics: []string{topic}}, Owned: &pb.OwnedPartitions{}})
	for err == nil && answer.Assignment == nil {
		answer, err = c.groups.Heartbeat(ctx, &pb.HeartbeatRequest{Group: name, MemberId: answer.MemberId,
			MemberEpoch: answer.MemberEpoch, MaxWait: durationpb.New(time.Second), TellAssignment: true})
	}
	if err != nil {
		return err
	}
	fetch := &pb.FetchRequest{Format: pb.Format_FORMAT_RECORDS}
	for _, assigned := range answer.Assignment.Topics {
		for _, partition := range assigned.Partitions {
			fetch.Partitions = append(fetch.Partitions,
				&pb.FetchPartition{Topic: assigned.Topic, TopicId: assigned.TopicId, Partition: partition.Partition})
		}
	}
	fetched, err := c.consumer.Fetch(ctx, fetch)
	if err != nil || len(fetched.Partitions) != groupPartitions {
		return fmt.Errorf("fetched %v: %w", fetched, err)
	}
	commit := &pb.CommitOffsetsRequest{Group: name, MemberId: answer.MemberId, MemberEpoch: answer.MemberEpoch}
	for _, partition := range fetched.Partitions {
		if len(partition.Records) != 4 {
			return fmt.Errorf("fetched %v", partition)
		}
		commit.Offsets = append(commit.Offsets, &pb.OffsetCommit{Topic: topic, TopicId: partition.TopicId,
			Partition: partition.Partition, Offset: partition.NextOffset})
	}
	done, err := c.groups.CommitOffsets(ctx, commit)
	if err != nil {
		return err
	}
	for _, result := range done.Results {
		if result.Status.GetCode() != 0 {
			return fmt.Errorf("committed: %v", result)
		}
	}
	left, err := c.groups.Heartbeat(ctx, &pb.HeartbeatRequest{Group: name, MemberId: answer.MemberId,
		MemberEpoch: answer.MemberEpoch, Leave: pb.Leave_LEAVE_FOR_GOOD})
	if err != nil || left.MemberEpoch != 0 {
		return fmt.Errorf("left: %v %w", left, err)
	}
	kept, err := c.groups.FetchOffsets(ctx, &pb.FetchOffsetsRequest{Group: name})
	if err != nil || len(kept.Offsets) != groupPartitions || kept.Offsets[0].Committed.GetOffset() != 4 {
		return fmt.Errorf("kept: %v %w", kept, err)
	}
	return nil
}

func groupRefuses(ctx context.Context, c *client) error {
	_, err := c.groups.CommitOffsets(ctx, &pb.CommitOffsetsRequest{Group: "go-by-hand", MemberId: "nobody", MemberEpoch: 3,
		Offsets: []*pb.OffsetCommit{{Topic: "go.byhand", Offset: 1}}})
	return expectError(err, codes.NotFound, "UNKNOWN_MEMBER")
}
