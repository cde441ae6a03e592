"""Streams, encoded batches and errors over stubs: prints a line "ok NAME" or "not ok NAME" for each check."""

import struct
import subprocess
import sys
import time
import traceback

import grpc
from google.rpc import error_details_pb2, status_pb2
from milena.v1 import admin_service_pb2 as admin, admin_service_pb2_grpc as admin_grpc
from milena.v1 import common_pb2 as common
from milena.v1 import consumer_service_pb2 as consumer, consumer_service_pb2_grpc as consumer_grpc
from milena.v1 import metadata_service_pb2 as metadata, metadata_service_pb2_grpc as metadata_grpc
from milena.v1 import producer_service_pb2 as producer, producer_service_pb2_grpc as producer_grpc
from milena.v1 import record_pb2 as record

ADDRESS, MILENA = sys.argv[1:]
channel = grpc.insecure_channel(ADDRESS)
topics = admin_grpc.AdminServiceStub(channel)
writer = producer_grpc.ProducerServiceStub(channel)
reader = consumer_grpc.ConsumerServiceStub(channel)
UNTIL_NOW = common.Position(end=common.LOG_END_LATEST)
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def reason(error):
    """The ErrorInfo reason of a failed call."""
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin":
            return item_reason(status_pb2.Status.FromString(value))
    return None


def item_reason(status):
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason
    return None


def create(name, partitions=1):
    topics.CreateTopic(admin.CreateTopicRequest(name=name, partitions=partitions))
    return name


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def encode(values, now_ms=None, producer_id=0, epoch=0, sequence=0):
    """An encoded batch built from the documentation in record.proto alone."""
    now_ms = now_ms or int(time.time() * 1000)
    body = record.RecordBatch(records=[record.BatchRecord(value=v) for v in values]).SerializeToString()
    header = record.BatchHeader(format=1, compression=record.COMPRESSION_NONE, record_count=len(values),
                                base_timestamp_ms=now_ms, max_timestamp_ms=now_ms, uncompressed_bytes=len(body),
                                producer_id=producer_id, producer_epoch=epoch, first_sequence=sequence)
    covered = struct.pack(">IIIIqqqIIqII", header.format, header.compression, 0, header.record_count, now_ms, now_ms,
                          producer_id, epoch, sequence, -1, len(body), len(body))
    header.crc32c = crc32c(covered + body)
    return record.EncodedBatch(header=header, records=body)


@check
def produce_stream_answers_each_item_by_its_correlation_id():
    create("piped", 2)

    def frames():
        yield producer.ProduceStreamRequest(init=producer.ProduceStreamInit(acks=producer.ACKS_ALL))
        for i in range(200):
            yield producer.ProduceStreamRequest(item=producer.ProduceStreamItem(
                correlation_id=i, topic="piped", records=[record.Record(value=b"%d" % i, partition=i % 2)]))

    answers = list(writer.ProduceStream(frames(), timeout=30))
    assert answers[0].HasField("ready")
    results = [a.result for a in answers[1:]]
    assert sorted(r.correlation_id for r in results) == list(range(200)), results
    for partition in (0, 1):
        offsets = [r.results[0].base_offset for r in results if r.results[0].partition == partition]
        assert offsets == sorted(offsets) and len(offsets) == 100, offsets
    receipt = results[0].results[0]
    assert 2 <= receipt.synced_replicas <= receipt.replicas <= 3, receipt


@check
def an_encoded_batch_built_by_the_documentation_is_stored_as_it_came():
    create("encoded")
    batch = encode([b"one", b"two", b"three"])
    answer = writer.Produce(producer.ProduceRequest(
        batches=[producer.PartitionBatch(topic="encoded", partition=0, batch=batch)]))
    assert answer.results[0].status.code == 0 and answer.results[0].record_count == 3, answer
    fetched = reader.Fetch(consumer.FetchRequest(
        partitions=[consumer.FetchPartition(topic="encoded", partition=0)], format=consumer.FORMAT_BATCHES))
    [stored] = fetched.partitions[0].batches
    assert stored.records == batch.records and stored.header == batch.header, stored
    assert stored.stamp.base_offset == 0


@check
def batches_of_a_producer_are_written_once_however_often_a_stream_sends_them():
    create("once")
    who = writer.InitProducer(producer.InitProducerRequest())
    batches = [encode([b"a", b"b"], producer_id=who.producer_id, epoch=who.producer_epoch, sequence=2 * i)
               for i in range(4)]

    def frames():
        yield producer.ProduceStreamRequest(init=producer.ProduceStreamInit(acks=producer.ACKS_ALL))
        for place in (0, 0, 1, 2, 1, 2, 3, 0):
            yield producer.ProduceStreamRequest(item=producer.ProduceStreamItem(correlation_id=place, batches=[
                producer.PartitionBatch(topic="once", partition=0, batch=batches[place])]))

    results = [a.result for a in writer.ProduceStream(frames(), timeout=30) if a.HasField("result")]
    got = [(r.correlation_id, r.results[0].base_offset, r.results[0].duplicate) for r in results]
    assert sorted(got) == [(0, 0, False), (0, 0, True), (0, 0, True), (1, 2, False), (1, 2, True), (2, 4, False),
                           (2, 4, True), (3, 6, False)], got
    fetched = reader.Fetch(consumer.FetchRequest(
        partitions=[consumer.FetchPartition(topic="once", partition=0)], format=consumer.FORMAT_RECORDS))
    assert len(fetched.partitions[0].records) == 8, fetched


@check
def a_batch_with_a_wrong_crc_is_refused():
    create("wrong")
    batch = encode([b"x"])
    batch.header.crc32c ^= 1
    answer = writer.Produce(producer.ProduceRequest(
        batches=[producer.PartitionBatch(topic="wrong", partition=0, batch=batch)]))
    assert item_reason(answer.results[0].status) == "CORRUPT_BATCH", answer


@check
def compressed_records_come_back_plain():
    create("packed")
    lines = "".join(f"line {i} {'x' * 50}\n" for i in range(500))
    for codec in ("zstd", "lz4"):
        subprocess.run([MILENA, "produce", "packed", "--compression", codec, "--bootstrap", ADDRESS], input=lines,
                       text=True, check=True, capture_output=True)
    for form, value in ((consumer.FORMAT_RECORDS, lambda r: r.value.decode()),
                        (consumer.FORMAT_TEXT, lambda r: r.value_text)):
        seen = [value(r) for f in reader.Consume(consumer.ConsumeRequest(topic="packed", stop=UNTIL_NOW, format=form))
                for r in f.data.records]
        assert "\n".join(seen) + "\n" == lines * 2, (len(seen), seen[:2])


@check
def headers_timestamps_and_tombstones_survive():
    create("full")
    sent = record.Record(key=b"\xff\x00", headers=[record.Header(key="trace", value=b"\x01"),
                                                   record.Header(key="none")])
    sent.timestamp.FromMilliseconds(1234567890123)
    writer.Produce(producer.ProduceRequest(topic="full", records=[sent, record.Record(value=b"")]))
    got = reader.Fetch(consumer.FetchRequest(partitions=[consumer.FetchPartition(topic="full")],
                                             format=consumer.FORMAT_RECORDS)).partitions[0].records
    assert got[0].key == b"\xff\x00" and got[0].WhichOneof("value_kind") is None, got[0]
    assert got[0].timestamp.ToMilliseconds() == 1234567890123
    assert list(got[0].headers) == list(sent.headers), got[0].headers
    assert got[1].WhichOneof("key_kind") is None and got[1].WhichOneof("value_kind") == "value"


@check
def consume_follows_and_ends_at_its_limit():
    create("follow")
    stream = reader.Consume(consumer.ConsumeRequest(topic="follow", limit=3, format=consumer.FORMAT_TEXT), timeout=30)
    assert next(stream).HasField("ready")
    writer.Produce(producer.ProduceRequest(topic="follow", records=[record.Record(value_text=c) for c in "abcd"]))
    assert [r.value_text for f in stream for r in f.data.records] == ["a", "b", "c"]


@check
def subscribe_obeys_credits_and_seeks():
    create("credited")
    writer.Produce(producer.ProduceRequest(topic="credited", records=[record.Record(value=b"%d" % i)
                                                                     for i in range(10)]))
    import queue
    frames = queue.Queue()
    frames.put(consumer.SubscribeRequest(init=consumer.SubscribeInit(
        partitions=[consumer.SubscribePartition(topic="credited", start=common.Position(
            end=common.LOG_END_EARLIEST))], initial_credit=consumer.Credit(records=4))))
    stream = reader.Subscribe(iter(frames.get, None), timeout=30)
    assert next(stream).ready.starts[0].offset == 0
    seen = []
    while len(seen) < 4:
        seen += [r.offset for r in next(stream).data.records]
    assert seen == [0, 1, 2, 3], seen
    frames.put(consumer.SubscribeRequest(seek=consumer.Seek(topic="credited", position=common.Position(offset=8),
                                                           seek_id=7)))
    done = next(stream).seek_done
    assert done.seek_id == 7 and done.offset == 8, done
    frames.put(consumer.SubscribeRequest(credit=consumer.Credit(records=100)))
    assert [r.offset for r in next(stream).data.records] == [8, 9]
    frames.put(None)
    assert list(stream) == []


@check
def offsets_are_found_by_time():
    create("timed")
    records = [record.Record(value=b"x") for _ in range(5)]
    for i, r in enumerate(records):
        r.timestamp.FromMilliseconds(1000 * (i + 1))
        writer.Produce(producer.ProduceRequest(topic="timed", records=[r]))
    place = common.Position()
    place.time.FromMilliseconds(2500)
    answer = reader.ListOffsets(consumer.ListOffsetsRequest(
        queries=[consumer.OffsetQuery(topic="timed", position=place)])).results[0]
    assert answer.offset == 2 and answer.timestamp.ToMilliseconds() == 3000, answer


@check
def no_proxy_is_refused_with_a_hint_and_the_hint_is_right():
    create("routed", 6)
    cluster = metadata_grpc.MetadataServiceStub(channel).GetMetadata(metadata.GetMetadataRequest(topics=["routed"]))
    hints = 0
    for partition in range(6):
        answer = writer.Produce(producer.ProduceRequest(topic="routed", no_proxy=True, records=[
            record.Record(value=b"x", partition=partition)])).results[0]
        if answer.status.code == 0:
            continue
        assert item_reason(answer.status) == "NOT_LEADER", answer
        with grpc.insecure_channel(answer.route.leader_address) as leader:
            again = producer_grpc.ProducerServiceStub(leader).Produce(producer.ProduceRequest(
                topic="routed", no_proxy=True, records=[record.Record(value=b"x", partition=partition)])).results[0]
        assert again.status.code == 0, again
        hints += 1
    assert hints == 4 and len(cluster.cluster.brokers) == 3, (hints, cluster)


@check
def watch_metadata_tells_a_new_topic():
    stream = metadata_grpc.MetadataServiceStub(channel).WatchMetadata(metadata.WatchMetadataRequest(), timeout=30)
    assert next(stream).HasField("image")
    create("announced")
    for frame in stream:
        if any(t.name == "announced" for t in frame.change.topics):
            return
    raise AssertionError("the stream ended")


@check
def a_pinned_topic_id_never_reaches_a_re_created_topic():
    old = topics.CreateTopic(admin.CreateTopicRequest(name="phoenix")).topic.id
    topics.DeleteTopic(admin.DeleteTopicRequest(name="phoenix"))
    new = topics.CreateTopic(admin.CreateTopicRequest(name="phoenix")).topic.id
    assert old != new
    try:
        writer.Produce(producer.ProduceRequest(topic="phoenix", topic_id=old, records=[record.Record(value=b"x")]))
        raise AssertionError("it was written")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.ABORTED and reason(error) == "TOPIC_ID_MISMATCH", error


@check
def errors_carry_details():
    try:
        topics.CreateTopic(admin.CreateTopicRequest(name="bad name"))
        raise AssertionError("it was created")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and reason(error) == "INVALID_FIELD", error


for function in CHECKS:
    name = function.__name__.replace("_", " ")
    try:
        function()
        print(f"ok python: {name}")
    except Exception:
        print(f"not ok python: {name}")
        print("   " + traceback.format_exc().replace("\n", "\n   "))
channel.close()
