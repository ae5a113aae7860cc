package io.filterd.keys;

import io.filterd.crypto.SecretBytes;
import io.filterd.keys.KeyException.Reason;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A random secret that the host's TPM 2.0 has sealed under its owner hierarchy, by Debian's
 * tpm2-tools. With PCRs it unseals only while they are what they were. The file's format is
 * described in filterd/keys/docs/native-provider.md.
 *
 * @param file where the sealed secret is
 * @param tcti how to reach the TPM, as tpm2-tools' option {@code -T} says it
 * @param pcrs those that new secrets are bound to, such as {@code sha256:7}; empty for none
 */
record Tpm2Seal(Path file, String tcti, String pcrs) implements Seal {
  static final String KIND = "tpm2";
  static final Pattern PCRS =
      Pattern.compile("(?:sha(?:1|256|384|512):[0-9]{1,2}(?:,[0-9]{1,2}){0,23})?");

  private static final int MAX_OBJECT_BYTES = 1024;
  private static final int MAX_FILE_BYTES = 4 * MAX_OBJECT_BYTES + 256;
  private static final Pattern TEXT =
      Pattern.compile(
          "format=filterd-tpm2-seal\nversion=1\npcrs=("
              + PCRS
              + ")\npublic=((?:[0-9a-f]{2}){1,1024})\nprivate=((?:[0-9a-f]{2}){1,1024})\n");

  @Override
  public List<Path> files() {
    return List.of(file);
  }

  @Override
  public String kind() {
    return KIND;
  }

  @Override
  public String sentence() {
    return "Its state is sealed by this host's TPM"
        + (pcrs.isEmpty() ? "." : ", bound to the PCRs " + pcrs + ".");
  }

  @Override
  public SecretBytes make() throws KeyException {
    if (Files.exists(file)) {
      throw SealedKeyFile.exists(file, null);
    }
    SecretBytes secret = SecretBytes.random(SealTool.SECRET_BYTES);
    boolean done = false;
    try {
      byte[] text = SealTool.inFolder(folder -> seal(folder, secret));
      SealedKeyFile.create(file, text);
      done = true;
      return secret;
    } catch (SealTool.Failed failure) {
      throw failed(failure);
    } finally {
      if (!done) {
        secret.close();
      }
    }
  }

  private byte[] seal(Path folder, SecretBytes secret)
      throws KeyException, SealTool.Failed, IOException {
    Path publicPart = folder.resolve("public");
    Path privatePart = folder.resolve("private");
    List<String> create =
        new ArrayList<>(
            List.of(
                "-C",
                primary(folder),
                "-i",
                "-",
                "-u",
                publicPart.toString(),
                "-r",
                privatePart.toString()));
    if (pcrs.isEmpty()) {
      create.addAll(List.of("-a", "fixedtpm|fixedparent|noda|userwithauth"));
    } else {
      String policy = folder.resolve("policy").toString();
      SealTool.run(tool("tpm2_createpolicy", "--policy-pcr", "-l", pcrs, "-L", policy));
      flush();
      create.addAll(List.of("-L", policy, "-a", "fixedtpm|fixedparent|noda"));
    }
    SealTool.feed(tool("tpm2_create", create.toArray(String[]::new)), secret);
    flush();
    return "format=filterd-tpm2-seal\nversion=1\npcrs=%s\npublic=%s\nprivate=%s\n"
        .formatted(pcrs, hex(publicPart), hex(privatePart))
        .getBytes(StandardCharsets.US_ASCII);
  }

  private static String hex(Path file) throws IOException {
    if (Files.size(file) > MAX_OBJECT_BYTES) {
      throw new IOException(file + ": longer (expected: at most " + MAX_OBJECT_BYTES + " bytes)");
    }
    return HexFormat.of().formatHex(Files.readAllBytes(file));
  }

  /** The key that seals: the TPM makes the same one from its owner's seed each time. */
  private String primary(Path folder) throws KeyException, SealTool.Failed {
    flush();
    String primary = folder.resolve("primary").toString();
    SealTool.run(tool("tpm2_createprimary", "-C", "o", "-g", "sha256", "-G", "ecc", "-c", primary));
    flush();
    return primary;
  }

  private List<String> tool(String program, String... arguments) {
    List<String> command = new ArrayList<>(List.of(program, "-T", tcti));
    if (!program.equals("tpm2_unseal") && !program.equals("tpm2_flushcontext")) {
      command.add("-Q");
    }
    command.addAll(List.of(arguments));
    return command;
  }

  /**
   * A TPM has room for three objects. A resource manager forgets them with the program that used
   * them, and must not be told to forget those of others.
   */
  private void flush() throws KeyException, SealTool.Failed {
    if (!tcti.contains("tpmrm") && !tcti.contains("tabrmd")) {
      SealTool.run(tool("tpm2_flushcontext", "-t"));
    }
  }

  @Override
  public SecretBytes open() throws KeyException {
    byte[] bytes = SealedKeyFile.read(file, MAX_FILE_BYTES);
    Matcher text = TEXT.matcher(new String(bytes, StandardCharsets.ISO_8859_1));
    if (!text.matches()) {
      throw new KeyException(
          Reason.PROTOCOL, file + ": not as written (expected: a secret sealed by a TPM)");
    }
    try {
      return SealTool.inFolder(
          folder -> unseal(folder, text.group(1), text.group(2), text.group(3)));
    } catch (SealTool.Failed failure) {
      throw failed(failure);
    }
  }

  private SecretBytes unseal(Path folder, String boundTo, String publicHex, String privateHex)
      throws KeyException, SealTool.Failed, IOException {
    Path publicPart = Files.write(folder.resolve("public"), HexFormat.of().parseHex(publicHex));
    Path privatePart = Files.write(folder.resolve("private"), HexFormat.of().parseHex(privateHex));
    String object = folder.resolve("object").toString();
    SealTool.run(
        tool(
            "tpm2_load",
            "-C",
            primary(folder),
            "-u",
            publicPart.toString(),
            "-r",
            privatePart.toString(),
            "-c",
            object));
    flush();
    List<String> unseal = new ArrayList<>(List.of("-c", object));
    if (!boundTo.isEmpty()) {
      unseal.addAll(List.of("-p", "pcr:" + boundTo));
    }
    try {
      return SealTool.read(tool("tpm2_unseal", unseal.toArray(String[]::new)));
    } finally {
      flush();
    }
  }

  private KeyException failed(SealTool.Failed failure) {
    if (failure.says("policy check failed")) {
      return denied(
          failure,
          "its PCRs are not what they were when it was sealed: firmware, boot loader or settings"
              + " of this host were changed");
    }
    if (failure.says("integrity check failed")) {
      return denied(failure, "it was sealed by another TPM, or this one was cleared");
    }
    return new KeyException(
        Reason.UNAVAILABLE, "%s: the TPM: %s".formatted(file, failure.lastLine()), failure);
  }

  private KeyException denied(SealTool.Failed failure, String why) {
    return new KeyException(
        Reason.DENIED,
        "%s: the TPM does not unseal it: %s; %s"
            .formatted(file, why, SealedKeyFile.RESTORE_SENTENCE),
        failure);
  }

  @Override
  public void discard() throws KeyException {
    SealedKeyFile.delete(file);
  }

  @Override
  public String refusal() {
    return "the secret that the TPM has unsealed from %s does not open it: they do not belong together, or it was changed"
        .formatted(file);
  }
}
