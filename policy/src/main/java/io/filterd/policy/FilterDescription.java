package io.filterd.policy;

import java.util.List;

/**
 * A filter as a policy sees it.
 *
 * @param name its name in policies
 * @param filterClass the name of its class, as {@code QOS}; a policy has at most one filter of one
 * @param order its class's place in the pipeline, the least nearest the client
 * @param seesPlaintext whether it stands where an encrypting pipeline is still in the clear
 * @param builtIn whether it comes with filterd
 * @param parameters what a policy may set
 */
public record FilterDescription(
    String name,
    String filterClass,
    int order,
    boolean seesPlaintext,
    boolean builtIn,
    List<ParameterDescription> parameters) {
  /** The class of the filter that the encryption rule, and nothing else, switches on. */
  static final String ENCRYPTION = "ENCRYPTION";

  /** Copies the list. */
  public FilterDescription {
    parameters = List.copyOf(parameters);
  }
}
