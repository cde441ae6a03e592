package main

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"milena/interop/pb"
)

var adminChecks = []check{
	{"a topic is created, found by name and id, changed and deleted", topicLife},
	{"errors carry their reason and the field", errorDetails},
	{"a pinned topic id never reaches a re-created topic", pinnedID},
	{"lists come in pages", pages},
	{"watch metadata tells a new topic", watchMetadata},
}

func topicLife(ctx context.Context, c *client) error {
	created, err := c.create(ctx, "go.life", 3)
	if err != nil {
		return err
	}
	byID, err := c.admin.GetTopic(ctx, &pb.GetTopicRequest{Id: created.Id})
	if err != nil || byID.Topic.Name != "go.life" || len(byID.Topic.Partitions) != 3 {
		return fmt.Errorf("by id: %v %v", byID, err)
	}
	changed, err := c.admin.UpdateTopic(ctx, &pb.UpdateTopicRequest{Name: "go.life",
		Config:     &pb.TopicConfig{Flush: pb.Flush_FLUSH_OS},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"flush"}}})
	if err != nil || changed.Topic.EffectiveConfig.Flush != pb.Flush_FLUSH_OS {
		return fmt.Errorf("changed: %v %v", changed, err)
	}
	more, err := c.admin.AddPartitions(ctx, &pb.AddPartitionsRequest{Name: "go.life", TotalPartitions: 5})
	if err != nil || len(more.Topic.Partitions) != 5 || more.Warning == "" {
		return fmt.Errorf("more partitions: %v %v", more, err)
	}
	gone, err := c.admin.DeleteTopic(ctx, &pb.DeleteTopicRequest{Name: "go.life", Id: created.Id})
	if err != nil || gone.Id != created.Id {
		return fmt.Errorf("deleted: %v %v", gone, err)
	}
	_, err = c.admin.GetTopic(ctx, &pb.GetTopicRequest{Name: "go.life"})
	return expectError(err, codes.NotFound, "UNKNOWN_TOPIC")
}

func errorDetails(ctx context.Context, c *client) error {
	_, err := c.create(ctx, "bad name", 1)
	if wrong := expectError(err, codes.InvalidArgument, "INVALID_FIELD"); wrong != nil {
		return wrong
	}
	for _, detail := range status.Convert(err).Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			if len(bad.FieldViolations) == 1 && bad.FieldViolations[0].Field == "name" {
				return nil
			}
			return fmt.Errorf("violations: %v", bad)
		}
	}
	return errors.New("no BadRequest in the details")
}

func pinnedID(ctx context.Context, c *client) error {
	old, err := c.create(ctx, "go.phoenix", 1)
	if err != nil {
		return err
	}
	if _, err = c.admin.DeleteTopic(ctx, &pb.DeleteTopicRequest{Name: "go.phoenix"}); err != nil {
		return err
	}
	if _, err = c.create(ctx, "go.phoenix", 1); err != nil {
		return err
	}
	_, err = c.producer.Produce(ctx, &pb.ProduceRequest{Topic: "go.phoenix", TopicId: old.Id,
		Records: []*pb.Record{text("x")}})
	return expectError(err, codes.Aborted, "TOPIC_ID_MISMATCH")
}

func pages(ctx context.Context, c *client) error {
	var ids []int32
	for token := ""; ; {
		page, err := c.admin.ListBrokers(ctx, &pb.ListBrokersRequest{PageSize: 1, PageToken: token})
		if err != nil || len(page.Brokers) > 1 {
			return fmt.Errorf("page: %v %v", page, err)
		}
		for _, broker := range page.Brokers {
			ids = append(ids, broker.Id)
		}
		if token = page.NextPageToken; token == "" {
			break
		}
	}
	if fmt.Sprint(ids) != "[1 2 3]" {
		return fmt.Errorf("brokers %v", ids)
	}
	return nil
}

func watchMetadata(ctx context.Context, c *client) error {
	stream, err := c.metadata.WatchMetadata(ctx, &pb.WatchMetadataRequest{})
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil || len(first.GetImage().GetBrokers()) != 3 {
		return fmt.Errorf("first frame: %v %v", first, err)
	}
	if _, err = c.create(ctx, "go.announced", 1); err != nil {
		return err
	}
	for {
		frame, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, topic := range frame.GetChange().GetTopics() {
			if topic.Name == "go.announced" {
				return nil
			}
		}
	}
}
