import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/** Threads, an exception, memory outside of the heap, and a status of its own. */
public class Hello {
    public static void main(String[] arguments) throws Exception {
        List<Thread> threads = new ArrayList<>();
        long[] sums = new long[4];
        for (int i = 0; i < sums.length; i++) {
            int own = i;
            threads.add(new Thread(() -> sums[own] = IntStream.range(0, 100_000).mapToLong(x -> x ^ own).sum()));
        }
        for (Thread thread : threads) thread.start();
        for (Thread thread : threads) thread.join();
        for (long sum : sums) System.out.println(sum);
        System.out.println(java.nio.ByteBuffer.allocateDirect(1 << 20).capacity());
        try {
            Object[] none = null;
            System.out.println(none.length);
        } catch (NullPointerException caught) {
            System.out.println("caught");
        }
        System.exit(5);
    }
}
