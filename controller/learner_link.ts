/**
 * The controller's side of the wire. The robot must not stop because the network does: `send` never
 * waits, what the learner has not acknowledged stays in the outbox, and a broken connection is
 * made anew with growing pauses until the learner answers or says that it never will.
 *
 * @module
 */
// @ts-types="@types/ws"
import WebSocket from "ws";
import type { ChunkTransition, HostTensor } from "../common/types.ts";
import { decodeFrame, encodeFrame, transitionBytes } from "../common/wire/frames.ts";
import type {
  AckMessage,
  Message,
  WeightsMessage,
  WelcomeMessage,
} from "../common/wire/messages.ts";
import {
  checkFrameCap,
  CLOSE_CODES,
  DEFAULT_MAX_FRAME_BYTES,
  PROTOCOL_VERSION,
} from "../common/wire/protocol.ts";
import { parseTransition } from "../common/wire/validate.ts";
import { WeightsAssembler, type WeightsSnapshot } from "../common/wire/weights_parts.ts";
import { WireError } from "../common/wire/wire_error.ts";
import type { LearnerLinkOptions, LinkCounts, LinkEnd, LinkState } from "./link_types.ts";
import { Outbox } from "./outbox.ts";

export type { LearnerLinkOptions, LinkCounts, LinkEnd, LinkState } from "./link_types.ts";

/** The least time that a closing link gives the learner to close too, in milliseconds. */
const CLOSE_TIMEOUT_MS = 1000;

/** A lasting connection to a learner. */
export class LearnerLink {
  /** Settles once, when the link has ended for good. Never rejects. */
  readonly ended: Promise<LinkEnd>;
  readonly #options:
    & Required<Omit<LearnerLinkOptions, "onWeights" | "token" | "refuseLearner">>
    & LearnerLinkOptions;
  readonly #outbox: Outbox;
  readonly #resolveEnded: (end: LinkEnd) => void;
  #state: LinkState = "idle";
  #end: LinkEnd | null = null;
  #socket: WebSocket | null = null;
  #assembler = new WeightsAssembler();
  #latest: WeightsSnapshot | null = null;
  /** Tensors of the newest version that came over this connection, by name. */
  readonly #tensors = new Map<string, HostTensor>();
  #isBusy = false;
  #failures = 0;
  #lastHeardMs = 0;
  #lastSentence = "";
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heartbeat: ReturnType<typeof setInterval> | undefined;
  /** Called whenever something that {@link until} may wait for has changed. */
  readonly #watchers = new Set<() => void>();
  readonly #counts = { sent: 0, resent: 0, acked: 0, duplicates: 0, refused: 0, connections: 0 };

  /**
   * Check the options; nothing is opened yet.
   * @param options What the link needs.
   * @throws {RangeError} If a capacity or a cap is out of range.
   */
  constructor(options: LearnerLinkOptions) {
    this.#options = {
      outboxCapacity: 1024,
      windowChunks: 64,
      batchChunks: 8,
      maxFrameBytes: DEFAULT_MAX_FRAME_BYTES,
      heartbeatMs: 5000,
      deadlineMs: 15_000,
      backoffBaseMs: 200,
      backoffCapMs: 10_000,
      ...options,
    };
    checkFrameCap(this.#options.maxFrameBytes);
    for (const name of ["windowChunks", "batchChunks"] as const) {
      const value = this.#options[name];
      if (!Number.isSafeInteger(value) || value < 1) {
        throw new RangeError(`Cannot use ${name} ${value}: it must be a positive integer`);
      }
    }
    this.#outbox = new Outbox(this.#options.outboxCapacity);
    const { promise, resolve } = Promise.withResolvers<LinkEnd>();
    this.ended = promise;
    this.#resolveEnded = resolve;
  }

  /** Where the link stands. */
  get state(): LinkState {
    return this.#state;
  }

  /** Why the link has ended; null while it has not. */
  get end(): LinkEnd | null {
    return this.#end;
  }

  /** What the link has done. */
  counts(): LinkCounts {
    const { connections, ...counts } = this.#counts;
    return {
      ...counts,
      dropped: this.#outbox.dropped,
      reconnects: Math.max(0, connections - 1),
      queued: this.#outbox.size,
    };
  }

  /**
   * Start connecting, and keep at it until the link ends.
   * @throws {Error} If it was started before, or the URL is no WebSocket URL.
   */
  connect(): void {
    const { url } = this.#options;
    if (this.#state !== "idle") throw new Error("Cannot connect: the link was started before");
    if (!/^wss?:\/\//.test(url) || !URL.canParse(url)) {
      throw new SyntaxError(
        `Cannot connect to ${JSON.stringify(url)}: it must be a URL such as ws://127.0.0.1:8080/ws`,
      );
    }
    this.#open();
  }

  /**
   * Queue a chunk and send it as soon as the connection and the window allow.
   * @param transition The chunk; its arrays must not change afterwards.
   * @throws {WireError} If it is not valid or larger than a frame.
   * @throws {RangeError} If a chunk with its id is queued already.
   */
  send(transition: ChunkTransition): void {
    const bytes = transitionBytes(parseTransition(transition));
    const { maxFrameBytes } = this.#options;
    if (bytes > maxFrameBytes) {
      throw new WireError(
        "oversize",
        `Cannot send chunk: it has up to ${bytes} bytes, the limit of a frame is ${maxFrameBytes}`,
      );
    }
    this.#outbox.push(transition, bytes);
    this.#pump();
  }

  /**
   * Whether the controller should make more experience. While the learner is away the answer is
   * yes: the robot keeps acting and the outbox keeps what fits.
   */
  hasCapacity(): boolean {
    if (this.#state === "ended") return false;
    if (this.#state !== "connected") return true;
    return !this.#isBusy && this.#outbox.size < this.#options.windowChunks;
  }

  /**
   * The newest complete weights that were not taken yet, if any. Ask between chunks.
   * @returns All weights, not to be changed: tensors that the learner does not train are the same in
   *   every version. Null if there are none newer.
   */
  takeLatestWeights(): WeightsSnapshot | null {
    const latest = this.#latest;
    this.#latest = null;
    return latest;
  }

  /**
   * Wait until a claim about this link holds.
   * @param claim Checked now and after everything that happens on the link.
   * @param timeoutMs How long to wait.
   * @returns True if the claim holds; false if time ran out or the link ended first.
   * @example
   * ```ts
   * await link.until(() => link.counts().queued === 0, 5000);
   * ```
   */
  until(claim: () => boolean, timeoutMs: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const check = () => {
      const isMet = claim();
      if (isMet || this.#state === "ended") finish(isMet);
    };
    const timer = setTimeout(() => finish(claim()), timeoutMs);
    const finish = (isMet: boolean) => {
      clearTimeout(timer);
      this.#watchers.delete(check);
      resolve(isMet);
    };
    this.#watchers.add(check);
    check();
    return promise;
  }

  /** End the link and wait until its socket has closed, at most a second. */
  async close(): Promise<void> {
    const socket = this.#socket;
    this.#finish({ reason: "closed", sentence: "The controller closed the link" });
    if (socket === null || socket.readyState === WebSocket.CLOSED) return;
    const closed = Promise.withResolvers<void>();
    socket.once("close", () => closed.resolve());
    const timer = setTimeout(() => socket.terminate(), CLOSE_TIMEOUT_MS);
    await closed.promise;
    clearTimeout(timer);
  }

  #open(): void {
    const { url, token, maxFrameBytes, deadlineMs } = this.#options;
    this.#state = "connecting";
    const socket = new WebSocket(url, {
      headers: token ? { authorization: `Bearer ${token}` } : {},
      // Pixels and weights barely compress, and compressing would cost the control loop its time.
      perMessageDeflate: false,
      maxPayload: maxFrameBytes,
      handshakeTimeout: deadlineMs,
    });
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    const heard = () => this.#lastHeardMs = performance.now();
    socket.on("open", () => {
      heard();
      this.#greet();
    });
    socket.on("ping", heard);
    socket.on("pong", heard);
    socket.on("message", (data) => {
      heard();
      this.#receive(data);
    });
    socket.on("unexpected-response", (_request, response) => {
      this.#answeredHttp(response.statusCode ?? 0);
      socket.terminate();
    });
    socket.on("error", (error) => this.#lastSentence ||= error.message.split("\n")[0]);
    socket.on("close", (code) => this.#closed(socket, code));
  }

  #greet(): void {
    const { controllerId, signature, heartbeatMs, deadlineMs } = this.#options;
    this.#say({
      type: "hello",
      protocolVersion: PROTOCOL_VERSION,
      role: "controller",
      controllerId,
      signature,
    });
    const openedMs = performance.now();
    this.#heartbeat = setInterval(() => {
      const nowMs = performance.now();
      const isUngreeted = this.#state === "connecting" && nowMs - openedMs > deadlineMs;
      if (isUngreeted || nowMs - this.#lastHeardMs > deadlineMs) {
        this.#lastSentence = `the learner was silent for ${deadlineMs} ms`;
        this.#socket?.terminate();
      } else {
        this.#socket?.ping();
      }
    }, heartbeatMs);
  }

  #receive(data: unknown): void {
    if (this.#state === "ended") return;
    try {
      if (!(data instanceof ArrayBuffer)) {
        throw new WireError("malformed", "Cannot read frame: it is not binary");
      }
      const { maxFrameBytes } = this.#options;
      this.#take(decodeFrame(new Uint8Array(data), { maxFrameBytes }));
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#lastSentence = error.message;
      this.#say({ type: "error", sentence: error.message });
      this.#socket?.close(CLOSE_CODES.malformed);
    }
    this.#changed();
  }

  #take(message: Message): void {
    switch (message.type) {
      case "welcome":
        return this.#welcomed(message);
      case "weights":
        return this.#takeWeights(message);
      case "ack":
        return this.#takeAck(message);
      case "busy":
        this.#isBusy = true;
        return;
      case "resume":
        this.#isBusy = false;
        return;
      case "refuse":
        if (!message.canRetry) this.#finish({ reason: "refused", sentence: message.sentence });
        this.#lastSentence = message.sentence;
        return;
      case "shutdown":
        return this.#finish({ reason: "run_over", sentence: message.sentence });
      case "error":
        this.#lastSentence = message.sentence;
        return this.#options.logger.warn(`The learner says: ${message.sentence}`);
      default:
        throw new WireError("malformed", `A learner may not send ${message.type}`);
    }
  }

  #welcomed(welcome: WelcomeMessage): void {
    const { policyVersion, runName } = welcome;
    const refusal = this.#options.refuseLearner?.(welcome) ?? null;
    if (refusal !== null) return this.#finish({ reason: "refused", sentence: refusal });
    this.#state = "connected";
    this.#failures = 0;
    this.#counts.connections++;
    // The newest follow; these may be weights that a learner has gone back on.
    this.#latest = null;
    this.#tensors.clear();
    this.#options.logger.info(
      `Connected to the learner's run ${
        JSON.stringify(runName)
      } at policy version ${policyVersion}`,
    );
    this.#pump();
  }

  #takeWeights(part: WeightsMessage): void {
    const complete = this.#assembler.add(part);
    if (complete === null) return;
    for (const tensor of complete.tensors) this.#tensors.set(tensor.name, tensor);
    this.#latest = { ...complete, tensors: [...this.#tensors.values()] };
    this.#say({ type: "weights_received", version: complete.version });
    this.#options.onWeights?.(this.#latest);
  }

  #takeAck({ chunkIds, duplicateIds, refusedIds }: AckMessage): void {
    const duplicates = this.#outbox.acknowledge(duplicateIds);
    this.#counts.acked += this.#outbox.acknowledge(chunkIds) + duplicates;
    this.#counts.duplicates += duplicates;
    this.#outbox.acknowledge(refusedIds);
    // Some were acknowledged before, and are held no more.
    this.#counts.refused += refusedIds.length;
    this.#pump();
  }

  #pump(): void {
    const { windowChunks, batchChunks, maxFrameBytes } = this.#options;
    while (this.#state === "connected" && this.#outbox.inFlight < windowChunks) {
      const room = Math.min(batchChunks, windowChunks - this.#outbox.inFlight);
      // A quarter of the cap keeps acknowledgements coming on slow networks.
      const { transitions, resent } = this.#outbox.takeBatch(room, maxFrameBytes / 4);
      if (transitions.length === 0) return;
      this.#say({ type: "transitions", transitions });
      this.#counts.sent += transitions.length - resent;
      this.#counts.resent += resent;
    }
  }

  #say(message: Message): void {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    const { maxFrameBytes } = this.#options;
    // A failed send closes the socket, and the chunk stays in the outbox.
    this.#socket.send(encodeFrame(message, { maxFrameBytes }), () => {});
  }

  #answeredHttp(status: number): void {
    this.#lastSentence = `the learner answered HTTP ${status}`;
    if (status === 401 || status === 403) {
      this.#finish({
        reason: "refused",
        sentence: `The learner refused this controller's token (HTTP ${status}); pass the ` +
          "learner's own with --token-file",
      });
    }
  }

  #closed(socket: WebSocket | null, code: number): void {
    if (socket === null || socket !== this.#socket) return;
    this.#socket = null;
    clearInterval(this.#heartbeat);
    this.#assembler = new WeightsAssembler();
    this.#isBusy = false;
    this.#outbox.rewind();
    if (this.#state !== "ended") this.#retry(code);
    this.#changed();
  }

  #retry(code: number): void {
    const { backoffBaseMs, backoffCapMs, random, logger } = this.#options;
    const pauseMs = Math.min(backoffCapMs, backoffBaseMs * 2 ** Math.min(this.#failures, 30)) *
      (0.5 + 0.5 * random());
    // One line per outage: a learner away for hours must not fill the log.
    if (this.#failures === 0) {
      const why = this.#lastSentence === "" ? `close code ${code}` : this.#lastSentence;
      logger.warn(`No connection to the learner (${why}); trying again until it is back`);
    }
    this.#lastSentence = "";
    this.#failures++;
    this.#state = "waiting";
    this.#timer = setTimeout(() => this.#open(), pauseMs);
  }

  #finish(end: LinkEnd): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#end = end;
    clearTimeout(this.#timer);
    clearInterval(this.#heartbeat);
    this.#socket?.close(1000);
    this.#resolveEnded(end);
    this.#changed();
  }

  #changed(): void {
    for (const check of [...this.#watchers]) check();
  }
}
