package io.filterd.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.daemon.AccessRule.Allow;
import io.filterd.daemon.AccessRule.Who;
import io.filterd.nbd.Client;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class AccessRulesTest {
  private static final Client.Origin TCP =
      new Client.Origin.Tcp(new InetSocketAddress(InetAddress.getLoopbackAddress(), 1));

  static Client plain() {
    return new Client(TCP, false, new Client.Identity.Unproven());
  }

  static Client certified(String subject) {
    return new Client(TCP, true, new Client.Identity.Certificate(subject, "00"));
  }

  static Client preShared(String name) {
    return new Client(TCP, true, new Client.Identity.PreSharedKey(name));
  }

  static Client local(int uid) {
    return new Client(new Client.Origin.Unix(1, uid, 7), false, new Client.Identity.Unproven());
  }

  static AccessRule rule(Who who, Allow allow, String... exports) {
    return new AccessRule(who, List.of(exports), allow);
  }

  static AccessRules rules(AccessRule... rules) {
    return new AccessRules(Path.of("none"), List.of(rules));
  }

  @ParameterizedTest
  @CsvSource({
    "*,'',true",
    "*,anything/at all,true",
    "vm1/*,vm1/disk0,true",
    "vm1/*,vm10/disk0,false",
    "vm1/disk?,vm1/disk0,true",
    "vm1/disk?,vm1/disk,false",
    "*a*b*c,xaxbxbxc,true",
    "*a*b*c,xaxbxbxcd,false",
    "'CN=host1,*','CN=host1,O=Acme',true",
    // A comma inside a name is escaped.
    "'CN=host1,*','CN=host1\\,O=Acme',false",
    "'CN=host1,*',CN=host10,false",
    "CN=host1,cn=host1,false",
    ".*,vm,false",
  })
  void matchesPatternsAgainstWholeNames(String pattern, String text, boolean expected) {
    assertThat(AccessRule.matches(pattern, text)).isEqualTo(expected);
  }

  @Test
  void takesTheFirstRuleThatIsAboutClientAndExport() {
    AccessRules rules =
        rules(
            rule(new AccessRule.Anyone(), Allow.NONE, "secret/*"),
            rule(new AccessRule.TlsSubject("CN=alice*"), Allow.READ_WRITE, "vm1/*", "vm2/*"),
            rule(new AccessRule.PskIdentity("backup"), Allow.READ_ONLY, "*"),
            rule(new AccessRule.UnixUser(0), Allow.READ_WRITE, "*"),
            rule(new AccessRule.Anyone(), Allow.READ_ONLY, "vm2/*"));

    assertThat(rules.allow(certified("CN=alice"), "vm1/a")).isEqualTo(Allow.READ_WRITE);
    assertThat(rules.allow(certified("CN=alice"), "vm2/a")).isEqualTo(Allow.READ_WRITE);
    assertThat(rules.allow(certified("CN=alice"), "secret/a")).isEqualTo(Allow.NONE);
    assertThat(rules.allow(certified("CN=alice"), "vm3/a")).isEqualTo(Allow.NONE);
    assertThat(rules.allow(certified("CN=bob"), "vm1/a")).isEqualTo(Allow.NONE);
    assertThat(rules.allow(certified("CN=bob"), "vm2/a")).isEqualTo(Allow.READ_ONLY);
    assertThat(rules.allow(preShared("backup"), "vm3/a")).isEqualTo(Allow.READ_ONLY);
    assertThat(rules.allow(preShared("root"), "vm3/a")).isEqualTo(Allow.NONE);
    assertThat(rules.allow(local(0), "vm3/a")).isEqualTo(Allow.READ_WRITE);
    assertThat(rules.allow(local(1), "vm3/a")).isEqualTo(Allow.NONE);
    assertThat(rules.allow(plain(), "vm1/a")).isEqualTo(Allow.NONE);
    assertThat(rules.know(plain())).isTrue();
  }

  @Test
  void allowsNothingWithoutARule() {
    assertThat(rules().allow(local(0), "vm1/a")).isEqualTo(Allow.NONE);
    assertThat(rules().know(local(0))).isFalse();
  }
}
