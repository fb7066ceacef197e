/**
 * Runs the Weights & Biases SDK in a worker of its own.
 *
 * The SDK (0.5) throws from message handlers when its server fails, prints to the console and ends
 * the process on SIGINT. In here an uncaught error ends this worker alone, the console becomes
 * warnings, and the process's signals are out of reach.
 *
 * @module
 */
import type { WandbReply, WandbRequest } from "./wandb.ts";

/** The part of the SDK's run that is used. */
interface SdkRun {
  log(data: Record<string, unknown>, step?: number): void;
  finish(): Promise<void>;
}

declare const self: {
  onmessage: ((event: MessageEvent<WandbRequest>) => void) | null;
  postMessage(reply: WandbReply): void;
};

const say = (reply: WandbReply) => self.postMessage(reply);
const sentenceOf = (value: unknown) =>
  (value instanceof Error ? value.message : String(value)).split("\n")[0].slice(0, 300);

Object.assign(console, {
  error: (...parts: unknown[]) => say({ type: "warning", text: parts.map(sentenceOf).join(" ") }),
  log: () => {},
});

let run: Promise<SdkRun> | null = null;

// The learner ends this worker when it hears of a failure; nothing is printed.
globalThis.addEventListener("error", (event) => {
  event.preventDefault();
  say({ type: "failed", text: sentenceOf(event.message) });
});
globalThis.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  say({ type: "failed", text: sentenceOf(event.reason) });
});

self.onmessage = ({ data }) => {
  handle(data).catch((error) => say({ type: "failed", text: sentenceOf(error) }));
};

async function handle(request: WandbRequest): Promise<void> {
  switch (request.type) {
    case "start": {
      run = start(request);
      await run;
      return say({ type: "started" });
    }
    case "log": {
      (await run)?.log({ ...request.record }, request.step);
      return;
    }
    case "finish": {
      await (await run)?.finish();
      return say({ type: "finished" });
    }
  }
}

async function start(request: Extract<WandbRequest, { type: "start" }>): Promise<SdkRun> {
  const process = await import("node:process");
  // The SDK would end the process on these; ending is the learner's own business.
  process.default.once = () => process.default;
  const { default: wandb } = await import("@wandb/sdk");
  const { apiKey, baseUrl, project, name, config } = request;
  return wandb.init({
    project,
    name,
    config,
    settings: { apiKey, baseUrl, silent: true, offline: false },
  });
}
