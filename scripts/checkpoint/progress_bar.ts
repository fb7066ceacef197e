/**
 * A bar that fills on a terminal, and nothing anywhere else.
 * @module
 */

const WIDTH = 30;
/** Often enough to be seen moving, seldom enough to cost nothing. */
const REDRAW_MS = 100;

/** Where a bar is drawn. */
export interface BarSurroundings {
  /** Whether it is a terminal. */
  readonly isTerminal: boolean;
  /** Write without a line break. */
  readonly write: (text: string) => void;
  /** Milliseconds since any fixed time. */
  readonly nowMs: () => number;
}

/** The standard error stream, so that standard output stays free for results. */
export function terminalSurroundings(): BarSurroundings {
  const encoder = new TextEncoder();
  return {
    isTerminal: Deno.stderr.isTerminal(),
    write: (text) => void Deno.stderr.writeSync(encoder.encode(text)),
    nowMs: () => performance.now(),
  };
}

/** A progress bar. Disposing of it ends its line. */
export class ProgressBar implements Disposable {
  readonly #surroundings: BarSurroundings;
  readonly #label: string;
  readonly #start: number;
  #drawn = -Infinity;

  /**
   * Nothing is drawn yet.
   * @param label What is in progress, such as `loading`.
   * @param surroundings Where to draw.
   */
  constructor(label: string, surroundings: BarSurroundings = terminalSurroundings()) {
    this.#label = label;
    this.#surroundings = surroundings;
    this.#start = surroundings.nowMs();
  }

  /**
   * Show how far it is.
   * @param done Bytes done.
   * @param total Bytes in all.
   */
  update(done: number, total: number): void {
    const { isTerminal, write, nowMs } = this.#surroundings;
    const now = nowMs();
    if (!isTerminal || (done < total && now - this.#drawn < REDRAW_MS)) return;
    this.#drawn = now;
    const share = total === 0 ? 1 : done / total;
    const filled = Math.round(WIDTH * share);
    const rate = done / 1e6 / Math.max((now - this.#start) / 1000, 1e-3);
    const bar = "█".repeat(filled) + "░".repeat(WIDTH - filled);
    const percent = `${Math.floor(100 * share)}`.padStart(3);
    write(`\r${this.#label} ${bar} ${percent} % ${rate.toFixed(0).padStart(5)} MB/s`);
  }

  /** End the line, if one was begun. */
  [Symbol.dispose](): void {
    if (this.#drawn > -Infinity) this.#surroundings.write("\n");
  }
}
