package io.filterd.nbd;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.nbd.NbdServerConfig.Transport;
import io.netty.channel.uring.IoUring;
import org.junit.jupiter.api.Test;

/** Which transport is used. */
final class ChannelsTest {
  @Test
  void doNotUseIoUringWithTls() {
    assertThat(Channels.of(Transport.IO_URING, true).transport())
        .isEqualTo(Channels.of(Transport.EPOLL, true).transport());
    assertThat(Channels.of(Transport.IO_URING, false).transport() == Transport.IO_URING)
        .isEqualTo(IoUring.isAvailable());
  }
}
