package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"milena/interop/pb"
)

var consumerChecks = []check{
	{"Fetch reads in three formats, and a batch is decoded by the documentation", fetchFormats},
	{"compressed records come back plain", fetchCompressed},
	{"Fetch waits for what is written meanwhile", fetchWaits},
	{"an offset out of range says what is there", fetchOutOfRange},
	{"Consume reads up to now and ends", consumeUntilNow},
	{"Consume follows, and ends at its limit", consumeFollows},
	{"Subscribe obeys credits and seeks", subscribeSteered},
	{"offsets are found by time and at both ends", listOffsets},
}

// fetch reads partition 0 from its start, waiting up to 10 s for minBytes.
func (c *client) fetch(ctx context.Context, topic string, minBytes uint32, format pb.Format) (*pb.FetchedPartition, error) {
	answer, err := c.consumer.Fetch(ctx, &pb.FetchRequest{Partitions: []*pb.FetchPartition{{Topic: topic}},
		MinBytes: minBytes, MaxWait: durationpb.New(10 * time.Second), Format: format})
	if err != nil {
		return nil, err
	}
	if len(answer.Partitions) != 1 || answer.Partitions[0].Status.GetCode() != 0 {
		return nil, fmt.Errorf("fetched: %v", answer)
	}
	return answer.Partitions[0], nil
}

func fetchFormats(ctx context.Context, c *client) error {
	if _, err := c.create(ctx, "go.formats", 1); err != nil {
		return err
	}
	if _, err := c.write(ctx, "go.formats", "plain", "zwölf"); err != nil {
		return err
	}
	records, err := c.fetch(ctx, "go.formats", 1, pb.Format_FORMAT_RECORDS)
	if err != nil || len(records.Records) != 2 || string(records.Records[1].GetValue()) != "zwölf" ||
		records.Records[1].Offset != 1 {
		return fmt.Errorf("records: %v %v", records, err)
	}
	texts, err := c.fetch(ctx, "go.formats", 1, pb.Format_FORMAT_TEXT)
	if err != nil || len(texts.Records) != 2 || texts.Records[1].GetValueText() != "zwölf" {
		return fmt.Errorf("text: %v %v", texts, err)
	}
	stored, err := c.fetch(ctx, "go.formats", 1, pb.Format_FORMAT_BATCHES)
	if err != nil || len(stored.Batches) == 0 {
		return fmt.Errorf("batches: %v %v", stored, err)
	}
	var values []string
	for _, batch := range stored.Batches {
		decoded, err := decodeBatch(batch)
		if err != nil {
			return err
		}
		for _, record := range decoded {
			values = append(values, string(record.GetValue()))
		}
	}
	if strings.Join(values, " ") != "plain zwölf" {
		return fmt.Errorf("decoded: %q", values)
	}
	return nil
}

// consumeAll reads a stream to its end, and gives the values as text.
func consumeAll(stream pb.ConsumerService_ConsumeClient) ([]string, error) {
	var values []string
	for {
		frame, err := stream.Recv()
		if err != nil {
			return values, expectEnd(err)
		}
		for _, record := range frame.GetData().GetRecords() {
			values = append(values, record.GetValueText())
		}
	}
}

func fetchCompressed(ctx context.Context, c *client) error {
	if _, err := c.create(ctx, "go.packed", 1); err != nil {
		return err
	}
	var lines []string
	for i := range 300 {
		lines = append(lines, fmt.Sprintf("line %d %s", i, strings.Repeat("x", 50)))
	}
	for _, codec := range []string{"zstd", "lz4"} {
		if err := c.produceCompressed("go.packed", codec, strings.Join(lines, "\n")+"\n"); err != nil {
			return err
		}
	}
	stream, err := c.consumer.Consume(ctx, &pb.ConsumeRequest{Topic: "go.packed", Format: pb.Format_FORMAT_TEXT,
		Stop: atEnd(pb.LogEnd_LOG_END_LATEST)})
	if err != nil {
		return err
	}
	values, err := consumeAll(stream)
	if err == nil && strings.Join(values, "\n") != strings.Join(append(lines, lines...), "\n") {
		err = fmt.Errorf("%d values", len(values))
	}
	return err
}

func fetchWaits(ctx context.Context, c *client) error {
	if _, err := c.create(ctx, "go.waited", 1); err != nil {
		return err
	}
	written := make(chan error, 1)
	go func() {
		time.Sleep(200 * time.Millisecond)
		_, err := c.write(ctx, "go.waited", "late")
		written <- err
	}()
	began := time.Now()
	fetched, err := c.fetch(ctx, "go.waited", 1, pb.Format_FORMAT_TEXT)
	waited := time.Since(began)
	if err := errors.Join(err, <-written); err != nil {
		return err
	}
	if len(fetched.Records) != 1 || waited < 150*time.Millisecond || waited > 8*time.Second {
		return fmt.Errorf("after %v: %v", waited, fetched)
	}
	return nil
}

func fetchOutOfRange(ctx context.Context, c *client) error {
	if _, err := c.create(ctx, "go.short", 1); err != nil {
		return err
	}
	answer, err := c.consumer.Fetch(ctx, &pb.FetchRequest{Partitions: []*pb.FetchPartition{
		{Topic: "go.short", Offset: 99}}})
	if err != nil || reasonOf(answer.Partitions[0].Status) != "OFFSET_OUT_OF_RANGE" {
		return fmt.Errorf("fetched: %v %v", answer, err)
	}
	return nil
}

func consumeUntilNow(ctx context.Context, c *client) error {
	if _, err := c.create(ctx, "go.now", 1); err != nil {
		return err
	}
	if _, err := c.write(ctx, "go.now", "a", "b", "c"); err != nil {
		return err
	}
	stream, err := c.consumer.Consume(ctx, &pb.ConsumeRequest{Topic: "go.now", Format: pb.Format_FORMAT_TEXT,
		Start: atOffset(1), Stop: atEnd(pb.LogEnd_LOG_END_LATEST)})
	if err != nil {
		return err
	}
	values, err := consumeAll(stream)
	if err == nil && strings.Join(values, "") != "bc" {
		err = fmt.Errorf("values: %q", values)
	}
	return err
}

func consumeFollows(ctx context.Context, c *client) error {
	if _, err := c.create(ctx, "go.follow", 1); err != nil {
		return err
	}
	stream, err := c.consumer.Consume(ctx, &pb.ConsumeRequest{Topic: "go.follow", Limit: 3,
		Format: pb.Format_FORMAT_TEXT})
	if err != nil {
		return err
	}
	ready, err := stream.Recv()
	if err != nil || len(ready.GetReady().GetRanges()) != 1 {
		return fmt.Errorf("first frame: %v %v", ready, err)
	}
	if _, err := c.write(ctx, "go.follow", "a", "b", "c", "d"); err != nil {
		return err
	}
	values, err := consumeAll(stream)
	if err == nil && strings.Join(values, "") != "abc" {
		err = fmt.Errorf("values: %q", values)
	}
	return err
}

// receiveOffsets reads frames of data until so many records have come.
func receiveOffsets(stream pb.ConsumerService_SubscribeClient, count int) ([]int64, error) {
	var offsets []int64
	for len(offsets) < count {
		frame, err := stream.Recv()
		if err != nil {
			return offsets, err
		}
		if frame.GetData() == nil {
			return offsets, fmt.Errorf("not data: %v", frame)
		}
		for _, record := range frame.GetData().Records {
			offsets = append(offsets, record.Offset)
		}
	}
	return offsets, nil
}

// subscribe opens a stream on the start of partition 0 with a credit of so many records.
func subscribe(ctx context.Context, c *client, topic string, credit uint64) (pb.ConsumerService_SubscribeClient, error) {
	stream, err := c.consumer.Subscribe(ctx)
	if err != nil {
		return nil, err
	}
	err = stream.Send(&pb.SubscribeRequest{Frame: &pb.SubscribeRequest_Init{Init: &pb.SubscribeInit{
		Partitions:    []*pb.SubscribePartition{{Topic: topic, Start: atEnd(pb.LogEnd_LOG_END_EARLIEST)}},
		InitialCredit: &pb.Credit{Records: credit}}}})
	if err != nil {
		return nil, err
	}
	frame, err := stream.Recv()
	if err == nil && len(frame.GetReady().GetStarts()) != 1 {
		err = fmt.Errorf("first frame: %v", frame)
	}
	return stream, err
}

func subscribeSteered(ctx context.Context, c *client) error {
	if _, err := c.create(ctx, "go.credited", 1); err != nil {
		return err
	}
	if _, err := c.write(ctx, "go.credited", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"); err != nil {
		return err
	}
	stream, err := subscribe(ctx, c, "go.credited", 4)
	if err != nil {
		return err
	}
	offsets, err := receiveOffsets(stream, 4)
	if err != nil || fmt.Sprint(offsets) != "[0 1 2 3]" {
		return fmt.Errorf("with a credit of 4: %v %v", offsets, err)
	}
	err = stream.Send(&pb.SubscribeRequest{Frame: &pb.SubscribeRequest_Seek{Seek: &pb.Seek{
		Topic: "go.credited", Position: atOffset(8), SeekId: 7}}})
	if err != nil {
		return err
	}
	frame, err := stream.Recv()
	if err != nil || frame.GetSeekDone().GetSeekId() != 7 || frame.GetSeekDone().GetOffset() != 8 {
		return fmt.Errorf("after the seek: %v %v", frame, err)
	}
	err = stream.Send(&pb.SubscribeRequest{Frame: &pb.SubscribeRequest_Credit{Credit: &pb.Credit{Records: 100}}})
	if err != nil {
		return err
	}
	offsets, err = receiveOffsets(stream, 2)
	if err != nil || fmt.Sprint(offsets) != "[8 9]" {
		return fmt.Errorf("after the seek: %v %v", offsets, err)
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	_, err = stream.Recv()
	return expectEnd(err)
}

func listOffsets(ctx context.Context, c *client) error {
	if _, err := c.create(ctx, "go.timed", 1); err != nil {
		return err
	}
	for second := int64(1); second <= 5; second++ {
		record := text("x")
		record.Timestamp = &timestamppb.Timestamp{Seconds: second}
		request := &pb.ProduceRequest{Topic: "go.timed", Records: []*pb.Record{record}}
		if _, err := c.producer.Produce(ctx, request); err != nil {
			return err
		}
	}
	at := func(seconds int64) *pb.Position {
		return &pb.Position{Kind: &pb.Position_Time{Time: &timestamppb.Timestamp{Seconds: seconds, Nanos: 500e6}}}
	}
	request := &pb.ListOffsetsRequest{}
	for _, position := range []*pb.Position{atEnd(pb.LogEnd_LOG_END_EARLIEST), at(2), at(9), nil} {
		request.Queries = append(request.Queries, &pb.OffsetQuery{Topic: "go.timed", Position: position})
	}
	answer, err := c.consumer.ListOffsets(ctx, request)
	if err != nil {
		return err
	}
	var offsets []int64
	for _, result := range answer.Results {
		offsets = append(offsets, result.Offset)
	}
	if fmt.Sprint(offsets) != "[0 2 5 5]" || answer.Results[1].Timestamp.GetSeconds() != 3 {
		return fmt.Errorf("results: %v", answer)
	}
	return nil
}
