import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The same course as rebalance_bench.c through Kafka's Java client with group.protocol=consumer (librdkafka of Debian 12 does
 * not know it), and the same line of JSON.
 *
 * <p>usage: java -cp LIBS Rebalance.java BOOTSTRAP MEMBERS PARTITIONS LEAVES RATE; the topic "rebalance" exists
 */
public class Rebalance {
  static final String TOPIC = "rebalance";
  static final long WINDOW_NS = 3_000_000_000L;
  static final long PROBE_NS = 20_000_000L;
  static final long WRITER_PAUSE_MS = 2;
  static final long STRIDE = 953;

  static class Part {
    Member owner;
    int moves;
    boolean probed;
    long assigned, first;
  }

  static String bootstrap;
  static int partitions;
  static long rate;
  static Part[] parts;
  static Member[] members;
  static Member leaver;
  static long begun, left;
  static volatile boolean writing = true;

  static double ms(long nanos) {
    return nanos / 1e6;
  }

  static class Member implements Runnable, ConsumerRebalanceListener {
    KafkaConsumer<byte[], byte[]> consumer;
    Thread thread;
    volatile boolean stop;
    long read, longest;

    void join() {
      Properties p = new Properties();
      p.put("bootstrap.servers", bootstrap);
      p.put("group.id", "rebalance");
      p.put("group.protocol", "consumer");
      p.put("auto.offset.reset", "latest");
      p.put("metric.reporters", ""); // a hundred consumers in one process: no JMX, no telemetry
      p.put("enable.metrics.push", "false");
      p.put("fetch.max.bytes", "1048576");
      p.put("key.deserializer", ByteArrayDeserializer.class.getName());
      p.put("value.deserializer", ByteArrayDeserializer.class.getName());
      consumer = new KafkaConsumer<>(p);
      consumer.subscribe(List.of(TOPIC), this);
      stop = false;
      thread = new Thread(this);
      thread.start();
    }

    void leave() throws InterruptedException {
      stop = true;
      thread.join();
    }

    void leaveNow() {
      try {
        leave();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
      synchronized (parts) {
        left = System.nanoTime();
      }
    }

    public void run() {
      while (!stop) {
        ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(50));
        if (records.isEmpty()) continue;
        long now = System.nanoTime();
        synchronized (parts) {
          for (TopicPartition tp : records.partitions()) {
            Part part = parts[tp.partition()];
            if (part.first == 0 && part.owner == this && this != leaver) part.first = now;
          }
          longest = Math.max(longest, now - read);
          read = now;
        }
      }
      consumer.close(Duration.ofSeconds(10));
    }

    public void onPartitionsAssigned(Collection<TopicPartition> given) {
      long now = System.nanoTime();
      synchronized (parts) {
        for (TopicPartition tp : given) {
          Part part = parts[tp.partition()];
          part.owner = this;
          part.assigned = now;
          part.moves++;
        }
      }
    }

    public void onPartitionsRevoked(Collection<TopicPartition> taken) {
      synchronized (parts) {
        for (TopicPartition tp : taken) if (parts[tp.partition()].owner == this) parts[tp.partition()].owner = null;
      }
    }
  }

  static List<Integer> probed() {
    List<Integer> list = new ArrayList<>();
    synchronized (parts) {
      for (int i = 0; i < partitions; i++) if (parts[i].probed) list.add(i);
    }
    return list;
  }

  static void write() {
    Properties p = new Properties();
    p.put("bootstrap.servers", bootstrap);
    p.put("key.serializer", ByteArraySerializer.class.getName());
    p.put("value.serializer", ByteArraySerializer.class.getName());
    p.put("linger.ms", "5");
    try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(p)) {
      byte[] value = "a record of some bytes".getBytes();
      long start = System.nanoTime(), sent = 0, probe = start;
      while (writing) {
        long now = System.nanoTime();
        for (; sent < (now - start) * rate / 1_000_000_000L; sent++)
          producer.send(new ProducerRecord<>(TOPIC, (int) (sent * STRIDE % partitions), null, value));
        if (now >= probe + PROBE_NS) {
          for (int i : probed()) producer.send(new ProducerRecord<>(TOPIC, i, null, value));
          probe = now;
        }
        Thread.sleep(WRITER_PAUSE_MS);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  static boolean settled() {
    synchronized (parts) {
      for (Part part : parts) if (part.owner == null || part.first == 0) return false;
      return true;
    }
  }

  static boolean balanced() {
    Set<Member> owners = new HashSet<>();
    synchronized (parts) {
      for (Part part : parts) if (part.owner != null) owners.add(part.owner);
    }
    return owners.size() == Math.min(members.length, partitions);
  }

  interface Condition {
    boolean holds();
  }

  static void await(Condition condition, String what) throws InterruptedException {
    long end = System.nanoTime() + 120_000_000_000L;
    while (!condition.holds()) {
      if (System.nanoTime() > end) {
        System.err.println("Rebalance: " + what + " took too long");
        System.exit(1);
      }
      Thread.sleep(5);
    }
  }

  static void watchPauses() {
    long now = System.nanoTime();
    for (Member m : members) {
      m.read = now;
      m.longest = 0;
    }
  }

  static long longestPause(Member but) {
    long longest = 0, now = System.nanoTime();
    for (Member m : members) if (m != but) longest = Math.max(longest, Math.max(m.longest, now - m.read));
    return longest;
  }

  static void sleepUntil(long nanos) throws InterruptedException {
    long early = (nanos - System.nanoTime()) / 1_000_000;
    if (early > 0) Thread.sleep(early);
  }

  static double at(List<Long> values, double share) {
    Long[] sorted = values.toArray(new Long[0]);
    Arrays.sort(sorted);
    return sorted.length == 0 ? 0 : ms(sorted[(int) ((sorted.length - 1) * share)]);
  }

  public static void main(String[] args) throws Exception {
    bootstrap = args[0];
    members = new Member[Integer.parseInt(args[1])];
    partitions = Integer.parseInt(args[2]);
    int leaves = Integer.parseInt(args[3]);
    rate = Long.parseLong(args[4]);
    parts = new Part[partitions];
    for (int i = 0; i < partitions; i++) parts[i] = new Part();
    Thread writer = new Thread(Rebalance::write);
    writer.start();
    for (int i = 0; i < members.length; i++) {
      members[i] = new Member();
      members[i].join();
    }
    await(Rebalance::balanced, "sharing the partitions");
    await(Rebalance::settled, "reading all partitions");
    List<Long> gone = new ArrayList<>(), assigned = new ArrayList<>(), first = new ArrayList<>();
    long calm = 0, leave = 0;
    int moved = 0, others = 0;
    for (int n = 0; n < leaves; n++) {
      Member next = members[n % members.length];
      synchronized (parts) {
        watchPauses();
      }
      sleepUntil(System.nanoTime() + WINDOW_NS);
      synchronized (parts) {
        calm = Math.max(calm, longestPause(next));
        for (Part part : parts) {
          part.probed = part.owner == next;
          part.moves = 0;
          if (part.probed) part.first = 0;
        }
        watchPauses();
        leaver = next;
        begun = System.nanoTime();
      }
      Thread leaving = new Thread(next::leaveNow);
      leaving.start();
      await(Rebalance::settled, "the rebalance");
      sleepUntil(begun + WINDOW_NS);
      leaving.join();
      synchronized (parts) {
        leave = Math.max(leave, longestPause(next));
        gone.add(left - begun);
        for (Part part : parts) {
          if (part.probed) {
            assigned.add(part.assigned - begun);
            first.add(part.first - begun);
            moved++;
          } else if (part.moves > 0) {
            others++;
          }
          part.probed = false;
        }
        leaver = null;
      }
      next.join();
      await(Rebalance::balanced, "joining again");
      await(Rebalance::settled, "reading again");
    }
    writing = false;
    writer.join();
    for (Member m : members) m.leave();
    System.out.printf(
        "{\"members\":%d,\"partitions\":%d,\"leaves\":%d,\"moved\":%.1f,\"others_moved\":%d,\"left_p50\":%.1f,"
            + "\"assigned_p50\":%.1f,\"assigned_max\":%.1f,\"first_p50\":%.1f,\"first_max\":%.1f,\"calm_gap\":%.1f,\"leave_gap\":%.1f}%n",
        members.length, partitions, leaves, (double) moved / leaves, others, at(gone, 0.5), at(assigned, 0.5),
        at(assigned, 1), at(first, 0.5), at(first, 1), ms(calm), ms(leave));
  }
}
