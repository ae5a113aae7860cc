package io.filterd.kmip;

/** An enumeration of the protocol: its constants have numbers. */
public interface KmipEnum {
  /** The number on the wire. */
  int code();
}
