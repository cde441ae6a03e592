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
  static final long WINDOW_MS = 3000;

  static class Part {
    Member owner;
    int moves;
    long assigned, first;
  }

  static String bootstrap;
  static int partitions;
  static long rate;
  static Part[] parts;
  static Member[] members;
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

    public void run() {
      while (!stop) {
        ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(50));
        if (records.isEmpty()) continue;
        long now = System.nanoTime();
        synchronized (parts) {
          for (TopicPartition tp : records.partitions()) {
            Part part = parts[tp.partition()];
            if (part.first == 0 && part.owner == this) part.first = now;
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

  static void write() {
    Properties p = new Properties();
    p.put("bootstrap.servers", bootstrap);
    p.put("key.serializer", ByteArraySerializer.class.getName());
    p.put("value.serializer", ByteArraySerializer.class.getName());
    p.put("linger.ms", "5");
    try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(p)) {
      byte[] value = "a record of some bytes".getBytes();
      long begun = System.nanoTime();
      for (long sent = 0; writing; sent++) {
        producer.send(new ProducerRecord<>(TOPIC, (int) (sent % partitions), null, value));
        long early = begun + (sent + 1) * 1_000_000_000L / rate - System.nanoTime();
        if (early > 1_000_000) Thread.sleep(early / 1_000_000, (int) (early % 1_000_000));
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

  static long watchGaps(Member leaver) throws InterruptedException {
    synchronized (parts) {
      for (Member m : members) {
        m.read = System.nanoTime();
        m.longest = 0;
      }
    }
    Thread.sleep(WINDOW_MS);
    long longest = 0;
    synchronized (parts) {
      for (Member m : members) if (m != leaver) longest = Math.max(longest, m.longest);
    }
    return longest;
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
    List<Long> assigned = new ArrayList<>(), first = new ArrayList<>();
    long calm = 0, leave = 0;
    int moved = 0, others = 0;
    for (int n = 0; n < leaves; n++) {
      Member leaver = members[n % members.length];
      boolean[] its = new boolean[partitions];
      calm = Math.max(calm, watchGaps(leaver));
      long left;
      synchronized (parts) {
        for (int i = 0; i < partitions; i++) {
          its[i] = parts[i].owner == leaver;
          parts[i].moves = 0;
          if (its[i]) parts[i].first = 0;
        }
        left = System.nanoTime();
      }
      Thread leaving =
          new Thread(
              () -> {
                try {
                  leaver.leave();
                } catch (InterruptedException e) {
                  Thread.currentThread().interrupt();
                }
              });
      leaving.start();
      leave = Math.max(leave, watchGaps(leaver));
      leaving.join();
      await(Rebalance::settled, "the rebalance");
      synchronized (parts) {
        for (int i = 0; i < partitions; i++) {
          if (its[i]) {
            assigned.add(parts[i].assigned - left);
            first.add(parts[i].first - left);
            moved++;
          } else if (parts[i].moves > 0) {
            others++;
          }
        }
      }
      leaver.join();
      await(Rebalance::balanced, "joining again");
      await(Rebalance::settled, "reading again");
    }
    writing = false;
    writer.join();
    for (Member m : members) m.leave();
    System.out.printf(
        "{\"members\":%d,\"partitions\":%d,\"leaves\":%d,\"moved\":%.1f,\"others_moved\":%d,\"assigned_p50\":%.1f,"
            + "\"assigned_max\":%.1f,\"first_p50\":%.1f,\"first_max\":%.1f,\"calm_gap\":%.1f,\"leave_gap\":%.1f}%n",
        members.length, partitions, leaves, (double) moved / leaves, others, at(assigned, 0.5), at(assigned, 1),
        at(first, 0.5), at(first, 1), ms(calm), ms(leave));
  }
}
