/**
 * The learner's side of the wire: HTTP status and the controllers' WebSocket on one port.
 *
 * @module
 */
import type { Initialization } from "../../common/checkpoint/metadata.ts";
import {
  createStatusApp,
  type MetricsSource,
  type StatusApp,
} from "../../common/http/status_app.ts";
import {
  checkExposure,
  listen,
  type Listener,
  type ListenOptions,
} from "../../common/http/listen.ts";
import type { HostTensor, Logger } from "../../common/types.ts";
import type { Message, RefusedTransition, Signature } from "../../common/wire/messages.ts";
import { checkFrameCap, DEFAULT_MAX_FRAME_BYTES } from "../../common/wire/protocol.ts";
import type { WeightsSnapshot } from "../../common/wire/weights_parts.ts";
import {
  ControllerSession,
  countRefused,
  type IntakeMetrics,
  type SessionHost,
  type SessionSocket,
} from "./controller_session.ts";
import type { Intake } from "./dedup.ts";
import { PublishedWeights } from "./published_weights.ts";

/** What a learner server needs. */
export interface LearnerServerOptions {
  /** Name or address to listen on; default `127.0.0.1`. */
  readonly host?: string;
  /** The token that every peer must show; required unless the host is loopback. */
  readonly token?: string | null;
  /** Name of the run, told to controllers. */
  readonly runName: string;
  /** What the run began with, told to controllers. */
  readonly initialization: Initialization;
  /** Whether chunks should bring their image tokens, told to controllers; default false. */
  readonly wantsImageTokens?: boolean;
  /** What a controller's signature must equal. */
  readonly signature: Signature;
  /** What controllers get when they connect, until {@link LearnerServer.publish}. */
  readonly initialWeights: WeightsSnapshot;
  /**
   * Whether a version was published before the learner went back to an older checkpoint, so that its
   * chunks are refused; default never.
   */
  readonly isLostVersion?: (version: number) => boolean;
  /** Takes valid transitions; must not block. */
  readonly intake: Intake;
  /** Called whenever a controller has been admitted. */
  readonly onController?: () => void;
  /** The learner's part of `/status`. */
  readonly status: () => object;
  /** Whether `/healthz` answers 200; default always. */
  readonly isHealthy?: () => boolean;
  /** The metrics of `/metrics`. */
  readonly registry: MetricsSource;
  /** Counts what comes in. */
  readonly metrics: IntakeMetrics;
  /** Takes lines for people. */
  readonly logger: Logger;
  /** Most controllers at a time; default 16. */
  readonly maxControllers?: number;
  /** Cap of a frame in bytes, either way; default 64 MiB, which is also the runtime's own cap. */
  readonly maxFrameBytes?: number;
  /** How long a new connection may take to say hello; default 10,000 ms. */
  readonly helloTimeoutMs?: number;
  /** A connection that answers no ping for so long is closed; default 30 s. */
  readonly idleTimeoutSeconds?: number;
}

/** A controller as `/status` shows it. */
export interface ControllerStatus {
  /** Its id. */
  readonly controllerId: string;
  /** Version of the weights that it holds; null before the first. */
  readonly policyVersion: number | null;
  /** Chunks accepted over its present connection. */
  readonly chunks: number;
}

/** How long a closing server waits for its peers to close too, in milliseconds. */
const CLOSE_TIMEOUT_MS = 1000;

/** The learner's HTTP and WebSocket server. */
export class LearnerServer {
  /** The HTTP app; `app.request("/status")` needs no socket. */
  readonly app: StatusApp;
  readonly #options: LearnerServerOptions;
  readonly #host: string;
  readonly #maxControllers: number;
  readonly #maxFrameBytes: number;
  readonly #sessionHost: SessionHost;
  /** Admitted controllers by id. */
  readonly #controllers = new Map<string, ControllerSession>();
  /** Every open socket, greeted or not, with a promise of its end. */
  readonly #open = new Map<ControllerSession, Promise<void>>();
  #weights: PublishedWeights;
  #isBusy = false;
  #isClosing = false;
  #listener: Listener | null = null;

  /**
   * Check the options; nothing is bound yet.
   * @param options What the server needs.
   * @throws {RangeError} If the host is not loopback and there is no token, the token is unusable,
   *   or a number is out of range.
   */
  constructor(options: LearnerServerOptions) {
    this.#options = options;
    this.#host = options.host ?? "127.0.0.1";
    const token = options.token ?? null;
    checkExposure(this.#host, token);
    this.#maxControllers = options.maxControllers ?? 16;
    if (!Number.isSafeInteger(this.#maxControllers) || this.#maxControllers < 1) {
      throw new RangeError(
        `Cannot serve ${this.#maxControllers} controllers: it must be a positive integer`,
      );
    }
    this.#maxFrameBytes = checkFrameCap(options.maxFrameBytes ?? DEFAULT_MAX_FRAME_BYTES);
    this.#weights = this.#encode(options.initialWeights);
    this.#sessionHost = {
      signature: options.signature,
      runName: options.runName,
      initialization: options.initialization,
      wantsImageTokens: options.wantsImageTokens ?? false,
      maxFrameBytes: this.#maxFrameBytes,
      weights: () => this.#weights,
      isLost: options.isLostVersion ?? (() => false),
      isBusy: () => this.#isBusy,
      admit: (session) => this.#admit(session),
      intake: options.intake,
      metrics: options.metrics,
      logger: options.logger,
    };
    this.app = createStatusApp({
      isHealthy: options.isHealthy ?? (() => true),
      status: () => ({ ...options.status(), controllers: this.controllers() }),
      registry: options.registry,
      token,
      logger: options.logger,
      routes: { "/ws": (request) => this.#upgrade(request) },
    });
  }

  /**
   * Bind and serve.
   * @param options The port; 0 for any free one.
   * @returns The bound server; close it through {@link LearnerServer.close}.
   * @throws {Error} If it listens already or the address cannot be bound.
   */
  listen(options: Pick<ListenOptions, "port">): Listener {
    if (this.#listener !== null) {
      throw new Error(`Cannot listen: the server already listens on ${this.#listener.url}`);
    }
    this.#listener = listen((request) => this.app.fetch(request), {
      host: this.#host,
      port: options.port,
    });
    return this.#listener;
  }

  /**
   * Make a version of the weights current and offer it to all controllers. It is encoded once; a
   * controller that still receives an older version gets the newest one afterwards. Tensors that are
   * the very same as at the beginning go to new connections alone.
   * @param version Policy version, above the current one.
   * @param tensors All tensors; they must not change afterwards.
   * @param progress How much of the run is done, 0–1; controllers may act by it.
   * @throws {RangeError} If the version does not grow or a tensor does not fill its shape.
   */
  publish(version: number, tensors: readonly HostTensor[], progress = 0): void {
    if (!(version > this.#weights.version)) {
      throw new RangeError(
        `Cannot publish weights: version ${version} must be above ${this.#weights.version}`,
      );
    }
    this.#weights = this.#encode({ version, tensors, progress });
    for (const session of this.#controllers.values()) session.offerWeights();
  }

  /**
   * Take accepted transitions back that have turned out not to be valid. Each is counted, and its
   * sender told, if it is there: a controller that has come back since hears it too.
   * @param controllerId Who sent them; undefined if nobody knows.
   * @param refused What is wrong with each.
   */
  refuse(controllerId: string | undefined, refused: readonly RefusedTransition[]): void {
    const session = this.#controllers.get(controllerId ?? "");
    if (session) session.refuse(refused);
    else countRefused(this.#options.metrics, refused);
  }

  /**
   * Ask controllers to wait, or to go on.
   * @param isBusy Whether the chunk buffer is full.
   */
  setBusy(isBusy: boolean): void {
    if (isBusy === this.#isBusy) return;
    this.#isBusy = isBusy;
    for (const session of this.#controllers.values()) {
      session.say({ type: isBusy ? "busy" : "resume" });
    }
  }

  /** The controllers connected now. */
  controllers(): ControllerStatus[] {
    return [...this.#controllers].map(([controllerId, session]) => ({
      controllerId,
      policyVersion: session.heldVersion,
      chunks: session.acceptedChunks,
    }));
  }

  /**
   * Stop: controllers are told, connections closed, the port freed. Peers that do not answer are
   * left to their idle timeout after one second.
   * @param options `runOver`: a sentence why controllers need not come back; without it they will
   *   try to reconnect.
   */
  async close(options: { readonly runOver?: string } = {}): Promise<void> {
    this.#isClosing = true;
    const { runOver } = options;
    const farewell: Message | null = runOver === undefined
      ? null
      : { type: "shutdown", sentence: runOver };
    const ends = [...this.#open.values()];
    for (const session of this.#open.keys()) {
      if (farewell !== null) session.say(farewell);
      session.close(farewell === null ? "goingAway" : "runOver");
    }
    const deadline = Promise.withResolvers<void>();
    const timer = setTimeout(deadline.resolve, CLOSE_TIMEOUT_MS);
    await Promise.race([Promise.all(ends), deadline.promise]);
    clearTimeout(timer);
    await this.#listener?.close();
    this.#listener = null;
  }

  #encode(snapshot: WeightsSnapshot): PublishedWeights {
    const { tensors } = this.#options.initialWeights;
    return new PublishedWeights(snapshot, tensors, this.#maxFrameBytes);
  }

  #admit(session: ControllerSession): string | null {
    const id = session.controllerId!;
    const older = this.#controllers.get(id);
    if (older === undefined && this.#controllers.size >= this.#maxControllers) {
      return `The learner already has ${this.#maxControllers} controllers, its limit; raise ` +
        "--max-controllers or stop one";
    }
    // A controller that reconnects is ahead of the timeout of its broken connection.
    older?.close("replaced");
    this.#controllers.set(id, session);
    this.#options.onController?.();
    return null;
  }

  #upgrade(request: Request): Response {
    const refusal = this.#refusalOfUpgrade(request);
    if (refusal !== null) return Response.json({ error: refusal[1] }, { status: refusal[0] });
    const { socket, response } = Deno.upgradeWebSocket(request, {
      idleTimeout: this.#options.idleTimeoutSeconds ?? 30,
    });
    this.#attach(socket);
    return response;
  }

  #refusalOfUpgrade(request: Request): [status: number, sentence: string] | null {
    if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
      return [426, "This path takes WebSocket connections of controllers"];
    }
    // Browsers send it, controllers do not: a web page must not reach a learner on loopback.
    if (request.headers.has("origin")) return [403, "Web pages may not connect as controllers"];
    // Twice, because a reconnecting controller is counted with its broken connection.
    if (this.#isClosing || this.#open.size >= 2 * this.#maxControllers) {
      return [503, "The learner takes no more connections now"];
    }
    return null;
  }

  #attach(socket: WebSocket): void {
    socket.binaryType = "arraybuffer";
    const session = new ControllerSession(sessionSocket(socket), this.#sessionHost);
    const end = Promise.withResolvers<void>();
    this.#open.set(session, end.promise);
    const helloTimer = setTimeout(
      () => session.expireHello(),
      this.#options.helloTimeoutMs ?? 10_000,
    );
    socket.onmessage = (event) => {
      session.receive(event.data);
      if (session.controllerId !== null) clearTimeout(helloTimer);
    };
    socket.onerror = (event) => {
      if (event instanceof ErrorEvent) {
        this.#options.logger.warn(`A controller's connection failed: ${event.message}`);
      }
    };
    socket.onclose = () => {
      clearTimeout(helloTimer);
      this.#open.delete(session);
      const id = session.controllerId;
      if (id !== null && this.#controllers.get(id) === session) {
        this.#controllers.delete(id);
        this.#options.logger.info(`Controller ${JSON.stringify(id)} disconnected`);
      }
      end.resolve();
    };
  }
}

function sessionSocket(socket: WebSocket): SessionSocket {
  return {
    send(frame) {
      if (socket.readyState === WebSocket.OPEN) socket.send(frame);
    },
    close(code) {
      if (socket.readyState === WebSocket.OPEN) socket.close(code);
    },
  };
}
