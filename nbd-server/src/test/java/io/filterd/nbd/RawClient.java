package io.filterd.nbd;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.nbd.wire.Protocol;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketAddress;
import java.net.SocketException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import org.bouncycastle.tls.ContentType;
import org.bouncycastle.tls.HandshakeType;
import org.bouncycastle.tls.ProtocolVersion;
import org.bouncycastle.tls.TlsClientProtocol;

/**
 * Speaks NBD by hand, right or wrong, and takes nothing for granted that the server says. Written
 * from proto.md, without the server's own codec. Waits at most 20 s for anything, but over a Unix
 * socket without an end.
 */
final class RawClient implements AutoCloseable {
  static final int FIXED_NEWSTYLE = 1;
  static final int NO_ZEROES = 2;

  /** An option's reply. */
  record OptionReply(int option, int type, ByteBuffer data) {
    /** The data from there on as text. */
    String text(int from) {
      return StandardCharsets.UTF_8.decode(data.duplicate().position(from)).toString();
    }
  }

  /** A reply in the transmission phase, with all of its chunks. */
  record Reply(long cookie, int error, String message, List<Chunk> chunks, long offset) {
    /** A reply whose header tells no offset. */
    Reply(long cookie, int error, String message, List<Chunk> chunks) {
      this(cookie, error, message, chunks, 0);
    }
  }

  /** One chunk that is no error. */
  record Chunk(int type, ByteBuffer payload) {
    /** The payload from there on. */
    byte[] bytes(int from) {
      byte[] bytes = new byte[payload.limit() - from];
      payload.get(from, bytes);
      return bytes;
    }
  }

  /** What is closed in the end: a TCP socket, or the channel of a Unix one. */
  private final Closeable connection;

  private DataInputStream in;
  private DataOutputStream out;
  private boolean extended;

  RawClient(SocketAddress address) throws IOException {
    this(address, 0);
  }

  /** Connects with a small receive buffer, so that replies pile up on the server's side. */
  RawClient(SocketAddress address, int receiveBufferBytes) throws IOException {
    if (address instanceof UnixDomainSocketAddress) {
      SocketChannel channel = SocketChannel.open(address);
      connection = channel;
      in = new DataInputStream(new BufferedInputStream(Channels.newInputStream(channel)));
      out = new DataOutputStream(Channels.newOutputStream(channel));
      return;
    }
    Socket socket = new Socket();
    connection = socket;
    if (receiveBufferBytes > 0) {
      socket.setReceiveBufferSize(receiveBufferBytes);
    }
    socket.setSoTimeout(20_000);
    socket.setTcpNoDelay(true);
    socket.connect((InetSocketAddress) address);
    in = new DataInputStream(new BufferedInputStream(socket.getInputStream()));
    out = new DataOutputStream(socket.getOutputStream());
  }

  /** Reads the greeting and answers with these flags. */
  RawClient greet(int flags) throws IOException {
    assertThat(in.readLong()).isEqualTo(0x4e42444d41474943L);
    assertThat(in.readLong()).isEqualTo(0x49484156454F5054L);
    assertThat(in.readUnsignedShort()).isEqualTo(FIXED_NEWSTYLE | NO_ZEROES);
    out.writeInt(flags);
    return this;
  }

  RawClient greet() throws IOException {
    return greet(FIXED_NEWSTYLE | NO_ZEROES);
  }

  void send(byte... bytes) throws IOException {
    out.write(bytes);
  }

  void sendOption(int option, byte... data) throws IOException {
    out.write(option(option, data));
  }

  static byte[] option(int option, byte... data) {
    return bytes(
        to -> {
          to.writeLong(0x49484156454F5054L);
          to.writeInt(option);
          to.writeInt(data.length);
          to.write(data);
        });
  }

  /** Something that writes bytes. */
  @FunctionalInterface
  interface Writing {
    void to(DataOutputStream out) throws IOException;
  }

  static byte[] bytes(Writing writing) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try {
      writing.to(new DataOutputStream(bytes));
    } catch (IOException impossible) {
      throw new IllegalStateException(impossible);
    }
    return bytes.toByteArray();
  }

  /** The data of INFO and GO. */
  static byte[] infoData(String name, int... types) {
    return bytes(
        to -> {
          byte[] text = name.getBytes(StandardCharsets.UTF_8);
          to.writeInt(text.length);
          to.write(text);
          to.writeShort(types.length);
          for (int type : types) {
            to.writeShort(type);
          }
        });
  }

  /** The data of LIST_META_CONTEXT and SET_META_CONTEXT. */
  static byte[] contextData(String name, String... queries) {
    return bytes(
        to -> {
          byte[] text = name.getBytes(StandardCharsets.UTF_8);
          to.writeInt(text.length);
          to.write(text);
          to.writeInt(queries.length);
          for (String query : queries) {
            byte[] each = query.getBytes(StandardCharsets.UTF_8);
            to.writeInt(each.length);
            to.write(each);
          }
        });
  }

  OptionReply readOptionReply() throws IOException {
    assertThat(in.readLong()).isEqualTo(0x3e889045565a9L);
    int option = in.readInt();
    int type = in.readInt();
    int length = in.readInt();
    assertThat(length).isBetween(0, 1 << 20);
    return new OptionReply(option, type, ByteBuffer.wrap(readBytes(length)));
  }

  /** Sends an option and reads replies up to its ack or error. */
  List<OptionReply> ask(int option, byte... data) throws IOException {
    sendOption(option, data);
    return readOptionReplies(option);
  }

  List<OptionReply> readOptionReplies(int option) throws IOException {
    List<OptionReply> replies = new ArrayList<>();
    OptionReply reply;
    do {
      reply = readOptionReply();
      assertThat(reply.option()).isEqualTo(option);
      replies.add(reply);
    } while (reply.type() != Protocol.NBD_REP_ACK && reply.type() >= 0);
    return replies;
  }

  /** Goes to the transmission phase; true replies are structured if asked for. */
  RawClient go(String export, boolean structured) throws IOException {
    greet();
    if (structured) {
      assertThat(ask(Protocol.NBD_OPT_STRUCTURED_REPLY).getLast().type())
          .isEqualTo(Protocol.NBD_REP_ACK);
      assertThat(
              ask(Protocol.NBD_OPT_SET_META_CONTEXT, contextData(export, "base:allocation"))
                  .getLast()
                  .type())
          .isEqualTo(Protocol.NBD_REP_ACK);
    }
    assertThat(ask(Protocol.NBD_OPT_GO, infoData(export)).getLast().type())
        .isEqualTo(Protocol.NBD_REP_ACK);
    return this;
  }

  /** Goes to the transmission phase with extended headers and these contexts. */
  RawClient goExtended(String export, String... contexts) throws IOException {
    greet();
    negotiateExtended(export, contexts);
    assertThat(ask(Protocol.NBD_OPT_GO, infoData(export)).getLast().type())
        .isEqualTo(Protocol.NBD_REP_ACK);
    return this;
  }

  /** Negotiates extended headers and these contexts; returns the answer for the contexts. */
  List<OptionReply> negotiateExtended(String export, String... contexts) throws IOException {
    assertThat(ask(11).getLast().type()).isEqualTo(Protocol.NBD_REP_ACK);
    List<OptionReply> told = ask(Protocol.NBD_OPT_SET_META_CONTEXT, contextData(export, contexts));
    assertThat(told.getLast().type()).isEqualTo(Protocol.NBD_REP_ACK);
    extended = true;
    return told;
  }

  /** A request with an extended header, and what is sent behind it. */
  static byte[] extendedRequest(
      int flags, int command, long cookie, long offset, long length, byte... payload) {
    return bytes(
        to -> {
          to.writeInt(0x21e41c71);
          to.writeShort(flags);
          to.writeShort(command);
          to.writeLong(cookie);
          to.writeLong(offset);
          to.writeLong(length);
          to.write(payload);
        });
  }

  static byte[] request(int flags, int command, long cookie, long offset, long length) {
    return bytes(
        to -> {
          to.writeInt(0x25609513);
          to.writeShort(flags);
          to.writeShort(command);
          to.writeLong(cookie);
          to.writeLong(offset);
          to.writeInt((int) length);
        });
  }

  void sendRequest(int flags, int command, long cookie, long offset, long length)
      throws IOException {
    out.write(
        extended
            ? extendedRequest(flags, command, cookie, offset, length)
            : request(flags, command, cookie, offset, length));
  }

  void sendWrite(int flags, long cookie, long offset, byte[] data) throws IOException {
    if (extended) {
      out.write(
          extendedRequest(
              flags | Protocol.NBD_CMD_FLAG_PAYLOAD_LEN,
              Protocol.NBD_CMD_WRITE,
              cookie,
              offset,
              data.length,
              data));
      return;
    }
    byte[] header = request(flags, Protocol.NBD_CMD_WRITE, cookie, offset, data.length);
    byte[] all = new byte[header.length + data.length];
    System.arraycopy(header, 0, all, 0, header.length);
    System.arraycopy(data, 0, all, header.length, data.length);
    out.write(all);
  }

  /** Reads a simple reply; {@code dataBytes} follow it if it is a success. */
  Reply readSimple(int dataBytes) throws IOException {
    assertThat(in.readInt()).isEqualTo(0x67446698);
    int error = in.readInt();
    long cookie = in.readLong();
    byte[] data = error == 0 ? in.readNBytes(dataBytes) : new byte[0];
    assertThat(data).hasSize(error == 0 ? dataBytes : 0);
    return new Reply(cookie, error, "", List.of(new Chunk(-1, ByteBuffer.wrap(data))));
  }

  /** Reads a reply of any kind to a request that returns no data in a simple reply. */
  Reply readReply() throws IOException {
    int magic = in.readInt();
    if (magic == 0x67446698) {
      int error = in.readInt();
      return new Reply(in.readLong(), error, "", List.of());
    }
    int chunkMagic = extended ? 0x6e8a278c : 0x668e33ef;
    assertThat(magic).isEqualTo(chunkMagic);
    long offset = 0;
    List<Chunk> chunks = new ArrayList<>();
    int error = 0;
    String message = "";
    long cookie;
    boolean done;
    do {
      if (!chunks.isEmpty()) {
        // The server sends the chunks of one reply in one piece.
        assertThat(in.readInt()).isEqualTo(chunkMagic);
      }
      int flags = in.readUnsignedShort();
      assertThat(flags & ~1).isZero();
      done = (flags & 1) != 0;
      int type = in.readUnsignedShort();
      cookie = in.readLong();
      if (extended) {
        long repeated = in.readLong();
        assertThat(chunks.isEmpty() || repeated == offset).isTrue();
        offset = repeated;
      }
      int length = extended ? Math.toIntExact(in.readLong()) : in.readInt();
      assertThat(length).isBetween(0, (64 << 20) + 8);
      byte[] payload = in.readNBytes(length);
      assertThat(payload).hasSize(length);
      if (type == Protocol.NBD_REPLY_TYPE_ERROR) {
        ByteBuffer fields = ByteBuffer.wrap(payload);
        error = fields.getInt();
        assertThat(error).isNotZero();
        byte[] text = new byte[fields.getShort()];
        fields.get(text);
        assertThat(fields.hasRemaining()).isFalse();
        message = new String(text, StandardCharsets.UTF_8);
      } else {
        chunks.add(new Chunk(type, ByteBuffer.wrap(payload)));
      }
    } while (!done);
    return new Reply(cookie, error, message, chunks, offset);
  }

  /** Reads without structured replies. */
  byte[] read(long offset, int length) throws IOException {
    sendRequest(0, Protocol.NBD_CMD_READ, 77, offset, length);
    Reply reply = readSimple(length);
    assertThat(reply.cookie()).isEqualTo(77);
    assertThat(reply.error()).isZero();
    return reply.chunks().getFirst().bytes(0);
  }

  void write(long offset, byte[] data) throws IOException {
    sendWrite(0, 78, offset, data);
    assertThat(readReply()).isEqualTo(new Reply(78, 0, "", List.of()));
  }

  private Socket socket() {
    return (Socket) connection;
  }

  InetSocketAddress localAddress() {
    return (InetSocketAddress) socket().getLocalSocketAddress();
  }

  /** Asks for TLS, and begins it. */
  SSLSocket startTls(SSLContext context, String... versions) throws IOException {
    assertThat(ask(Protocol.NBD_OPT_STARTTLS).getLast().type()).isEqualTo(Protocol.NBD_REP_ACK);
    // What is read with the reply would be lost here.
    SSLSocket inside =
        (SSLSocket)
            context
                .getSocketFactory()
                .createSocket(socket(), "localhost", socket().getPort(), /* autoClose= */ true);
    if (versions.length > 0) {
      inside.setEnabledProtocols(versions);
    }
    inside.startHandshake();
    in = new DataInputStream(inside.getInputStream());
    out =
        new DataOutputStream(
            new BufferedOutputStream(inside.getOutputStream(), 1 << 20) {
              @Override
              public synchronized void write(byte[] bytes, int from, int length)
                  throws IOException {
                super.write(bytes, from, length);
                flush();
              }
            });
    return inside;
  }

  /** Asks for TLS, and begins it with a pre-shared key. */
  void startPsk(String identity, byte[] key, ProtocolVersion version, int cipherSuite)
      throws IOException {
    startPsk(new PreSharedKeyClient(identity, key, version, cipherSuite));
  }

  /** Asks for TLS, and begins it as this client does. */
  PskConnection startPsk(PreSharedKeyClient client) throws IOException {
    assertThat(ask(Protocol.NBD_OPT_STARTTLS).getLast().type()).isEqualTo(Protocol.NBD_REP_ACK);
    PskConnection protocol = new PskConnection(in, out);
    protocol.connect(client);
    in = new DataInputStream(protocol.getInputStream());
    out = new DataOutputStream(protocol.getOutputStream());
    return protocol;
  }

  /** TLS that can be negotiated anew. */
  static final class PskConnection extends TlsClientProtocol {
    private PskConnection(InputStream in, OutputStream out) {
      super(in, out);
    }

    /** Begins another handshake inside TLS. */
    void negotiateAnew() throws IOException {
      byte[] hello = {HandshakeType.client_hello, 0, 0, 0};
      safeWriteRecord(ContentType.handshake, hello, 0, hello.length);
    }
  }

  /** Sends past the TLS that has been begun. */
  void sendOutsideTls(byte... bytes) throws IOException {
    socket().getOutputStream().write(bytes);
  }

  /** Everything up to the end, which TLS must have announced. */
  byte[] readToEnd() throws IOException {
    return in.readAllBytes();
  }

  /** Whether the server has closed the connection, with nothing more to say. */
  boolean atEnd() throws IOException {
    try {
      return in.read() < 0;
    } catch (SocketException reset) {
      return true;
    }
  }

  /** What the server sends, for whoever reads it in another way. */
  DataInputStream input() {
    return in;
  }

  byte[] readBytes(int length) throws IOException {
    byte[] bytes = in.readNBytes(length);
    assertThat(bytes).hasSize(length);
    return bytes;
  }

  /** Closes this direction only. */
  void shutdownOutput() throws IOException {
    socket().shutdownOutput();
  }

  /** Ends the connection by a reset. */
  void reset() throws IOException {
    if (connection instanceof Socket socket) {
      socket.setSoLinger(true, 0);
    }
    connection.close();
  }

  @Override
  public void close() throws IOException {
    connection.close();
  }
}
