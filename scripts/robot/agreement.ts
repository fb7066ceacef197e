/**
 * A person's agreement before something happens to real arms.
 *
 * @module
 */

import { UsageError } from "../../common/cli/flags.ts";
import type { ArmsKind } from "../../controller/aloha/robot_arms.ts";

/** A keyboard, if somebody sits at one. */
export interface Keyboard {
  /** Whether a person can press a key. */
  readonly isTerminal: () => boolean;
  /** Its bytes. */
  readonly readable: ReadableStream<Uint8Array>;
}

/** Who is asked, and whether it is necessary. */
export interface AgreementOptions {
  /** Which arms; emulated ones need nobody's agreement. */
  readonly kind: ArmsKind;
  /** `--yes` was given. */
  readonly hasAgreed: boolean;
  /** The keyboard. */
  readonly keyboard: Keyboard;
  /** Takes the question. */
  readonly say: (line: string) => void;
  /** Ends the wait by throwing its reason. */
  readonly signal: AbortSignal;
}

const NEWLINE = 10;
const RETURN = 13;

/**
 * Refuse early what nobody could agree to later.
 *
 * @param options Whom {@link agree} would ask.
 * @throws {UsageError} Real arms, no `--yes`, and no terminal to ask at.
 */
export function requireAgreement({ kind, hasAgreed, keyboard }: AgreementOptions): void {
  if (kind === "emulated" || hasAgreed || keyboard.isTerminal()) return;
  throw new UsageError(
    "Nobody can agree to what happens to the arms: run this at a terminal and press Enter, or give " +
      "--yes.",
  );
}

/**
 * Wait for Enter, unless no agreement is necessary.
 *
 * @param options Who is asked.
 * @throws {UsageError} As {@link requireAgreement}.
 * @throws {Error} The input has ended, or the signal's reason.
 */
export async function agree(options: AgreementOptions): Promise<void> {
  const { kind, hasAgreed, keyboard, say, signal } = options;
  requireAgreement(options);
  if (kind === "emulated" || hasAgreed) return;
  signal.throwIfAborted();
  say("Press Enter to go on, Ctrl-C to leave everything as it is.");
  const reader = keyboard.readable.getReader();
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), aborted.promise]);
      if (done) throw new Error("The keyboard has ended without an Enter: nothing was done");
      if (value.includes(NEWLINE) || value.includes(RETURN)) return;
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    await reader.cancel().catch(() => {});
  }
}
