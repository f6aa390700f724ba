import com.sun.management.OperatingSystemMXBean;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import software.amazon.event.ruler.Machine;

/**
 * event-ruler on one row: {@code Peer WORKLOAD RULES CATEGORY EVENTS SECONDS}.
 *
 * <p>Prints {@code added WORKLOAD RULES RULES/S BYTES/RULE} when it is ready, or {@code refused
 * WORKLOAD WHY}; then, for each line of input, one reading of processor time: {@code ENGINE
 * WORKLOAD RULES EVENTS EVENTS/S NS/EVENT MATCHES}.
 */
public final class Peer {
    /** It is warm when this many readings in a row lie within {@link #STANDS} of each other. */
    private static final int WARM_READINGS = 3;
    private static final double STANDS = 1.03;
    /** Seconds of processor time for the warm-up: no fewer, as the first plateau is the interpreter's, and no more. */
    private static final double WARM_MIN = 5;
    private static final double WARM_MAX = 25;

    private static final OperatingSystemMXBean SYSTEM =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    private final Machine machine = new Machine();
    private final List<String> events;
    private final double seconds;
    private long matches;
    private long read;

    private Peer(List<String> events, double seconds) {
        this.events = events;
        this.seconds = seconds;
    }

    public static void main(String[] arguments) throws Exception {
        String workload = arguments[0];
        String head = "{\"category\":\"" + arguments[2] + "\",";
        List<String> rules = Files.readAllLines(Path.of(arguments[1])).stream()
                .filter(line -> arguments[2].equals("-") || line.startsWith(head))
                .toList();
        List<String> events = Files.readAllLines(Path.of(arguments[3]));
        Peer peer = new Peer(events, Double.parseDouble(arguments[4]));

        long before = liveBytes();
        long start = SYSTEM.getProcessCpuTime();
        try {
            peer.add(rules);
        } catch (IOException | RuntimeException error) {
            System.out.println("refused " + workload + " " + error.getMessage());
            return;
        }
        double adding = (SYSTEM.getProcessCpuTime() - start) / 1e9;
        long bytes = Math.max(0, liveBytes() - before) / rules.size();
        peer.warmUp();
        System.out.printf("added %s %d %.0f %d%n", workload, rules.size(), rules.size() / adding, bytes);

        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        while (input.readLine() != null) {
            double ns = peer.reading();
            System.out.printf("event-ruler %s %d %d %.0f %.1f %d%n",
                    workload, rules.size(), peer.read, 1e9 / ns, ns, peer.matches);
        }
    }

    /** Adds the rules under their names, which are what a match returns. */
    private void add(List<String> rules) throws IOException {
        for (String line : rules) {
            int name = line.indexOf("\"name\":\"") + 8;
            int pattern = line.indexOf("\"pattern\":") + 10;
            machine.addRule(line.substring(name, line.indexOf('"', name)),
                    line.substring(pattern, line.length() - 1));
        }
    }

    private void warmUp() throws Exception {
        long start = SYSTEM.getProcessCpuTime();
        double[] last = new double[WARM_READINGS];
        for (int n = 0; ; n++) {
            last[n % WARM_READINGS] = reading();
            double spent = (SYSTEM.getProcessCpuTime() - start) / 1e9;
            double lowest = Double.MAX_VALUE;
            double highest = 0;
            for (double ns : last) {
                lowest = Math.min(lowest, ns);
                highest = Math.max(highest, ns);
            }
            boolean stands = WARM_READINGS <= n + 1 && highest <= lowest * STANDS;
            if (WARM_MAX <= spent || WARM_MIN <= spent && stands) {
                return;
            }
        }
    }

    /** Processor time for each event over as many passes as it takes. */
    private double reading() throws Exception {
        long start = SYSTEM.getProcessCpuTime();
        read = 0;
        while (true) {
            matches = 0;
            for (String event : events) {
                matches += machine.rulesForJSONEvent(event).size();
            }
            read += events.size();
            long spent = SYSTEM.getProcessCpuTime() - start;
            if (seconds * 1e9 <= spent) {
                return (double) spent / read;
            }
        }
    }

    private static long liveBytes() {
        System.gc();
        return ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed();
    }
}
