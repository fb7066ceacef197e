/** What a frame was refused for. */
export type WireErrorCode = "oversize" | "version" | "malformed";

/**
 * A frame from a peer cannot be accepted. Its message is one sentence that may be sent back over the
 * wire: it names what failed, the value and the bound, and never holds a stack.
 */
export class WireError extends Error {
  /** What the frame was refused for. */
  readonly code: WireErrorCode;

  /**
   * An error to catch at the edge.
   * @param code What the frame was refused for.
   * @param message One sentence.
   * @param options The underlying error, kept for logs on this side only.
   */
  constructor(code: WireErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "WireError";
    this.code = code;
  }
}
