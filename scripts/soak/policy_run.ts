/**
 * A controller with emulated arms in this process: the shipped policy infers, the arms move, the HTTP
 * server listens. There is no learner; its chunks go nowhere.
 *
 * @module
 */

import { createControllerApp } from "../../controller/status.ts";
import type { Config } from "../../common/config/config.ts";
import { listen } from "../../common/http/listen.ts";
import { useDevice } from "../../common/policy/backend.ts";
import { loadPolicy, policySignature } from "../../common/policy/load.ts";
import { chooseOrRandom } from "../../common/policy/load_failure.ts";
import { normal, seededRandom } from "../../common/random.ts";
import type { Logger } from "../../common/types.ts";
import { type ArmsSource, armsSource } from "../../controller/aloha/arms_source.ts";
import type { AlohaRobot } from "../../controller/aloha/aloha_robot.ts";
import { ROBOT_FLAGS, type RobotFlags } from "../../controller/aloha/flags.ts";
import { type ChunkSink, runControlLoop } from "../../controller/control_loop.ts";
import { sharedNowMs } from "../../controller/threads/clock.ts";
import type { ARM_FLAGS, SoakContext } from "./command.ts";

/** What {@link PolicyRun.start} is told. */
export interface PolicyRunOptions {
  /** The configuration: checkpoint, task, seed. */
  readonly config: Config;
  /** Flags of the robot that differ from their defaults; no step log is written unless told. */
  readonly flags: Partial<RobotFlags>;
  /** Takes lines for people. */
  readonly logger: Logger;
  /** Ends everything. */
  readonly signal: AbortSignal;
}

/**
 * The options that a part's flags ask for.
 *
 * @param context What the part works with.
 * @param more Flags of the robot that the part sets itself.
 */
export function policyRunOptions(
  { config, flags, logger, signal }: SoakContext<typeof ARM_FLAGS>,
  more: Partial<RobotFlags> = {},
): PolicyRunOptions {
  const { rate, execution, dxlDriver, episodeSteps } = flags;
  return {
    config: { ...config, maxEpisodeSteps: episodeSteps },
    flags: { busRate: rate, execution, dxlDriver, ...more },
    logger,
    signal,
  };
}

/** What a request to the robot came to. */
export interface CommandAnswer {
  /** It was done. */
  readonly isDone: boolean;
  /** What was or was not done. */
  readonly sentence: string;
}

/** Time between two looks at something that another thread does, in ms. */
const POLL_MS = 5;

/** Everywhere but here a learner takes the chunks. */
const NO_LEARNER: ChunkSink = {
  takeLatestWeights: () => null,
  hasCapacity: () => true,
  send: () => {},
  until: () => Promise.resolve(true),
};

/** A controller that runs. */
export class PolicyRun implements AsyncDisposable {
  /** The robot. */
  readonly robot: AlohaRobot;
  /** The same as a source of chunks, with its status and cameras. */
  readonly source: ArmsSource;
  /** Where the HTTP server is. */
  readonly url: string;
  /** How long the policy took for each chunk so far, in ms; the first ones compile code. */
  readonly inferenceMs: number[];
  readonly #stack: AsyncDisposableStack;
  readonly #state: LoopState;
  readonly #signal: AbortSignal;

  private constructor(
    source: ArmsSource,
    url: string,
    inferenceMs: number[],
    state: LoopState,
    signal: AbortSignal,
    stack: AsyncDisposableStack,
  ) {
    this.source = source;
    this.robot = source.robot;
    this.url = url;
    this.inferenceMs = inferenceMs;
    this.#state = state;
    this.#signal = signal;
    this.#stack = stack;
  }

  /**
   * Load the policy, open emulated arms and let the policy move them.
   *
   * @param options What to run.
   * @returns The running controller; dispose of it.
   * @throws {Error} The policy cannot be loaded or the arms cannot be opened.
   */
  static async start(options: PolicyRunOptions): Promise<PolicyRun> {
    const { config, logger } = options;
    await using stack = new AsyncDisposableStack();
    await useDevice(config.device);
    const { path } = await chooseOrRandom(config, "abort");
    const random = seededRandom(config.seed);
    const loaded = await loadPolicy(path, { ...config, normal: () => normal(random) });
    const policy = stack.use(loaded.policy);
    const stop = new AbortController();
    const signal = AbortSignal.any([options.signal, stop.signal]);
    let episode = 0;
    const source = stack.use(
      await armsSource(config, {
        kind: "emulated",
        flags: { ...defaultFlags(), stepLog: "", ...options.flags },
        libraryVariable: "",
        policy,
        signature: policySignature(policy, config.temperature),
        weights: () => ({
          weights: loaded.initialization,
          startedFrom: loaded.initialization,
        }),
        random,
        nextEpisode: () => ({ seed: episode, episodeId: `soak-${episode++}` }),
        logger,
        signal,
        onInterrupt: () => stop.abort(),
      }),
    );
    const app = createControllerApp({
      host: "127.0.0.1",
      token: null,
      logger,
      status: () => ({ ...NO_LINK, robot: source.status() }),
      gauges: source.gauges,
      commands: source.commands,
    });
    const listener = listen((request) => app.fetch(request), { port: 0 });
    stack.defer(() => listener.close());
    const inferenceMs: number[] = [];
    const state: LoopState = { hasEnded: false, failure: null };
    const loop = runControlLoop({
      runner: timed(source, inferenceMs),
      policy: () => policy,
      assign: () => {},
      sink: NO_LEARNER,
      policyVersion: 0,
      onChunks: () => {},
      signal,
    }).catch((error) => {
      if (!signal.aborted) state.failure = error;
    }).finally(() => state.hasEnded = true);
    stack.defer(async () => {
      stop.abort();
      await loop;
    });
    return new PolicyRun(source, listener.url, inferenceMs, state, options.signal, stack.move());
  }

  /** Whether an episode runs. */
  get isRunning(): boolean {
    return this.robot.supervisor.status.state === "running";
  }

  /**
   * Wait for something.
   *
   * @param what What is waited for, for the error.
   * @param isTrue Whether it is there.
   * @param timeoutMs Longest wait, in ms.
   * @throws {Error} It does not come in time, or the controller has failed or was told to end meanwhile.
   */
  async until(what: string, isTrue: () => boolean, timeoutMs: number): Promise<void> {
    const endMs = sharedNowMs() + timeoutMs;
    for (;;) {
      this.#signal.throwIfAborted();
      if (this.#state.failure !== null) throw this.#state.failure;
      if (this.#state.hasEnded) throw new Error(`The controller has ended before ${what}`);
      if (isTrue()) return;
      if (sharedNowMs() > endMs) {
        const { state, reason } = this.robot.supervisor.status;
        throw new Error(
          `No ${what} within ${timeoutMs / 1000} s: the robot is ${state}` +
            (reason === "" ? "" : ` (${reason})`),
        );
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /**
   * Tell the robot something through its HTTP server.
   *
   * @param path Such as `/start`.
   * @returns What came of it.
   */
  async post(path: string): Promise<CommandAnswer> {
    const response = await fetch(`${this.url}${path}`, { method: "POST" });
    return await response.json();
  }

  /**
   * Say start until somebody waits for it, and wait until an episode runs.
   *
   * @param timeoutMs Longest wait, in ms.
   * @throws {Error} It does not run in time.
   */
  async startAgain(timeoutMs: number): Promise<void> {
    const { robot } = this;
    await this.until("wait for a start", () => robot.operator.isStartAwaited, timeoutMs);
    const { isDone, sentence } = await this.post("/start");
    if (!isDone) throw new Error(`The start was refused: ${sentence}`);
    await this.until("episode after a start", () => this.isRunning, timeoutMs);
  }

  /** Stop: the arms hold, everything is closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

interface LoopState {
  hasEnded: boolean;
  failure: Error | null;
}

/** What the status page says where there is no learner. */
const NO_LINK = {
  link: "idle",
  counts: {
    sent: 0,
    resent: 0,
    acked: 0,
    duplicates: 0,
    refused: 0,
    dropped: 0,
    queued: 0,
    reconnects: 0,
  },
  policyVersion: 0,
  episodes: 0,
  successes: 0,
} as const;

/** Every flag's default. */
function defaultFlags(): RobotFlags {
  return Object.fromEntries(
    Object.entries(ROBOT_FLAGS).map(([name, flag]) => [name, flag.default]),
  ) as RobotFlags;
}

/** The source's runner, with the time of each chunk's inference noted. */
function timed({ runner }: ArmsSource, inferenceMs: number[]): ArmsSource["runner"] {
  return {
    times: runner.times,
    async advance(policy, policyVersion) {
      const before = runner.times.inferMs;
      const transitions = await runner.advance(policy, policyVersion);
      if (runner.times.inferMs > before) inferenceMs.push(runner.times.inferMs - before);
      return transitions;
    },
  };
}
