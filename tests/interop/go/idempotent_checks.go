package main

import (
	"context"
	"fmt"

	"milena/interop/pb"
)

var idempotentChecks = []check{
	{"a retry of numbered records is written once", retryOfRecords},
	{"a retry of a numbered batch is written once", retryOfBatch},
	{"a gap and a stale epoch are refused by name", gapAndStaleEpoch},
}

// produceNumbered writes one record to partition 0 as a producer's record of this sequence.
func produceNumbered(ctx context.Context, c *client, topic string, id *pb.InitProducerResponse, sequence uint32) (
	*pb.ProduceResult, error) {
	record := text(fmt.Sprint(sequence))
	record.PartitionChoice = &pb.Record_Partition{Partition: 0}
	answer, err := c.producer.Produce(ctx, &pb.ProduceRequest{Topic: topic, Records: []*pb.Record{record},
		Producer: &pb.ProducerSequence{ProducerId: id.ProducerId, ProducerEpoch: id.ProducerEpoch, FirstSequence: sequence}})
	if err != nil {
		return nil, err
	}
	return answer.Results[0], nil
}

// newProducer creates a topic and a producer's identity.
func newProducer(ctx context.Context, c *client, topic string) (*pb.InitProducerResponse, error) {
	if _, err := c.create(ctx, topic, 1); err != nil {
		return nil, err
	}
	return c.producer.InitProducer(ctx, &pb.InitProducerRequest{})
}

func retryOfRecords(ctx context.Context, c *client) error {
	id, err := newProducer(ctx, c, "go.once")
	if err != nil {
		return err
	}
	for i, want := range []struct {
		sequence  uint32
		offset    int64
		duplicate bool
	}{{0, 0, false}, {0, 0, true}, {1, 1, false}, {1, 1, true}, {0, 0, true}} {
		result, err := produceNumbered(ctx, c, "go.once", id, want.sequence)
		if err != nil {
			return err
		}
		if result.Status.GetCode() != 0 || result.BaseOffset != want.offset || result.Duplicate != want.duplicate {
			return fmt.Errorf("try %d, sequence %d: %v", i, want.sequence, result)
		}
	}
	return nil
}

func retryOfBatch(ctx context.Context, c *client) error {
	id, err := newProducer(ctx, c, "go.once.batch")
	if err != nil {
		return err
	}
	batch, err := encodeBatch("a", "b", "c")
	if err != nil {
		return err
	}
	batch.Header.ProducerId, batch.Header.ProducerEpoch = id.ProducerId, id.ProducerEpoch
	batch.Header.Crc32C = batchCRC(batch)
	for try := 0; try < 3; try++ {
		result, err := produceBatch(ctx, c, "go.once.batch", batch)
		if err != nil || result.Status.GetCode() != 0 || result.BaseOffset != 0 || result.Duplicate != (try > 0) {
			return fmt.Errorf("try %d: %v %v", try, result, err)
		}
	}
	return nil
}

func gapAndStaleEpoch(ctx context.Context, c *client) error {
	old, err := newProducer(ctx, c, "go.gap")
	if err != nil {
		return err
	}
	if result, err := produceNumbered(ctx, c, "go.gap", old, 0); err != nil || result.Status.GetCode() != 0 {
		return fmt.Errorf("sequence 0: %v %v", result, err)
	}
	result, err := produceNumbered(ctx, c, "go.gap", old, 5)
	if err != nil || reasonOf(result.Status) != "SEQUENCE_MISMATCH" {
		return fmt.Errorf("sequence 5 after 0: %v %v", result, err)
	}
	next, err := c.producer.InitProducer(ctx, &pb.InitProducerRequest{ProducerId: old.ProducerId,
		ProducerEpoch: old.ProducerEpoch})
	if err != nil || next.ProducerId != old.ProducerId || next.ProducerEpoch <= old.ProducerEpoch {
		return fmt.Errorf("next epoch: %v %v", next, err)
	}
	if result, err = produceNumbered(ctx, c, "go.gap", next, 0); err != nil || result.Status.GetCode() != 0 {
		return fmt.Errorf("first of the new epoch: %v %v", result, err)
	}
	result, err = produceNumbered(ctx, c, "go.gap", old, 1)
	if err != nil || reasonOf(result.Status) != "FENCED" {
		return fmt.Errorf("after the new epoch: %v %v", result, err)
	}
	return nil
}
