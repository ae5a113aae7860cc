package io.filterd.kmip;

import io.filterd.kmip.ttlv.Item;
import io.filterd.kmip.ttlv.Structure;
import io.filterd.kmip.ttlv.Tag;
import java.lang.foreign.MemorySegment;

/**
 * A user's name and password in a request (KMIP 1.4 section 2.1.2), beside the TLS certificate.
 *
 * @param password UTF-8, not copied, in memory that its owner wipes
 */
public record Credential(String username, MemorySegment password) {
  private static final int USERNAME_AND_PASSWORD = 1;

  Structure toItem() {
    return Item.structure(
        Tag.AUTHENTICATION,
        Item.structure(
            Tag.CREDENTIAL,
            Item.enumeration(Tag.CREDENTIAL_TYPE, USERNAME_AND_PASSWORD),
            Item.structure(
                Tag.CREDENTIAL_VALUE,
                Item.text(Tag.USERNAME, username),
                Item.text(Tag.PASSWORD, password))));
  }

  /** The user's name only. */
  @Override
  public String toString() {
    return "Credential[username=" + username + "]";
  }
}
