/**
 * The controller's HTTP status.
 *
 * @module
 */
import { Gauge, Registry } from "prom-client";
import { checkExposure } from "../common/http/listen.ts";
import { createStatusApp, type RouteHandler, type StatusApp } from "../common/http/status_app.ts";
import type { Logger } from "../common/types.ts";
import type { SourceGauge } from "./chunk_source.ts";
import type { LinkCounts, LinkState } from "./learner_link.ts";

/** What a controller shows of itself. */
export interface ControllerStatus {
  /** Where the link to the learner stands. */
  readonly link: LinkState;
  /** What the link has done. */
  readonly counts: LinkCounts;
  /** Version of the weights in use. */
  readonly policyVersion: number;
  /** Episodes ended since the start. */
  readonly episodes: number;
  /** Of those, the ones that met the success condition. */
  readonly successes: number;
}

/** What {@link createControllerApp} needs. */
export interface ControllerAppOptions {
  /** Where the app will listen; decides whether a token is required. */
  readonly host: string;
  /** The token that every request must show; null for none. */
  readonly token: string | null;
  /** Asked at each request; further fields are shown in `/status`. */
  readonly status: () => ControllerStatus;
  /** What the robots add to `/metrics`. */
  readonly gauges?: readonly SourceGauge[];
  /** POST routes: what the robots can be told to do. */
  readonly commands?: Readonly<Record<string, RouteHandler>>;
  /** Takes failures. */
  readonly logger: Logger;
}

/** Numbers of {@link ControllerStatus} as gauges `tendon_controller_<name>`. */
const GAUGES: readonly [string, string, (status: ControllerStatus) => number][] = [
  ["connected", "1 while the learner is connected", (now) => Number(now.link === "connected")],
  ["policy_version", "Version of the weights in use", (now) => now.policyVersion],
  ["episodes", "Episodes ended", (now) => now.episodes],
  ["successes", "Episodes that met the success condition", (now) => now.successes],
  ["chunks_sent", "Chunks sent", (now) => now.counts.sent],
  ["chunks_resent", "Chunks sent again after a broken connection", (now) => now.counts.resent],
  ["chunks_acked", "Chunks that the learner accepted", (now) => now.counts.acked],
  ["chunks_refused", "Chunks that the learner found invalid", (now) => now.counts.refused],
  ["chunks_dropped", "Chunks dropped because the outbox was full", (now) => now.counts.dropped],
  ["chunks_queued", "Chunks waiting for the learner", (now) => now.counts.queued],
  ["reconnects", "Connections after the first", (now) => now.counts.reconnects],
];

/**
 * Make the controller's app. It is healthy until its link has ended: a learner that is away is no
 * reason to restart a controller that keeps acting.
 * @param options What to show.
 * @returns The app with `/healthz`, `/status` and `/metrics`.
 * @throws {RangeError} If the host is not loopback and there is no token, or the token is unusable.
 */
export function createControllerApp(options: ControllerAppOptions): StatusApp {
  const { host, token, status, logger, gauges = [], commands } = options;
  checkExposure(host, token);
  const registry = new Registry();
  for (const [name, help, read] of GAUGES) {
    new Gauge({
      name: `tendon_controller_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(read(status()));
      },
    });
  }
  for (const { name, help, labels, read } of gauges) {
    new Gauge({
      name: `tendon_controller_${name}`,
      help,
      labelNames: [...labels],
      registers: [registry],
      collect() {
        this.reset();
        for (const { labels, value } of read()) this.set({ ...labels }, value);
      },
    });
  }
  return createStatusApp({
    isHealthy: () => status().link !== "ended",
    status,
    registry,
    token,
    logger,
    commands,
  });
}
