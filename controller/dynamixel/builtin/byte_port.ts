/**
 * A port that carries bytes: the embedded driver's own, or the one of ROBOTIS' library.
 *
 * @module
 */

/** An open port. Every method throws a BusError with the fault `device` when it has gone away. */
export interface BytePort {
  /** Drop what came and was not read. */
  flushInput(): void;
  /** Write all bytes. */
  write(bytes: Uint8Array<ArrayBuffer>): void;
  /**
   * Wait for bytes.
   *
   * @param into Where they go.
   * @param timeoutMs Longest wait in ms, with fractions; 0 looks only.
   * @returns Bytes read; 0 when none came in time.
   */
  read(into: Uint8Array<ArrayBuffer>, timeoutMs: number): number;
}
