/**
 * What a person, or a program of theirs, can say about episodes over HTTP, and how they take a robot
 * over. All are POST requests; the token of the server covers them.
 *
 * | path                | body                                                                      |
 * | ------------------- | ------------------------------------------------------------------------- |
 * | `/reward`           | `{"episode": id, "kind": "success", "failure" or "score", "value", "at"}` |
 * | `/takeover`         | `{"robot": 0}`, or nothing                                                |
 * | `/takeover/actions` | `{"actions": [[14 absolute targets], …]}`, one row a control step         |
 * | `/takeover/release` | nothing                                                                   |
 *
 * @module
 */

import { z } from "zod";
import type { RouteHandler } from "../common/http/status_app.ts";
import {
  CURRENT_EPISODE,
  type EpisodeLabels,
  LABEL_KINDS,
  LABEL_MOMENTS,
} from "./episode_labels.ts";
import { MAX_QUEUED_STEPS, type Takeover } from "./takeover.ts";

/** Largest body that is read, in bytes: {@link MAX_QUEUED_STEPS} rows with all digits fit. */
const MAX_BODY_BYTES = 256 * 1024;

const reward = z.strictObject({
  episode: z.string().min(1).max(200).default(CURRENT_EPISODE),
  kind: z.enum(LABEL_KINDS),
  value: z.number().optional(),
  at: z.enum(LABEL_MOMENTS).optional(),
});
const takeoverRequest = z.strictObject({ robot: z.int().min(0).default(0) });
const actionsRequest = z.strictObject({
  actions: z.array(z.array(z.number())).min(1).max(MAX_QUEUED_STEPS),
});
const nothing = z.strictObject({});

/**
 * Routes of whoever watches robots.
 *
 * @param people.labels Takes what is said about episodes.
 * @param people.takeover Lets a person drive.
 * @returns Handlers of POST requests by path. They answer `{isDone, sentence}`, with 409 if it could not
 * be done, and `{error}` with 400 if the body is no request.
 */
export function humanCommands(
  people: { readonly labels: EpisodeLabels; readonly takeover: Takeover },
): Record<string, RouteHandler> {
  const { labels, takeover } = people;
  return {
    "/reward": command(reward, (label) => {
      const isCurrent = label.episode === CURRENT_EPISODE;
      const refusal = labels.add(label);
      const which = isCurrent ? "the current episode" : `episode ${label.episode}`;
      return [refusal, `Noted: ${label.kind} of ${which}`];
    }),
    "/takeover": command(takeoverRequest, ({ robot }) => [
      takeover.begin(robot),
      `Robot ${robot} is yours; POST /takeover/actions moves it, POST /takeover/release gives it back`,
    ]),
    "/takeover/actions": command(actionsRequest, ({ actions }) => {
      const refusal = takeover.push(actions);
      return [refusal, `Taken: ${takeover.queuedSteps} control steps wait`];
    }),
    "/takeover/release": command(nothing, () => [
      takeover.release(),
      "Released: the policy goes on",
    ]),
  };
}

/** What came of a command: why it could not be done or null, and what to say if it could. */
type Answer = readonly [refusal: string | null, sentence: string];

function command<T>(schema: z.ZodType<T>, act: (body: T) => Answer): RouteHandler {
  return async (request) => {
    // A page in a browser must not move a robot or judge it.
    if (request.headers.has("origin")) {
      return Response.json({ error: "This request may not come from a web page" }, { status: 403 });
    }
    const body = await readJson(request);
    if (typeof body === "string") return Response.json({ error: body }, { status: 400 });
    const parsed = schema.safeParse(body.json);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      const place = issue.path.join(".").slice(0, 60) || "the body";
      return Response.json({ error: `Cannot read the request: ${place}: ${issue.message}` }, {
        status: 400,
      });
    }
    const [refusal, sentence] = act(parsed.data);
    return Response.json({ isDone: refusal === null, sentence: refusal ?? sentence }, {
      status: refusal === null ? 200 : 409,
    });
  };
}

/** The body as JSON, an empty one as `{}`; or why it cannot be read, in one sentence. */
async function readJson(request: Request): Promise<{ readonly json: unknown } | string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of request.body ?? []) {
    bytes += part.length;
    // The rest is not read: it could go on for ever.
    if (bytes > MAX_BODY_BYTES) {
      return `Cannot read the request: it has more than ${MAX_BODY_BYTES} bytes`;
    }
    parts.push(part);
  }
  const text = await new Blob(parts as Uint8Array<ArrayBuffer>[]).text();
  if (text.trim() === "") return { json: {} };
  try {
    return { json: JSON.parse(text) };
  } catch {
    return "Cannot read the request: its body is not JSON";
  }
}
