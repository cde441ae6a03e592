// A Go client of Milena over stubs that are generated from the protos: prints a line "ok go: NAME" or "not ok go: NAME"
// for each check. Run by tests/interop/go_test.sh, which generates the package pb first.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"milena/interop/pb"
)

// What a check works with: one connection, and a client of each service on it.
type client struct {
	address, milena string
	admin           pb.AdminServiceClient
	metadata        pb.MetadataServiceClient
	producer        pb.ProducerServiceClient
	consumer        pb.ConsumerServiceClient
	groups          pb.GroupServiceClient
}

type check struct {
	name string
	run  func(context.Context, *client) error
}

func newClient(conn *grpc.ClientConn, address, milena string) *client {
	return &client{address, milena, pb.NewAdminServiceClient(conn), pb.NewMetadataServiceClient(conn),
		pb.NewProducerServiceClient(conn), pb.NewConsumerServiceClient(conn), pb.NewGroupServiceClient(conn)}
}

func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// create makes a topic for one check.
func (c *client) create(ctx context.Context, name string, partitions uint32) (*pb.Topic, error) {
	answer, err := c.admin.CreateTopic(ctx, &pb.CreateTopicRequest{Name: name, Partitions: partitions})
	return answer.GetTopic(), err
}

// write produces values to partition 0 in one call, and gives the result.
func (c *client) write(ctx context.Context, topic string, values ...string) (*pb.ProduceResult, error) {
	request := &pb.ProduceRequest{Topic: topic}
	for _, value := range values {
		request.Records = append(request.Records, text(value))
	}
	answer, err := c.producer.Produce(ctx, request)
	if err != nil {
		return nil, err
	}
	if len(answer.Results) != 1 || answer.Results[0].Status.GetCode() != 0 {
		return nil, fmt.Errorf("not written: %v", answer)
	}
	return answer.Results[0], nil
}

// produceCompressed writes lines through the command line client, which compresses.
func (c *client) produceCompressed(topic, codec, lines string) error {
	command := exec.Command(c.milena, "produce", topic, "--compression", codec, "--bootstrap", c.address)
	command.Stdin = bytes.NewBufferString(lines)
	if said, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	return nil
}

func text(value string) *pb.Record {
	return &pb.Record{ValueKind: &pb.Record_ValueText{ValueText: value}}
}

func atEnd(end pb.LogEnd) *pb.Position { return &pb.Position{Kind: &pb.Position_End{End: end}} }

func atOffset(offset int64) *pb.Position {
	return &pb.Position{Kind: &pb.Position_Offset{Offset: offset}}
}

// reasonOf gives the ErrorInfo reason of a status that came as an item's answer.
func reasonOf(s *rpcstatus.Status) string {
	for _, detail := range status.FromProto(s).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.Reason
		}
	}
	return ""
}

// expectError wants a call to have failed with this code and reason.
func expectError(err error, code codes.Code, reason string) error {
	if err == nil {
		return errors.New("it worked")
	}
	s := status.Convert(err)
	if s.Code() != code || reasonOf(s.Proto()) != reason {
		return fmt.Errorf("%v (%s): %s, want %v (%s)", s.Code(), reasonOf(s.Proto()), s.Message(), code, reason)
	}
	return nil
}

// expectEnd wants a stream to have ended well.
func expectEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("the stream did not end: %v", err)
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: client BROKER MILENA")
		os.Exit(2)
	}
	conn, err := dial(os.Args[1])
	if err != nil {
		fmt.Printf("not ok go: a connection: %v\n", err)
		os.Exit(1)
	}
	defer conn.Close()
	c := newClient(conn, os.Args[1], os.Args[2])
	for _, checks := range [][]check{adminChecks, producerChecks, idempotentChecks, consumerChecks, groupChecks} {
		for _, check := range checks {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			if err := check.run(ctx, c); err != nil {
				fmt.Printf("not ok go: %s\n   %v\n", check.name, err)
			} else {
				fmt.Printf("ok go: %s\n", check.name)
			}
			cancel()
		}
	}
}
