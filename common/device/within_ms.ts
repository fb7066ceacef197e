/**
 * Waits for something, but not for ever.
 * @module
 */

/**
 * Wait until a promise settles or time is up.
 *
 * @param promise What is waited for; must not reject.
 * @param timeoutMs At most so long.
 * @returns Whether it settled in time.
 */
export async function withinMs(promise: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeUp = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs);
  });
  try {
    return await Promise.race([promise.then(() => true), timeUp]);
  } finally {
    clearTimeout(timer);
  }
}
