package main

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"

	"milena/interop/pb"
)

var producerChecks = []check{
	{"Produce answers with a durability receipt", produceReceipt},
	{"ProduceStream answers each of 500 pipelined items, in order for each partition", producePipelined},
	{"an item that is refused does not end its stream", produceStreamRefusal},
	{"an encoded batch built by the documentation is stored as it came, and decoded", encodedBatch},
	{"a batch with a wrong CRC is refused by name", wrongCRC},
	{"no_proxy is refused with a hint, and the hint is right", noProxy},
	{"an unknown topic and partition are refused by name", unknownPlaces},
}

func produceReceipt(ctx context.Context, c *client) error {
	if _, err := c.create(ctx, "go.receipt", 1); err != nil {
		return err
	}
	for want := int64(0); want < 4; want += 2 {
		receipt, err := c.write(ctx, "go.receipt", "a", "b")
		if err != nil {
			return err
		}
		if receipt.BaseOffset != want || receipt.RecordCount != 2 || receipt.SyncedReplicas < 2 ||
			fmt.Sprint(receipt.RecordIndexes) != "[0 1]" {
			return fmt.Errorf("receipt: %v", receipt)
		}
	}
	return nil
}

// sendItems fills a stream and closes its sending side, while the caller receives.
func sendItems(stream pb.ProducerService_ProduceStreamClient, topic string, items, partitions int) error {
	for i := 0; i < items; i++ {
		record := text(fmt.Sprint(i))
		record.PartitionChoice = &pb.Record_Partition{Partition: int32(i % partitions)}
		err := stream.Send(&pb.ProduceStreamRequest{Frame: &pb.ProduceStreamRequest_Item{Item: &pb.ProduceStreamItem{
			CorrelationId: uint64(i), Topic: topic, Records: []*pb.Record{record}}}})
		if err != nil {
			return err
		}
	}
	return stream.CloseSend()
}

// openProduceStream opens a stream with acks=all and waits until it is ready.
func openProduceStream(ctx context.Context, c *client) (pb.ProducerService_ProduceStreamClient, error) {
	stream, err := c.producer.ProduceStream(ctx)
	if err != nil {
		return nil, err
	}
	err = stream.Send(&pb.ProduceStreamRequest{Frame: &pb.ProduceStreamRequest_Init{
		Init: &pb.ProduceStreamInit{Acks: pb.Acks_ACKS_ALL}}})
	if err != nil {
		return nil, err
	}
	frame, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	if frame.GetReady().GetBrokerId() < 1 {
		return nil, fmt.Errorf("first frame: %v", frame)
	}
	return stream, nil
}

func producePipelined(ctx context.Context, c *client) error {
	const items, partitions = 500, 3
	if _, err := c.create(ctx, "go.piped", partitions); err != nil {
		return err
	}
	stream, err := openProduceStream(ctx, c)
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() { sent <- sendItems(stream, "go.piped", items, partitions) }()
	answered := map[uint64]bool{}
	next := [partitions]int64{}
	for range items {
		frame, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("after %d answers: %w", len(answered), err)
		}
		result := frame.GetResult()
		if result == nil || result.Status.GetCode() != 0 || len(result.Results) != 1 || answered[result.CorrelationId] {
			return fmt.Errorf("answer: %v", frame)
		}
		answered[result.CorrelationId] = true
		receipt := result.Results[0]
		if receipt.Status.GetCode() != 0 || receipt.Partition != int32(result.CorrelationId%partitions) ||
			receipt.BaseOffset != next[receipt.Partition] {
			return fmt.Errorf("receipt: %v, expected offset %d", result, next[receipt.Partition])
		}
		next[receipt.Partition]++
	}
	if err := <-sent; err != nil {
		return err
	}
	_, err = stream.Recv()
	return expectEnd(err)
}

func produceStreamRefusal(ctx context.Context, c *client) error {
	if _, err := c.create(ctx, "go.refusal", 1); err != nil {
		return err
	}
	stream, err := openProduceStream(ctx, c)
	if err != nil {
		return err
	}
	for i, topic := range []string{"go.nowhere", "go.refusal"} {
		err := stream.Send(&pb.ProduceStreamRequest{Frame: &pb.ProduceStreamRequest_Item{Item: &pb.ProduceStreamItem{
			CorrelationId: uint64(i), Topic: topic, Records: []*pb.Record{text("x")}}}})
		if err != nil {
			return err
		}
	}
	reasons := [2]string{}
	for range reasons {
		frame, err := stream.Recv()
		if err != nil {
			return err
		}
		reasons[frame.GetResult().GetCorrelationId()] = reasonOf(frame.GetResult().GetStatus())
	}
	if reasons != [2]string{"UNKNOWN_TOPIC", ""} {
		return fmt.Errorf("reasons: %q", reasons)
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	_, err = stream.Recv()
	return expectEnd(err)
}

// produceBatch writes one encoded batch to partition 0.
func produceBatch(ctx context.Context, c *client, topic string, batch *pb.EncodedBatch) (*pb.ProduceResult, error) {
	answer, err := c.producer.Produce(ctx, &pb.ProduceRequest{
		Batches: []*pb.PartitionBatch{{Topic: topic, Batch: batch}}})
	if err != nil {
		return nil, err
	}
	if len(answer.Results) != 1 {
		return nil, fmt.Errorf("results: %v", answer)
	}
	return answer.Results[0], nil
}

func encodedBatch(ctx context.Context, c *client) error {
	if _, err := c.create(ctx, "go.encoded", 1); err != nil {
		return err
	}
	batch, err := encodeBatch("one", "two", "three")
	if err != nil {
		return err
	}
	result, err := produceBatch(ctx, c, "go.encoded", batch)
	if err != nil || result.Status.GetCode() != 0 || result.RecordCount != 3 {
		return fmt.Errorf("result: %v %v", result, err)
	}
	fetched, err := c.fetch(ctx, "go.encoded", 1, pb.Format_FORMAT_BATCHES)
	if err != nil {
		return err
	}
	if len(fetched.Batches) != 1 || string(fetched.Batches[0].Records) != string(batch.Records) {
		return fmt.Errorf("fetched: %v", fetched)
	}
	records, err := decodeBatch(fetched.Batches[0])
	if err != nil {
		return err
	}
	if string(records[2].GetValue()) != "three" || records[2].TimestampDeltaMs != 2 ||
		fetched.Batches[0].Stamp.BaseOffset != 0 || fetched.NextOffset != 3 {
		return fmt.Errorf("decoded: %v of %v", records, fetched)
	}
	return nil
}

func wrongCRC(ctx context.Context, c *client) error {
	if _, err := c.create(ctx, "go.wrong", 1); err != nil {
		return err
	}
	batch, err := encodeBatch("x")
	if err != nil {
		return err
	}
	batch.Header.Crc32C ^= 1
	result, err := produceBatch(ctx, c, "go.wrong", batch)
	if err != nil || reasonOf(result.Status) != "CORRUPT_BATCH" || result.BaseOffset != -1 {
		return fmt.Errorf("result: %v %v", result, err)
	}
	return nil
}

func noProxy(ctx context.Context, c *client) error {
	if _, err := c.create(ctx, "go.routed", 3); err != nil {
		return err
	}
	hints := 0
	for partition := int32(0); partition < 3; partition++ {
		record := text("x")
		record.PartitionChoice = &pb.Record_Partition{Partition: partition}
		request := &pb.ProduceRequest{Topic: "go.routed", NoProxy: true, Records: []*pb.Record{record}}
		answer, err := c.producer.Produce(ctx, request)
		if err != nil {
			return err
		}
		if answer.Results[0].Status.GetCode() == 0 {
			continue
		}
		if reason := reasonOf(answer.Results[0].Status); reason != "NOT_LEADER" {
			return fmt.Errorf("reason %q: %v", reason, answer)
		}
		if err := produceAt(ctx, answer.Results[0].Route.LeaderAddress, request); err != nil {
			return err
		}
		hints++
	}
	if hints != 2 {
		return fmt.Errorf("%d hints for 3 partitions on 3 brokers", hints)
	}
	return nil
}

func produceAt(ctx context.Context, address string, request *pb.ProduceRequest) error {
	conn, err := dial(address)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := pb.NewProducerServiceClient(conn).Produce(ctx, request)
	if err == nil && answer.Results[0].Status.GetCode() != 0 {
		err = errors.New(answer.Results[0].Status.Message)
	}
	return err
}

func unknownPlaces(ctx context.Context, c *client) error {
	_, err := c.producer.Produce(ctx, &pb.ProduceRequest{Topic: "go.nowhere", Records: []*pb.Record{text("x")}})
	if wrong := expectError(err, codes.NotFound, "UNKNOWN_TOPIC"); wrong != nil {
		return wrong
	}
	if _, err := c.create(ctx, "go.small", 1); err != nil {
		return err
	}
	batch, err := encodeBatch("x")
	if err != nil {
		return err
	}
	answer, err := c.producer.Produce(ctx, &pb.ProduceRequest{
		Batches: []*pb.PartitionBatch{{Topic: "go.small", Partition: 9, Batch: batch}}})
	if err != nil || reasonOf(answer.Results[0].Status) != "UNKNOWN_PARTITION" {
		return fmt.Errorf("partition 9: %v %v", answer, err)
	}
	return nil
}
