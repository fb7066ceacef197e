/**
 * Bytes to lines.
 *
 * @module
 */

/** Turns a stream of UTF-8 bytes into one of lines without their ends. */
export class TextLineStream implements ReadableWritablePair<string, Uint8Array<ArrayBuffer>> {
  /** Lines come out here. */
  readonly readable: ReadableStream<string>;
  /** Bytes go in here. */
  readonly writable: WritableStream<Uint8Array<ArrayBuffer>>;

  /** Set up both ends. */
  constructor() {
    const decoder = new TextDecoder();
    let rest = "";
    const { readable, writable } = new TransformStream<Uint8Array<ArrayBuffer>, string>({
      transform(bytes, controller) {
        const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
        rest = lines.pop()!;
        for (const line of lines) controller.enqueue(line);
      },
      flush(controller) {
        if (rest !== "") controller.enqueue(rest);
      },
    });
    this.readable = readable;
    this.writable = writable;
  }
}
