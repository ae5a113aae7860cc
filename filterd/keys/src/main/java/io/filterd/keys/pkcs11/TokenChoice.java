package io.filterd.keys.pkcs11;

/**
 * Which token of a module is meant.
 *
 * @param label its label, or empty if the serial number says enough
 * @param serial its serial number, or empty if the label says enough
 */
record TokenChoice(String label, String serial) {
  boolean matches(Cryptoki.TokenInfo token) {
    return token.has(Cryptoki.TokenInfo.INITIALIZED)
        && (label.isEmpty() || label.equals(token.label()))
        && (serial.isEmpty() || serial.equals(token.serial()));
  }

  @Override
  public String toString() {
    String byLabel = label.isEmpty() ? "" : "label \"" + label + "\"";
    String bySerial = serial.isEmpty() ? "" : "serial number \"" + serial + "\"";
    return byLabel + (byLabel.isEmpty() || bySerial.isEmpty() ? "" : ", ") + bySerial;
  }
}
