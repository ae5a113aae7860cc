package io.filterd.kmip;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;

import io.filterd.kmip.ttlv.Mutations;
import io.filterd.kmip.ttlv.TtlvException;
import io.filterd.kmip.ttlv.TtlvLimits;
import io.filterd.kmip.ttlv.Vectors;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.random.RandomGenerator;
import org.junit.jupiter.api.Test;

/** Whatever a server answers, to whatever request: an answer, a refusal, or a located error. */
class AnswerMutationTest {
  private static final int ROUNDS = 100_000;

  @Test
  void readsMutatedAnswersOrSaysWhatIsWrong() {
    long seed = Long.getLong("test.seed", System.nanoTime());
    RandomGenerator random = Mutations.generator(seed);
    List<byte[]> messages =
        Vectors.captured().stream()
            .filter(message -> !message.isRequest())
            .map(Vectors.Captured::bytes)
            .toList();
    List<KmipRequest<?>> requests = CapturedMessagesTest.requestsOf("4", false);
    int[] ends = new int[3];
    for (int round = 0; round < ROUNDS; round++) {
      byte[] bytes = Mutations.mutate(messages, random);
      try {
        ResponseMessage response = ResponseMessage.read(ByteBuffer.wrap(bytes), TtlvLimits.DEFAULT);
        ends[answer(response, requests.get(random.nextInt(requests.size())))]++;
      } catch (TtlvException e) {
        assertThat(e.getMessage()).hasSizeLessThan(2_000);
      } catch (RuntimeException | StackOverflowError e) {
        fail("seed %d, round %d: %s".formatted(seed, round, HexFormat.of().formatHex(bytes)), e);
      }
    }
    assertThat(Arrays.stream(ends).boxed())
        .as("seed %d: answers, refusals, errors", seed)
        .allMatch(count -> count > 20);
  }

  private static int answer(ResponseMessage response, KmipRequest<?> request) {
    try {
      assertThat(response.answerTo(request).toString()).isNotEmpty();
      return 0;
    } catch (KmipException e) {
      assertThat(e.getMessage()).hasSizeLessThan(500);
      return 1;
    } catch (TtlvException e) {
      assertThat(e.getMessage()).hasSizeLessThan(2_000);
      return 2;
    }
  }
}
