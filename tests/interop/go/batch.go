package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"google.golang.org/protobuf/proto"

	"milena/interop/pb"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batchCRC computes what BatchHeader.crc32c must be, as record.proto documents it.
func batchCRC(batch *pb.EncodedBatch) uint32 {
	h := batch.Header
	expected := int64(-1)
	if h.ExpectedOffsetPresence != nil {
		expected = h.GetExpectedOffset()
	}
	order := binary.BigEndian
	var b []byte
	b = order.AppendUint32(b, h.Format)
	b = order.AppendUint32(b, uint32(h.Compression))
	b = order.AppendUint32(b, h.Attributes)
	b = order.AppendUint32(b, h.RecordCount)
	b = order.AppendUint64(b, uint64(h.BaseTimestampMs))
	b = order.AppendUint64(b, uint64(h.MaxTimestampMs))
	b = order.AppendUint64(b, uint64(h.ProducerId))
	b = order.AppendUint32(b, h.ProducerEpoch)
	b = order.AppendUint32(b, h.FirstSequence)
	b = order.AppendUint64(b, uint64(expected))
	b = order.AppendUint32(b, h.UncompressedBytes)
	b = order.AppendUint32(b, uint32(len(batch.Records)))
	return crc32.Update(crc32.Checksum(b, castagnoli), castagnoli, batch.Records)
}

// encodeBatch builds an uncompressed batch of these values.
func encodeBatch(values ...string) (*pb.EncodedBatch, error) {
	now := time.Now().UnixMilli()
	records := &pb.RecordBatch{}
	for i, value := range values {
		records.Records = append(records.Records, &pb.BatchRecord{
			KeyPresence:      &pb.BatchRecord_Key{Key: []byte{byte(i)}},
			ValuePresence:    &pb.BatchRecord_Value{Value: []byte(value)},
			TimestampDeltaMs: int64(i),
		})
	}
	body, err := proto.Marshal(records)
	if err != nil {
		return nil, err
	}
	batch := &pb.EncodedBatch{Records: body, Header: &pb.BatchHeader{
		Format: 1, Compression: pb.Compression_COMPRESSION_NONE, RecordCount: uint32(len(values)),
		BaseTimestampMs: now, MaxTimestampMs: now + int64(len(values)) - 1, UncompressedBytes: uint32(len(body)),
	}}
	batch.Header.Crc32C = batchCRC(batch)
	return batch, nil
}

// decodeBatch checks a batch as it was stored, and gives its records. The i-th has the offset base_offset + i.
func decodeBatch(batch *pb.EncodedBatch) ([]*pb.BatchRecord, error) {
	if crc := batchCRC(batch); crc != batch.Header.Crc32C {
		return nil, fmt.Errorf("crc32c is %08x, computed %08x", batch.Header.Crc32C, crc)
	}
	if batch.Header.Compression > pb.Compression_COMPRESSION_NONE {
		return nil, fmt.Errorf("compressed: %v", batch.Header.Compression)
	}
	if len(batch.Records) != int(batch.Header.UncompressedBytes) {
		return nil, fmt.Errorf("%d bytes of records, header says %d", len(batch.Records), batch.Header.UncompressedBytes)
	}
	records := &pb.RecordBatch{}
	if err := proto.Unmarshal(batch.Records, records); err != nil {
		return nil, err
	}
	if len(records.Records) != int(batch.Header.RecordCount) {
		return nil, fmt.Errorf("%d records, header says %d", len(records.Records), batch.Header.RecordCount)
	}
	return records.Records, nil
}
