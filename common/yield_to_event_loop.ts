/**
 * Lets the event loop turn.
 * @module
 */

/**
 * Wait for one turn of the event loop, so that sockets, timers and signals get theirs. On the CPU
 * backends tfjs's promises settle without one, and a loop over them would starve everything else.
 */
export function yieldToEventLoop(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
