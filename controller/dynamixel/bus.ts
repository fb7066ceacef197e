/**
 * What a Dynamixel bus can do, whoever drives it: ROBOTIS' C library or the embedded driver.
 *
 * Calls block their thread until the answer is there or its deadline has passed, because a bus has a
 * thread of its own (a Worker) and one conversation at a time. Numbers are little-endian on the wire;
 * 4-byte items are signed here, shorter ones unsigned unless the control table says otherwise.
 *
 * @module
 */

/**
 * Why a servo's answer is missing; `busy` and `device` are about the port, not the servo. `refused` is
 * for callers that take an answer with an error number for a failure; drivers pass the number on.
 */
export type BusFault = "timeout" | "corrupt" | "busy" | "device" | "refused";

/** Bounds of one group read, where they differ from those of the bus. */
export interface ReadLimits {
  /** Allowance for the adapter and the system in each attempt, ms. */
  readonly latencyMs?: number;
  /** No attempt begins that could end later than this after the first began, ms. */
  readonly budgetMs?: number;
}

/** One servo's answer to a read. */
export interface ServoReading {
  /** ID of the servo, 0–252. */
  readonly id: number;
  /** Bytes read, or undefined when there is a fault or the servo refused (then `error` says why). */
  readonly data?: Uint8Array;
  /**
   * The status packet's error byte: bit 7 is the hardware alert, bits 0–6 the error number. The C
   * library hides it in group reads; it is undefined then.
   */
  readonly error?: number;
  /** Why there is no data. */
  readonly fault?: BusFault;
}

/** One servo's answer to an instruction without data. */
export interface ServoReply {
  /** The status packet's error byte; 0 is well. */
  readonly error: number;
}

/** What a servo says to a ping. */
export interface PingReply extends ServoReply {
  /** Model number, such as 1020 for XM430-W350. */
  readonly model: number;
  /** Version of its firmware. */
  readonly firmware: number;
}

/** An exchange with one servo failed. */
export class BusError extends Error {
  /** `BusError`. */
  override readonly name = "BusError";
  /** What went wrong. */
  readonly fault: BusFault;

  /**
   * Make one.
   *
   * @param message One sentence: what was tried, on which servo of which port, and what to do.
   * @param fault What went wrong.
   * @param options The cause.
   */
  constructor(message: string, fault: BusFault, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
  }
}

/** An open bus. Owner of its port. */
export interface DynamixelBus extends Disposable {
  /** Which driver this is. */
  readonly driver: "sdk" | "builtin";
  /** The device, such as /dev/ttyDXL_puppet_left. */
  readonly port: string;
  /** Answers that were asked for again since the bus was opened. */
  readonly retryCount: number;
  /** Ask one servo who it is. @throws {BusError} No valid answer came. */
  ping(id: number): PingReply;
  /** Ask everybody who they are; answers come in the order of IDs. */
  broadcastPing(): readonly (PingReply & { readonly id: number })[];
  /**
   * Read `length` bytes at `address` of one servo; no bytes when the servo refused.
   * @throws {BusError} No valid answer came.
   */
  read(id: number, address: number, length: number): ServoReply & { readonly data: Uint8Array };
  /** Write bytes at `address` of one servo. @throws {BusError} No valid answer came. */
  write(id: number, address: number, data: Uint8Array): ServoReply;
  /** Write the same item of several servos at once; nobody answers. @throws {BusError} On the port. */
  syncWrite(address: number, length: number, rows: ReadonlyMap<number, Uint8Array>): void;
  /**
   * Read the same item of several servos; a servo that fails has a fault in its place.
   * @throws {BusError} The port is gone, fault `device`.
   */
  syncRead(
    address: number,
    length: number,
    ids: readonly number[],
    limits?: ReadLimits,
  ): readonly ServoReading[];
  /** Restart a servo, which clears its hardware errors. @throws {BusError} No valid answer came. */
  reboot(id: number): ServoReply;
}
