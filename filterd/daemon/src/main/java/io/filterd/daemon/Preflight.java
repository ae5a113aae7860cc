package io.filterd.daemon;

import io.filterd.daemon.KeyQuestions.Answer;
import io.filterd.daemon.control.KeyCare;
import io.filterd.daemon.control.KeyCare.Loss;
import io.filterd.inventory.Inventory;
import io.filterd.keys.KeyReference;
import io.filterd.keys.ProviderNeeds;
import io.filterd.keys.ProviderStatus;
import io.filterd.keys.ProviderStatus.Health;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * Which VMs could be opened again after which loss, from what disks and providers say now. A link
 * of a disk can be opened if one of its keys can be had; a VM, if all links of its disks can.
 */
final class Preflight {
  private static final Set<String> IN_MEMORY = Set.of("tmpfs", "ramfs");

  /** Why a key could not be had after a loss; empty if it could. */
  @FunctionalInterface
  private interface Obstacle {
    Optional<String> to(KeyReference key);
  }

  private final Inventory inventory;
  private final List<KeyUses.Disk> disks;
  private final Map<KeyReference, Answer> answers;
  private final Map<String, ProviderStatus> providers;

  Preflight(
      Inventory inventory,
      List<KeyUses.Disk> disks,
      Map<KeyReference, Answer> answers,
      Map<String, ProviderStatus> providers) {
    this.inventory = inventory;
    this.disks = disks;
    this.answers = answers;
    this.providers = providers;
  }

  KeyCare.Preflight result() {
    Map<String, List<KeyUses.Disk>> vms = new TreeMap<>();
    for (KeyUses.Disk disk : disks) {
      vms.computeIfAbsent(disk.record().name().vm(), name -> new ArrayList<>()).add(disk);
    }
    List<KeyCare.VmLosses> results = new ArrayList<>();
    vms.forEach((vm, ofIts) -> results.add(new KeyCare.VmLosses(vm, losses(ofIts))));
    return new KeyCare.Preflight(results);
  }

  private List<Loss> losses(List<KeyUses.Disk> vm) {
    List<Loss> losses = new ArrayList<>();
    losses.add(reboot(vm));
    for (String name : providersOf(vm)) {
      ProviderStatus provider = providers.get(name);
      if (provider != null) {
        provider.needs().servers().forEach(server -> losses.add(server(vm, provider, server)));
      }
      losses.add(
          loss(
              vm,
              "provider",
              name,
              key ->
                  key.provider().equals(name)
                      ? Optional.of("its key " + key.keyId() + " is in provider " + name)
                      : now(key)));
    }
    losses.add(
        loss(
            vm,
            "all-providers",
            null,
            key -> Optional.of("its key " + key.keyId() + " is in a provider")));
    losses.add(hostDisk(vm));
    return losses;
  }

  private static Set<String> providersOf(List<KeyUses.Disk> vm) {
    TreeSet<String> names = new TreeSet<>();
    for (KeyUses.Disk disk : vm) {
      for (KeyUses.Link link : disk.links()) {
        link.keys().forEach(key -> names.add(key.provider()));
      }
    }
    return names;
  }

  private Loss reboot(List<KeyUses.Disk> vm) {
    for (KeyUses.Disk disk : vm) {
      Optional<String> volatileFile = inMemory(List.of(Path.of(disk.record().file())));
      if (volatileFile.isPresent()) {
        return new Loss("reboot", null, false, volatileFile.get());
      }
    }
    return loss(vm, "reboot", null, this::afterReboot);
  }

  private Optional<String> afterReboot(KeyReference key) {
    ProviderStatus provider = providers.get(key.provider());
    if (provider != null) {
      String reopening = provider.needs().reopening();
      if (!reopening.isEmpty()) {
        return Optional.of(
            "key provider " + provider.name() + " could not be opened again: " + reopening);
      }
      Optional<String> volatileFile = inMemory(provider.needs().files());
      if (volatileFile.isPresent()) {
        return volatileFile;
      }
    }
    return now(key);
  }

  private static Optional<String> inMemory(List<Path> files) {
    for (Path file : files) {
      try {
        String type = Files.getFileStore(file).type();
        if (IN_MEMORY.contains(type)) {
          return Optional.of(file + " is in memory (" + type + ") and gone after a reboot");
        }
      } catch (IOException missing) {
        return Optional.of(Failures.sentence(missing));
      }
    }
    return Optional.empty();
  }

  /** Why a key can't be had even now. */
  private Optional<String> now(KeyReference key) {
    Answer answer = answers.get(key);
    if (answer == null) {
      return Optional.of("key " + key.keyId() + ": its provider was not asked");
    }
    return answer.unwraps()
        ? Optional.empty()
        : Optional.of(answer.status() + ": " + answer.detail());
  }

  private Loss server(List<KeyUses.Disk> vm, ProviderStatus provider, ProviderNeeds.Server server) {
    boolean others =
        provider.needs().servers().stream()
            .anyMatch(each -> !each.equals(server) && each.health() != Health.RED);
    return loss(
        vm,
        "server",
        provider.name() + " " + server.name(),
        key ->
            key.provider().equals(provider.name()) && !others
                ? Optional.of("no other server of provider " + provider.name() + " answers")
                : now(key));
  }

  /** Of the disks' files nothing is known: whoever keeps no copy of them needs no key. */
  private Loss hostDisk(List<KeyUses.Disk> vm) {
    Loss loss =
        loss(
            vm,
            "host-disk",
            null,
            key -> {
              ProviderStatus provider = providers.get(key.provider());
              return provider == null ? now(key) : afterDiskLoss(provider, key);
            });
    return loss.survives()
        ? new Loss(
            loss.loss(), null, true, loss.reason() + "; its files need a copy somewhere else")
        : loss;
  }

  private Optional<String> afterDiskLoss(ProviderStatus provider, KeyReference key) {
    return switch (provider.needs().keeping()) {
      case ELSEWHERE, HERE_WITH_BACKUP -> now(key);
      case HERE_ONLY ->
          Optional.of(
              "key provider " + provider.name() + " has no backup: run `filterd provider backup`");
      case UNKNOWN ->
          Optional.of("key provider " + provider.name() + " does not say where its keys are");
    };
  }

  private Loss loss(List<KeyUses.Disk> vm, String loss, @Nullable String what, Obstacle obstacle) {
    boolean encrypted = false;
    for (KeyUses.Disk disk : vm) {
      String name = "disk " + disk.record().name();
      if (disk.problem() != null) {
        return new Loss(loss, what, false, name + " can't be read: " + disk.problem());
      }
      if (inventory.isLocked(disk.record().name())) {
        return new Loss(loss, what, false, name + " is " + LockedDisks.BY_COMMAND);
      }
      for (KeyUses.Link link : disk.links()) {
        encrypted = true;
        Optional<String> why = whyClosed(link, obstacle);
        if (why.isPresent()) {
          return new Loss(loss, what, false, name + ": " + why.get());
        }
      }
    }
    return new Loss(loss, what, true, encrypted ? "all of its keys can be had" : "it needs no key");
  }

  /** Why no key of a link could be had; empty if one could. */
  private static Optional<String> whyClosed(KeyUses.Link link, Obstacle obstacle) {
    Optional<String> first = Optional.of(link.file() + ": its key safe is empty");
    boolean any = false;
    for (KeyReference key : link.keys()) {
      Optional<String> why = obstacle.to(key);
      if (why.isEmpty()) {
        return why;
      }
      if (!any) {
        first = why;
        any = true;
      }
    }
    return first;
  }
}
