"""Bad input over the wire: each gets its own clear error, and costs nothing else: after every check the same broker takes and gives
a record, and at the end it holds no more memory and descriptors than it may. Prints "ok NAME" or "not ok NAME"."""

import os
import resource
import struct
import sys
import time
import traceback

import grpc
from google.rpc import error_details_pb2, status_pb2
from milena.v1 import admin_service_pb2 as admin, admin_service_pb2_grpc as admin_stub
from milena.v1 import common_pb2 as common
from milena.v1 import consumer_service_pb2 as consumer, consumer_service_pb2_grpc as consumer_stub
from milena.v1 import producer_service_pb2 as producer, producer_service_pb2_grpc as producer_stub
from milena.v1 import record_pb2 as record

import raw_http2

ADDRESS, BROKER_PID = sys.argv[1], int(sys.argv[2])
PRODUCE, CONSUME = "/milena.v1.ProducerService/Produce", "/milena.v1.ConsumerService/Consume"
channel = grpc.insecure_channel(ADDRESS)
topics = admin_stub.AdminServiceStub(channel)
writer = producer_stub.ProducerServiceStub(channel)
reader = consumer_stub.ConsumerServiceStub(channel)
CHECKS = []

# What 10,000 idle connections may cost in memory, and what may stay when all is over.
IDLE_CONNECTIONS = 10000
IDLE_CONNECTION_BYTES = 48 << 10
READERS = 40
READERS_BYTES = 64 << 20
LEFT_BYTES = 128 << 20
MOST_BYTES = 512 << 20
LEFT_DESCRIPTORS = 8


def check(function):
    CHECKS.append(function)
    return function


def memory():
    """Resident bytes of the broker."""
    with open(f"/proc/{BROKER_PID}/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmRSS:"))


def descriptors():
    return len(os.listdir(f"/proc/{BROKER_PID}/fd"))


def until(holds, seconds=20):
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


def status_reason(status):
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason
    return None


def refused(code, reason, words, function, *args, **kwargs):
    """The call fails with this code and reason, and its sentence has these words."""
    try:
        answer = function(*args, **kwargs)
        if hasattr(answer, "__next__"):
            answer = list(answer)
    except grpc.RpcError as error:
        details = dict(error.trailing_metadata()).get("grpc-status-details-bin")
        got = status_reason(status_pb2.Status.FromString(details)) if details else None
        assert (error.code(), got) == (code, reason), (error.code(), got, error.details())
        for word in words.split("|"):
            assert word in error.details(), (word, error.details())
        return error.details()
    raise AssertionError(f"it was accepted: {answer}")


def item_refused(code, reason, words, status):
    """The same for the status of one item of an answer."""
    assert (status.code, status_reason(status)) == (code.value[0], reason), status
    for word in words.split("|"):
        assert word in status.message, (word, status.message)


def served():
    """The broker takes a record, and gives it back."""
    answer = writer.Produce(producer.ProduceRequest(topic="normal", records=[record.Record(value=b"still here")]),
                            timeout=20).results[0]
    assert answer.status.code == 0, answer
    got = reader.Fetch(consumer.FetchRequest(partitions=[consumer.FetchPartition(
        topic="normal", partition=0, offset=answer.base_offset)], format=consumer.FORMAT_RECORDS), timeout=20)
    assert got.partitions[0].records[-1].value == b"still here", got


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def batch(values=(b"a", b"b"), body=None, wrong_crc=False, **fields):
    """An encoded batch with some fields other than they should be; its CRC is right for them unless asked otherwise."""
    if body is None:
        body = record.RecordBatch(records=[record.BatchRecord(value=v) for v in values]).SerializeToString()
    header = record.BatchHeader(format=1, compression=record.COMPRESSION_NONE, record_count=len(values),
                                base_timestamp_ms=1000, max_timestamp_ms=1000, uncompressed_bytes=len(body))
    for name, value in fields.items():
        setattr(header, name, value)
    covered = struct.pack(">IIIIqqqIIqII", header.format, header.compression, header.attributes, header.record_count,
                          header.base_timestamp_ms, header.max_timestamp_ms, header.producer_id, header.producer_epoch,
                          header.first_sequence, -1, header.uncompressed_bytes, len(body))
    header.crc32c = crc32c(covered + body) ^ (1 if wrong_crc else 0)
    return record.EncodedBatch(header=header, records=body)


def produce_batch(encoded, topic="normal"):
    return writer.Produce(producer.ProduceRequest(batches=[producer.PartitionBatch(
        topic=topic, partition=0, batch=encoded)]), timeout=20).results[0]


CODE = grpc.StatusCode


@check
def an_unknown_topic_is_named():
    refused(CODE.NOT_FOUND, "UNKNOWN_TOPIC", "nowhere", writer.Produce,
            producer.ProduceRequest(topic="nowhere", records=[record.Record(value=b"x")]))
    refused(CODE.NOT_FOUND, "UNKNOWN_TOPIC", "nowhere", reader.Consume, consumer.ConsumeRequest(topic="nowhere"))
    answer = reader.Fetch(consumer.FetchRequest(partitions=[consumer.FetchPartition(topic="nowhere")]))
    item_refused(CODE.NOT_FOUND, "UNKNOWN_TOPIC", "nowhere", answer.partitions[0].status)


@check
def an_unknown_partition_is_named():
    for partition in (1, 7, 2147483647):
        refused(CODE.NOT_FOUND, "UNKNOWN_PARTITION", f"{partition}|normal", writer.Produce,
                producer.ProduceRequest(topic="normal", records=[record.Record(value=b"x", partition=partition)]))
        answer = reader.Fetch(consumer.FetchRequest(partitions=[consumer.FetchPartition(
            topic="normal", partition=partition)]))
        item_refused(CODE.NOT_FOUND, "UNKNOWN_PARTITION", f"{partition}|normal", answer.partitions[0].status)


@check
def illegal_topic_names_are_refused():
    for name in ("", ".", "..", "bad name", "a/b", "a\\b", "umlaut-\u00e4", "tab\t", "x" * 250):
        refused(CODE.INVALID_ARGUMENT, "INVALID_FIELD", "name", topics.CreateTopic,
                admin.CreateTopicRequest(name=name))
    refused(CODE.FAILED_PRECONDITION, "INTERNAL_TOPIC", "__consumer_offsets", topics.CreateTopic,
            admin.CreateTopicRequest(name="__consumer_offsets"))


@check
def a_million_partitions_are_refused():
    for partitions in (1000000, 10001, 4294967295):
        refused(CODE.INVALID_ARGUMENT, "INVALID_FIELD", str(partitions) + "|10000", topics.CreateTopic,
                admin.CreateTopicRequest(name="wide", partitions=partitions))
    topics.CreateTopic(admin.CreateTopicRequest(name="grows"))
    refused(CODE.INVALID_ARGUMENT, "INVALID_FIELD", "1000000", topics.AddPartitions,
            admin.AddPartitionsRequest(name="grows", total_partitions=1000000))
    refused(CODE.INVALID_ARGUMENT, "INVALID_FIELD", "0", topics.AddPartitions,
            admin.AddPartitionsRequest(name="grows", total_partitions=0))
    topics.DeleteTopic(admin.DeleteTopicRequest(name="grows"))


@check
def more_replicas_than_brokers_are_refused():
    for factor in (2, 200, 4294967295):
        try:
            topics.CreateTopic(admin.CreateTopicRequest(name="copies", replication_factor=factor))
            raise AssertionError("it was created")
        except grpc.RpcError as error:
            assert str(factor) in error.details(), error.details()
            assert error.code() in (CODE.INVALID_ARGUMENT, CODE.UNIMPLEMENTED, CODE.FAILED_PRECONDITION), error.code()


@check
def a_record_over_max_message_bytes_is_refused():
    config = admin.TopicConfig(max_message_bytes=2000)
    topics.CreateTopic(admin.CreateTopicRequest(name="narrow", config=config))
    for value in (b"x" * 2001, b"x" * (2 << 20)):
        refused(CODE.INVALID_ARGUMENT, "RECORD_TOO_LARGE", "2000|narrow", writer.Produce,
                producer.ProduceRequest(topic="narrow", records=[record.Record(value=value)]))
    item_refused(CODE.INVALID_ARGUMENT, "RECORD_TOO_LARGE", "2000", produce_batch(batch([b"x" * 2001]), "narrow").status)
    answer = writer.Produce(producer.ProduceRequest(topic="narrow", records=[record.Record(value=b"x" * 1900)])).results[0]
    assert answer.status.code == 0, answer
    topics.DeleteTopic(admin.DeleteTopicRequest(name="narrow"))


@check
def a_batch_with_a_wrong_crc_is_refused():
    item_refused(CODE.INVALID_ARGUMENT, "CORRUPT_BATCH", "CRC", produce_batch(batch(wrong_crc=True)).status)


@check
def a_batch_that_counts_wrong_is_refused():
    item_refused(CODE.INVALID_ARGUMENT, "INVALID_FIELD", "record", produce_batch(batch(record_count=0)).status)
    for count in (1, 3, 4294967295):
        item_refused(CODE.INVALID_ARGUMENT, "CORRUPT_BATCH", str(count), produce_batch(batch(record_count=count)).status)
    item_refused(CODE.INVALID_ARGUMENT, "CORRUPT_BATCH", "RecordBatch", produce_batch(batch(body=b"\x0a\x05ab")).status)


@check
def compressed_garbage_is_refused():
    for codec in (record.COMPRESSION_ZSTD, record.COMPRESSION_LZ4):
        item_refused(CODE.INVALID_ARGUMENT, "CORRUPT_BATCH", "compressed", produce_batch(batch(
            body=b"this is no frame at all", compression=codec, uncompressed_bytes=1 << 20)).status)


@check
def compressed_garbage_within_a_good_frame_fails_where_it_is_read():
    """Brokers do not decompress what they store: such a batch costs its readers an answer that names it, no more."""
    topics.CreateTopic(admin.CreateTopicRequest(name="garbage"))
    body = bytes.fromhex("04224d18") + bytes([0x60, 0x40, 0x82]) + struct.pack("<I", 5 | 1 << 31) + b"\xff" * 5 + b"\0" * 4
    answer = produce_batch(batch(body=body, compression=record.COMPRESSION_LZ4, uncompressed_bytes=5), "garbage")
    assert answer.status.code == 0, answer
    for _ in range(20):
        got = reader.Fetch(consumer.FetchRequest(partitions=[consumer.FetchPartition(topic="garbage")],
                                                 format=consumer.FORMAT_RECORDS)).partitions[0]
        assert got.status.code != 0 and "garbage" in got.status.message and "0" in got.status.message, got
    topics.DeleteTopic(admin.DeleteTopicRequest(name="garbage"))


@check
def header_fields_of_no_version_are_refused():
    for fields in ({"compression": 77}, {"format": 9}, {"uncompressed_bytes": 4294967295}, {"attributes": 1 << 30}):
        answer = produce_batch(batch(**fields))
        assert answer.status.code != 0 and status_reason(answer.status) in (
            "INVALID_FIELD", "UNSUPPORTED", "CORRUPT_BATCH", "RECORD_TOO_LARGE"), (fields, answer)


@check
def an_offset_out_of_range_says_what_is_there():
    end = writer.Produce(producer.ProduceRequest(topic="normal", records=[record.Record(value=b"x")])).results[
        0].base_offset + 1
    for offset in (end + 1, 1 << 62):
        answer = reader.Fetch(consumer.FetchRequest(partitions=[consumer.FetchPartition(topic="normal", offset=offset)]))
        item_refused(CODE.OUT_OF_RANGE, "OFFSET_OUT_OF_RANGE", str(offset), answer.partitions[0].status)
        refused(CODE.OUT_OF_RANGE, "OFFSET_OUT_OF_RANGE", str(offset), reader.Consume,
                consumer.ConsumeRequest(topic="normal", start=common.Position(offset=offset)), timeout=10)
    for offset in (-1, -(1 << 63)):
        refused(CODE.INVALID_ARGUMENT, "INVALID_FIELD", "offset", reader.Consume,
                consumer.ConsumeRequest(topic="normal", start=common.Position(offset=offset)), timeout=10)


@check
def a_message_that_does_not_parse_is_refused():
    raw = channel.unary_unary(PRODUCE, request_serializer=None, response_deserializer=None)
    whole = producer.ProduceRequest(topic="normal", records=[record.Record(value=b"v" * 50)]).SerializeToString()
    for body in (whole[:-1], whole[:11], b"\xff" * 20, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xff\xfe", b"\x1b" * 500):
        refused(CODE.INVALID_ARGUMENT, "MALFORMED_MESSAGE", "", raw, body, timeout=20)
    stream = channel.stream_stream("/milena.v1.ProducerService/ProduceStream")
    refused(CODE.INVALID_ARGUMENT, "MALFORMED_MESSAGE", "", stream, iter([whole[:-1]]), timeout=20)


@check
def a_message_over_the_limit_is_refused():
    raw = channel.unary_unary(PRODUCE, request_serializer=None, response_deserializer=None)
    try:
        raw(b"\0" * (70 << 20), timeout=60)
        raise AssertionError("it was accepted")
    except grpc.RpcError as error:
        assert error.code() == CODE.RESOURCE_EXHAUSTED, error
        assert "larger" in error.details(), error.details()


@check
def an_unknown_method_is_named():
    refused(CODE.UNIMPLEMENTED, "UNSUPPORTED", "/milena.v1.ProducerService/Nonsense",
            channel.unary_unary("/milena.v1.ProducerService/Nonsense"), b"", timeout=10)


@check
def a_deadline_of_zero_ends_at_once():
    body = raw_http2.message(producer.ProduceRequest(
        topic="normal", records=[record.Record(value=b"too late")]).SerializeToString())
    for timeout in ("0n", "0H", "1n"):
        connection = raw_http2.Connection(ADDRESS)
        connection.send(raw_http2.call_headers(1, PRODUCE, timeout) +
                        raw_http2.frame(raw_http2.DATA, raw_http2.END_STREAM, 1, body))
        started = time.monotonic()
        assert connection.end_of(1) is not None, "the connection ended"
        assert time.monotonic() - started < 5
        connection.close()
    refused(CODE.DEADLINE_EXCEEDED, None, "", reader.Consume, consumer.ConsumeRequest(topic="normal"), timeout=0)


@check
def what_is_not_http2_is_hung_up_on():
    for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", os.urandom(4096),
                 raw_http2.PREFACE + b"\xff" * 64, raw_http2.PREFACE + raw_http2.frame(99, 0xff, 5, b"x" * 100) * 50):
        connection = raw_http2.Connection(ADDRESS, greet=False)
        try:
            connection.send(data)
            while connection.next_frame():
                pass
        except (TimeoutError, ConnectionError):
            pass
        connection.close()


@check
def clients_that_vanish_leave_nothing():
    before = descriptors()
    body = raw_http2.message(producer.ProduceRequest(
        topic="normal", records=[record.Record(value=b"v" * 1000)]).SerializeToString())
    follow = raw_http2.message(consumer.ConsumeRequest(topic="normal").SerializeToString())
    for turn in range(300):
        connection = raw_http2.Connection(ADDRESS)
        if turn % 3 == 0:  # in the middle of a message
            connection.send(raw_http2.call_headers(1, PRODUCE) +
                            raw_http2.frame(raw_http2.DATA, 0, 1, body[:500]))
        elif turn % 3 == 1:  # a message, and nobody who waits for the answer
            connection.send(raw_http2.call_headers(1, PRODUCE) +
                            raw_http2.frame(raw_http2.DATA, raw_http2.END_STREAM, 1, body))
        else:  # a stream that follows the log
            connection.send(raw_http2.call_headers(1, CONSUME) +
                            raw_http2.frame(raw_http2.DATA, raw_http2.END_STREAM, 1, follow))
            connection.next_frame()
        connection.vanish()
    assert until(lambda: descriptors() <= before + LEFT_DESCRIPTORS), (before, descriptors())


@check
def readers_that_never_read_hold_little():
    topics.CreateTopic(admin.CreateTopicRequest(name="unread"))
    for _ in range(64):
        writer.Produce(producer.ProduceRequest(topic="unread", records=[record.Record(value=os.urandom(1 << 19))] * 2))
    served()
    before, descriptors_before = memory(), descriptors()
    follow = raw_http2.message(consumer.ConsumeRequest(topic="unread", start=common.Position(
        end=common.LOG_END_EARLIEST)).SerializeToString())
    connections = []
    for _ in range(READERS):
        connection = raw_http2.Connection(ADDRESS)
        connection.send(raw_http2.call_headers(1, CONSUME) +
                        raw_http2.frame(raw_http2.DATA, raw_http2.END_STREAM, 1, follow))
        connections.append(connection)
    time.sleep(3)
    grown = memory() - before
    print(f"   {READERS} readers that do not read, of 64 MiB: {grown >> 20} MiB more")
    served()
    assert grown < READERS_BYTES, grown
    for connection in connections:
        connection.vanish()
    assert until(lambda: descriptors() <= descriptors_before + LEFT_DESCRIPTORS), descriptors()
    topics.DeleteTopic(admin.DeleteTopicRequest(name="unread"))


@check
def ten_thousand_idle_connections_cost_little():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(IDLE_CONNECTIONS, hard - 500)
    if count < IDLE_CONNECTIONS:
        print(f"skip {IDLE_CONNECTIONS} connections: this machine allows {hard} descriptors; {count} are tried")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    before, descriptors_before = memory(), descriptors()
    connections = []
    try:
        for _ in range(count):
            connections.append(raw_http2.Connection(ADDRESS))
            if len(connections) % 1000 == 0:
                served()
        for connection in connections:  # each was accepted, and greeted
            assert connection.next_frame()
        served()
        grown = memory() - before
        print(f"   {count} idle connections: {grown >> 20} MiB more, {grown / count / 1024:.1f} KiB each")
        assert grown < count * IDLE_CONNECTION_BYTES, grown
        with grpc.insecure_channel(ADDRESS, [("grpc.use_local_subchannel_pool", 1)]) as late:
            producer_stub.ProducerServiceStub(late).Produce(producer.ProduceRequest(
                topic="normal", records=[record.Record(value=b"the last one")]), timeout=20)
    finally:
        for connection in connections:
            connection.close()
    assert until(lambda: descriptors() <= descriptors_before + LEFT_DESCRIPTORS, 60), descriptors()


topics.CreateTopic(admin.CreateTopicRequest(name="normal"))
for _ in range(50):
    served()
memory_at_first, descriptors_at_first = memory(), descriptors()
for turn in ("", ", once more"):
    memory_before, descriptors_before = memory(), descriptors()
    for function in CHECKS:
        name = function.__name__.replace("_", " ") + turn
        try:
            function()
            served()
            print(f"ok bad input: {name}", flush=True)
        except Exception:
            print(f"not ok bad input: {name}")
            print("   " + traceback.format_exc().replace("\n", "\n   "), flush=True)
    print(f"   {(memory() - memory_before) >> 20} MiB and {descriptors() - descriptors_before} descriptors more")
# The first turn fills caches and the allocator's own stock, which have bounds; the second must find them full.
again, most = memory() - memory_before, memory() - memory_at_first
print("ok" if again < LEFT_BYTES and most < MOST_BYTES and descriptors() - descriptors_at_first <= LEFT_DESCRIPTORS
      else "not ok", "bad input: the broker ends with what it may hold")
channel.close()
