/**
 * What a person, or a program of theirs, can tell a robot over HTTP: stop, release, recover, start,
 * verdicts and the heartbeat. All are POST requests; the token of the server covers them.
 *
 * @module
 */

import type { RouteHandler } from "../../common/http/status_app.ts";
import type { EmergencyStop, HeartbeatWatch } from "../safety/emergency_stop.ts";
import type { Operator } from "./operator/operator.ts";
import type { Supervisor } from "./supervisor.ts";

/** Whom the requests reach. */
export interface RobotApiOptions {
  /** The emergency stop. */
  readonly stop: EmergencyStop;
  /** The robot. */
  readonly supervisor: Supervisor;
  /** The person. */
  readonly operator: Operator;
  /** The watch over the operator's heart; null when none is wanted. */
  readonly heartbeat: HeartbeatWatch | null;
}

const SOURCE = "HTTP";
/** Longest reason that is taken from a request, in characters. */
const MAX_REASON = 200;

/**
 * Routes of a robot.
 *
 * @param options Whom they reach.
 * @returns Handlers of POST requests by path.
 */
export function robotCommands(options: RobotApiOptions): Record<string, RouteHandler> {
  const { stop, supervisor, operator, heartbeat } = options;
  const answer = (isDone: boolean, sentence: string) =>
    Response.json({ isDone, sentence, state: supervisor.status.state }, {
      status: isDone ? 200 : 409,
    });
  // A page in a browser must not start an arm: what frees motion is refused to it, stopping is not.
  const fromPrograms = (handle: () => Response | Promise<Response>): RouteHandler => (request) =>
    request.headers.has("origin")
      ? Response.json({ error: "This request may not come from a web page" }, { status: 403 })
      : handle();
  return {
    "/estop": async (request) => {
      // The stop comes first; its reason may still be on the way.
      stop.trigger(SOURCE, "asked for by a request");
      const reason = (await request.text().catch(() => "")).trim().slice(0, MAX_REASON);
      return answer(true, `Stopped${reason === "" ? "" : `: ${reason}`}; POST /release ends it`);
    },
    "/release": fromPrograms(() => {
      const wasStopped = supervisor.release(SOURCE);
      return answer(
        wasStopped,
        wasStopped
          ? "Released; POST /start lets the arms home"
          : "Cannot release: no emergency stop is in force",
      );
    }),
    "/recover": fromPrograms(async () => {
      const sentence = await supervisor.recover();
      return answer(sentence.startsWith("Recovered"), sentence);
    }),
    "/start": fromPrograms(() => {
      const wasAsked = operator.start(SOURCE);
      return answer(wasAsked, wasAsked ? "Started" : "Cannot start: nothing waits for a start");
    }),
    "/success": fromPrograms(() => verdict(operator.success(SOURCE))),
    "/failure": fromPrograms(() => verdict(operator.failure(SOURCE))),
    "/heartbeat": fromPrograms(() => {
      heartbeat?.beat();
      const sentence = heartbeat === null
        ? "No heartbeat is watched; set --heartbeat-timeout-ms"
        : "Heard";
      return answer(heartbeat !== null, sentence);
    }),
  };

  function verdict(wasAsked: boolean): Response {
    return answer(wasAsked, wasAsked ? "Noted" : "Cannot judge: no episode waits for a verdict");
  }
}
