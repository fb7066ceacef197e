import assert from "node:assert/strict";
import type { Logger } from "../../common/types.ts";
import { listen } from "../../common/http/listen.ts";
import { createWandbSink, type WandbOptions } from "./wandb.ts";

function keepLines(): Logger & { lines: string[] } {
  const lines: string[] = [];
  const keep = (message: string) => void lines.push(message);
  return { lines, info: keep, warn: keep, error: keep };
}

function optionsFor(baseUrl: string, logger: Logger): WandbOptions {
  return {
    apiKey: "0".repeat(40),
    isEnabled: true,
    project: "tendon",
    name: "reach",
    config: { seed: 3 },
    baseUrl,
    logger,
    closeTimeoutMs: 5000,
  };
}

Deno.test("createWandbSink() makes no sink without a key or consent", () => {
  const options = optionsFor("http://127.0.0.1:1", keepLines());
  assert.equal(createWandbSink({ ...options, apiKey: null }), null);
  assert.equal(createWandbSink({ ...options, apiKey: "" }), null);
  assert.equal(createWandbSink({ ...options, isEnabled: false }), null);
});

Deno.test("createWandbSink() sends each record to the service", async () => {
  const history: Record<string, unknown>[] = [];
  const names: unknown[] = [];
  let isComplete = false;
  const service = listen(async (request) => {
    const body = await request.json();
    if (new URL(request.url).pathname !== "/graphql") {
      const lines: string[] = body.files?.["wandb-history.jsonl"]?.content ?? [];
      history.push(...lines.map((line) => JSON.parse(line)));
      isComplete ||= body.complete === true;
      return Response.json({});
    }
    if (String(body.query).includes("viewer")) {
      return Response.json({ data: { viewer: { id: "u", entity: "lab" } } });
    }
    names.push(body.variables.displayName);
    const bucket = { id: "b", name: body.variables.name, displayName: "reach" };
    return Response.json({ data: { upsertBucket: { bucket, inserted: true } } });
  }, { port: 0 });
  const logger = keepLines();
  const sink = createWandbSink(optionsFor(service.url, logger));
  sink?.log(0, { policyLoss: 0.5 });
  sink?.log(1, { policyLoss: 0.25 });
  await sink?.close();
  await service.close();
  assert.deepEqual(names, ["reach"]);
  assert.deepEqual(history.map(({ _step, policyLoss }) => [_step, policyLoss]), [
    [0, 0.5],
    [1, 0.25],
  ]);
  assert.ok(isComplete);
  assert.deepEqual(logger.lines, []);
});

Deno.test("createWandbSink() turns a failing service into one warning", async () => {
  const service = listen(() => new Response("broken", { status: 403 }), { port: 0 });
  const logger = keepLines();
  const sink = createWandbSink(optionsFor(service.url, logger));
  sink?.log(0, { policyLoss: 0.5 });
  await sink?.close();
  await service.close();
  const stopped = logger.lines.filter((line) => line.includes("stopped taking records"));
  assert.equal(stopped.length, 1, logger.lines.join("\n"));
  assert.match(stopped[0], /training goes on/);
  sink?.log(1, {});
  await sink?.close();
});

Deno.test("createWandbSink() survives what the SDK throws outside any promise", async () => {
  const service = listen(async (request) => {
    const { query } = await request.json();
    return String(query).includes("viewer")
      ? Response.json({ data: { viewer: { id: "u", entity: "lab" } } })
      : new Response("no such project", { status: 404 });
  }, { port: 0 });
  const logger = keepLines();
  const sink = createWandbSink(optionsFor(service.url, logger));
  sink?.log(0, { policyLoss: 0.5 });
  await sink?.close();
  await service.close();
  assert.ok(
    logger.lines.some((line) => /stopped taking records: .*; training goes on/.test(line)),
    logger.lines.join("\n"),
  );
});
