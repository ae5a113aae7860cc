/**
 * The inspection filter: counts and times every operation.
 *
 * <p>It is the smallest complete filter, and so the template for others. To write one:
 *
 * <ol>
 *   <li>Extend {@link io.filterd.block.IoFilter} and write every operation. Nothing passes through
 *       by itself: to pass an operation on is to call {@code below} with the same arguments.
 *   <li>Say in {@code info()} what the device looks like from above: {@code below.info()} if the
 *       filter changes nothing, larger {@link io.filterd.block.BlockSizes} if it works on whole
 *       units, fewer capabilities if it can't keep a promise of the device below.
 *   <li>With {@link io.filterd.block.Blocking#FORBIDDEN}, wait for nothing. If the filter would
 *       have to, or the device below answers that it would block, answer the same and undo what was
 *       done: the call comes again with {@code ALLOWED}. A filter that can't do this answers {@code
 *       WOULD_BLOCK} at once, and is right.
 *   <li>Override {@code close()} only to release what the filter itself holds, and call {@code
 *       super.close()} whatever happens.
 *   <li>Implement {@link io.filterd.filter.Reporting} if operators have something to see.
 *   <li>Write a {@link io.filterd.filter.FilterFactory}: a name for policies, the class that gives
 *       the filter its place, the parameters with their types, defaults and bounds. The values it
 *       is given then are checked.
 *   <li>Name the factory in {@code META-INF/services/io.filterd.filter.FilterFactory} of your jar,
 *       and put the jar on the daemon's class path.
 *   <li>Test it with {@code io.filterd.block.BlockDeviceContract}, from the test jar of this
 *       module: a subclass that makes the filter on top of a {@link io.filterd.block.MemoryDevice}
 *       holds it to the contract of {@link io.filterd.block.BlockDevice}, with faults and many
 *       threads.
 * </ol>
 *
 * A filter that stands before encryption sees plaintext: a policy that encrypts must allow it, with
 * {@code allowFiltersBeforeEncryption: true}.
 */
@NullMarked
package io.filterd.filter.inspection;

import org.jspecify.annotations.NullMarked;
