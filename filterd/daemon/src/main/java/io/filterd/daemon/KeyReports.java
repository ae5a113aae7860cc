package io.filterd.daemon;

import io.filterd.daemon.KeyQuestions.Answer;
import io.filterd.daemon.control.KeyCare;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Results;
import io.filterd.inventory.DiskName;
import io.filterd.inventory.DiskRecord;
import io.filterd.inventory.Inventory;
import io.filterd.keys.KeyDescription;
import io.filterd.keys.KeyReference;
import java.io.IOException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Says how keys are and what would survive which loss, and locks and unlocks disks by command. */
final class KeyReports {
  private final Inventory inventory;
  private final KeyAccess keys;
  private final KeyUses uses;
  private final KeyQuestions questions;
  private final Providers providers;
  private final DiskReports disks;
  private final LockedDisks locked;

  KeyReports(
      Inventory inventory,
      KeyAccess keys,
      KeyUses uses,
      KeyQuestions questions,
      Providers providers,
      DiskReports disks,
      LockedDisks locked) {
    this.inventory = inventory;
    this.keys = keys;
    this.uses = uses;
    this.questions = questions;
    this.providers = providers;
    this.disks = disks;
    this.locked = locked;
  }

  /** How every key is that something names. */
  KeyCare.Keys status() throws InterruptedException {
    List<KeyUses.Disk> all = uses.disks();
    Map<KeyReference, KeyUses.Use> named = uses.keys(all);
    Map<KeyReference, Answer> answers = questions.ask(named.keySet());
    List<KeyCare.Key> results = new ArrayList<>();
    named.forEach((key, use) -> results.add(key(key, use, answers.get(key))));
    List<String> problems = new ArrayList<>();
    for (KeyUses.Disk disk : all) {
      if (disk.problem() != null) {
        problems.add("disk " + disk.record().name() + " can't be read: " + disk.problem());
      }
    }
    return new KeyCare.Keys(results, problems);
  }

  private KeyCare.Key key(KeyReference key, KeyUses.Use use, @Nullable Answer answered) {
    Answer answer =
        answered == null ? new Answer("provider-unavailable", null, "not asked") : answered;
    Optional<KeyDescription> description = Optional.ofNullable(answer.description());
    return new KeyCare.Key(
        key.provider(),
        key.keyId(),
        key.checkValue(),
        answer.status(),
        description.map(known -> KeyQuestions.word(known.state())).orElse(null),
        answer.detail(),
        here(use),
        description.flatMap(KeyDescription::created).map(Instant::toString).orElse(null),
        description.flatMap(KeyDescription::endsAt).map(Instant::toString).orElse(null),
        List.copyOf(use.disks),
        List.copyOf(use.linkFiles.values()),
        List.copyOf(use.vms),
        List.copyOf(use.tenants));
  }

  private String here(KeyUses.Use use) {
    long here = use.linkFiles.keySet().stream().filter(keys::isUnlocked).count();
    if (here == 0) {
      return "none";
    }
    return here == use.linkFiles.size() ? "all" : "some";
  }

  /** What would survive which loss. */
  KeyCare.Preflight preflight() throws InterruptedException {
    List<KeyUses.Disk> all = uses.disks();
    Map<KeyReference, Answer> answers = questions.ask(uses.keys(all).keySet());
    return new Preflight(inventory, all, answers, questions.probe()).result();
  }

  /** How the providers are, asked now. */
  Results.Providers probe() throws InterruptedException {
    return new Results.Providers(
        questions.probe().values().stream().map(providers::result).toList());
  }

  /** Makes disks unreadable now. */
  KeyCare.DiskStates lock(KeyCare.Target target)
      throws OperationException, IOException, InterruptedException {
    List<DiskName> names = names(target);
    List<String> warnings = new ArrayList<>();
    for (DiskName left : locked.lock(names)) {
      warnings.add(
          "disk "
              + left
              + ": its keys are wiped; its file is closed once the change of disks that is under"
              + " way is over");
    }
    return states(names, warnings);
  }

  /** Takes locks back, and opens what is to be served. */
  KeyCare.DiskStates unlock(KeyCare.Target target)
      throws OperationException, IOException, InterruptedException {
    List<DiskName> names = names(target);
    locked.unlock(names);
    return states(names, List.of());
  }

  private KeyCare.DiskStates states(List<DiskName> names, List<String> warnings) {
    List<KeyCare.DiskState> states = new ArrayList<>();
    for (DiskName name : names) {
      inventory
          .disk(name)
          .map(disks::summary)
          .ifPresent(
              disk -> states.add(new KeyCare.DiskState(disk.name(), disk.state(), disk.reason())));
    }
    return new KeyCare.DiskStates(states, warnings);
  }

  private List<DiskName> names(KeyCare.Target target) throws OperationException {
    String wanted = target.name();
    List<DiskName> all = inventory.disks().stream().map(DiskRecord::name).toList();
    if (wanted == null) {
      return all;
    }
    List<DiskName> named =
        all.stream()
            .filter(name -> name.vm().equals(wanted) || name.toString().equals(wanted))
            .toList();
    if (named.isEmpty()) {
      throw new OperationException(
          Code.NOT_FOUND,
          "no VM or disk " + wanted + ": `filterd disk list` shows those there are");
    }
    return named;
  }
}
