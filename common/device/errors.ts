/**
 * The errors of a GPU that callers tell apart: it cannot be had, it has gone, its memory is full.
 * @module
 */

/** Why a GPU cannot be had. */
export type UnavailableKind =
  | "no-webgpu"
  | "no-adapter"
  | "software"
  | "missing-feature"
  | "request-failed";

/** There is no GPU that this program may use: compute elsewhere, or follow the remedy. */
export class GpuUnavailableError extends Error {
  /** Tells it from other errors in logs. */
  override readonly name = "GpuUnavailableError";
  /** Which case it is. */
  readonly kind: UnavailableKind;
  /** What is wrong: a clause, such as "no WebGPU adapter was found". */
  readonly problem: string;
  /** What to do: a clause, such as "install a Vulkan driver". */
  readonly remedy: string;

  /** Name a case, its problem and its remedy. */
  constructor(kind: UnavailableKind, problem: string, remedy: string, options?: ErrorOptions) {
    super(`Cannot open a GPU: ${problem}; ${remedy}`, options);
    this.kind = kind;
    this.problem = problem;
    this.remedy = remedy;
  }
}

/** The GPU has gone with everything on it: nothing that was computed since counts. */
export class GpuLostError extends Error {
  /** Tells it from other errors in logs. */
  override readonly name = "GpuLostError";

  /**
   * Name what was lost.
   * @param gpu The adapter's name.
   * @param reason What the driver says, such as "device was lost".
   */
  constructor(gpu: string, reason: string, options?: ErrorOptions) {
    super(
      `The GPU ${gpu} is lost (${reason}): what was on it must be uploaded to a new device`,
      options,
    );
  }
}

/** The GPU has no room for what was asked for; nothing of it was kept. */
export class GpuMemoryError extends Error {
  /** Tells it from other errors in logs. */
  override readonly name = "GpuMemoryError";
}
